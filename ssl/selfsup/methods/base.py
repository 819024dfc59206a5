"""What a method is, and the two shapes that most of them have.

A :class:`Method` is six pure functions, as an optax transformation is two. `params` is a dict with the
top-level keys `encoder`, `projector`, `predictor`, …; `extra` is one dict with everything else that a
step changes: batch statistics, target networks, queues.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..errors import UserError

Schedule = Callable[[Any], Any]

# Top-level parameter key -> what `network` calls that module's output.
OUTPUTS = {'encoder': 'features', 'projector': 'embeddings', 'predictor': 'predictions'}


def _identity_after(params: Any, extra: Any, step: Any) -> tuple[Any, Any]:
    return params, extra


def _identity_refresh(params: Any, extra: Any, key: Any) -> Any:
    return extra


class Method(NamedTuple):
    """A self-supervised method; the training loss is `embed`, then `criterion`.

    Attributes:
      init: `(key, batch) -> (params, extra)`; `batch['views']` gives the shapes.
      embed: `(params, extra, batch, key) -> (outputs, extra)`, the network part: per-example arrays,
        `features` and `embeddings` as tuples, one entry a view.
      criterion: `(params, outputs, extra, batch, key) -> (loss, (extra, metrics))`, the batch part.
      encode: `(params, extra, images) -> {'features', 'embeddings'}` with running statistics: the
        network that the paper evaluates.
      after: `(params, extra, step) -> (params, extra)`, once per update, with the index of the step
        just done: moving averages, renormalised prototypes.
      refresh: `(params, extra, key) -> extra`, by the loop between epochs: clustering.
      uses_labels: whether `batch['label']` is passed in (SupCon); else the step removes it.
      queue: rows of the FIFO queue, which the batch must divide; 0 without one.
      evaluates_target: whether `encode` reads the target network, `extra['target']`, and not `params`.
    """

    init: Callable
    embed: Callable
    criterion: Callable
    encode: Callable
    after: Callable = _identity_after
    refresh: Callable = _identity_refresh
    uses_labels: bool = False
    queue: int = 0
    evaluates_target: bool = False

    @property
    def refreshes(self) -> bool:
        """Whether `refresh` does anything, so that no dispatch may run across the end of an epoch."""
        return self.refresh is not _identity_refresh


def init_modules(key: Array, modules: dict[str, nn.Module], images: Array) -> tuple[dict, dict]:
    """Parameters and batch statistics of modules that feed one another, in the order given."""
    params, stats = {}, {}
    x = images[:2]
    for index, (name, module) in enumerate(modules.items()):
        x, variables = module.init_with_output(jax.random.fold_in(key, index), x, train=False)
        params[name] = variables['params']
        stats[name] = variables.get('batch_stats', {})
    return params, stats


def forward(
    module: nn.Module, params: Any, stats: Any, x: Array, *, train: bool, key: Any = None, **kwargs: Any
) -> tuple[Array, Any]:
    """`module` on `x`: its output, and the batch statistics (moved only if `train`)."""
    variables = {'params': params, 'batch_stats': stats} if stats else {'params': params}
    if not train:
        return module.apply(variables, x, train=False, **kwargs), stats
    rngs = None if key is None else {'dropout': key}
    y, new = module.apply(variables, x, train=True, mutable=['batch_stats'], rngs=rngs, **kwargs)
    return y, new.get('batch_stats', stats)


def through(apply: Callable[[Array, Any], tuple[Array, Any]], views: tuple, state: Any, *, fuse: bool) -> tuple:
    """`apply(x, state) -> (y, state)` over views; with `fuse`, neighbours of one shape run as one batch.

    Whether views run together decides which examples share batch-norm statistics, so it is a
    property of the method and no mere optimisation.
    """
    outputs, start = [], 0
    while start < len(views):
        stop = start + 1
        while fuse and stop < len(views) and views[stop].shape == views[start].shape:
            stop += 1
        group = views[start:stop]
        # An image's views stand side by side: one after the other, half of the batch would change its device.
        y, state = apply(jnp.stack(group, axis=1).reshape(-1, *group[0].shape[1:]), state)
        outputs.extend(jnp.moveaxis(y.reshape(-1, len(group), *y.shape[1:]), 1, 0))
        start = stop
    return tuple(outputs), state


def network(
    modules: dict[str, nn.Module],
    params: Any,
    stats: Any,
    views: tuple,
    *,
    train: bool,
    fuse: bool,
    key: Any = None,
    order: Array | None = None,
) -> tuple[dict, dict]:
    """Each view through those of `encoder`, `projector`, `predictor` that `modules` has.

    Returns what each gives under `features`, `embeddings`, `predictions`, and the batch statistics.
    `order` goes to the encoder: the examples' places in a shuffled batch (:class:`BatchNorm`).
    """
    stats = dict(stats)
    outputs, x = {}, views
    for name, label in OUTPUTS.items():
        if name not in modules:
            continue
        extra = {'order': order} if name == 'encoder' and order is not None else {}

        def apply(v: Array, s: Any, name: str = name, extra: dict = extra) -> tuple[Array, Any]:
            return forward(modules[name], params[name], s, v, train=train, key=key, **extra)

        outputs[label], stats[name] = through(apply, x, stats[name], fuse=fuse)
        x = outputs[label]
    return outputs, stats


def heads(encoder: nn.Module, projector: nn.Module, predictor: nn.Module | None) -> dict[str, nn.Module]:
    """The modules in the order in which they feed one another; a missing predictor is left out."""
    modules = {'encoder': encoder, 'projector': projector, 'predictor': predictor}
    return {name: module for name, module in modules.items() if module is not None}


def encode_with(modules: dict[str, nn.Module]) -> Callable:
    """The `encode` of a method whose paper evaluates the trained (not the target) encoder.

    Without a projector the embeddings are the features.
    """
    modules = {name: modules[name] for name in ('encoder', 'projector') if name in modules}

    def encode(params: Any, extra: Any, images: Array) -> dict[str, Array]:
        outputs, _ = network(modules, params, extra['batch_stats'], (images,), train=False, fuse=False)
        return {'embeddings': outputs['features'][0], **{name: value[0] for name, value in outputs.items()}}

    return encode


def backbone(encoder: nn.Module) -> Method:
    """An encoder alone, with nothing that trains it; its embeddings are its features."""
    modules = {'encoder': encoder}

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, stats = init_modules(key, modules, batch['views'][0])
        return params, {'batch_stats': stats}

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        outputs, stats = network(modules, params, extra['batch_stats'], batch['views'], train=True, fuse=False, key=key)
        return {**outputs, 'embeddings': outputs['features']}, {**extra, 'batch_stats': stats}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        raise ValueError('an encoder alone has no loss')

    return Method(init, embed, criterion, encode_with(modules))


def over(axis_name: str | None, *modules: nn.Module) -> tuple[nn.Module, ...]:
    """The modules with their batch-norms synchronised over `axis_name`."""
    return tuple(m.clone(axis_name=axis_name) if axis_name and hasattr(m, 'axis_name') else m for m in modules)


def joint_embedding(
    encoder: nn.Module,
    projector: nn.Module,
    loss: Callable[..., tuple],
    *,
    predictor: nn.Module | None = None,
    fuse_views: bool = False,
) -> Method:
    """A method without any state but batch statistics: views -> encoder -> projector -> loss.

    Args:
      encoder, projector: flax modules.
      loss: `(embeddings) -> (scalar, metrics)` with a tuple of `[batch, dim]`, one a view; with a
        predictor `(embeddings, predictions)`, two such tuples.
      predictor: flax module after the projector.
      fuse_views: whether views of one resolution share batch-norm statistics.
    """
    modules = heads(encoder, projector, predictor)
    seen = ('embeddings',) if predictor is None else ('embeddings', 'predictions')

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, stats = init_modules(key, modules, batch['views'][0])
        return params, {'batch_stats': stats}

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        outputs, stats = network(
            modules, params, extra['batch_stats'], batch['views'], train=True, fuse=fuse_views, key=key
        )
        return outputs, {**extra, 'batch_stats': stats}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        value, metrics = loss(*(outputs[label] for label in seen))
        return value, (extra, metrics)

    return Method(init, embed, criterion, encode_with(modules))


def moving_average(target: Any, online: Any, momentum: Any) -> Any:
    """θ̄ ← m·θ̄ + (1 − m)·θ over a tree."""
    return jax.tree.map(lambda t, o: (momentum * t + (1.0 - momentum) * o).astype(t.dtype), target, online)


def unit(z: Array) -> Array:
    """Rows scaled to unit length, in at least float32."""
    z = z.astype(jnp.promote_types(z.dtype, jnp.float32))
    return z / jnp.maximum(jnp.linalg.norm(z, axis=-1, keepdims=True), 1e-12)


def mean_cosine(a: Array, b: Array) -> Array:
    """Mean cosine of matching rows, for metrics: no gradient."""
    return jax.lax.stop_gradient(jnp.mean(jnp.sum(unit(a) * unit(b), axis=-1)))


def pairs(views: tuple, *, count: int = 2) -> tuple:
    """The first `count` entries of a tuple of views, or an error that says how many there are."""
    if len(views) < count:
        raise UserError(f'this method needs {count} views, and gets {len(views)} (augment.views, and their counts)')
    return views[:count]


def only_two(views: tuple) -> tuple:
    """A tuple of two views, or an error: for methods that have no use for more."""
    if len(views) > 2:
        raise UserError(f'this method compares 2 views, and gets {len(views)} (augment.views, and their counts)')
    return pairs(views)


def over_pairs(compare: Callable[[Array, Array], Any], views: tuple) -> Any:
    """Mean of `compare(a, b)`, a scalar or a tree of them, over pairs whose first is a global view (multi-crop).

    Global are the first two views; a pair counts once, so two views make one pair.
    """
    found = [compare(a, b) for i, a in enumerate(pairs(views)) for b in views[i + 1 :]]
    return jax.tree.map(lambda *values: sum(values) / len(values), *found)


def towards(compare: Callable[[Array, Array], Array], predictions: tuple, targets: tuple) -> Array:
    """Sum over the two global targets of the mean `compare(prediction, target)` of the other views (multi-crop)."""

    def mean(number: int, target: Array) -> Array:
        others = [p for i, p in enumerate(predictions) if i != number]
        return sum(compare(p, target) for p in others) / len(others)

    return sum(mean(number, target) for number, target in enumerate(pairs(targets)))

"""What a method is, and how views pass through its networks.

A :class:`Method` is a tuple of pure functions, as an optax transformation is. `params` is a dict with the
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
from ..signature import domains, takes

Schedule = Callable[[Any], Any]

# Top-level parameter key -> what :func:`network_outputs` calls that module's output.
OUTPUTS = {'encoder': 'features', 'projector': 'embeddings', 'predictor': 'predictions'}


def _identity_after(params: Any, extra: Any, step: Any) -> tuple[Any, Any]:
    return params, extra


def trained_network(params: Any, extra: Any) -> dict[str, Any]:
    """The network that the optimiser trains, as `encode` takes it."""
    return {'params': params, 'batch_stats': extra['batch_stats']}


def target_network(params: Any, extra: Any) -> dict[str, Any]:
    """The EMA target network, as `encode` takes it."""
    return {kind: extra['target'][kind] for kind in ('params', 'batch_stats')}


class Refresh(NamedTuple):
    """What a method does between epochs, such as clustering.

    Attributes:
      update: `(params, extra, key, features) -> (params, extra, reset)`. `features` is `[examples, dim]` in the order
        of the training set, or None; `reset` names the top-level parameter keys whose optimiser state restarts, or is a
        dict from such keys to trees of boolean arrays, as those of the parameters, that broadcast to where it does.
      every_epochs: how often; also before the first epoch if `needs_features`, and 0 for then alone.
      needs_features: whether the loop encodes the whole training set first (views without augmentation).
      encode: `(params, extra, inputs) -> [batch, dim]`, what that pass keeps of prepared images; None for the features
        of the network that is evaluated.
    """

    update: Callable
    every_epochs: int = 1
    needs_features: bool = False
    encode: Callable | None = None


class Method(NamedTuple):
    """A self-supervised method; the training loss is `embed`, then `criterion`.

    A batch holds `views`, a tuple of `[batch, …]` of any rank; `view_params`, what the augmentation drew for each;
    `index` `[batch]`, positions in the training set; `keys` `[batch]`, a typed key for each example, independent of
    how the batch is cut or spread; `step`, the number of updates before this one; and `label` `[batch]` if
    `uses_labels`.

    Attributes:
      init: `(key, batch) -> (params, extra)`; `batch['views']` gives the shapes, and `batch['reference']`, where a run
        has them, rows of the training set.
      embed: `(params, extra, batch, key) -> (outputs, extra)`, the network part: per-example arrays, `features` and
        `embeddings` as tuples, one entry a view; of `extra` only batch statistics may change. Randomness of an
        example comes from `batch['keys']`, so that microbatches and devices do not change it; `key` serves draws
        of the batch as a whole.
      criterion: `(params, outputs, extra, batch, key) -> (loss, (extra, metrics))`, the batch part. Its batch has no
        `views`: what it needs of them, such as pixels to predict, is in `outputs['targets']`.
      encode: `(network, inputs) -> {'features', 'embeddings'}` with running statistics, differentiable in `network`.
      network: `(params, extra) -> {'params', 'batch_stats'}`, the network that the paper evaluates.
      after: `(params, extra, step) -> (params, extra)`, once per update, with the index of the step just done: moving
        averages, renormalised prototypes.
      refresh: what the loop does between epochs.
      uses_labels: whether `batch['label']` is passed in (SupCon); else the step removes it.
      views: least number of views.
      control: the control that shows whether a run learns from its pairs or targets: `shuffled_pairs` draws each
        positive from another image, `shuffled_targets` predicts another example's targets.
      reference: how many rows of the training set, prepared as for evaluation, `init` wants to see.
      decode: `(network, features) -> [batch, values]`, for methods whose features are codes of the inputs: what they
        say of the flat, prepared inputs.
      assign: `(params, extra, outputs) -> scores [batch, clusters]`, for methods that sort images into clusters: the
        larger, the likelier; `outputs` are those of `encode`.
      companions: `(extra, index, key) -> [batch]`, for methods that compare an image with other images of the set, such
        as its neighbours: numbers of the images from which all views but the first are drawn.
      move: `(params, embeddings, view_params) -> [batch, dim]`, for methods whose embeddings move with a known change:
        what they predict of a second view from the embeddings of a first; `view_params` holds the draws of both.
    """

    init: Callable
    embed: Callable
    criterion: Callable
    encode: Callable
    after: Callable = _identity_after
    network: Callable = trained_network
    refresh: Refresh | None = None
    uses_labels: bool = False
    views: int = 2
    control: str = 'shuffled_pairs'
    reference: int = 0
    decode: Callable | None = None
    assign: Callable | None = None
    companions: Callable | None = None
    move: Callable | None = None


def init_modules(key: Array, modules: dict[str, nn.Module], images: Array) -> tuple[dict, dict]:
    """Parameters and batch statistics of modules that feed one another, in the order given."""
    params, stats = {}, {}
    x = images[:2]
    for index, (name, module) in enumerate(modules.items()):
        x, variables = module.init_with_output(jax.random.fold_in(key, index), x, train=False)
        params[name] = variables['params']
        stats[name] = variables.get('batch_stats', {})
    return params, stats


def view_keys(batch: dict, stream: int = 0) -> Callable[[int], Array | None]:
    """A function of a view's number that gives the examples' keys `[batch]` for it; None where the batch has none.

    Networks of one step take different streams.
    """
    keys = batch.get('keys')

    def of_view(view: int) -> Array | None:
        if keys is None:
            return None
        return jax.vmap(lambda key: jax.random.fold_in(jax.random.fold_in(key, stream), view))(keys)

    return of_view


def forward(
    module: nn.Module, params: Any, stats: Any, x: Array, *, train: bool, keys: Array | None = None, **kwargs: Any
) -> tuple[Array, Any]:
    """`module` on `x`: its output, and the batch statistics (moved only if `train`).

    `keys` `[batch]` go to modules that draw for each example, such as stochastic depth.
    """
    variables = {'params': params, 'batch_stats': stats} if stats else {'params': params}
    if not train:
        return module.apply(variables, x, train=False, **kwargs), stats
    if takes(type(module).__call__, 'keys'):
        kwargs['keys'] = keys
    y, new = module.apply(variables, x, train=True, mutable=['batch_stats'], **kwargs)
    return y, new.get('batch_stats', stats)


def through(apply: Callable[[Any, Any], tuple[Array, Any]], views: tuple, state: Any, *, fuse: bool) -> tuple:
    """`apply(x, state) -> (y, state)` over views; with `fuse`, neighbours of one shape run as one batch.

    A view is an array `[batch, …]` or a tuple of them. With `fuse`, `apply` gets the examples' views side by side:
    whether they share batch-norm statistics is decided there.
    """

    def shapes(view: Any) -> Any:
        return jax.tree.map(jnp.shape, view)

    def joined(*parts: Array) -> Array:
        # An image's views stand side by side: one after the other, half of the batch would change its device.
        return jnp.stack(parts, axis=1).reshape(-1, *parts[0].shape[1:])

    outputs, start = [], 0
    while start < len(views):
        stop = start + 1
        while fuse and stop < len(views) and shapes(views[stop]) == shapes(views[start]):
            stop += 1
        group = views[start:stop]
        y, state = apply(jax.tree.map(joined, *group), state)
        outputs.extend(jnp.moveaxis(y.reshape(-1, len(group), *y.shape[1:]), 1, 0))
        start = stop
    return tuple(outputs), state


def module_outputs(
    module: nn.Module,
    params: Any,
    stats: Any,
    inputs: tuple,
    *,
    train: bool,
    fuse: bool,
    keys: Callable[[int], Array | None] | None = None,
    **kwargs: Any,
) -> tuple[tuple, Any]:
    """What one module gives for each of several inputs of one batch, and its batch statistics.

    `fuse` says whether those of one shape share batch-norm statistics; where they do not, a module with a field `views`
    still runs them as one batch, with statistics of each, and others run one by one. `keys` as of :func:`view_keys`.
    """
    apart = not fuse and hasattr(module, 'views')
    drawn = [None if keys is None else keys(number) for number in range(len(inputs))]

    def apply(v: Any, s: Any) -> tuple[Array, Any]:
        together = v[0].shape[0] // inputs[0].shape[0]
        own = module.clone(views=together) if apart and together > 1 else module
        return forward(own, params, s, v[0], train=train, keys=v[1], **kwargs)

    return through(apply, tuple(zip(inputs, drawn, strict=True)), stats, fuse=fuse or apart)


def network_outputs(
    modules: dict[str, nn.Module],
    params: Any,
    stats: Any,
    views: tuple,
    *,
    train: bool,
    fuse: bool,
    keys: Callable[[int], Array | None] | None = None,
    order: Array | None = None,
) -> tuple[dict, dict]:
    """Each view through those of `encoder`, `projector`, `predictor` that `modules` has.

    Returns what each gives under `features`, `embeddings`, `predictions`, and the batch statistics. `fuse` says
    whether views of one shape share batch-norm statistics, which is a property of the method (:func:`module_outputs`).
    `keys` gives each view's keys (:func:`view_keys`). `order` goes to the encoder: the examples' places in a shuffled
    batch (:class:`BatchNorm`).
    """
    stats = dict(stats)
    outputs, x = {}, views
    for name, label in OUTPUTS.items():
        if name not in modules:
            continue
        more = {'order': order} if name == 'encoder' and order is not None else {}
        outputs[label], stats[name] = module_outputs(
            modules[name], params[name], stats[name], x, train=train, fuse=fuse, keys=keys, **more
        )
        x = outputs[label]
    return outputs, stats


def heads(encoder: nn.Module, projector: nn.Module, predictor: nn.Module | None) -> dict[str, nn.Module]:
    """The modules in the order in which they feed one another; a missing predictor is left out."""
    modules = {'encoder': encoder, 'projector': projector, 'predictor': predictor}
    return {name: module for name, module in modules.items() if module is not None}


def encode_with(modules: dict[str, nn.Module]) -> Callable:
    """The `encode` of a method with an encoder and, where `modules` has one, a projector.

    Without a projector the embeddings are the features.
    """
    modules = {name: modules[name] for name in ('encoder', 'projector') if name in modules}

    def encode(network: dict[str, Any], inputs: Array) -> dict[str, Array]:
        outputs, _ = network_outputs(
            modules, network['params'], network['batch_stats'], (inputs,), train=False, fuse=False
        )
        return {'embeddings': outputs['features'][0], **{name: value[0] for name, value in outputs.items()}}

    return encode


def embedding_width(modules: dict[str, nn.Module], params: Any, stats: Any, batch: dict) -> int:
    """Length of an embedding, for state that a method makes in `init`."""
    seen = encode_with(modules)({'params': params, 'batch_stats': stats}, batch['views'][0][:1])
    return seen['embeddings'].shape[1]


def backbone(encoder: nn.Module, *, fuse_views: bool = False) -> Method:
    """An encoder alone, with nothing that trains it; its embeddings are its features.

    `fuse_views` says whether views of one resolution share batch-norm statistics.
    """
    modules = {'encoder': encoder}

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, stats = init_modules(key, modules, batch['views'][0])
        return params, {'batch_stats': stats}

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        outputs, stats = network_outputs(
            modules, params, extra['batch_stats'], batch['views'], train=True, fuse=fuse_views, keys=view_keys(batch)
        )
        return {**outputs, 'embeddings': outputs['features']}, {**extra, 'batch_stats': stats}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        raise ValueError('an encoder alone has no loss')

    return Method(init, embed, criterion, encode_with(modules))


def scheduled(constructor: Callable[..., Method], *networks: Any, **values: Any) -> Method:
    """A method whose hyper-parameters may be functions of the step.

    What the constructor takes as a function itself (a target's momentum) is passed on; any other is evaluated at the
    step, and the method is built with the value inside the trace.
    """
    own = {name for name, domain in domains(constructor).items() if domain.scheduled}
    moving = {name: value for name, value in values.items() if callable(value) and name not in own}
    if not moving:
        return constructor(*networks, **values)

    def at(step: Any) -> Method:
        return constructor(*networks, **{**values, **{name: value(step) for name, value in moving.items()}})

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        return at(batch['step']).embed(params, extra, batch, key)

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        return at(batch['step']).criterion(params, outputs, extra, batch, key)

    def after(params: Any, extra: Any, step: Any) -> tuple[Any, Any]:
        return at(step).after(params, extra, step)

    return at(0)._replace(embed=embed, criterion=criterion, after=after)


def random_directions(key: Array, count: int, z: Array) -> Array:
    """Normal draws `[count, dim]`, which losses scale to unit length: uniform on the sphere of embeddings `[n, dim]`.

    In the precision of the arithmetic: two programs may round a float32 draw differently, which float64 would show.
    """
    return jax.random.normal(key, (count, z.shape[1]), jnp.promote_types(z.dtype, jnp.float32))


def weighted(terms: dict[str, Any], **weights: Any) -> Any:
    """Σ weight · term over the named terms, in the order given."""
    return sum(weight * terms[name] for name, weight in weights.items())


def moving_average(target: Any, online: Any, momentum: Any) -> Any:
    """θ̄ ← m·θ̄ + (1 − m)·θ over a tree."""
    return jax.tree.map(lambda t, o: (momentum * t + (1.0 - momentum) * o).astype(t.dtype), target, online)


def unit(z: Array) -> Array:
    """Rows scaled to unit length, in at least float32; a row below 1e-12 is divided by that and gets no gradient."""
    z = z.astype(jnp.promote_types(z.dtype, jnp.float32))
    squared = jnp.sum(z * z, axis=-1, keepdims=True)
    # The derivative at zero would be 1e12 times that of any other row.
    short = squared < 1e-24
    z = jnp.where(short, jax.lax.stop_gradient(z), z)
    return z / jnp.sqrt(jnp.where(short, 1e-24, squared))


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

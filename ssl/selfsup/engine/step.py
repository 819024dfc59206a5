"""The one training step: views, method, optimiser, probe. Everything in it is compiled together.

Its parts stand in named scopes (`data, augmentation, forward, loss, optimizer, probe, diagnostics`), by which
`hardware.program` accounts for a compiled step; they change no number.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax.traverse_util import flatten_dict
from jaxtyping import Array

from ..methods import Method
from ..optim import global_norm
from ..parallel import constrain_batch
from .controls import other_rows, pair_sources, with_companions
from .gradient import COMPANIONS, REFRESH, make_gradient

PROBE_MEMORY = 0.99  # share of the old feature statistics that the probe keeps at each step


@flax.struct.dataclass
class TrainState:
    """Everything a step changes. The key is not here: it is `fold_in(key(seed), step)`."""

    step: Array
    params: Any
    extra: Any
    opt_state: Any
    probe: Any


def root_key(seed: Any) -> Array:
    """The key that all others of a run come from: `key(seed)` of a number, or the key whose data `seed` is."""
    return jax.random.wrap_key_data(seed) if jnp.ndim(seed) else jax.random.key(seed)


class Seeded:
    """A jitted function whose last argument is a run's seed: runs of all seeds share one program.

    Attributes:
      function: jitted, of further arguments before the last.
      seed: the data of the run's root key, on the devices of the function.
    """

    def __init__(self, function: Any, seed: Any):
        self.function, self.seed = function, seed

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments, self.seed)

    def lower(self, *arguments: Any) -> Any:
        """The function lowered for arguments of these shapes."""
        return self.function.lower(*arguments, self.seed)


def init_probe(features: int, classes: int) -> dict[str, Any]:
    """A linear probe at zero, with the running statistics that standardise its input."""
    params = {'kernel': jnp.zeros((features, max(classes, 1))), 'bias': jnp.zeros((max(classes, 1),))}
    return {
        'params': params,
        'opt_state': optax.adam(1.0).init(params),
        'mean': jnp.zeros((features,)),
        'var': jnp.ones((features,)),
    }


def probe_logits(probe: dict[str, Any], features: Array) -> Array:
    """Class scores of standardised features."""
    x = (features - probe['mean'][None]) * jax.lax.rsqrt(probe['var'][None] + 1e-6)
    return jnp.matmul(x, probe['params']['kernel']) + probe['params']['bias'][None]


def update_probe(probe: dict[str, Any], features: Array, labels: Array, learning_rate: Any) -> tuple[dict, Array]:
    """One Adam step of the probe on features that carry no gradient; and its accuracy before it."""
    features = jax.lax.stop_gradient(features).astype(jnp.float32)
    mean = jnp.mean(features, axis=0)
    new = {
        'mean': PROBE_MEMORY * probe['mean'] + (1 - PROBE_MEMORY) * mean,
        'var': PROBE_MEMORY * probe['var'] + (1 - PROBE_MEMORY) * jnp.mean((features - mean[None]) ** 2, axis=0),
    }

    def loss(params: Any) -> tuple[Array, Array]:
        logits = probe_logits({**probe, **new, 'params': params}, features)
        valid = labels >= 0
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(labels, 0))
        right = (jnp.argmax(logits, axis=-1) == labels) & valid
        count = jnp.maximum(jnp.sum(valid), 1)
        return jnp.sum(jnp.where(valid, losses, 0.0)) / count, jnp.sum(right) / count

    (_, accuracy), gradients = jax.value_and_grad(loss, has_aux=True)(probe['params'])
    updates, opt_state = optax.adam(learning_rate).update(gradients, probe['opt_state'])
    return {**new, 'params': optax.apply_updates(probe['params'], updates), 'opt_state': opt_state}, accuracy


def count_views(specs: Any) -> int:
    """Views that an augmentation's specifications give."""
    return sum(spec.get('count', 1) for spec in specs.values())


def make_step(
    method: Method,
    optimizer: optax.GradientTransformation,
    learning_rate: Callable,
    views: Callable,
    *,
    probe_rate: Any,
    control: str = 'none',
    view_count: int = 2,
    skip_nonfinite: bool = False,
    microbatches: int = 1,
    mesh: Any = None,
) -> Callable[..., tuple[TrainState, dict[str, Array]]]:
    """The function `(state, {'input', 'label', 'index'}, seed) -> (state, metrics)` of one update.

    The state carries everything that changes; the key of step t is `fold_in(root_key(seed), t)`. See
    :func:`make_gradient` for `microbatches`. Where rows have a `companion`, all views but the first are of it.
    """
    gradient = make_gradient(method, views, microbatches=microbatches, mesh=mesh, control=control)

    def step(state: TrainState, rows: dict[str, Array], seed: Any) -> tuple[TrainState, dict[str, Array]]:
        key = jax.random.fold_in(root_key(seed), state.step)
        rows = constrain_batch(rows, mesh)
        size = rows['index'].shape[0]
        sources = pair_sources(control, size, view_count)
        own = other_rows(rows, view_count) if control == 'shuffled_pairs' else rows
        images, sources = with_companions(rows, sources)
        seen = {'input': images, 'index': own['index'], 'step': state.step}
        if method.uses_labels:
            seen['label'] = own['label']
        (value, (extra, metrics, features)), gradients = gradient(state.params, state.extra, seen, key, sources)
        with jax.named_scope('optimizer'):
            updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
            params, extra = method.after(optax.apply_updates(state.params, updates), extra, state.step)
        with jax.named_scope('probe'):
            probe, accuracy = update_probe(state.probe, features, rows['label'], probe_rate)
        with jax.named_scope('diagnostics'):
            norm = global_norm(gradients)
            finite = jnp.isfinite(value) & jnp.isfinite(norm)
        new = TrainState(state.step + 1, params, extra, opt_state, probe)
        if skip_nonfinite:
            kept = dataclasses.replace(state, step=state.step + 1)
            new = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, kept)
        report = {
            'loss': value,
            **metrics,
            'gradient_norm': norm,
            'learning_rate': learning_rate(state.step),
            'probe_accuracy_train': accuracy,
            'finite': finite.astype(jnp.float32),
        }
        return new, {name: jnp.asarray(v, jnp.float32) for name, v in report.items()}

    return step


def make_dispatch(
    step: Callable,
    *,
    resident: bool,
    shardings: Any = None,
    companions: Callable | None = None,
) -> Any:
    """The function `(state, data, indices, seed) -> (state, metrics)` of one dispatch of several steps, jitted.

    `indices` is `[steps, batch]`; `data` is the whole set if resident, else the dispatch's own rows
    `[steps, batch, …]`. Metrics are `[steps]` each. One step is not wrapped in a scan: on CPU a
    convolution inside a scan is 13 times slower. `shardings` are those of the state, before and after. `companions` are
    a method's: rows of resident data then have a `companion` beside each `input`, drawn by a key of the step.
    """

    def rows(state: TrainState, data: dict[str, Array], indices: Array, seed: Any) -> dict[str, Array]:
        found = data
        if resident:
            with jax.named_scope('data'):
                found = {name: array[indices] for name, array in data.items()}
                if companions is not None:
                    key = jax.random.fold_in(jax.random.fold_in(root_key(seed), state.step), COMPANIONS)
                    found['companion'] = data['input'][companions(state.extra, indices, key)]
        return {**found, 'index': indices}

    def dispatch(state: TrainState, data: dict[str, Array], indices: Array, seed: Any) -> tuple[TrainState, Any]:
        def one(state: TrainState, data: dict[str, Array], indices: Array) -> tuple[TrainState, Any]:
            return step(state, rows(state, data, indices, seed), seed)

        if indices.shape[0] == 1:
            state, metrics = one(state, data if resident else jax.tree.map(lambda x: x[0], data), indices[0])
            return state, jax.tree.map(lambda x: x[None], metrics)
        if resident:
            return jax.lax.scan(lambda s, i: one(s, data, i), state, indices)
        return jax.lax.scan(lambda s, x: one(s, *x), state, (data, indices))

    # Stated for the state alone: left to the compiler, its layout could be another after a step.
    return jax.jit(dispatch, donate_argnums=0, out_shardings=None if shardings is None else (shardings, None))


def make_refresh(method: Method, optimizer: optax.GradientTransformation, *, shardings: Any) -> Any:
    """The function `(state, features, seed) -> state` that the loop calls between epochs, jitted.

    `features` are those of the training set, `[examples, dim]`, or None. Its key is a stream of the step that comes
    next, so it is the same after a resume.
    """

    def restarted(state: TrainState, params: Any, reset: Any) -> Any:
        """The optimiser's state with that of the parameters in `reset` as at the first step."""
        fresh = optimizer.init(params)
        masks: dict[Any, Any] = flatten_dict(reset if isinstance(reset, dict) else dict.fromkeys(reset, True))

        def one(path: tuple, old: Array, new: Array) -> Array:
            keys = tuple(getattr(part, 'key', None) for part in path)
            for place, mask in masks.items():
                if any(keys[start : start + len(place)] == place for start in range(len(keys))):
                    return jnp.where(mask, new, old)
            return old

        return jax.tree_util.tree_map_with_path(one, state.opt_state, fresh)

    def refresh(state: TrainState, features: Array | None, seed: Any) -> TrainState:
        assert method.refresh is not None
        key = jax.random.fold_in(jax.random.fold_in(root_key(seed), state.step), REFRESH)
        params, extra, reset = method.refresh.update(state.params, state.extra, key, features)
        opt_state = restarted(state, params, reset) if reset else state.opt_state
        return dataclasses.replace(state, params=params, extra=extra, opt_state=opt_state)

    return jax.jit(refresh, donate_argnums=0, out_shardings=shardings)


def init_state(
    method: Method, optimizer: optax.GradientTransformation, batch: dict[str, Any], *, seed: Any, classes: int
) -> TrainState:
    """The state before the first step; `seed` as of :func:`root_key`.

    Raises:
      ValueError: the encoder's features are not rows `[batch, dim]`.
    """
    params, extra = method.init(root_key(seed), batch)
    features = jax.eval_shape(
        lambda p, e: method.encode(method.network(p, e), batch['views'][0][:2])['features'], params, extra
    )
    if features.ndim != 2:
        views, rest = batch['views'][0].shape[1:], features.shape[1:]
        raise ValueError(f'features of a view {list(views)} are {list(rest)}, not [dim]: this encoder takes vectors')
    return TrainState(
        jnp.zeros((), jnp.int32), params, extra, optimizer.init(params), init_probe(features.shape[1], classes)
    )

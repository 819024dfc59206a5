"""What is measured on the held-out images during training: label-free measures, the alarm, the probe's accuracy.

Images pass through the encoder in chunks of one shape, so it is compiled once, their views are drawn
on the device as they are needed, and nothing here waits: the loop reads the numbers when they are ready.
Inputs may have any rank: images, or vectors.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from jaxtyping import Array
from ml_collections import ConfigDict

from .. import diagnostics, parallel
from ..data.loader import place
from ..errors import UserError
from ..evals import agreement, even_draw, sizes
from ..evals.measures import ALARM_NUMBERS, MEASURES
from ..methods import Method
from .alarm import limits
from .step import TrainState, count_views, probe_logits

# The held-out views are drawn with keys of their own, the same at every measurement.
MONITOR_STREAM = 2**31 - 1
RESIDENT_BYTES = 2**28  # smaller held-out parts stay on the device between measurements


def chunks(count: int, size: int) -> list[np.ndarray]:
    """Row numbers in chunks of one size; the last repeats row 0 to fill up."""
    size = min(size, count)
    padded = np.zeros(-(-count // size) * size, np.int32)
    padded[:count] = np.arange(count)
    return np.split(padded, len(padded) // size)


def monitored_rows(labels: np.ndarray, count: int) -> np.ndarray:
    """Numbers of the held-out images that are measured: all in order, or `count` drawn evenly from the classes.

    The draw is the same for every run and every seed of one data set; see :func:`selfsup.evals.even_draw`.
    """
    return even_draw(labels, count, seed=0)


def pairs_of(config: ConfigDict, method: Method) -> bool:
    """Whether two views of an image are compared: not for a method of one view, such as a masked one."""
    return getattr(method, 'views', 2) > 1 and count_views(config.augment.views) > 1


def scalars(numbers: dict[str, Any]) -> dict[str, float]:
    """What a measurement writes of its numbers, on the host: counts of clusters become how they fit the classes.

    Those are `assigned_used`, `assigned_largest` and `assigned_perplexity`, and, with labels,
    `assigned_accuracy_matched`, `assigned_nmi` and `assigned_ari`; see :mod:`selfsup.evals.clustering`.
    """
    found = {name: float(value) for name, value in numbers.items() if name != 'clusters'}
    table = np.asarray(numbers.get('clusters', np.nan))
    if not np.isfinite(table).all():
        return found
    more = sizes(table.sum(axis=1))
    if table[:, :-1].any():
        more |= agreement(table[:, :-1])
    return {**found, **{f'assigned_{name}': value for name, value in more.items()}}


def make_monitor(
    config: ConfigDict,
    method: Method,
    views: Callable,
    prepare: Callable,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    state: Any = None,
    mesh: Any = None,
) -> Callable[[TrainState], dict[str, Array]]:
    """The function `state -> numbers`, on images that the encoder never trains on.

    Args:
      config: `seed`, `monitor` and `evaluate.batch_size` are read.
      method, views, prepare: what the run was built with.
      images, labels: the held-out part, `[n, …]` and `[n]`, -1 where unknown.
      state: shapes of the state, to find out before the first step whether everything can be measured.
      mesh: the images of a chunk are spread over it, if they divide.

    Raises:
      UserError: where the held-out part is too small, or the encoder too narrow, for a measure.

    Returns:
      One number for each of `config.monitor.measures`; those of :func:`selfsup.diagnostics.collapse_alarm` on
      embeddings of a pair of views, as `deviation`, `deviation_normalized`, `alignment` (squared distance of
      pairs over that of shuffled pairs) and `rank`, with `alarm/…` for limits and flags (0 or 1); and, with
      labels of at least two classes, `probe_accuracy` of the online probe on the rows that have one.
      For a method of one view there is no `alignment` and no `alarm/unaligned`, and the alarm is computed on the
      embeddings of the images without augmentation. Where features or embeddings are not finite, the measures and
      `probe_accuracy` are NaN and the alarm is raised. Of a method that assigns clusters, `clusters` counts images by
      cluster and class, `[clusters, classes + 1]`, in the last column those without a label: see :func:`scalars`.
    """
    c = config.monitor
    base = jax.random.fold_in(jax.random.key(config.seed), MONITOR_STREAM)
    known = labels >= 0
    probed, complete = len(np.unique(labels[known])) > 1, bool(known.all())
    classes = int(labels.max(initial=-1)) + 1
    assign = getattr(method, 'assign', None)
    paired, drawn = pairs_of(config, method), min(count_views(config.augment.views), 2)
    count = len(images)
    rows = chunks(count, config.evaluate.batch_size)
    draws = -(-c.lidar_views // drawn) if 'lidar' in c.measures else int(paired)
    divides = mesh is not None and len(rows[0]) % mesh.shape['data'] == 0

    @jax.jit
    def encode(params: Any, extra: Any, images: Array) -> dict[str, Any]:
        clean = method.encode(method.network(params, extra), prepare(images))
        found = {
            name: clean[name].astype(jnp.promote_types(clean[name].dtype, jnp.float32))
            for name in ('features', 'embeddings')
        }
        return found if assign is None else {**found, 'scores': assign(params, extra, clean)}

    @jax.jit
    def encode_pair(params: Any, extra: Any, images: Array, positions: Array, draw: Array) -> list[Array]:
        seen = list(views(jax.random.fold_in(base, draw), images, positions)[0])[:2]
        found = [method.encode(method.network(params, extra), view)['embeddings'] for view in seen]
        return [z.astype(jnp.promote_types(z.dtype, jnp.float32)) for z in found]

    @jax.jit
    def numbers(seen: dict[str, Any], probe: Any, labels: Array) -> dict[str, Array]:
        pairs = seen.pop('pairs')
        if pairs:
            seen = {**seen, 'draws': jnp.stack([z for pair in pairs for z in pair], axis=1)}
        out = {name: MEASURES[name](seen) for name in c.measures}
        if 'scores' in seen:
            clusters = jax.nn.one_hot(jnp.argmax(seen['scores'], axis=1), seen['scores'].shape[1])
            columns = jnp.where(labels >= 0, labels, classes)
            out['clusters'] = jnp.matmul(clusters.T, jax.nn.one_hot(columns, classes + 1), precision='highest')
        if probed:
            hits = jnp.argmax(probe_logits(probe, seen['features']), axis=1) == labels
            out['probe_accuracy'] = jnp.mean(hits) if complete else jnp.sum(hits) / known.sum()
        # Ranks and nearest neighbours of rows with a NaN come out as finite numbers.
        finite = jnp.isfinite(seen['features']).all() & jnp.isfinite(seen['embeddings']).all()
        out = {name: jnp.where(finite, value, jnp.nan) for name, value in out.items()}
        alarm = diagnostics.collapse_alarm(*(pairs[0] if paired else [seen['embeddings']]), **limits(config))
        out |= {name: alarm[key] for key, name in ALARM_NUMBERS.items() if key in alarm}
        out |= {f'alarm/{key}': value for key, value in alarm.items() if key not in ALARM_NUMBERS}
        return {name: jnp.asarray(value, jnp.float32) for name, value in out.items()}

    def load(chosen: np.ndarray) -> Array:
        if mesh is None or mesh.size == 1:
            return jax.device_put(images[chosen])
        return place(mesh, images[chosen], PartitionSpec(parallel.DATA_AXIS) if divides else None)

    whole = [load(chosen) for chosen in rows] if images.nbytes < RESIDENT_BYTES else None

    def put(number: int) -> Array:
        return whole[number] if whole is not None else load(rows[number])

    def join(parts: Sequence[Any]) -> Any:
        return jax.tree.map(lambda *x: jnp.concatenate(x)[:count], *parts)

    def measure(state: TrainState) -> dict[str, Array]:
        parts = []
        for number, chosen in enumerate(rows):
            arguments = (state.params, state.extra, put(number))
            pairs = [encode_pair(*arguments, chosen, np.int32(draw)) for draw in range(draws)]
            parts.append({**encode(*arguments), 'pairs': pairs})
        return numbers(join(parts), state.probe, labels)

    if state is not None:
        try:
            jax.eval_shape(measure, state)
        except ValueError as error:
            raise UserError(f'monitor.measures={c.measures!r} on {count} held-out images: {error}') from error
    return measure

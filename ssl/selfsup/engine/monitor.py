"""What is measured on the held-out images during training: no labels but the probe's, and the alarm.

Images pass through the encoder in chunks of one shape, so it is compiled once, their views are drawn
on the device as they are needed, and nothing here waits: the loop reads the numbers when they are ready.
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
from ..data.feeds import place
from ..errors import UserError
from ..evals.choosing import goodness
from ..methods import Method
from .step import TrainState, probe_logits

# The held-out views are drawn with keys of their own, the same at every measurement.
MONITOR_STREAM = 2**31 - 1
# What `collapse_alarm` calls a number -> what the metrics call it.
ALARM_NUMBERS = {
    'deviation': 'deviation',
    'deviation_normalized': 'deviation_normalized',
    'relative_alignment': 'alignment',
    'rank': 'rank',
}
ALARM_FLAGS = {f'alarm/{flag}' for flag in ('shrunk', 'narrow', 'unaligned', 'flat', 'collapsed')}
MEASURED = (*ALARM_NUMBERS.values(), 'probe_accuracy')  # at every measurement
RESIDENT_BYTES = 2**28  # smaller held-out parts stay on the device between measurements

# config.monitor.measures -> function of what one measurement holds: features and embeddings of the clean
# images, and `draws`, the embeddings of their views, [images, views, dim].
MEASURES: dict[str, Callable[[dict[str, Array]], Array]] = {
    'rankme': lambda x: diagnostics.rankme(x['embeddings']),
    'rankme_features': lambda x: diagnostics.rankme(x['features']),
    'lidar': lambda x: diagnostics.lidar(x['draws']),
    'alpha_req': lambda x: diagnostics.alpha_req(x['features']),
    'nesum': lambda x: diagnostics.nesum(x['features']),
    'stable_rank': lambda x: diagnostics.stable_rank(x['features']),
    'uniformity': lambda x: diagnostics.uniformity(x['embeddings']),
    'correlation': lambda x: diagnostics.feature_correlation(x['embeddings']),
    'lid_mle': lambda x: diagnostics.lid_mle(x['features']),
    'two_nn': lambda x: diagnostics.two_nn(x['features']),
}


def chunks(count: int, size: int) -> list[np.ndarray]:
    """Row numbers in chunks of one size; the last repeats row 0 to fill up."""
    size = min(size, count)
    padded = np.zeros(-(-count // size) * size, np.int32)
    padded[:count] = np.arange(count)
    return np.split(padded, len(padded) // size)


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
      images, labels: the held-out part, uint8 `[n, …]` and `[n]`, -1 where unknown.
      state: shapes of the state, to find out before the first step whether everything can be measured.
      mesh: the images of a chunk are spread over it, if they divide.

    Raises:
      UserError: where the held-out part is too small, or the encoder too narrow, for a measure.

    Returns:
      One number for each of `config.monitor.measures`; those of :func:`selfsup.diagnostics.collapse_alarm` on
      embeddings of a pair of views, as `deviation`, `deviation_normalized`, `alignment` (squared distance of
      pairs over that of strangers) and `rank`, with `alarm/…` for limits and flags (0 or 1); and, with
      labels, `probe_accuracy` of the online probe.
    """
    c = config.monitor
    base = jax.random.fold_in(jax.random.key(config.seed), MONITOR_STREAM)
    labelled = bool((labels >= 0).all())
    count = len(images)
    rows = chunks(count, config.evaluate.batch_size)
    draws = -(-c.lidar_views // 2) if 'lidar' in c.measures else 1
    divides = mesh is not None and len(rows[0]) % mesh.size == 0

    @jax.jit
    def encode(params: Any, extra: Any, images: Array) -> dict[str, Any]:
        clean = method.encode(params, extra, prepare(images))
        return {
            name: clean[name].astype(jnp.promote_types(clean[name].dtype, jnp.float32))
            for name in ('features', 'embeddings')
        }

    @jax.jit
    def encode_pair(params: Any, extra: Any, images: Array, positions: Array, draw: Array) -> list[Array]:
        seen = list(views(jax.random.fold_in(base, draw), images, positions)[0])[:2]
        found = [method.encode(params, extra, view)['embeddings'] for view in seen]
        return [z.astype(jnp.promote_types(z.dtype, jnp.float32)) for z in found]

    @jax.jit
    def numbers(seen: dict[str, Any], probe: Any, labels: Array) -> dict[str, Array]:
        pairs = seen.pop('pairs')
        seen = {**seen, 'draws': jnp.stack([z for pair in pairs for z in pair], axis=1)}
        out = {name: MEASURES[name](seen) for name in c.measures}
        if len(pairs[0]) == 2:
            alarm = diagnostics.collapse_alarm(*pairs[0], **limits(config))
            out |= {name: alarm[key] for key, name in ALARM_NUMBERS.items()}
            out |= {f'alarm/{key}': value for key, value in alarm.items() if key not in ALARM_NUMBERS}
        if labelled:
            out['probe_accuracy'] = jnp.mean(jnp.argmax(probe_logits(probe, seen['features']), axis=1) == labels)
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


def limits(config: ConfigDict) -> dict[str, float]:
    """The limits of the alarm, by its keywords."""
    c = config.monitor
    return {
        'deviation': c.least_deviation,
        'deviation_normalized': c.least_deviation_normalized,
        'relative_alignment_limit': c.most_alignment,
        'rank': c.least_rank,
    }


def measurements(lines: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """Those lines of metrics on which the alarm was asked."""
    return [line for line in lines if line.keys() >= ALARM_FLAGS]


def alarm_of(line: dict[str, float]) -> dict[str, float] | None:
    """What `collapse_alarm` said, from a line of metrics; None where it was not asked, or is not whole."""
    if not measurements([line]) or not line.keys() >= set(ALARM_NUMBERS.values()):
        return None
    alarm = {key.removeprefix('alarm/'): value for key, value in line.items() if key.startswith('alarm/')}
    return alarm | {key: line[name] for key, name in ALARM_NUMBERS.items()}


def verdict(line: dict[str, float]) -> str:
    """One sentence on a line of metrics: collapsed or not, and by which evidence."""
    alarm = alarm_of(line)
    return '' if alarm is None else diagnostics.evidence(alarm)


def raised(line: dict[str, float], *, warm: int, half: int) -> bool:
    """Whether a measurement counts as a collapse.

    During the warm-up any state may pass. Pairs that lie as far apart as strangers count from half of
    the run on: slow methods (TiCo, LeJEPA) come below the limit late, and leave it for good.
    """
    if line['step'] < warm:
        return False
    return bool(
        line['alarm/shrunk']
        or line['alarm/narrow']
        or line['alarm/flat']
        or (line['alarm/unaligned'] and line['step'] >= half)
    )


def collapsed(lines: list[dict[str, float]], *, warm: int, half: int) -> bool:
    """Whether the last two measurements are both :func:`raised`: one may be passing."""
    measured = measurements(lines)[-2:]
    return len(measured) == 2 and all(raised(line, warm=warm, half=half) for line in measured)


def exhausted(lines: list[dict[str, float]], *, name: str, patience: int) -> bool:
    """Whether none of the last `patience` measurements bettered the best before them; 0 never ends a run."""
    values = [goodness(line, name) for line in lines if name in line]
    return bool(patience) and len(values) > patience and max(values[-patience:]) <= max(values[:-patience])

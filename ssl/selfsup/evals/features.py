"""Features of a whole data set, exact under a padded last batch; and what every evaluation does with them first."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from ..errors import UserError
from ..parallel import sharded


class Features(NamedTuple):
    """Features `[n, dim]` float32 and labels `[n]` int32 (−1 where unknown), on the host.

    Evaluations that train on images take these in the place of features, `[n, height, width, channels]`.
    """

    features: np.ndarray
    labels: np.ndarray


def extract(encode: Callable[[Any], Any], images: Any, *, batch_size: int = 512, mesh: Mesh | None = None) -> Any:
    """`encode` over all rows of `images`, in batches of one shape; a tree of host arrays `[n, …]`.

    The last batch is filled up with copies of its first row, whose results are dropped, so `encode` is
    compiled once. With a mesh the rows of a batch are spread over it.
    """
    count = len(images)
    if count == 0:
        raise UserError('there are no images to encode')
    size = min(batch_size, count)
    size += -size % (mesh.shape['data'] if mesh else 1)
    pieces = []
    for start in range(0, count, size):
        rows = np.asarray(images[start : start + size])
        missing = size - len(rows)
        if missing:
            rows = np.concatenate([rows, np.repeat(rows[:1], missing, axis=0)])
        out = jax.device_get(encode(jax.device_put(rows, sharded(mesh)) if mesh else rows))
        pieces.append(jax.tree.map(lambda x, kept=size - missing: np.asarray(x)[:kept], out))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *pieces)


def spread(mesh: Mesh | None, *arrays: np.ndarray) -> tuple[Array, ...]:
    """The arrays on the device, and a weight for each row: 1, and 0 for zero rows that fill up a mesh's devices."""
    count = len(arrays[0])
    missing = -count % (mesh.shape['data'] if mesh else 1)
    arrays = (*arrays, np.ones(count, np.float32))
    if mesh is None:
        return tuple(jnp.asarray(a) for a in arrays)
    padded = (np.pad(a, ((0, missing), *((0, 0),) * (a.ndim - 1))) for a in arrays)
    return tuple(jax.device_put(a, sharded(mesh)) for a in padded)


def check(features: Features, name: str) -> Features:
    """The same features, or an error that counts what is not finite."""
    rows = np.asarray(features.features)
    if rows.ndim != 2 or len(rows) != len(features.labels):
        raise UserError(f'{name}: features {list(rows.shape)} and labels {list(features.labels.shape)} do not match')
    if not len(rows):
        raise UserError(f'{name}: there are no features')
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        raise UserError(f'{name}: {int(bad.sum())} rows of features are not finite, the first is {int(bad.argmax())}')
    return features


def check_both(train: Features, test: Features, *, classes: int = 2) -> int:
    """The number of classes, after both sets have been found fit to learn from and to score.

    Args:
      train, test: features of one width, with labels.
      classes: train must have at least so many different labels.
    """
    check(train, 'train'), check(test, 'test')
    if train.features.shape[1] != test.features.shape[1]:
        raise UserError(
            f'train has {train.features.shape[1]} features a sample and test {test.features.shape[1]}: '
            f'they must come from one encoder'
        )
    for name, part in (('train', train), ('test', test)):
        if (part.labels < 0).any():
            raise UserError(f'{name}: {int((part.labels < 0).sum())} samples have no label')
    found = len(np.unique(train.labels))
    if found < classes:
        raise UserError(f'train has {found} class of labels; this evaluation needs at least {classes} classes')
    return int(train.labels.max()) + 1


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Rows scaled to unit length, float32; zero rows stay zero."""
    return (features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def standardized(train: Features, test: Features) -> tuple[np.ndarray, np.ndarray]:
    """Both sets to mean 0 and deviation 1 per dimension by train's statistics; constant dimensions become 0."""
    mean = train.features.mean(axis=0, dtype=np.float64)
    deviation = train.features.std(axis=0, dtype=np.float64)
    scale = np.where(deviation > 1e-8 * max(deviation.max(), 1e-30), 1.0 / np.maximum(deviation, 1e-30), 0.0)
    return tuple(((f.features - mean) * scale).astype(np.float32) for f in (train, test))  # type: ignore[return-value]


def draw_per_class(labels: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """Indices of `count` random samples of each class."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < count:
            raise UserError(f'class {label} has {len(members)} samples, and {count} labels per class were asked for')
        chosen.append(members[np.argsort(generator.random(len(members)), kind='stable')[:count]])
    return np.concatenate(chosen)


def held_out(labels: np.ndarray, *, share: float = 0.1, seed: int = 0) -> np.ndarray:
    """A mask of the part of train on which hyper-parameters are chosen: `share` of each class.

    At least one sample of a class is held out, and at least one is left: a class of one sample stays whole.
    """
    generator = np.random.Generator(np.random.Philox(key=[seed, 1]))
    mask = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        mask[members[np.argsort(generator.random(len(members)), kind='stable')[:count]]] = True
    if not mask.any():
        raise UserError('every class of train has one sample only, so none can be held out to choose on')
    return mask


def first_best(scores: np.ndarray) -> tuple[int, ...]:
    """Index of the highest entry, the first of equals."""
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(scores)), scores.shape))

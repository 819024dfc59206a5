"""Features of a whole data set, exact under a padded last batch; and what every evaluation does with them first."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, ArrayLike

from ..errors import UserError
from ..parallel import sharded

# Float images above this are taken for 0..255: resampling may overshoot [0, 1] a little, never by so much.
LARGEST_PIXEL = 1.5


class Features(NamedTuple):
    """Features `[n, dim]` float32 and labels `[n]` int32 (−1 where unknown), on the host.

    Evaluations that train on images take these in the place of features: an array `[n, height, width, channels]`, or
    an object that gives rows by slice or by array of numbers and has `shape`.
    """

    features: Any
    labels: np.ndarray


def extract(
    encode: Callable[[Any], Any],
    inputs: ArrayLike | Iterable[np.ndarray],
    *,
    batch_size: int = 512,
    mesh: Any = None,
    most: int = 0,
) -> Any:
    """`encode` over all rows of `inputs`, in batches of one shape; a tree of host arrays `[n, …]`.

    The last batch is filled up with copies of its first row, whose results are dropped, so `encode` is
    compiled once. With a mesh the rows of a batch are spread over it.

    Args:
      encode: `[batch, …]` to a tree of `[batch, …]`.
      inputs: an array `[n, …]`, or an iterable of batches `[batch, …]`, of which one at a time is held, so that a
        data set need not fit into memory; no batch may have more rows than the first.
      batch_size: rows encoded at once; batches of an iterable have their own size.
      mesh: of the devices.
      most: rows that an iterable has at most, where that is known: results are then written where they stay, and
        memory is that of the results and not of two copies of them.
    """
    size, filled, held = 0, 0, None
    room = getattr(inputs, 'shape', (most,))[0]
    for rows in _batches(inputs, batch_size):
        if not size:
            size = len(rows) + -len(rows) % (mesh.shape['data'] if mesh else 1)
        missing = size - len(rows)
        if missing < 0:
            raise UserError(
                f'a batch of {len(rows)} rows follows a first batch of {size}; later ones may not be larger'
            )
        if missing:
            rows = np.concatenate([rows, np.repeat(rows[:1], missing, axis=0)])
        out = jax.device_get(encode(jax.device_put(rows, sharded(mesh)) if mesh else rows))
        kept = size - missing
        if held is None or filled + kept > room:
            room = max(room, 2 * filled, filled + kept)
            held = jax.tree.map(partial(_with_room, room, filled), out, out if held is None else held)
        jax.tree.map(partial(_write, filled, kept), held, out)
        filled += kept
    if held is None:
        raise UserError('there are no images to encode')
    return jax.tree.map(lambda x: x[:filled], held)


def _with_room(room: int, filled: int, like: np.ndarray, held: np.ndarray) -> np.ndarray:
    """An array `[room, …]` whose first `filled` rows are those of `held`."""
    new = np.empty((room, *like.shape[1:]), like.dtype)
    new[:filled] = held[:filled]
    return new


def _write(start: int, count: int, held: np.ndarray, rows: np.ndarray) -> None:
    held[start : start + count] = rows[:count]


def _batches(inputs: Any, size: int) -> Iterator[np.ndarray]:
    """Batches with at least one row."""
    sliced = hasattr(inputs, '__len__') and hasattr(inputs, 'shape')
    batches = (inputs[start : start + size] for start in range(0, len(inputs), size)) if sliced else inputs
    for rows in batches:
        rows = np.asarray(rows)
        if len(rows):
            yield rows


def check_pixel_range(images: np.ndarray) -> None:
    """Refuses float images above 1.5, which are in 0..255 and not in [0, 1]; integers have one range.

    Raises:
      UserError: naming the largest value.
    """
    if np.issubdtype(images.dtype, np.floating) and images.size and (most := float(images.max())) > LARGEST_PIXEL:
        raise UserError(
            f'float images must lie in [0, 1], and the largest value is {most:g}; divide by 255, or give uint8'
        )


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
        raise UserError(f'{name}: there are no features, or none with a label')
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        raise UserError(f'{name}: {int(bad.sum())} rows of features are not finite, the first is {int(bad.argmax())}')
    return features


def labelled(features: Features) -> Features:
    """The rows that have a label; the same object where all have."""
    known = np.asarray(features.labels) >= 0
    return features if known.all() else Features(features.features[known], features.labels[known])


def check_both(train: Features, test: Features, *, classes: int = 2) -> tuple[Features, Features, int]:
    """Both sets with their labels renumbered, and the number of classes of train, after a check of both.

    Classes of train become 0 … C − 1 in their order, and those that only test has follow: what an evaluation takes
    depends on how many classes there are, not on how they are numbered. Labels that are so already stay.

    Args:
      train, test: features of one width, with labels.
      classes: train must have at least so many different labels.

    Raises:
      UserError: naming the set and what is wrong with it.
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
    names = np.unique(train.labels)
    if len(names) < classes:
        count = '1 class' if len(names) == 1 else f'{len(names)} classes'
        raise UserError(f'train has {count} of labels; this evaluation needs at least {classes} classes')
    every = np.concatenate([names, np.setdiff1d(test.labels, names)])
    order = np.argsort(every, kind='stable')

    def renumbered(part: Features) -> Features:
        return Features(part.features, order[np.searchsorted(every, part.labels, sorter=order)].astype(np.int32))

    ours = renumbered(train)
    # One object given as both stays one: retrieval and few-shot episodes then keep a row from finding itself.
    return ours, ours if train is test else renumbered(test), len(names)


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Rows scaled to unit length, float32; zero rows stay zero."""
    return (features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def standardized(train: Features, test: Features) -> tuple[np.ndarray, np.ndarray]:
    """Both sets to mean 0 and deviation 1 per dimension by train's statistics; constant dimensions become 0."""
    mean = train.features.mean(axis=0, dtype=np.float64)
    deviation = train.features.std(axis=0, dtype=np.float64)
    scale = np.where(deviation > 1e-8 * max(deviation.max(), 1e-30), 1.0 / np.maximum(deviation, 1e-30), 0.0)
    return tuple(((f.features - mean) * scale).astype(np.float32) for f in (train, test))  # type: ignore[return-value]


def even_draw(labels: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """Indices of `count` rows, ascending, drawn evenly from the classes; all rows where there are no more than that.

    Classes give one row each in turn, in a new random order each round, until they have no more. Rows without a
    label (−1) are drawn too, as many as is their share of all rows. A function of the arguments alone: it sorts raw
    words of Philox with the key [seed, 4], whose stream NumPy guarantees.
    """
    labels = np.asarray(labels)
    if count >= len(labels):
        return np.arange(len(labels))
    words = np.random.Philox(key=[seed, 4]).random_raw(len(labels))
    unknown = np.flatnonzero(labels < 0)
    without = min(round(count * len(unknown) / len(labels)), count)
    drawn = unknown[np.argsort(words[unknown], kind='stable')[:without]]
    known = np.flatnonzero(labels >= 0)
    known = known[np.lexsort((words[known], labels[known]))]
    starts = np.flatnonzero(np.diff(labels[known], prepend=-1))
    turns = np.arange(len(known)) - np.repeat(starts, np.diff(starts, append=len(known)))
    known = known[np.lexsort((words[known], turns))]
    return np.sort(np.concatenate([drawn, known[: count - without]]))


def draw_per_class(labels: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """Indices of `count` random samples of each class."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < count:
            raise UserError(
                f'class {label} has {len(members)} samples, fewer than the {count} labels per class to draw'
            )
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

"""Segmentation from frozen patch features: by the nearest patches of train, and by a linear probe."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..errors import UserError
from .features import Features, check, first_best, standardized, unit_rows
from .knn import search
from .logistic import logistic_path, scores

INVERSE_REGULARIZATIONS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
NEIGHBOURS = 30
TEMPERATURE = 0.02


class Segmented(NamedTuple):
    """Feature maps `[n, rows, columns, dim]` float32 of images, and their pixels' classes `[n, height, width]`."""

    features: np.ndarray
    masks: np.ndarray


def class_shares(masks: np.ndarray, grid: tuple[int, int], *, classes: int) -> np.ndarray:
    """Share of each class among the pixels of each cell of a grid, `[n, rows, columns, classes]` float32.

    A pixel belongs to the cell that its centre lies in.

    Raises:
      UserError: a grid with more rows or columns than the masks.
    """
    count, height, width = masks.shape
    rows, columns = grid
    if rows > height or columns > width:
        raise UserError(f'a map of {rows}x{columns} features has more places than a mask of {height}x{width} pixels')
    down, along = ((2 * np.arange(n) + 1) * m // (2 * n) for n, m in ((height, rows), (width, columns)))
    cell = (down[:, None] * columns + along[None]) * classes
    found = [np.bincount((cell + mask).ravel(), minlength=rows * columns * classes) for mask in masks]
    shares = np.stack(found).reshape(count, rows, columns, classes).astype(np.float32)
    return shares / shares.sum(axis=3, keepdims=True)


def _bilinear(count: int, size: int) -> np.ndarray:
    """The matrix `[size, count]` that interpolates `count` places to `size` ones; constant beyond the outer centres."""
    place = np.clip((np.arange(size) + 0.5) * count / size - 0.5, 0, count - 1)
    low = np.minimum(place.astype(int), max(count - 2, 0))
    matrix = np.zeros((size, count), np.float32)
    matrix[np.arange(size), low] = 1 - (place - low)
    matrix[np.arange(size), np.minimum(low + 1, count - 1)] += place - low
    return matrix


def pixel_classes(votes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The class of largest vote of every pixel `[n, height, width]`, votes `[n, rows, columns, classes]` interpolated.

    Bilinear; of equal votes the smaller class wins.
    """
    down, along = _bilinear(votes.shape[1], size[0]), _bilinear(votes.shape[2], size[1])
    # An image at a time: votes of all pixels of a set would be large.
    whole = (np.einsum('hr,rcK,wc->hwK', down, image, along, optimize=True) for image in votes)
    return np.stack([image.argmax(axis=2).astype(np.int32) for image in whole])


def confusion(truth: np.ndarray, predicted: np.ndarray, *, classes: int) -> np.ndarray:
    """Pixels of each true class (row) that were given each class (column)."""
    flat = truth.astype(np.int64).ravel() * classes + predicted.ravel()
    return np.bincount(flat, minlength=classes**2).reshape(classes, classes)


def mean_iou(counts: np.ndarray) -> float:
    """Intersection over union, the mean over the classes that occur in truth or prediction, from :func:`confusion`."""
    hits = np.diag(counts)
    union = counts.sum(axis=0) + counts.sum(axis=1) - hits
    return float(np.mean(hits[union > 0] / union[union > 0]))


@jax.jit
def _votes(cosines: Array, index: Array, shares: Array, temperature: Array) -> Array:
    weights = jax.nn.softmax(cosines / temperature, axis=1)
    return jnp.einsum('qk,qkc->qc', weights, shares[index], precision=jax.lax.Precision.HIGHEST)


def knn_votes(
    bank: np.ndarray,
    shares: np.ndarray,
    queries: np.ndarray,
    *,
    neighbours: int = NEIGHBOURS,
    temperature: float = TEMPERATURE,
) -> np.ndarray:
    """Shares of classes `[queries, classes]`: those of the k nearest rows of a bank, weighted by softmax(cosine / τ).

    Args:
      bank, queries: features `[n, dim]` of patches.
      shares: of the classes among the pixels of each patch of the bank, `[n, classes]`.
      neighbours, temperature: k, at most the rows of the bank, and τ.

    References:
      Balažević et al. 2023, https://arxiv.org/abs/2306.01667 (Hummingbird).
    """
    held, heat = jnp.asarray(shares), jnp.float32(temperature)
    found = np.empty((len(queries), shares.shape[1]), np.float32)
    for rows, cosines, index in search(unit_rows(queries), unit_rows(bank), k=min(neighbours, len(bank))):
        found[rows] = np.asarray(_votes(cosines, index, held, heat))[: rows.stop - rows.start]
    return found


@functools.partial(jax.jit, static_argnames=('classes',))
def _path_scores(train: Array, labels: Array, query: Array, strengths: Array, *, classes: int) -> Array:
    model = logistic_path(train, labels, strengths, classes=classes)
    return jax.vmap(lambda m: scores(m, query))(model)


def _rated(name: str, votes: np.ndarray, masks: np.ndarray, classes: int) -> dict[str, float]:
    counts = confusion(masks, pixel_classes(votes, masks.shape[1:]), classes=classes)
    return {f'{name}_miou': mean_iou(counts), f'{name}_accuracy': float(np.trace(counts) / counts.sum())}


def segmentation(
    train: Segmented,
    test: Segmented,
    *,
    classes: int,
    name: str = 'dense',
    neighbours: int = NEIGHBOURS,
    temperature: float = TEMPERATURE,
    inverse_regularizations: Sequence[float] = INVERSE_REGULARIZATIONS,
    share: float = 0.1,
) -> dict[str, float]:
    """How well patch features tell the class of every pixel, by the nearest patches of train and by a linear probe.

    k-NN: :func:`knn_votes`, nothing chosen. Linear: logistic regression of features standardised by train, the label
    of a patch being the class of most of its pixels (of equals, the smaller number), C chosen by the mean IoU on the
    last images of train and fitted again on all. Votes and logits are interpolated bilinearly to pixels, and the
    largest is taken.

    Args:
      train, test: feature maps of one shape and masks.
      classes: masks hold 0 … classes − 1.
      name: what keys begin with.
      neighbours, temperature: k and τ of k-NN.
      inverse_regularizations: the values of C.
      share: of the images of train that are held out, at least one.

    Returns:
      `<name>_knn_miou`, `<name>_knn_accuracy`, `<name>_linear_miou`, `<name>_linear_accuracy` and `chosen_<name>_C`.
      The mean is over the classes that occur in the test masks or the prediction, the background among them.

    Raises:
      UserError: maps and masks that do not match, features that are not finite, or fewer than two images to learn from.
    """
    for part, label in ((train, 'train'), (test, 'test')):
        if part.features.ndim != 4 or part.masks.ndim != 3 or len(part.features) != len(part.masks):
            raise UserError(
                f'{label}: maps {list(part.features.shape)} and masks {list(part.masks.shape)} do not match'
            )
    if train.features.shape[1:] != test.features.shape[1:] or len(train.features) < 2:
        raise UserError(
            f'segmentation needs maps of one shape and two images to learn from, not {list(train.features.shape)} and '
            f'{list(test.features.shape)}'
        )
    grid, dim = train.features.shape[1:3], train.features.shape[3]
    shares = class_shares(train.masks, grid, classes=classes)
    labels = np.argmax(shares, axis=3).astype(np.int32)
    flat, queries = train.features.reshape(-1, dim), test.features.reshape(-1, dim)
    ours, theirs = Features(flat, labels.ravel()), Features(queries, np.zeros(len(queries), np.int32))
    check(ours, 'train'), check(theirs, 'test')
    places = (len(test.features), *grid, classes)

    near = knn_votes(flat, shares.reshape(-1, classes), queries, neighbours=neighbours, temperature=temperature)
    results = _rated(f'{name}_knn', near.reshape(places), test.masks, classes)

    x, x_test = standardized(ours, theirs)
    strengths = np.sort(np.asarray(inverse_regularizations, np.float32))
    kept = len(train.features) - max(round(share * len(train.features)), 1)
    border = kept * grid[0] * grid[1]
    inner = _path_scores(x[:border], ours.labels[:border], x[border:], strengths, classes=classes)
    rated = [_rated('', np.asarray(one).reshape(-1, *places[1:]), train.masks[kept:], classes) for one in inner]
    best = first_best(np.array([one['_miou'] for one in rated]))[0]
    logits = _path_scores(x, ours.labels, x_test, strengths[best : best + 1], classes=classes)[0]
    results |= _rated(f'{name}_linear', np.asarray(logits).reshape(places), test.masks, classes)
    return {**results, f'chosen_{name}_C': float(f'{strengths[best]:.6g}')}


def background(masks: np.ndarray, *, classes: int, name: str = 'dense_background') -> dict[str, float]:
    """Mean IoU and accuracy of class 0 for every pixel, which is what knowing nothing scores."""
    counts = confusion(masks, np.zeros_like(masks), classes=classes)
    return {f'{name}_miou': mean_iou(counts), f'{name}_accuracy': float(np.trace(counts) / counts.sum())}

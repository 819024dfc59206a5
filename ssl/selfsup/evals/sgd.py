"""Linear probes by stochastic gradient descent: on cached features, and the papers' online protocol."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array

from ..errors import UserError
from ..parallel import constrain_batch, replicated
from .features import Features, check_both, extract, first_best, held_out, standardized
from .logistic import Classifier

LEARNING_RATES = (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3)
MOMENTUM = 0.9


class _Probes(NamedTuple):
    """Linear probes that learn from the same batches, one for each learning rate, and their momentum."""

    model: Classifier
    velocity: Classifier


def _start(rates: int, dim: int, classes: int) -> _Probes:
    zero = Classifier(jnp.zeros((rates, dim, classes)), jnp.zeros((rates, classes)))
    return _Probes(zero, zero)


def _logits(model: Classifier, x: Array) -> Array:
    return jnp.einsum('nd,rdc->rnc', x, model.kernel, precision=jax.lax.Precision.HIGHEST) + model.bias[:, None]


def _descend(probes: _Probes, x: Array, labels: Array, rates: Array, share: Array) -> _Probes:
    """One step at `share` of each learning rate: v ← 0.9 v + g, w ← w − rate·v."""

    def loss(model: Classifier) -> Array:
        logits = _logits(model, x)
        targets = jnp.broadcast_to(labels[None], logits.shape[:2])
        return jnp.sum(jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, targets), axis=1))

    gradient = jax.grad(loss)(probes.model)
    velocity = jax.tree.map(lambda v, g: MOMENTUM * v + g, probes.velocity, gradient)

    def move(w: Array, v: Array) -> Array:
        return w - share * rates.reshape(-1, *(1,) * (w.ndim - 1)) * v

    return _Probes(jax.tree.map(move, probes.model, velocity), velocity)


def cosine(step: Array, steps: int) -> Array:
    """Share of the learning rate: 1 at step 0, 0 after `steps`."""
    return 0.5 * (1.0 + jnp.cos(jnp.pi * step / steps))


@functools.partial(jax.jit, static_argnames=('classes', 'epochs', 'batch_size', 'mesh'))
def _fit(
    key: Any,
    features: Array,
    labels: Array,
    rates: Array,
    *,
    classes: int,
    epochs: int,
    batch_size: int,
    mesh: Mesh | None,
) -> Classifier:
    """Probes after `epochs` over cached features; each epoch's order is new and its remainder dropped."""
    count = features.shape[0]
    steps = count // batch_size

    def epoch(probes: _Probes, number: Array) -> tuple[_Probes, None]:
        order = jax.random.permutation(jax.random.fold_in(key, number), count)[: steps * batch_size]

        def step(probes: _Probes, args: tuple) -> tuple[_Probes, None]:
            rows, index = args
            x, y = constrain_batch((features[rows], labels[rows]), mesh)
            return _descend(probes, x, y, rates, cosine(number * steps + index, epochs * steps)), None

        batches = (order.reshape(steps, batch_size), jnp.arange(steps))
        return jax.lax.scan(step, probes, batches)[0], None

    start = _start(len(rates), features.shape[1], classes)
    return jax.lax.scan(epoch, start, jnp.arange(epochs))[0].model


def checked_rates(rates: Sequence[float]) -> np.ndarray:
    """A grid of learning rates in ascending order, or an error where there are none or one is not positive."""
    found = np.sort(np.asarray(rates, np.float32))
    if not len(found) or found[0] <= 0:
        raise UserError(f'learning rates must be positive, not {tuple(rates)}')
    return found


def _hits(model: Classifier, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Accuracy of each probe."""
    predicted = np.asarray(jnp.argmax(_logits(model, jnp.asarray(x)), axis=-1))
    return (predicted == labels[None]).mean(axis=1)


def linear_sgd(
    train: Features,
    test: Features,
    *,
    learning_rates: Sequence[float] = LEARNING_RATES,
    epochs: int = 30,
    batch_size: int = 256,
    share: float = 0.1,
    seed: int = 0,
    mesh: Mesh | None = None,
) -> dict[str, float]:
    """Linear probe by SGD on cached, standardised features, the learning rate chosen on a held-out part of train.

    Momentum 0.9, a cosine schedule, no weight decay, no augmentation: what is cached is seen again. All
    rates learn at once; the best (the smallest of equals) learns again on all of train.

    Args:
      train, test: features and labels.
      learning_rates: the grid.
      epochs: passes over train.
      batch_size: rows a step; at most what is left of train.
      share, seed: of the held-out part, see :func:`held_out`; the seed also of the order of rows.
      mesh: rows of a batch are spread over it.

    Returns:
      `linear_sgd`, the test accuracy, and `chosen_learning_rate`.
    """
    train, test, classes = check_both(train, test)
    rates = checked_rates(learning_rates)
    mask = held_out(train.labels, share=share, seed=seed)
    x, x_test = standardized(train, test)

    def fit(rows: np.ndarray, labels: np.ndarray, chosen: np.ndarray) -> Classifier:
        size = min(batch_size, len(rows))
        place = replicated(mesh) if mesh else None
        held = [jax.device_put(a, place) for a in (rows, labels)]
        key = jax.random.key(seed)
        return _fit(key, *held, jnp.asarray(chosen), classes=classes, epochs=epochs, batch_size=size, mesh=mesh)

    best = first_best(_hits(fit(x[~mask], train.labels[~mask], rates), x[mask], train.labels[mask]))[0]
    accuracy = _hits(fit(x, train.labels, rates[best : best + 1]), x_test, test.labels)[0]
    return {'linear_sgd': float(accuracy), 'chosen_learning_rate': float(f'{rates[best]:.6g}')}


def linear_online(
    train: Features,
    test: Features,
    *,
    encode: Callable[[Array], Array],
    augment: Callable[..., Any],
    prepare: Callable[[Array], Array],
    learning_rates: Sequence[float] = LEARNING_RATES,
    epochs: int = 100,
    batch_size: int = 256,
    share: float = 0.1,
    seed: int = 0,
) -> dict[str, float]:
    """The papers' linear evaluation: a linear layer on the frozen encoder, on new crops and flips in every epoch.

    Momentum 0.9, a cosine schedule, no weight decay. The features pass through the statistics of clean
    train images (mean and deviation) first, as through a batch-norm without parameters, so that one grid
    of learning rates serves every encoder. All rates learn from the same encoded batches; the part of
    train that chooses among them is not learned from.

    Args:
      train, test: *images* `[n, height, width, channels]` in the place of features, see :class:`Features`, and labels.
      encode: prepared images -> features `[n, dim]`, frozen.
      augment: `(key, images, positions) -> (views, …)` of one view, as
        :func:`selfsup.augment.make_views` gives; the papers': random resized crop and flip.
      prepare: images -> images, what evaluation does to them.
      learning_rates, epochs, batch_size, share, seed: as in :func:`linear_sgd`.

    Returns:
      `linear_online`, the test accuracy, `chosen_online_learning_rate`, and `held_out_online`.
    """
    rates = checked_rates(learning_rates)
    clean = jax.jit(lambda images: encode(prepare(images)))
    cached = (
        Features(extract(clean, train.features), train.labels),
        Features(extract(clean, test.features), test.labels),
    )
    *cached, classes = check_both(*cached)
    labels, test_labels = (part.labels for part in cached)
    mask = held_out(labels, share=share, seed=seed)
    x, x_test = standardized(*cached)
    seen = np.flatnonzero(~mask)
    size = min(batch_size, len(seen))
    steps = len(seen) // size
    mean = cached[0].features.mean(axis=0, dtype=np.float64).astype(np.float32)
    deviation = cached[0].features.std(axis=0, dtype=np.float64)
    scale = np.where(deviation > 1e-8 * max(deviation.max(), 1e-30), 1 / np.maximum(deviation, 1e-30), 0.0)
    scale = scale.astype(np.float32)

    @jax.jit
    def step(probes: _Probes, images: Array, labels: Array, number: Array) -> _Probes:
        key = jax.random.fold_in(jax.random.key(seed), number)
        views, _ = augment(key, images, jnp.arange(size))
        features = (encode(views[0]).astype(jnp.float32) - mean[None]) * scale[None]
        share_now = cosine(number, epochs * steps)
        return _descend(probes, jax.lax.stop_gradient(features), labels, jnp.asarray(rates), share_now)

    probes = _start(len(rates), x.shape[1], classes)
    # One step a dispatch: on CPU a convolution inside a scan is 13 times slower.
    for epoch in range(epochs):
        order = np.argsort(np.random.Philox(key=[seed, epoch]).random_raw(len(seen)), kind='stable')
        for index in range(steps):
            rows = seen[np.sort(order[index * size : (index + 1) * size])]
            probes = step(probes, train.features[rows], labels[rows], jnp.asarray(epoch * steps + index))
    inner = _hits(probes.model, x[mask], labels[mask])
    best = first_best(inner)[0]
    outer = _hits(probes.model, x_test, test_labels)
    return {
        'linear_online': float(outer[best]),
        'chosen_online_learning_rate': float(f'{rates[best]:.6g}'),
        'held_out_online': float(inner[best]),
    }

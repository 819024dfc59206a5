"""Fine-tuning: the whole encoder learns the labels."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from .features import Features, check_both, extract, first_best, held_out
from .sgd import checked_rates


def fine_tune(
    train: Features,
    test: Features,
    *,
    encode: Callable[[Any, Array], Array],
    params: Any,
    augment: Callable[..., Any],
    prepare: Callable[[Array], Array],
    learning_rates: Sequence[float] = (1e-3,),
    epochs: int = 20,
    batch_size: int = 128,
    weight_decay: float = 1e-4,
    share: float = 0.1,
    seed: int = 0,
) -> dict[str, float]:
    """Accuracy after encoder and a new linear head have learned the labels together.

    AdamW with a cosine schedule. The head starts at zero on features divided by their overall deviation.
    Batch-norms keep the running statistics of the pre-training. `params` are not changed.

    Args:
      train, test: *images* `[n, height, width, channels]` in the place of features, see :class:`Features`, and labels.
      encode: `(params, prepared images) -> features [n, dim]`, differentiable in `params`.
      params: of the encoder; other entries get no gradient and stay.
      augment: `(key, images, positions) -> (views, …)`, of which the first view is learned from.
      prepare: images -> images, what evaluation does to them.
      learning_rates: of several, the one that is best on the held-out part of train is used, and learns
        again on all of train.
      epochs, batch_size, weight_decay: of the training.
      share, seed: of the held-out part, see :func:`held_out`; the seed also of the order and the views.

    Returns:
      `fine_tuned`, the test accuracy, and `chosen_fine_tune_rate`.
    """
    rates = checked_rates(learning_rates)
    first = extract(jax.jit(lambda images: encode(params, prepare(images))), train.features)
    unseen = np.zeros((len(test.features), first.shape[1]), np.float32)  # test's are not needed to check its labels
    ours, theirs, classes = check_both(Features(first, train.labels), Features(unseen, test.labels))
    labels = ours.labels
    spread = float(max(first.std(), 1e-6))

    def logits(weights: dict[str, Any], images: Array) -> Array:
        features = encode(weights['encoder'], images).astype(jnp.float32) / spread
        return features @ weights['kernel'] + weights['bias'][None]

    def fitted(members: np.ndarray, rate: float) -> dict[str, Any]:
        """Weights that have learned from these rows of train."""
        size = min(batch_size, len(members))
        steps = len(members) // size
        optimizer = optax.adamw(optax.cosine_decay_schedule(rate, epochs * steps), weight_decay=weight_decay)
        head = {'kernel': jnp.zeros((first.shape[1], classes)), 'bias': jnp.zeros((classes,))}
        weights = {'encoder': params, **head}

        @jax.jit
        def step(weights: Any, state: Any, images: Array, labels: Array, number: Array) -> tuple[Any, Any]:
            key = jax.random.fold_in(jax.random.key(seed), number)
            view = augment(key, images, jnp.arange(size))[0][0]

            def loss(w: Any) -> Array:
                return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits(w, view), labels))

            updates, state = optimizer.update(jax.grad(loss)(weights), state, weights)
            return optax.apply_updates(weights, updates), state

        state = optimizer.init(weights)
        for epoch in range(epochs):
            order = np.argsort(np.random.Philox(key=[seed, epoch]).random_raw(len(members)), kind='stable')
            for index in range(steps):
                rows = members[order[index * size : (index + 1) * size]]
                number = jnp.asarray(epoch * steps + index)
                weights, state = step(weights, state, train.features[rows], labels[rows], number)
        return weights

    predict = jax.jit(lambda w, images: jnp.argmax(logits(w, prepare(images)), axis=1))

    def accuracy(weights: dict[str, Any], images: Any, labels: np.ndarray) -> float:
        return float(np.mean(extract(lambda rows: predict(weights, rows), images) == labels))

    best = 0
    if len(rates) > 1:
        mask = held_out(labels, share=share, seed=seed)
        rest, part = np.flatnonzero(~mask), np.flatnonzero(mask)
        choosing = [accuracy(fitted(rest, float(r)), _taken(train.features, part), labels[part]) for r in rates]
        best = first_best(np.array(choosing))[0]
    weights = fitted(np.arange(len(labels)), float(rates[best]))
    return {
        'fine_tuned': accuracy(weights, test.features, theirs.labels),
        'chosen_fine_tune_rate': float(f'{rates[best]:.6g}'),
    }


def _taken(images: Any, rows: np.ndarray, size: int = 512) -> Iterator[np.ndarray]:
    """Some rows, a batch at a time."""
    return (images[rows[start : start + size]] for start in range(0, len(rows), size))

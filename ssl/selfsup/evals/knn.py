"""Weighted k-nearest-neighbour classification, exact and in chunks on the device."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..errors import UserError
from .features import Features, check


@functools.partial(jax.jit, static_argnames=('k', 'classes'))
def _votes(query: Array, bank: Array, labels: Array, temperature: Array, *, k: int, classes: int) -> Array:
    similarity, nearest = jax.lax.top_k(jnp.matmul(query, bank.T, precision=jax.lax.Precision.HIGHEST), k)
    weights = jnp.exp((similarity - similarity[:, :1]) / temperature)
    return jnp.einsum('qk,qkc->qc', weights, jax.nn.one_hot(labels[nearest], classes))


def predict(
    train: Features, test: np.ndarray, *, k: int = 20, temperature: float = 0.07, chunk: int = 2048
) -> np.ndarray:
    """Class of each row of `test` by its `k` nearest rows of `train` in cosine, weights exp(cosine / τ).

    References:
      Wu et al. 2018, https://arxiv.org/abs/1805.01978, section 3.4.
    """
    if k > len(train.features):
        raise UserError(f'{k} neighbours are more than the {len(train.features)} samples to choose from')
    classes = int(train.labels.max()) + 1
    bank, query = (f / np.maximum(np.linalg.norm(f, axis=1, keepdims=True), 1e-12) for f in (train.features, test))
    bank, labels = jnp.asarray(bank, jnp.float32), jnp.asarray(train.labels)
    size = min(chunk, len(query))
    predicted = []
    for start in range(0, len(query), size):
        rows = query[start : start + size]
        padded = np.concatenate([rows, np.repeat(rows[:1], size - len(rows), axis=0)]).astype(np.float32)
        votes = _votes(padded, bank, labels, jnp.float32(temperature), k=k, classes=classes)
        predicted.append(np.argmax(np.asarray(votes), axis=1)[: len(rows)])
    return np.concatenate(predicted)


def knn(train: Features, test: Features, *, k: int = 20, temperature: float = 0.07) -> dict[str, float]:
    """Accuracy of :func:`predict`, as `{'knn': share}`."""
    check(train, 'train'), check(test, 'test')
    predicted = predict(train, test.features, k=min(k, len(train.features)), temperature=temperature)
    return {'knn': float(np.mean(predicted == test.labels))}

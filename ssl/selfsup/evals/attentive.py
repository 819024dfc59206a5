"""Attentive probe: one learned query reads the frozen patch tokens, and a linear layer classifies what it found."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from ..errors import UserError
from .features import Features, check_both, extract, first_best, held_out
from .sgd import checked_rates, cosine

LEARNING_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
WARMUP = 0.1  # share of the steps in which the learning rate rises
HIGHEST = jax.lax.Precision.HIGHEST


class Probe(NamedTuple):
    """Query `[dim]`, kernels `[dim, dim]` and biases of keys and values, kernel `[dim, classes]` and bias of logits."""

    query: Array
    key_kernel: Array
    key_bias: Array
    value_kernel: Array
    value_bias: Array
    kernel: Array
    bias: Array


def attentive_logits(probe: Probe, tokens: Array, *, heads: int) -> Array:
    """softmax(q·(K x)/√d) (V x) over the tokens of an image, head by head, then a linear layer.

    Args:
      probe: the parameters.
      tokens: `[n, tokens, dim]`, standardised.
      heads: d = dim / heads.

    Returns:
      Logits `[n, classes]`.
    """
    count, length, dim = tokens.shape

    def split(kernel: Array, bias: Array) -> Array:
        x = jnp.matmul(tokens, kernel, precision=HIGHEST) + bias[None, None]
        return x.reshape(count, length, heads, dim // heads)

    key, value = split(probe.key_kernel, probe.key_bias), split(probe.value_kernel, probe.value_bias)
    query = probe.query.reshape(heads, dim // heads)
    scores = jnp.einsum('hd,nthd->nht', query, key, precision=HIGHEST) / (dim // heads) ** 0.5
    found = jnp.einsum('nht,nthd->nhd', jax.nn.softmax(scores, axis=2), value, precision=HIGHEST)
    return jnp.matmul(found.reshape(count, dim), probe.kernel, precision=HIGHEST) + probe.bias[None]


def _start(key: Array, dim: int, classes: int) -> Probe:
    """Normal kernels and query of deviation 0.02, cut at two deviations; biases of zero."""
    shapes = ((dim,), (dim, dim), (dim, dim), (dim, classes))
    keys = jax.random.split(key, len(shapes))
    draws = [0.02 * jax.random.truncated_normal(k, -2.0, 2.0, s) for k, s in zip(keys, shapes, strict=True)]
    query, keyed, valued, kernel = draws
    return Probe(query, keyed, jnp.zeros(dim), valued, jnp.zeros(dim), kernel, jnp.zeros(classes))


class _Scale(NamedTuple):
    """Mean and inverse deviation `[dim]` of all tokens of train: a batch-norm without affine parameters."""

    mean: Array
    inverse: Array


def _scale(tokens: np.ndarray) -> _Scale:
    flat = tokens.reshape(-1, tokens.shape[2])
    mean, deviation = flat.mean(axis=0, dtype=np.float64), flat.std(axis=0, dtype=np.float64)
    kept = deviation > 1e-8 * max(deviation.max(), 1e-30)
    inverse = np.where(kept, 1.0 / np.maximum(deviation, 1e-30), 0.0)
    return _Scale(jnp.asarray(mean, jnp.float32), jnp.asarray(inverse, jnp.float32))


def _standard(tokens: Array, scale: _Scale) -> Array:
    return (tokens.astype(jnp.float32) - scale.mean[None, None]) * scale.inverse[None, None]


@functools.partial(jax.jit, static_argnames=('classes', 'heads', 'epochs', 'batch_size'))
def _fit(
    key: Any,
    tokens: Array,
    labels: Array,
    scale: _Scale,
    rates: Array,
    weight_decay: Array,
    *,
    classes: int,
    heads: int,
    epochs: int,
    batch_size: int,
) -> Probe:
    """Probes, one a learning rate, after `epochs`: they see the same batches; each epoch's remainder is dropped."""
    count, steps = tokens.shape[0], tokens.shape[0] // batch_size
    adam = optax.scale_by_adam()

    def loss(probe: Probe, x: Array, y: Array) -> Array:
        logits = attentive_logits(probe, x, heads=heads)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, y))

    def one(rate: Array, probe: Probe, state: Any, x: Array, y: Array) -> tuple[Probe, Any]:
        updates, state = adam.update(jax.grad(loss)(probe, x, y), state)
        return jax.tree.map(lambda w, u: w - rate * (u + weight_decay * w), probe, updates), state

    def epoch(carry: Any, number: Array) -> tuple[Any, None]:
        order = jax.random.permutation(jax.random.fold_in(key, number + 1), count)[: steps * batch_size]

        def step(carry: Any, args: tuple) -> tuple[Any, None]:
            rows, index = args
            x, y, now = _standard(tokens[rows], scale), labels[rows], number * steps + index
            share = jnp.minimum((now + 1) / max(WARMUP * epochs * steps, 1.0), 1.0) * cosine(now, epochs * steps)
            probes, state = carry
            return jax.vmap(one, in_axes=(0, 0, 0, None, None))(rates * share, probes, state, x, y), None

        return jax.lax.scan(step, carry, (order.reshape(steps, batch_size), jnp.arange(steps)))[0], None

    start = _start(jax.random.fold_in(key, 0), tokens.shape[2], classes)
    probes = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(rates), *x.shape)), start)
    return jax.lax.scan(epoch, (probes, jax.vmap(adam.init)(probes)), jnp.arange(epochs))[0][0]


@functools.partial(jax.jit, static_argnames=('heads',))
def _predicted(probes: Probe, tokens: Array, scale: _Scale, *, heads: int) -> Array:
    """Class `[n, probes]` of each image."""
    x = _standard(tokens, scale)
    return jnp.stack(
        [
            jnp.argmax(attentive_logits(jax.tree.map(lambda w, i=i: w[i], probes), x, heads=heads), axis=1)
            for i in range(probes.bias.shape[0])
        ],
        axis=1,
    )


def attentive(
    train: Features,
    test: Features,
    *,
    heads: int,
    encode: Callable[[Any], Any] = lambda tokens: tokens,
    learning_rates: Sequence[float] = LEARNING_RATES,
    epochs: int = 50,
    batch_size: int = 128,
    weight_decay: float = 1e-3,
    share: float = 0.1,
    seed: int = 0,
) -> dict[str, float]:
    """Accuracy of an attentive probe of cached patch tokens, the learning rate chosen on a held-out part of train.

    AdamW, a cosine times a linear warm-up over a tenth of the steps, no augmentation. Tokens are standardised by the
    statistics of all tokens of train, a batch-norm without affine parameters. All rates learn at once from the same
    batches; the best (the smallest of equals) learns again on all of train.

    Args:
      train: tokens `[n, tokens, dim]` in the place of features, and labels.
      test: likewise, or what `encode` makes tokens of, such as images: then a batch of tokens at a time is held.
      heads: of the attention; must divide dim.
      encode: of a batch of test.
      learning_rates: the grid.
      epochs, batch_size, weight_decay: of the training; a batch has at most what is left of train.
      share, seed: of the held-out part, see :func:`held_out`; the seed also of the start and the order.

    Returns:
      `attentive`, the test accuracy, `chosen_attentive_rate`, and `held_out_attentive` on the part that chose it.

    Convention: CAPI's probe with AIM's batch-norm before it: queries are not projected, and nothing follows the
    attention but the linear layer. V-JEPA's has a projection, a residual and an MLP after it.

    Raises:
      UserError: tokens of another shape, not finite, or of a width that heads do not divide; labels as elsewhere.

    References:
      Darcet et al. 2025, https://arxiv.org/abs/2502.08769; El-Nouby et al. 2024, https://arxiv.org/abs/2401.08541;
      Bardes et al. 2024, https://arxiv.org/abs/2404.08471.
    """
    rates = checked_rates(learning_rates)
    tokens = np.asarray(train.features)
    if tokens.ndim != 3 or heads < 1 or tokens.shape[2] % heads:
        raise UserError(f'an attentive probe of {heads} heads needs tokens [n, tokens, dim], not {list(tokens.shape)}')
    # A mean is finite only where all tokens are; test's tokens are not needed to check its labels.
    means = [tokens.mean(axis=1), np.zeros((len(test.labels), tokens.shape[2]), np.float32)]
    ours, theirs, classes = check_both(
        *(Features(m, part.labels) for m, part in zip(means, (train, test), strict=True))
    )
    labels, scale = ours.labels, _scale(tokens)
    mask = held_out(labels, share=share, seed=seed)

    def fit(rows: np.ndarray, chosen: np.ndarray) -> Probe:
        given = (
            jax.random.key(seed),
            tokens[rows],
            labels[rows],
            scale,
            jnp.asarray(chosen),
            jnp.float32(weight_decay),
        )
        size = min(batch_size, int(rows.sum()))
        return _fit(*given, classes=classes, heads=heads, epochs=epochs, batch_size=size)

    def predicted(probes: Probe, rows: Any, read: Callable[[Any], Any]) -> np.ndarray:
        return extract(lambda batch: _predicted(probes, read(batch), scale, heads=heads), rows)

    inner = predicted(fit(~mask, rates), tokens[mask], lambda rows: rows)
    hits = (inner == labels[mask][:, None]).mean(axis=0)
    best = first_best(hits)[0]
    outer = predicted(fit(np.ones_like(mask), rates[best : best + 1]), test.features, encode)[:, 0]
    return {
        'attentive': float(np.mean(outer == theirs.labels)),
        'chosen_attentive_rate': float(f'{rates[best]:.6g}'),
        'held_out_attentive': float(hits[best]),
    }

"""Prediction of a target network's codes, found by online clustering of its layers (DinoSR)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from ._common import HIGHEST, as_float


def nearest_codes(
    tokens: Float[ArrayLike, 'batch places layers features'],
    sums: Float[ArrayLike, 'layers count features'],
    counts: Float[ArrayLike, 'layers count'],
) -> Int[Array, 'batch places layers']:
    """The code of each layer that is nearest to its token: argmin_v ‖t − s_v / n_v‖².

    Args:
      tokens: of the target network's last layers, normalised (:func:`selfsup.losses.standardize_tokens`).
      sums, counts: s and n of every layer's codebook, n above 0.

    Returns:
      Numbers of codes; of equally near ones the first.

    Cost: O(batch·places·layers·count·features); no state.

    References:
      Liu et al. 2023, https://arxiv.org/abs/2305.10005, eq. 1.
    """
    tokens = as_float('tokens', tokens)
    sums, counts = (jnp.asarray(x).astype(tokens.dtype) for x in (sums, counts))
    if tokens.ndim != 4 or sums.shape != (tokens.shape[2], *sums.shape[1:2], tokens.shape[3]):
        raise ValueError(
            f'sums [layers, count, features] do not fit tokens [batch, places, layers, features]: '
            f'{list(sums.shape)} and {list(tokens.shape)}'
        )
    if counts.shape != sums.shape[:2]:
        raise ValueError(f'counts must have shape {list(sums.shape[:2])}, not {list(counts.shape)}')
    codes = sums / counts[:, :, None]
    half = jnp.sum(codes * codes, axis=-1) / 2
    nearness = jnp.einsum('bplf,lvf->bplv', tokens, codes, precision=HIGHEST) - half[None, None]
    return jnp.argmax(nearness, axis=-1)


def moved_codes(
    sums: Float[ArrayLike, 'layers count features'],
    counts: Float[ArrayLike, 'layers count'],
    tokens: Float[ArrayLike, 'batch places layers features'],
    codes: Int[ArrayLike, 'batch places layers'],
    counted: Bool[ArrayLike, 'batch places'],
    *,
    rate: ArrayLike = 0.9,
) -> tuple[Float[Array, 'layers count features'], Float[Array, 'layers count']]:
    """The codebooks after a batch: s_v ← γ·s_v + (1 − γ)·Σ t and n_v ← γ·n_v + (1 − γ)·#{v}, of used codes v alone.

    Args:
      sums, counts: s and n, as in :func:`nearest_codes`.
      tokens, codes: tokens and the numbers of their nearest codes.
      counted: which tokens count.
      rate: γ. Authors: 0.9. With 0 a used code becomes the mean of its tokens, a step of Lloyd's algorithm.

    Returns:
      The new s and n, without gradient. Codes that no token of the batch is nearest to stay as they are.

    Cost: O(batch·places·layers·count·features); state: s and n, kept by the caller.

    References:
      Liu et al. 2023, https://arxiv.org/abs/2305.10005, eq. 2 and 3.
    """
    tokens = as_float('tokens', tokens)
    sums, counts = (jnp.asarray(x).astype(tokens.dtype) for x in (sums, counts))
    hits = jax.nn.one_hot(codes, sums.shape[1], dtype=tokens.dtype) * jnp.asarray(counted)[:, :, None, None]
    found = jnp.sum(hits, axis=(0, 1))
    total = jnp.einsum('bplv,bplf->lvf', hits, tokens, precision=HIGHEST)
    new_sums = jnp.where(found[:, :, None] > 0, rate * sums + (1.0 - rate) * total, sums)
    new_counts = jnp.where(found > 0, rate * counts + (1.0 - rate) * found, counts)
    return jax.lax.stop_gradient((new_sums, new_counts))


def dinosr(
    predictions: Float[ArrayLike, 'batch places layers count'],
    codes: Int[ArrayLike, 'batch places layers'],
    counted: Bool[ArrayLike, 'batch places'],
) -> Float[Array, '']:
    """Cross-entropy of the predicted codes, −log softmax(p)_c, mean over layers and counted tokens (DinoSR).

    Args:
      predictions: scores of every layer's codes, by a head for each layer.
      codes: of the target network's tokens at the same places (:func:`nearest_codes`).
      counted: which places count: hidden ones, or those that do not only fill an array up.

    Returns:
      Nats, ≥ 0; the mean over the counted tokens of the whole batch, 0 if none counts. Where all scores are equal it is
      log(count), and at collapse to one code of each layer it falls to 0.

    Convention: the authors sum over tokens and divide by their number in the trainer.

    Cost: O(batch·places·layers·count); no state.

    References:
      Liu et al. 2023, https://arxiv.org/abs/2305.10005, eq. 4.
    """
    predictions, codes, counted = as_float('predictions', predictions), jnp.asarray(codes), jnp.asarray(counted)
    if predictions.ndim != 4 or codes.shape != predictions.shape[:3] or counted.shape != predictions.shape[:2]:
        raise ValueError(
            'predictions, codes and counted must have shapes [batch, places, layers, count], its first three and its '
            f'first two, and have {list(predictions.shape)}, {list(codes.shape)} and {list(counted.shape)}'
        )
    own = jnp.take_along_axis(predictions, codes[..., None], axis=-1)[..., 0]
    entropy = jnp.mean(jax.nn.logsumexp(predictions, axis=-1) - own, axis=-1)
    return jnp.sum(jnp.where(counted, entropy, 0.0)) / jnp.maximum(jnp.sum(counted), 1)

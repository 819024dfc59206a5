"""Contrast of places: CPC's prediction of the rows below, AMDIM's global and local features."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import HIGHEST, as_float, positive


def _maps(name: str, x: ArrayLike, axes: int) -> Array:
    x = as_float(name, x)
    if x.ndim != axes:
        raise ValueError(f'{name} must have {axes} axes, and has the shape {list(x.shape)}')
    return x


def _scores(predictions: Array, targets: Array) -> tuple[Array, Array]:
    """p·t of every prediction with every target, `[predictions, targets]`, and the columns of their own."""
    batch, rows, columns, dim = predictions.shape
    whole = targets.shape[1]
    if (batch, columns, dim) != (targets.shape[0], *targets.shape[2:]) or rows > whole:
        raise ValueError(
            f'predictions {list(predictions.shape)} must be of the last rows of targets {list(targets.shape)}'
        )
    logits = jnp.matmul(predictions.reshape(-1, dim), targets.reshape(-1, dim).T, precision=HIGHEST)
    place = jnp.arange(batch * whole * columns).reshape(batch, whole, columns)[:, whole - rows :]
    return logits, place.reshape(-1)


def cpc(
    predictions: Float[ArrayLike, 'batch rows columns dim'],
    targets: Float[ArrayLike, 'batch all_rows columns dim'],
    *,
    scale: ArrayLike = 0.1,
) -> Float[Array, '']:
    """CPC on images: each prediction must pick the patch so many rows below out of all patches of the batch.

    L = mean −log( exp(s·p_i·t_i) / Σ_j exp(s·p_i·t_j) ), j over every place of every image, those of its own too.

    Args:
      predictions: of the last `rows` of the targets' rows: W_k of the context k rows above, `rows = all_rows − k`.
      targets: a map of each image.
      scale: s of the logits. CPC v2: 0.1; 1 is the paper's.

    Returns:
      In nats, ≥ 0; log(batch·all_rows·columns) where all targets are equal.

    Raises:
      ValueError: shapes that do not go together.

    Cost: O((batch·places)²·dim) time, O((batch·places)²) memory; no state.

    References:
      van den Oord et al. 2018, https://arxiv.org/abs/1807.03748, eq. 4 and section 3.3; Hénaff et al. 2020,
      https://arxiv.org/abs/1905.09272, appendix, whose pseudo-code this follows.
    """
    predictions, targets = _maps('predictions', predictions, 4), _maps('targets', targets, 4)
    logits, own = _scores(predictions, targets)
    # As it stands in the matrix: computed apart it rounds differently, and the loss falls below 0.
    right = jnp.take_along_axis(logits, own[:, None], axis=1)[:, 0]
    return jnp.mean(jax.nn.logsumexp(scale * logits, axis=1) - scale * right)


def cpc_correct(
    predictions: Float[ArrayLike, 'batch rows columns dim'], targets: Float[ArrayLike, 'batch all_rows columns dim']
) -> Float[Array, '']:
    """Share of the predictions of :func:`cpc` whose own patch has the largest score of all, in [0, 1]; no gradient.

    Args:
      predictions, targets: as there.

    Returns:
      One over the places of the batch by chance.

    References:
      van den Oord et al. 2018, https://arxiv.org/abs/1807.03748.
    """
    logits, own = _scores(_maps('predictions', predictions, 4), _maps('targets', targets, 4))
    return jnp.mean(jnp.argmax(logits, axis=1) == own)


def amdim(
    sources: Float[ArrayLike, 'batch dim'],
    targets: Float[ArrayLike, 'batch places dim'],
    *,
    clip: ArrayLike = 20.0,
    penalty: ArrayLike = 5e-2,
) -> Float[Array, '']:
    """AMDIM's contrast of one feature of an image with the places of its other view: noise-contrastive, clipped.

    Scores s = sources·targets/√dim, softly clipped, c·tanh(s/c). Each place of the own image is a positive, and all
    places of other images are the negatives of each; L = mean −(s⁺ − log(e^{s⁺} + Σ₋ e^s)) + penalty · mean s², the
    latter of scores that are not clipped.

    Args:
      sources: one feature of each image.
      targets: features of the places of its other view.
      clip: c.
      penalty: weight of the squared scores. Authors' code: 4e-2 and 5e-2 in versions of it.

    Returns:
      In nats, ≥ 0; at collapse log(1 + (batch − 1)·places), and the penalty.

    Raises:
      ValueError: shapes that do not go together.

    Cost: O(batch²·places·dim) time, O(batch²·places) memory; no state.

    References:
      Bachman et al. 2019, https://arxiv.org/abs/1906.00910, eq. 2 to 5; `NCE_MI_MULTI` in the authors' `costs.py`.
    """
    positive('clip', clip)
    sources, targets = _maps('sources', sources, 2), _maps('targets', targets, 3)
    if (len(sources), sources.shape[1]) != (len(targets), targets.shape[2]):
        raise ValueError(f'sources {list(sources.shape)} and targets {list(targets.shape)} must be of the same images')
    dim, batch = sources.shape[1], len(sources)
    raw = jnp.einsum('bd,npd->bnp', sources, targets, precision=HIGHEST) / dim**0.5
    scores = clip * jnp.tanh(raw / clip)
    own = jnp.eye(batch, dtype=bool)[:, :, None]
    positives = jnp.sum(jnp.where(own, scores, 0.0), axis=1)
    negatives = jax.nn.logsumexp(jnp.where(own, -jnp.inf, scores), axis=(1, 2))
    # A batch of one has no negatives, and a loss of 0.
    nce = jnp.mean(jnp.logaddexp(positives, negatives[:, None]) - positives)
    return nce + penalty * jnp.mean(raw * raw)

"""NT-Xent with other negatives: without the positive (decoupled), without false ones (debiased), harder ones."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ._common import HIGHEST, normalize, pair, positive


def similarities(z1: Array, z2: Array) -> tuple[Array, Array]:
    """Cosines of the 2·batch anchors with their positives, `[2·batch]`, and with the 2·batch − 2 other images' views.

    The latter are `[2·batch, 2·batch]` with −∞ at the anchor itself and at its positive.
    """
    batch = z1.shape[0]
    z1, z2 = normalize(z1), normalize(z2)
    positives = jnp.tile(jnp.sum(z1 * z2, axis=-1), 2)
    z = jnp.concatenate([z1, z2])
    same_image = jnp.tile(jnp.eye(batch, dtype=bool), (2, 2))
    return positives, jnp.where(same_image, -jnp.inf, jnp.matmul(z, z.T, precision=HIGHEST))


def decoupled(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *,
    temperature: ArrayLike = 0.1,
    sigma: ArrayLike | None = None,
    symmetric: bool = True,
    stop_weights: bool = False,
) -> Float[Array, '']:
    """Decoupled contrastive loss: NT-Xent without the positive in the denominator (eq. 6), DCLW with weights (eq. 7).

    L = mean_i −w_i·s_i⁺/τ + log Σ_j exp(s_ij/τ) over the 2·batch − 2 views of other images; w = 1, or
    w_i = 2 − batch·softmax_i(s_i⁺/σ) over the images of one direction (mean 1; below 1 for easy pairs).

    Args:
      z1, z2: embeddings of two views of the same images, at least two rows, any norm (normalised here).
      temperature: τ. The ports: 0.1.
      sigma: σ of the von Mises-Fisher weights; None is plain DCL. Paper: 0.5.
      symmetric: the mean over both views' anchors; False takes those of `z1` alone, as the common
        PyTorch port does when it is called once.
      stop_weights: whether w carries no gradient, as in lightly; the formula lets it through.

    Returns:
      A scalar in nats, which may be negative: at least log(2·batch − 2) − 2/τ, or − 3/τ with weights;
      log(2·batch − 2) at collapse, for every τ and σ.

    Convention: inputs are normalised here (one port leaves that to the caller); the mean of the two
    directions, not their sum.

    Cost: O(batch²·dim) time, O(batch²) memory; no state.

    References:
      Yeh et al. 2022, https://arxiv.org/abs/2110.06848, eq. 6 and 7.
    """
    positive('temperature', temperature)
    z1, z2 = pair(z1, z2, rows=2)
    batch = z1.shape[0]
    positives, others = similarities(z1, z2)
    weights = jnp.ones_like(positives)
    if sigma is not None:
        positive('sigma', sigma)
        weights = 2.0 - batch * jnp.tile(jax.nn.softmax(positives[:batch] / sigma), 2)
        weights = jax.lax.stop_gradient(weights) if stop_weights else weights
    each = jax.nn.logsumexp(others / temperature, axis=-1) - weights * positives / temperature
    return jnp.mean(each if symmetric else each[:batch])


def debiased(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *,
    temperature: ArrayLike = 0.5,
    positive_prior: ArrayLike = 0.1,
    concentration: ArrayLike = 0.0,
) -> Float[Array, '']:
    """Debiased (DCL, eq. 8) and hard-negative (HCL, eq. 4) contrastive loss, the mean over all 2·batch anchors.

    With pos = exp(s⁺/τ), neg_j = exp(s_j/τ) over the N = 2·batch − 2 views of other images and weights
    v_j = neg_j^β / mean neg^β:

        g = max( (Σ_j v_j·neg_j − τ⁺·N·pos) / (1 − τ⁺),  N·e^{−1/τ} ),    L = mean −log( pos / (pos + g) ).

    Args:
      z1, z2: embeddings of two views of the same images, at least two rows, any norm (normalised here).
      temperature: τ. Both papers: 0.5.
      positive_prior: τ⁺ in [0, 1), the chance that a negative shares the anchor's class. Papers: 0.1.
      concentration: β ≥ 0, how much harder negatives weigh; 0 is DCL, HCL takes 0.5 to 2.

    Returns:
      Mean loss in nats, ≥ 0; log(2·batch − 1) at collapse, for every τ⁺ and β.

    Convention: as in the authors' codes, gradient passes through the weights v, and where the floor
    N·e^{−1/τ} is active the negatives get none. With τ⁺ = β = 0 this is :func:`selfsup.losses.ntxent`.

    Cost: O(batch²·dim) time, O(batch²) memory; no state.

    References:
      Chuang et al. 2020, https://arxiv.org/abs/2007.00224, eq. 8; Robinson et al. 2021,
      https://arxiv.org/abs/2010.04592, eq. 4.
    """
    positive('temperature', temperature)
    for name, value, top in (('positive_prior', positive_prior, 1.0), ('concentration', concentration, np.inf)):
        if not isinstance(value, jax.core.Tracer) and not ((np.asarray(value) >= 0) & (np.asarray(value) < top)).all():
            raise ValueError(f'{name} must lie in [0, {top:g}), and is {value}')
    z1, z2 = pair(z1, z2, rows=2)
    count = 2 * z1.shape[0] - 2
    positives, others = similarities(z1, z2)
    positives, others = positives / temperature, others / temperature
    # Relative to the row's largest term: exp(1/τ) overflows float32 below τ = 0.011, and −log of a
    # share of two underflown terms is NaN.
    top = jax.lax.stop_gradient(jnp.maximum(positives, jnp.max(others, axis=-1)))
    negatives = jnp.exp(others - top[:, None])
    # −∞ · 0 is NaN, so the excluded entries are kept out of the weights' exponent by a finite number.
    exponent = jnp.where(jnp.isfinite(others), concentration * jnp.where(jnp.isfinite(others), others, 0.0), -jnp.inf)
    reweighted = count * jnp.sum(jax.nn.softmax(exponent, axis=-1) * negatives, axis=-1)
    pos = jnp.exp(positives - top)
    corrected = (reweighted - positive_prior * count * pos) / (1.0 - positive_prior)
    floor = count * jnp.exp(-1.0 / temperature - top)
    return jnp.mean(jnp.log(pos + jnp.maximum(corrected, floor)) - (positives - top))

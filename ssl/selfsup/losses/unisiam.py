"""UniSiam: SimSiam's term, and a uniformity term that keeps different images apart."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import HIGHEST, normalize, pair, positive
from .predictive import simsiam


def mean_kernel(
    z1: Float[Array, 'batch dim'], z2: Float[Array, 'batch dim'], temperature: ArrayLike
) -> Float[Array, '']:
    """Log mean exp(n(z_i)·n(z_j) / T) over pairs of views of different images, rows of one place being one image's."""
    batch = z1.shape[0]
    z = normalize(jnp.concatenate([z1, z2]))
    same_image = jnp.tile(jnp.eye(batch, dtype=bool), (2, 2))
    logits = jnp.where(same_image, -jnp.inf, jnp.matmul(z, z.T, precision=HIGHEST) / temperature)
    return jax.nn.logsumexp(logits) - math.log(2 * batch * (2 * batch - 2))


def unisiam_terms(
    p1: Float[ArrayLike, 'batch dim'],
    p2: Float[ArrayLike, 'batch dim'],
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *,
    temperature: ArrayLike = 2.0,
) -> dict[str, Array]:
    """The terms of :func:`unisiam`: `alignment` and `uniformity`.

    Args:
      p1, p2, z1, z2, temperature: see :func:`unisiam`.

    Returns:
      The two scalars by name, without weight.

    References:
      Lu et al. 2022, https://arxiv.org/abs/2207.09176, section 3.
    """
    positive('temperature', temperature)
    z1, z2 = pair(z1, z2, rows=2)
    return {
        'alignment': (simsiam(p1, z2) + simsiam(p2, z1)) / 2.0,
        'uniformity': mean_kernel(z1, z2, temperature),
    }


def unisiam(
    p1: Float[ArrayLike, 'batch dim'],
    p2: Float[ArrayLike, 'batch dim'],
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *,
    uniformity_weight: ArrayLike = 0.1,
    temperature: ArrayLike = 2.0,
) -> Float[Array, '']:
    """SimSiam's two directions, and the log of the mean kernel between views of different images.

        L = −½·mean cos(p1, sg z2) − ½·mean cos(p2, sg z1) + λ·log mean_{i, j of other images} exp(n(z_i)·n(z_j) / T).

    Args:
      p1, p2: the predictor's outputs for the two views, any norm (normalised here).
      z1, z2: the projector's outputs, at least two rows (normalised here). Gradient reaches them by the second term
        alone.
      uniformity_weight: λ. Authors: 0.1.
      temperature: T. Authors: 2.

    Returns:
      A scalar from −1 − λ/T; −1 + λ/T at collapse.

    Convention: one logarithm of the mean over all anchors, not a mean of logarithms as in SimCLR. The authors mask
    entries of the same image to exp(0) and subtract them from the sum, which is the same.

    Cost: O(batch²·dim) time, O(batch²) memory; no state.

    References:
      Lu et al. 2022, https://arxiv.org/abs/2207.09176, section 3.
    """
    terms = unisiam_terms(p1, p2, z1, z2, temperature=temperature)
    return terms['alignment'] + uniformity_weight * terms['uniformity']

"""SIGReg and LeJEPA: embeddings should be distributed as an isotropic Gaussian."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ._common import HIGHEST, drawn_to_mean, matrix, normalize, same_width, several


def sigreg(
    z: Float[ArrayLike, 'batch dim'],
    directions: Float[ArrayLike, 'count dim'],
    *,
    knots: int = 17,
    limit: float = 3.0,
) -> Float[Array, '']:
    """Sketched isotropic Gaussian regularisation: the Epps–Pulley statistic, averaged over directions.

    For the projections x of the batch on one direction, with φ(t) = exp(−t²/2),
    T = batch · Σ_t w_t φ(t) [(mean cos(t·x) − φ(t))² + (mean sin(t·x))²], a trapezoid sum over t in
    [0, limit], doubled for the negative half: w_t = 2Δt within and Δt at both ends.

    Args:
      z: embeddings, not normalised: their scale is what is tested.
      directions: one a row (normalised here), drawn anew for every step. Authors: 1024.
      knots, limit: number of points t and the last of them.

    Returns:
      A dimensionless scalar ≥ 0, of order 1 for a sample of the standard normal whatever the batch
      size. At collapse to zero: batch·Σ w_t φ(t)(1 − φ(t))² ≈ 0.40·batch; it grows with `batch` for
      anything that is not Gaussian.

    Convention: a sum over the batch of an average statistic (the factor `batch`), not its mean.

    Cost: O(batch·count·(dim + knots)) time; memory O(batch·count), since the cosines are recomputed
    in the backward pass. No state.

    References:
      Balestriero and LeCun 2025, https://arxiv.org/abs/2511.08544, section 4 (SIGReg).
    """
    z = matrix('z', z)
    directions = matrix('directions', directions)
    same_width('directions', directions, 'z', z)
    if knots < 2:
        raise ValueError(f'knots must be at least 2, not {knots}')
    x = jnp.matmul(z, normalize(directions.astype(z.dtype)).T, precision=HIGHEST)
    # The authors' constants are float32 whatever the embeddings are; that shows at 1e-8 only.
    t = np.linspace(0.0, limit, knots, dtype=np.float32)
    weights = np.full(knots, 2 * limit / (knots - 1), np.float32)
    weights[[0, -1]] /= 2
    gauss = np.exp(-(t.astype(float) ** 2) / 2).astype(np.float32)
    weights *= gauss

    @jax.checkpoint
    def distance(x: Array, t: Array, gauss: Array) -> Array:
        return (jnp.mean(jnp.cos(t * x), axis=0) - gauss) ** 2 + jnp.mean(jnp.sin(t * x), axis=0) ** 2

    points = (jnp.asarray(t, z.dtype), jnp.asarray(gauss, z.dtype))
    distances = jax.lax.map(lambda point: distance(x, *point), points)
    total = jnp.matmul(jnp.asarray(weights, z.dtype), distances, precision=HIGHEST)
    return z.shape[0] * jnp.mean(total)


def lejepa_terms(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *more: Float[ArrayLike, 'batch dim'],
    directions: Float[ArrayLike, 'count dim'],
    centres: int = 0,
    knots: int = 17,
    limit: float = 3.0,
) -> dict[str, Float[Array, '']]:
    """The two parts of :func:`lejepa`, unweighted.

    Args:
      z1, z2, more: embeddings of two or more views of the same images, not normalised.
      directions, knots, limit: of :func:`sigreg`.
      centres: how many of the first views make up the mean that all are drawn to; 0 takes all.

    Returns:
      `invariance`: mean over views, batch and dims of (z_v − mean_v z)²; `sigreg`: its mean over views.

    References:
      Balestriero and LeCun 2025, https://arxiv.org/abs/2511.08544, section 5 (LeJEPA).
    """
    views = several(z1, z2, *more)
    return {
        'invariance': drawn_to_mean(views, centres),
        'sigreg': sum(sigreg(z, directions, knots=knots, limit=limit) for z in views) / len(views),
    }


def lejepa(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *more: Float[ArrayLike, 'batch dim'],
    directions: Float[ArrayLike, 'count dim'],
    lambd: ArrayLike = 0.05,
    centres: int = 0,
    knots: int = 17,
    limit: float = 3.0,
) -> Float[Array, '']:
    """L = (1 − λ)·mean (z_v − mean_v z)² + λ·SIGReg: views agree, embeddings are Gaussian.

    Neither normalisation, nor stop-gradient, nor teacher.

    Args:
      z1, z2, more: embeddings of two or more views of the same images, not normalised.
      directions, knots, limit: of :func:`sigreg`; the same directions serve all views.
      lambd: λ. Authors: 0.05 (0.02 in their minimal example).
      centres: how many of the first views (the global crops) make up the mean; 0 takes all views, as
        the authors' minimal example does.

    Returns:
      A scalar ≥ 0; λ·0.40·batch at collapse to zero, and more at any other constant.

    Convention: the invariance is a mean over dims, SIGReg grows with the batch, so λ is tied to both.
    stable-pretraining weighs the invariance by 1 instead of 1 − λ (λ 0.02), draws to the mean of the
    global views, and tests all views' rows as one sample: `invariance` of :func:`lejepa_terms` with
    `centres`, plus λ·:func:`sigreg` of the concatenated views. lightly's is this one with `centres`.

    Cost: `views` times :func:`sigreg`; no state.

    References:
      Balestriero and LeCun 2025, https://arxiv.org/abs/2511.08544, section 5 (LeJEPA).
    """
    terms = lejepa_terms(z1, z2, *more, directions=directions, centres=centres, knots=knots, limit=limit)
    return (1.0 - lambd) * terms['invariance'] + lambd * terms['sigreg']

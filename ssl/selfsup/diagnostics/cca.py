"""Canonical correlations of two representations of the same samples: CCA, SVCCA, PWCCA.

Invariant to any invertible linear map of either side (SVCCA: as far as it keeps the leading subspace),
which makes them generous: with samples ≤ dim_x + dim_y every two clouds correlate perfectly. Gradients
are finite at dependent columns, where the number of directions that are kept jumps.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import centre, dot, frobenius_unit, pair, thin_svd


def _basis(z: Array, variance: ArrayLike) -> tuple[Array, Array, Array]:
    """Left singular vectors of the centred rows that carry `variance` of the energy; the others zeroed.

    Returns the basis `[samples, rank]`, how many are kept, and the centred rows themselves.
    """
    z = frobenius_unit(centre(z))
    left, sigma, _ = thin_svd(z)
    energy = sigma * sigma
    before = jnp.cumsum(energy) - energy
    noise = sigma[0] * max(z.shape) * jnp.finfo(z.dtype).eps
    keep = (before < variance * jnp.sum(energy)) & (sigma > noise)
    return jnp.where(keep[None], left, 0.0), jnp.sum(keep), z


def _sides(x, y, variance: ArrayLike):
    x, y = pair(x, y, names=('x', 'y'), rows=3, same='samples')
    (u, kept_x, x), (v, kept_y, _) = _basis(x, variance), _basis(y, variance)
    return u, v, x, jnp.minimum(kept_x, kept_y)


def canonical_correlations(
    x: Float[ArrayLike, 'samples dim_x'], y: Float[ArrayLike, 'samples dim_y'], *, variance: ArrayLike = 1.0
) -> Float[Array, 'rank']:
    """Canonical correlations ρ₁ ≥ ρ₂ ≥ …, the singular values of U_xᵀU_y.

    U are the left singular vectors of the centred sides, so this equals the singular values of
    Σ_xx^−½ Σ_xy Σ_yy^−½ without forming or inverting a covariance. Directions below the rounding of the
    largest (σ < σ₁·max(shape)·machine ε) are dropped in place of an ε.

    Args:
      x, y: two representations of the same samples, at least three rows; take 10·dim or more.
      variance: keep the leading directions that carry this share of Σσ².

    Returns:
      min(samples, dim_x, dim_y) values in [0, 1]; zero beyond the directions kept.

    Cost: O(samples·(dim_x² + dim_y²)).

    References:
      Hotelling 1936, https://doi.org/10.1093/biomet/28.3-4.321; Björck and Golub 1973 for this form.
    """
    u, v, _, _ = _sides(x, y, variance)
    return jnp.minimum(jnp.linalg.svd(dot(u.T, v), compute_uv=False), 1.0)


def svcca(
    x: Float[ArrayLike, 'samples dim_x'], y: Float[ArrayLike, 'samples dim_y'], *, variance: ArrayLike = 0.99
) -> Float[Array, '']:
    """SVCCA: mean canonical correlation of the leading singular directions of both sides.

    Args:
      x, y: two representations of the same samples, centred here; 10·dim samples or more.
      variance: share of the variance Σσ² to keep, as the paper says; its code shares out Σσ instead.

    Returns:
      A scalar in [0, 1]: 1 for rotated, scaled or shifted copies. Unrelated noise of width d gives
      about √(d / samples) for samples ≫ d, and 1 for samples ≤ 2·d. 0, the limit, when one side has
      collapsed.

    Cost: O(samples·(dim_x² + dim_y²)).

    References:
      Raghu et al. 2017, https://arxiv.org/abs/1706.05806, section 2.
    """
    u, v, _, kept = _sides(x, y, variance)
    rho = jnp.minimum(jnp.linalg.svd(dot(u.T, v), compute_uv=False), 1.0)
    return jnp.sum(jnp.where(jnp.arange(len(rho)) < kept, rho, 0.0)) / jnp.maximum(kept, 1)


def pwcca(
    x: Float[ArrayLike, 'samples dim_x'], y: Float[ArrayLike, 'samples dim_y'], *, variance: ArrayLike = 1.0
) -> Float[Array, '']:
    """Projection-weighted CCA: Σ αᵢρᵢ / Σ αᵢ with αᵢ = Σⱼ |⟨hᵢ, xⱼ⟩|.

    hᵢ are the orthonormal canonical variates of `x` and xⱼ its centred columns, so correlations count by
    how much of `x` they explain. Written from the formula. The authors' code gives other values whenever
    there is more than one dimension: its directions leave out a factor, the inverse root of the side's
    covariance, so what it projects on are not the canonical variates; and where `y` is the narrower side
    it weighs by `y`'s.

    Args:
      x: the representation whose directions weigh; not symmetric in x and y.
      y: another representation of the same samples; 10·dim of them or more.
      variance: as in :func:`svcca`; the paper keeps all.

    Returns:
      A scalar in [0, 1]: 1 when `y` is an invertible linear image of `x`; 0, the limit, when one side
      has collapsed. Unrelated noise as in :func:`svcca`.

    Cost: O(samples·(dim_x² + dim_y²)).

    References:
      Morcos et al. 2018, https://arxiv.org/abs/1806.05759, eqs. 2 and 3.
    """
    u, v, x, kept = _sides(x, y, variance)
    turn, rho, _ = thin_svd(dot(u.T, v))
    variates = dot(u, turn)
    weights = jnp.sum(jnp.abs(dot(variates.T, x)), axis=1)
    weights = jnp.where(jnp.arange(len(rho)) < kept, weights, 0.0)
    total = jnp.sum(weights)
    return jnp.sum(weights * jnp.minimum(rho, 1.0)) / jnp.where(total > 0, total, 1.0)

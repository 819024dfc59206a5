"""What atoms may be: of length 1, orthogonal, near the hull of data; and where codes are centred."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import dot, finite, matrix


def unit_atoms(dictionary: Float[ArrayLike, 'units dim']) -> Float[Array, 'units dim']:
    """Atoms scaled to length 1; one of zeros stays."""
    dictionary = matrix('dictionary', dictionary, rows='units')
    squared = jnp.sum(dictionary * dictionary, axis=1, keepdims=True)
    return dictionary * jnp.where(squared > 0, jax.lax.rsqrt(jnp.where(squared > 0, squared, 1.0)), 0.0)


def tangent(dictionary: Float[Array, 'units dim']) -> Float[Array, 'units dim']:
    """The dictionary itself, whose gradient loses the part along each atom.

    A step along an atom changes its length alone, which the constraint undoes, but an adaptive optimiser would keep it
    in its moments. Exact in value: what is added is x − x.

    References:
      Gao et al. 2024, https://arxiv.org/abs/2406.04093, appendix A.1; Bricken et al. 2023.
    """
    unit = jax.lax.stop_gradient(unit_atoms(dictionary))
    along = jnp.sum(dictionary * unit, axis=1, keepdims=True) * unit
    return dictionary + (jax.lax.stop_gradient(along) - along)


def nearest_orthogonal(matrix_: Float[ArrayLike, 'dim dim']) -> Float[Array, 'dim dim']:
    """The orthogonal matrix closest to a square one in Frobenius norm: UVᵀ of its singular vectors (Procrustes).

    Raises:
      ValueError: a matrix that is not square.

    References:
      Schönemann 1966, https://doi.org/10.1007/BF02289451.
    """
    m = matrix('matrix', matrix_)
    if m.shape[0] != m.shape[1]:
        raise ValueError(f'matrix must be square, not {list(m.shape)}')
    u, _, v = jnp.linalg.svd(m)
    return dot(u, v)


def near_hull(
    weights: Float[ArrayLike, 'units points'],
    points: Float[ArrayLike, 'points dim'],
    relaxation: Float[ArrayLike, 'units dim'],
    log_scale: ArrayLike = 0.0,
) -> Float[Array, 'units dim']:
    """Atoms e^s·(WC + Λ): convex combinations of points, each moved by a little (relaxed archetypal).

    Args:
      weights: W, rows on the simplex; :func:`hull_constraints` brings them there.
      points: C, such as centres of clusters of the data.
      relaxation: Λ.
      log_scale: s.

    References:
      Fel et al. 2025, https://arxiv.org/abs/2502.12892, eq. 4.
    """
    weights, points = matrix('weights', weights, rows='units'), matrix('points', points, rows='points')
    relaxation = matrix('relaxation', relaxation, rows='units')
    if weights.shape[1] != points.shape[0] or relaxation.shape != (weights.shape[0], points.shape[1]):
        raise ValueError(
            f'weights {list(weights.shape)}, points {list(points.shape)} and relaxation {list(relaxation.shape)} '
            f'must be [units, points], [points, dim] and [units, dim]'
        )
    return jnp.exp(log_scale) * (dot(weights, points) + relaxation)


def hull_constraints(
    weights: Float[Array, 'units points'], relaxation: Float[Array, 'units dim'], *, delta: ArrayLike = 1.0
) -> tuple[Float[Array, 'units points'], Float[Array, 'units dim']]:
    """Weights with negative ones cut and rows that sum to 1, and a relaxation whose rows are no longer than δ.

    As the authors' code has it, which is not the projection to the simplex.

    References:
      Fel et al. 2025, https://arxiv.org/abs/2502.12892, section 3; `RelaxedArchetypalDictionary` of their code.
    """
    weights = jnp.maximum(weights, 0.0)
    weights = weights / (jnp.sum(weights, axis=1, keepdims=True) + 1e-8)
    squared = jnp.sum(relaxation * relaxation, axis=1, keepdims=True)
    length = jnp.sqrt(jnp.where(squared > 0, squared, 1.0))
    return weights, relaxation * jnp.where(squared > 0, jnp.minimum(delta / length, 1.0), 1.0)


def mutual_coherence(dictionary: Float[ArrayLike, 'units dim']) -> Float[Array, '']:
    """Largest |cosine| of two different atoms, in [0, 1]: OMP recovers codes of k < (1 + 1/μ)/2 atoms exactly.

    References:
      Tropp 2004, https://doi.org/10.1109/TIT.2004.834793, theorem A.
    """
    unit = unit_atoms(dictionary)
    cosines = jnp.abs(dot(unit, unit.T))
    return jnp.max(jnp.where(jnp.eye(len(unit), dtype=bool), 0.0, cosines))


def geometric_median(rows: Float[ArrayLike, 'rows dim'], *, iterations: int = 100) -> Float[Array, ' dim']:
    """The point with the least sum of distances to the rows, by Weiszfeld's steps from their mean.

    Args:
      rows: at least one; more than half of them equal makes that row the median.
      iterations: steps. A step does not lengthen the sum.

    Returns:
      `[dim]`. A row at the point itself counts with a distance of 1e-12.

    References:
      Weiszfeld 1937; its use as pre-bias: Gao et al. 2024, https://arxiv.org/abs/2406.04093, appendix A.1.
    """
    rows = matrix('rows', rows)
    finite('rows', rows)
    return _weiszfeld(rows, iterations=iterations)


@partial(jax.jit, static_argnames='iterations')
def _weiszfeld(rows: Array, *, iterations: int) -> Array:
    def step(_: Any, point: Array) -> Array:
        weights = 1.0 / jnp.maximum(jnp.linalg.norm(rows - point[None], axis=1), 1e-12)
        return dot(weights / jnp.sum(weights), rows)

    return jax.lax.fori_loop(0, iterations, step, jnp.mean(rows, axis=0))

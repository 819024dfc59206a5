"""Spectral transformation of a batch, and INTL: iterative normalisation with a loss on its trace."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import HIGHEST, matrix, normalize, several


def _laid_out(z: Float[Array, 'batch dim'], axis: int) -> tuple[Array, Array]:
    """`z` centred, with what is whitened along the rows and its observations along the columns, and its covariance."""
    if axis not in (0, 1):
        raise ValueError(f'axis must be 0 (examples are whitened) or 1 (dimensions are), not {axis!r}')
    if z.shape[1 - axis] < 2:
        raise ValueError(f'axis={axis} needs at least two {("columns", "rows")[axis]}, and z has shape {list(z.shape)}')
    x = z if axis == 0 else z.T
    x = x - jnp.mean(x, axis=1, keepdims=True)
    return x, jnp.matmul(x, x.T, precision=HIGHEST) / (x.shape[1] - 1)


def _unit(z: Float[Array, 'batch dim']) -> tuple[Array, Array]:
    """`z` in units of its largest entry, and that entry (1 for zeros), without a gradient."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(z)))
    largest = jnp.where(largest > 0, largest, 1.0).astype(z.dtype)
    return z / largest, largest


@jax.custom_vjp
def _of_matrix(matrix: Array, values: Array, slopes: Array, vectors: Array, eigenvalues: Array) -> Array:
    """U g(Λ) Uᵀ of a symmetric matrix, given g and g' at its eigenvalues; the gradient is that by the matrix."""
    return jnp.matmul(vectors * values[None], vectors.T, precision=HIGHEST)


def _of_matrix_forward(matrix: Array, values: Array, slopes: Array, vectors: Array, eigenvalues: Array) -> tuple:
    result = _of_matrix(matrix, values, slopes, vectors, eigenvalues)
    return result, (values, slopes, vectors, eigenvalues)


def _of_matrix_backward(kept: tuple, cotangent: Array) -> tuple:
    # Daleckii and Krein: divided differences of g, which stay finite where eigenvalues repeat.
    values, slopes, vectors, eigenvalues = kept
    apart = eigenvalues[:, None] - eigenvalues[None]
    close = jnp.abs(apart) <= jnp.finfo(apart.dtype).eps ** 0.5 * jnp.maximum(eigenvalues[:, None], eigenvalues[None])
    quotient = (values[:, None] - values[None]) / jnp.where(close, 1.0, apart)
    quotient = jnp.where(close, 0.5 * (slopes[:, None] + slopes[None]), quotient)
    inner = jnp.matmul(jnp.matmul(vectors.T, cotangent, precision=HIGHEST), vectors, precision=HIGHEST)
    gradient = jnp.matmul(jnp.matmul(vectors, quotient * inner, precision=HIGHEST), vectors.T, precision=HIGHEST)
    return gradient, *(jnp.zeros_like(x) for x in kept)


_of_matrix.defvjp(_of_matrix_forward, _of_matrix_backward)


def spectral_transform(
    z: Float[ArrayLike, 'batch dim'],
    scale: Callable[[Array], Array],
    *,
    axis: int = 1,
    by_trace: bool = False,
) -> Float[Array, 'batch dim']:
    """Ẑ = U g(Λ) Uᵀ Z with U Λ Uᵀ the covariance of centred Z: every principal axis is rescaled.

    Args:
      z: embeddings of one view.
      scale: g, of one eigenvalue at a time and differentiable: :func:`power_scale` whitens (exponent ½) or does so
        in part, :func:`iterative_scale` is iterative normalisation.
      axis: what is whitened: 1, the dimensions, each centred over the batch (`dim × dim`); 0, the examples, each
        centred over its dimensions (`batch × batch`), the default of INTL's authors.
      by_trace: whether Z is divided by the root of the covariance's trace first, so that eigenvalues sum to 1, as
        iterative normalisation does. A constant batch stays zero.

    Returns:
      The transformed embeddings. Eigenvalues below rounding (1e-6 of the largest in float32) count as 0, and g(0)
      scales nothing: what is left along those axes is rounding.

    Convention: covariances have ddof 1. The gradient is that of the whole map, by divided differences of g, and
    finite where eigenvalues repeat.

    Cost: O(batch·dim·n + n³), n the length of the whitened axis, for an eigendecomposition; no state.

    References:
      Weng et al. 2024, https://arxiv.org/abs/2305.16789 (INTL), section 3 (spectral transformation).
    """
    z, largest = _unit(matrix('z', z))
    x, covariance = _laid_out(z, axis)
    if by_trace:
        trace = jnp.trace(covariance)
        trace = jnp.where(trace > 0, trace, 1.0)
        x, covariance, largest = x * jax.lax.rsqrt(trace), covariance / trace, jnp.ones_like(largest)
    eigenvalues, vectors = jnp.linalg.eigh(jax.lax.stop_gradient(covariance))
    eigenvalues = jnp.maximum(eigenvalues, 0.0)
    rank = 8 * jnp.finfo(eigenvalues.dtype).eps * jnp.max(eigenvalues)
    kept = eigenvalues > rank
    # g is given true eigenvalues, in the units of z; its slope is by those here.
    unit = largest**2
    safe = jnp.where(kept, eigenvalues, 1.0)
    values, slopes = jax.jvp(lambda e: scale(e * unit), (safe,), (jnp.ones_like(safe),))
    values, slopes = jnp.where(kept, values, 0.0), jnp.where(kept, slopes, 0.0)
    map_ = _of_matrix(covariance, values, slopes, vectors, jnp.where(kept, eigenvalues, 0.0))
    out = jnp.matmul(map_, x, precision=HIGHEST) * largest
    return out if axis == 0 else out.T


def power_scale(*, exponent: float = 0.5) -> Callable[[Array], Array]:
    """g(λ) = λ^{−p} for :func:`spectral_transform`: ½ whitens, 0 leaves Z as it is, between them it does so in part.

    The paper reports collapse for exponents far below ½.

    Args:
      exponent: p, at least 0.

    Returns:
      The function g of eigenvalues `[n]`.

    References:
      Weng et al. 2024, https://arxiv.org/abs/2305.16789, section 3.
    """
    return lambda eigenvalue: eigenvalue**-exponent


def iterative_scale(*, iterations: int = 4) -> Callable[[Array], Array]:
    """g(λ) = P_T(λ), of P₀ = 1 and P_{k+1} = (3 P_k − P_k³ λ) / 2: iterative normalisation, with `by_trace`.

    The eigenvalues of the result are λ·P_T(λ)², which rise to 1 with T.

    Args:
      iterations: T. Authors: 4.

    Returns:
      The function g of eigenvalues `[n]`, which `by_trace` has divided by their sum.

    References:
      Huang et al. 2019, https://arxiv.org/abs/1904.03441, eq. 6; Weng et al. 2024,
      https://arxiv.org/abs/2305.16789, section 4.
    """

    def scale(eigenvalue: Array) -> Array:
        value = jnp.ones_like(eigenvalue)
        for _ in range(iterations):
            value = 1.5 * value - 0.5 * value**3 * eigenvalue
        return value

    return scale


def iterative_normalization(
    z: Float[ArrayLike, 'batch dim'], *, iterations: int = 4, axis: int = 0
) -> Float[Array, 'batch dim']:
    """Approximate whitening Ẑ = P_T Z / √tr Σ by Newton's iteration P ← (3P − P³ Σ/tr Σ) / 2 from P = I.

    It is computed with Y = P Σ/tr Σ beside P, which is the same in exact arithmetic and stays accurate for any T.

    Args:
      z: embeddings of one view.
      iterations: T. Authors of INTL: 4.
      axis: as in :func:`spectral_transform`, of which it is an instance (:func:`iterative_scale`).

    Returns:
      An array without scale: covariances of the result lie between 0 and the identity. Constant rows (axis 1), or
      rows of a constant (axis 0), stay zero.

    Cost: O(batch·dim·n + iterations·n³), n the length of the whitened axis, in products alone; no state.

    References:
      Huang et al. 2019, https://arxiv.org/abs/1904.03441, algorithm 1.
    """
    x, covariance = _laid_out(_unit(matrix('z', z))[0], axis)
    trace = jnp.trace(covariance)
    trace = jnp.where(trace > 0, trace, 1.0)
    eye = jnp.eye(len(x), dtype=x.dtype)
    # With P³Σ instead, rounding that does not commute with Σ doubles in each step: 30 of them overflow.
    root, inverse = eye, covariance / trace
    for number in range(iterations):
        product = inverse if number == 0 else jnp.matmul(root, inverse, precision=HIGHEST)
        factor = 1.5 * eye - 0.5 * product
        root = factor if number == 0 else jnp.matmul(factor, root, precision=HIGHEST)
        inverse = jnp.matmul(inverse, factor, precision=HIGHEST)
    out = jnp.matmul(root, x, precision=HIGHEST) * jax.lax.rsqrt(trace)
    return out if axis == 0 else out.T


def trace_loss(z: Float[ArrayLike, 'batch dim'], *, axis: int = 0) -> Float[Array, '']:
    """Σ_n (Var_n − 1)² over the whitened axis of normalised embeddings: their eigenvalues should be 1 (INTL).

    Args:
      z: what :func:`iterative_normalization` gives.
      axis: as there. Variances have ddof 1.

    Returns:
      A scalar ≥ 0: a sum, 0 for white embeddings, the length of the axis for zeros.

    Cost: O(batch·dim); no state.

    References:
      Weng et al. 2024, https://arxiv.org/abs/2305.16789, section 4.
    """
    z = matrix('z', z)
    return jnp.sum((jnp.var(z, axis=1 - axis, ddof=1) - 1.0) ** 2)


def intl_terms(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *more: Float[ArrayLike, 'batch dim'],
    iterations: int = 4,
    axis: int = 0,
    target: bool = False,
) -> dict[str, Float[Array, '']]:
    """The two parts of :func:`intl`, unweighted.

    Args:
      z1, z2, more, iterations, axis, target: as of :func:`intl`.

    Returns:
      `invariance`, mean over i of 2 − 2·mean cos(ẑᵢ, ẑ₁), in [0, 4]; `trace`, mean over i of TLᵢ + TL₁ ≥ 0.

    References:
      Weng et al. 2024, https://arxiv.org/abs/2305.16789, algorithm 1.
    """
    first, *others = (iterative_normalization(z, iterations=iterations, axis=axis) for z in several(z1, z2, *more))
    own = 0.0 if target else trace_loss(first, axis=axis)
    first = normalize(jax.lax.stop_gradient(first) if target else first)
    cosines = [jnp.mean(jnp.sum(normalize(other) * first, axis=1)) for other in others]
    return {
        'invariance': 2.0 - 2.0 * sum(cosines) / len(cosines),
        'trace': own + sum(trace_loss(other, axis=axis) for other in others) / len(others),
    }


def intl_weight(*, batch: int, dim: int, axis: int = 0) -> float:
    """The authors' β of :func:`intl`: 0.01·(log₂ n − 3), n the length of the whitened axis.

    Args:
      batch, dim: of the embeddings.
      axis: 0 or 1, which of them is whitened.

    Returns:
      β, negative for fewer than 8.

    References:
      https://github.com/winci-ai/INTL; Weng et al. 2024, https://arxiv.org/abs/2305.16789.
    """
    return 0.01 * (math.log2((batch, dim)[axis]) - 3.0)


def intl(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *more: Float[ArrayLike, 'batch dim'],
    iterations: int = 4,
    axis: int = 0,
    trace_weight: ArrayLike | None = None,
    target: bool = False,
) -> Float[Array, '']:
    """Iterative normalisation with trace loss: L = mean over i of ‖n(ẑᵢ) − n(ẑ₁)‖² + β·(TLᵢ + TL₁).

    ẑ is :func:`iterative_normalization` of each view by itself, TL its :func:`trace_loss`, i the views after the
    first.

    Args:
      z1, z2, more: embeddings of two or more views of the same images, any scale.
      iterations, axis: of the normalisation. Authors: 4, and 0: the Gram matrix of the examples is whitened, each
        centred over its dimensions; 1 whitens the dimensions, each centred over the batch.
      trace_weight: β; None is :func:`intl_weight`, 0.05 for 256 examples. Below 8 that is negative.
      target: whether z1 is a target network's: no gradient enters it, and its trace is not counted (`INTL_M`).

    Returns:
      A scalar. At collapse to one point, axis 1: 2 + 2β·dim; axis 0, of embeddings that are not constant along their
      dimensions: 2β·batch·(1 − 1/batch)², with an invariance of 0.

    Convention: the trace loss is a sum over the axis, not a mean, which β's logarithm partly makes up for.

    Cost: `views` times :func:`iterative_normalization`; no state.

    References:
      Weng et al. 2024, https://arxiv.org/abs/2305.16789, algorithm 1.
    """
    terms = intl_terms(z1, z2, *more, iterations=iterations, axis=axis, target=target)
    batch, dim = jnp.shape(z1)
    weight = intl_weight(batch=batch, dim=dim, axis=axis) if trace_weight is None else trace_weight
    return terms['invariance'] + weight * terms['trace']

"""Neighbourhood distributions as matrices of logarithms: row i is log p(j | i), −∞ where j can be no neighbour of i."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from ._common import HIGHEST, as_float, matrix, normalize, positive


def _normalized(logits: Float[Array, 'rows rows'], *, itself: bool) -> Float[Array, 'rows rows']:
    """Log softmax of each row; without `itself` the diagonal is −∞ and left out of the sum."""
    if not itself:
        logits = jnp.where(jnp.eye(logits.shape[0], dtype=bool), -jnp.inf, logits)
    return logits - jax.nn.logsumexp(logits, axis=-1, keepdims=True)


def _squared_distances(z: Float[Array, 'rows dim']) -> Float[Array, 'rows rows']:
    """‖zᵢ − zⱼ‖² of centred rows, ≥ 0."""
    z = z - jnp.mean(z, axis=0, keepdims=True)
    norms = jnp.sum(z * z, axis=1)
    distances = norms[:, None] + norms[None] - 2.0 * jnp.matmul(z, z.T, precision=HIGHEST)
    return jnp.maximum(distances, 0.0)


def cosine_kernel(
    z: Float[ArrayLike, 'rows dim'], *, temperature: ArrayLike = 0.5, itself: bool = False
) -> Float[Array, 'rows rows']:
    """Log softmax_j cos(zᵢ, zⱼ) / τ: the learned neighbourhood of SimCLR and SupCon.

    Args:
      z: rows of any norm, at least two.
      temperature: τ. The authors' Gaussian kernel of the cosine distance, exp(−(1 − cos) / 2σ²), has τ = 2σ²; that of
        the Euclidean distance of unit rows has τ = σ².
      itself: whether a row may be its own neighbour.

    Returns:
      Rows of logarithms that sum to one; −∞ on the diagonal unless `itself`.

    Cost: O(rows²·dim) time, O(rows²) memory; no state.

    References:
      Alshammari et al. 2025, https://arxiv.org/abs/2504.16929, table 1.
    """
    positive('temperature', temperature)
    z = normalize(matrix('z', z, rows=2))
    return _normalized(jnp.matmul(z, z.T, precision=HIGHEST) / temperature, itself=itself)


def gaussian_kernel(
    z: Float[ArrayLike, 'rows dim'], *, width: ArrayLike = 1.0, itself: bool = False
) -> Float[Array, 'rows rows']:
    """Log softmax_j −‖zᵢ − zⱼ‖² / 2σᵢ²: SNE's neighbourhoods of inputs and of embeddings.

    Args:
      z: rows, at least two.
      width: σ, one number or one a row (:func:`perplexity_widths`). SNE's embeddings have σ = 1/√2.
      itself: whether a row may be its own neighbour.

    Returns:
      Rows of logarithms that sum to one; −∞ on the diagonal unless `itself`.

    Cost: O(rows²·dim) time, O(rows²) memory; no state.

    References:
      Hinton and Roweis 2002, "Stochastic neighbor embedding", eq. 1 and 4; Alshammari et al. 2025,
      https://arxiv.org/abs/2504.16929, table 1.
    """
    positive('width', width)
    distances = _squared_distances(matrix('z', z, rows=2))
    width = jnp.asarray(width, distances.dtype)
    if width.shape not in ((), (distances.shape[0],)):
        raise ValueError(
            f'width must be one number or one a row of z, and their shapes are {list(width.shape)} and '
            f'{list(distances.shape[:1])}'
        )
    return _normalized(-0.5 * distances / jnp.reshape(width, (-1, 1)) ** 2, itself=itself)


def student_kernel(
    z: Float[ArrayLike, 'rows dim'], *, width: ArrayLike = 1.0, itself: bool = False
) -> Float[Array, 'rows rows']:
    """Logarithm of (1 + ‖zᵢ − zⱼ‖² / γ²)⁻¹, each row normalised: t-SNE's heavy tails, row by row.

    Args:
      z: rows, at least two; not normalised.
      width: γ. The authors' code divides the squared distance by γ, not γ².
      itself: whether a row may be its own neighbour.

    Returns:
      Rows of logarithms that sum to one; −∞ on the diagonal unless `itself`.

    Convention: rows sum to one, where t-SNE normalises over all pairs.

    Cost: O(rows²·dim) time, O(rows²) memory; no state.

    References:
      Alshammari et al. 2025, https://arxiv.org/abs/2504.16929, table 1.
    """
    positive('width', width)
    distances = _squared_distances(matrix('z', z, rows=2))
    return _normalized(-jnp.log1p(distances / jnp.asarray(width, distances.dtype) ** 2), itself=itself)


def cluster_kernel(assignments: Float[ArrayLike, 'rows clusters']) -> Float[Array, 'rows rows']:
    """Log Σ_c φᵢ_c φⱼ_c / Σ_k φ_k_c: i draws one of its clusters, then any member of it, itself among them.

    Args:
      assignments: φ, a distribution over clusters in each row. Clusters without members count for nothing.

    Returns:
      Rows of logarithms that sum to one; −∞ for rows that share no cluster, log(1 / rows) where all assign alike.

    Cost: O(rows²·clusters) time, O(rows²) memory; no state.

    References:
      Alshammari et al. 2025, https://arxiv.org/abs/2504.16929, section 3.
    """
    assignments = matrix('assignments', assignments)
    members = jnp.sum(assignments, axis=0, keepdims=True)
    shares = assignments / jnp.where(members > 0, members, 1.0)
    kernel = jnp.matmul(assignments, shares.T, precision=HIGHEST)
    # The logarithm has no gradient at 0 that would be of use: such a pair shares no cluster.
    return jnp.where(kernel > 0, jnp.log(jnp.where(kernel > 0, kernel, 1.0)), -jnp.inf)


def label_kernel(labels: Int[ArrayLike, ' rows'], *, itself: bool = False) -> Float[Array, 'rows rows']:
    """Logarithm of 1 / #(others of the label), SupCon's supervision; of row numbers modulo the batch, SimCLR's.

    Args:
      labels: one integer a row. A row whose label no other has, has no neighbour: its row is −∞ throughout.
      itself: whether a row may be its own neighbour.

    Returns:
      Rows of logarithms that sum to one, float32, or float64 where jax has it on.

    Cost: O(rows²); no state.

    References:
      Alshammari et al. 2025, https://arxiv.org/abs/2504.16929, table 1.
    """
    labels = jnp.asarray(labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer) or labels.ndim != 1:
        raise TypeError(f'labels must be integers of shape [rows], not {labels.dtype} {list(labels.shape)}')
    same = labels[:, None] == labels[None]
    return _uniform(same if itself else same & ~jnp.eye(len(labels), dtype=bool))


def neighbour_kernel(z: Float[ArrayLike, 'rows dim'], *, k: int = 5) -> Float[Array, 'rows rows']:
    """Logarithm of 1/k for the k nearest other rows by Euclidean distance: a graph as supervision. No gradient.

    Args:
      z: rows, more than `k`.
      k: neighbours.

    Returns:
      Rows with `k` entries of −log k; −∞ elsewhere.

    Cost: O(rows²·dim); no state.

    References:
      Alshammari et al. 2025, https://arxiv.org/abs/2504.16929, table 1.
    """
    z = jax.lax.stop_gradient(matrix('z', z, rows=2))
    if not 1 <= k < z.shape[0]:
        raise ValueError(f'k={k} must lie between 1 and {z.shape[0] - 1}: z has shape {list(z.shape)}')
    itself = jnp.eye(z.shape[0], dtype=bool)
    _, index = jax.lax.top_k(jnp.where(itself, -jnp.inf, -_squared_distances(z)), k)
    return _uniform(jnp.any(index[:, :, None] == jnp.arange(z.shape[0])[None, None], axis=1)).astype(z.dtype)


def _uniform(neighbours: Array) -> Array:
    """Logarithm of one over the number of neighbours of each row."""
    count = jnp.sum(neighbours, axis=1, keepdims=True)
    return jnp.where(neighbours, -jnp.log(jnp.maximum(count, 1).astype(jnp.result_type(float))), -jnp.inf)


def leak(
    log_kernel: Float[ArrayLike, 'rows rows'], *, share: ArrayLike, itself: bool = False
) -> Float[Array, 'rows rows']:
    """Logarithm of (1 − α)·p + α·uniform: I-Con's debiasing, since any row may in truth be a neighbour.

    Args:
      log_kernel: log p, one distribution a row.
      share: α in [0, 1].
      itself: False spreads α over the other rows, True over all, as the authors' code does. A learned distribution
        that leaves out the diagonal goes with False: the two then have one support.

    Returns:
      Rows of logarithms that sum to one where those of `log_kernel` do.

    Cost: O(rows²); no state.

    References:
      Alshammari et al. 2025, https://arxiv.org/abs/2504.16929, section 3; the authors' `LeakKernel`.
    """
    log_kernel = as_float('log_kernel', log_kernel)
    if not isinstance(share, jax.core.Tracer) and not 0 <= float(np.asarray(share)) <= 1:
        raise ValueError(f'share must lie in [0, 1], and is {share}')
    count = log_kernel.shape[0] - (not itself)
    share = jnp.asarray(share, log_kernel.dtype)
    uniform = jnp.log(share) - jnp.log(float(count))
    # The derivative of a sum of two zeros in logarithms is NaN, and a masked NaN is one still.
    seen = log_kernel > -jnp.inf
    leaked = jnp.logaddexp(jnp.where(seen, log_kernel, 0.0) + jnp.log1p(-share), uniform)
    leaked = jnp.where(seen, leaked, uniform)
    return leaked if itself else jnp.where(jnp.eye(log_kernel.shape[0], dtype=bool), log_kernel, leaked)


def perplexity_widths(
    z: Float[ArrayLike, 'rows dim'], *, perplexity: ArrayLike = 30.0, iterations: int = 64
) -> Float[Array, ' rows']:
    """The width σᵢ of each row at which its Gaussian neighbourhood has exp(entropy) = perplexity. No gradient.

    Args:
      z: rows; no more than the perplexity may coincide.
      perplexity: effective number of neighbours, above 1 and below the number of other rows.
      iterations: of the bisection of log 1/σ², over the range of float32.

    Returns:
      σ of each row, > 0, for :func:`gaussian_kernel`.

    Cost: O(iterations·rows² + rows²·dim); no state.

    References:
      Hinton and Roweis 2002, "Stochastic neighbor embedding", section 2; Alshammari et al. 2025,
      https://arxiv.org/abs/2504.16929, table 1.
    """
    z = jax.lax.stop_gradient(matrix('z', z, rows=3))
    if not isinstance(perplexity, jax.core.Tracer) and not 1 < float(np.asarray(perplexity)) < z.shape[0] - 1:
        raise ValueError(f'perplexity must lie between 1 and {z.shape[0] - 1}, and is {perplexity}')
    distances = _squared_distances(z)
    wanted = jnp.log(jnp.asarray(perplexity, z.dtype))

    def halved(_: ArrayLike, bounds: tuple) -> tuple:
        low, high = bounds
        middle = 0.5 * (low + high)
        log_p = _normalized(-0.5 * distances * jnp.exp(middle)[:, None], itself=False)
        entropy = -jnp.sum(jnp.where(jnp.isfinite(log_p), jnp.exp(log_p) * log_p, 0.0), axis=1)
        wide = entropy > wanted  # too many neighbours: a larger precision
        return jnp.where(wide, middle, low), jnp.where(wide, high, middle)

    start = jnp.full((z.shape[0],), -60.0, z.dtype), jnp.full((z.shape[0],), 60.0, z.dtype)
    low, high = jax.lax.fori_loop(0, iterations, halved, start)
    return jnp.exp(-0.25 * (low + high))

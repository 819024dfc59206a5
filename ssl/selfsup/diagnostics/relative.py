"""Relative representations, and stitching one representation to another by least squares."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import centre, dot, pair, ratio, thin_svd, unit
from .neighbours import nearest


def relative_representation(
    z: Float[ArrayLike, 'samples dim'], anchors: Float[ArrayLike, 'anchors dim']
) -> Float[Array, 'samples anchors']:
    """Cosines of every row with each anchor, r(x)_j = cos(e(x), e(a_j)) (eq. 1).

    Two encoders that differ by a rotation and a positive scale have the same relative
    representations of the same images, so what was trained on one can be used on the other.

    Args:
      z: embeddings, any norm, not centred: shift is not among the invariances.
      anchors: embeddings of fixed training images by the same encoder; a few hundred (authors: 300 to
        768), or as many as `dim` to lose nothing.

    Returns:
      Values in [−1, 1]: all 1 at collapse; isotropic noise has mean 0 and deviation 1/√dim. Zero rows
      give 0.

    Cost: O(samples·anchors·dim).

    References:
      Moschella et al. 2023, https://arxiv.org/abs/2209.15430, eq. 1.
    """
    z, anchors = pair(z, anchors, names=('z', 'anchors'), same='dim')
    return jnp.clip(dot(unit(z), unit(anchors).T), -1.0, 1.0)


def latent_similarity(
    x: Float[ArrayLike, 'samples dim_x'], y: Float[ArrayLike, 'samples dim_y'], *, k: int = 10
) -> dict[str, Float[Array, '']]:
    """How far two spaces agree about the same samples, row by row.

    Args:
      x, y: two representations of the same samples, of one width: usually relative representations
        with the same anchors. Not centred.
      k: neighbours of the Jaccard index.

    Returns:
      `cosine`: mean cosine of the two rows of a sample, in [−1, 1].
      `mrr`: mean reciprocal rank of a row's own partner among all rows of `y` by cosine, in (0, 1].
      `jaccard`: mean overlap |A ∩ B| / |A ∪ B| of the sets of k nearest (cosine) within each space, in
      [0, 1].
      All 1 for equal sides with distinct rows; unrelated noise gives 0, ln(samples)/samples and
      k/(2·samples). At full collapse all cosines tie: 1, 1 and 1, so look at the spread first.

    Cost: O(samples²·dim).

    References:
      Moschella et al. 2023, https://arxiv.org/abs/2209.15430, section 4.1.
    """
    x, y = pair(x, y, names=('x', 'y'), rows=2)
    mine, theirs = (nearest(z, k=k, metric='cosine')[1] for z in (x, y))
    common = jnp.sum(mine[:, :, None] == theirs[:, None, :], axis=(1, 2))
    x, y = unit(x), unit(y)
    own = jnp.sum(x * y, axis=1)
    cosines = dot(x, y.T)
    better = jnp.where(jnp.eye(len(x), dtype=bool), False, cosines > own[:, None])
    return {
        'cosine': jnp.mean(own),
        'mrr': jnp.mean(1.0 / (1.0 + jnp.sum(better, axis=1).astype(x.dtype))),
        'jaccard': jnp.mean(common.astype(x.dtype) / (2 * k - common)),
    }


class Stitch(NamedTuple):
    """An affine map x ↦ x·weights + bias between two spaces."""

    weights: Float[Array, 'dim_x dim_y']
    bias: Float[Array, 'dim_y']


def fit_stitch(
    x: Float[ArrayLike, 'samples dim_x'], y: Float[ArrayLike, 'samples dim_y'], *, ridge: ArrayLike = 0.0
) -> Stitch:
    """The affine map of `x` that comes closest to `y` in squares, by the SVD of the centred `x`.

    Args:
      x, y: two representations of the same samples, at least two rows; samples > dim_x, or a ridge.
      ridge: λ of ‖XW − Y‖² + λ·samples·s²‖W‖² with s² the mean variance of a column of x, so it has no
        unit; the bias goes free. At 0, directions below the rounding of the largest
        (σ < σ₁·max(shape)·machine ε) are dropped: the shortest solution.

    Returns:
      The map. A collapsed `x` gives zero weights and the mean of `y` for bias.

    Cost: O(samples·dim_x·(dim_x + dim_y)).

    References:
      Lenc and Vedaldi 2015, https://arxiv.org/abs/1411.5908; Bansal et al. 2021,
      https://arxiv.org/abs/2106.07682 (model stitching), its linear layer solved in closed form.
    """
    x, y = pair(x, y, names=('x', 'y'), rows=2, same='samples')
    left, sigma, right = thin_svd(centre(x))
    penalty = ridge * jnp.sum(sigma * sigma) / x.shape[1]
    keep = sigma > sigma[0] * max(x.shape) * jnp.finfo(x.dtype).eps
    gain = jnp.where(keep, sigma / jnp.where(keep, sigma * sigma + penalty, 1.0), 0.0)
    weights = dot(right.T * gain[None], dot(left.T, centre(y)))
    return Stitch(weights, jnp.mean(y, axis=0) - dot(jnp.mean(x, axis=0), weights))


def apply_stitch(stitch: Stitch, x: Float[ArrayLike, 'samples dim_x']) -> Float[Array, 'samples dim_y']:
    """Rows of `x` carried over to the other space."""
    x, _ = pair(x, stitch.weights.T, names=('x', 'weightsᵀ'), same='dim')
    return dot(x, stitch.weights) + stitch.bias[None]


def stitching_score(
    x: Float[ArrayLike, 'samples dim_x'],
    y: Float[ArrayLike, 'samples dim_y'],
    x_test: Float[ArrayLike, 'tests dim_x'],
    y_test: Float[ArrayLike, 'tests dim_y'],
    *,
    ridge: ArrayLike = 0.0,
) -> Float[Array, '']:
    """Share of the variance of `y_test` that a linear map of `x_test`, fitted on the other rows, explains.

    R² = 1 − ‖Y − Ŷ‖² / ‖Y − Ȳ‖², summed over all columns, Ȳ the mean of the test rows.

    Args:
      x, y: two representations of the samples to fit on; 10·dim_x of them or more, or a ridge.
      x_test, y_test: the same of others.
      ridge: see :func:`fit_stitch`.

    Returns:
      A scalar ≤ 1: 1 when `y` is a linear image of `x`, about −dim_x / samples for unrelated sides.
      Not symmetric: a poor space is easily read from a rich one. 0, the limit, when `y_test` has
      collapsed.

    Cost: O(samples·dim_x·(dim_x + dim_y)).

    References:
      Bansal et al. 2021, https://arxiv.org/abs/2106.07682; Kornblith et al. 2019,
      https://arxiv.org/abs/1905.00414, section 6.1 (linear regression as a similarity).
    """
    x_test, y_test = pair(x_test, y_test, names=('x_test', 'y_test'), same='samples')
    residual = y_test - apply_stitch(fit_stitch(x, y, ridge=ridge), x_test)
    spread = centre(y_test)
    return 1.0 - ratio(jnp.sum(residual * residual), jnp.sum(spread * spread), limit=1.0)

"""How alike two representations of the same samples are: CKA and Procrustes.

Rows of `x` and `y` are the same samples in the same order; widths may differ. Convolutional maps are
pooled, or their positions unfolded into rows, by the caller. Everything here is centred by column and
invariant to rotation, isotropic scale and shift of either side.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import centre, dot, factor, frobenius_unit, pair, squared_norms


def _cross_energy(x: Array, y: Array) -> Array:
    """‖XᵀY‖²_F = Σ (XXᵀ)∘(YYᵀ), by the cheaper form."""
    samples, dim_x, dim_y = x.shape[0], x.shape[1], y.shape[1]
    if samples * (dim_x + dim_y) < dim_x * dim_y:
        gram = dot(x, x.T)
        return jnp.sum(gram * (gram if y is x else dot(y, y.T)))
    cross = dot(x.T, y)
    return jnp.sum(cross * cross)


def _hsic(x: Array, y: Array, *, debiased: bool) -> Array:
    """HSIC of linear kernels of centred columns: biased ‖XᵀY‖² / (n − 1)², or the U-statistic HSIC₁.

    For centred columns the sums over the zero-diagonal kernels collapse, with a = ‖xᵢ‖² and b = ‖yᵢ‖²:
    tr K̃L̃ = ‖XᵀY‖² − Σab, 1ᵀK̃1 = −Σa, 1ᵀK̃L̃1 = Σab; so neither kernel need be formed.
    """
    count = float(x.shape[0])  # products of two counts do not fit 32 bits
    energy = _cross_energy(x, y)
    if not debiased:
        return energy / (count - 1) ** 2
    a, b = squared_norms(x), squared_norms(y)
    both = jnp.sum(a * b)
    corrected = energy - both + jnp.sum(a) * jnp.sum(b) / ((count - 1) * (count - 2)) - 2.0 * both / (count - 2)
    return corrected / (count * (count - 3))


def hsic_terms(
    x: Float[ArrayLike, 'samples dim_x'], y: Float[ArrayLike, 'samples dim_y'], *, debiased: bool = True
) -> Float[Array, '3']:
    """HSIC(x, y), HSIC(x, x) and HSIC(y, y) of linear kernels: what a batch adds to a minibatch CKA.

    Args:
      x, y: two representations of the same samples, at least four rows (two if not `debiased`).
      debiased: the unbiased estimate HSIC₁, whose mean over batches estimates that of the whole set
        whatever the batch; the biased one does not average.

    Returns:
      Three scalars, in the fourth power of the units of the features: very small or large features
      should be rescaled first, by the same factor in every batch.

    Cost: O(samples·dim_x·dim_y), or O(samples²·(dim_x + dim_y)) when that is less.

    References:
      Song et al. 2012, https://jmlr.org/papers/v13/song12a.html, eq. 5; Nguyen et al. 2021,
      https://arxiv.org/abs/2010.15327, eq. 3.
    """
    x, y = pair(x, y, names=('x', 'y'), rows=4 if debiased else 2, same='samples')
    x, y = centre(x), centre(y)
    return jnp.stack([_hsic(a, b, debiased=debiased) for a, b in ((x, y), (x, x), (y, y))])


def cka_from_terms(terms: Float[ArrayLike, '*batches 3']) -> Float[Array, '']:
    """CKA of a set seen in batches: the :func:`hsic_terms` of all batches are averaged, then the ratio taken.

    Returns:
      HSIC(x, y) / √(HSIC(x, x)·HSIC(y, y)) of the means; 0, the limit, when one side has no spread.

    References:
      Nguyen et al. 2021, https://arxiv.org/abs/2010.15327, eq. 2.
    """
    xy, xx, yy = jnp.mean(jnp.asarray(terms).reshape(-1, 3), axis=0)
    both = (xx > 0) & (yy > 0)
    xx, yy = jnp.where(both, xx, 1.0), jnp.where(both, yy, 1.0)  # before the root, whose gradient at 0 is infinite
    return jnp.where(both, xy / (jnp.sqrt(xx) * jnp.sqrt(yy)), 0.0)


def cka(
    x: Float[ArrayLike, 'samples dim_x'], y: Float[ArrayLike, 'samples dim_y'], *, debiased: bool = False
) -> Float[Array, '']:
    """Linear centred kernel alignment, ‖XᵀY‖²_F / (‖XᵀX‖_F ‖YᵀY‖_F).

    Args:
      x, y: two representations of the same samples, centred here by column; no ε.
      debiased: unbiased HSIC in all three places. Ask for it unless samples ≥ 10·dim: independent
        noise of 50 samples in 400 dimensions gives 0.89 plain, −0.01 debiased.

    Returns:
      A scalar in [0, 1] (debiased: up to 1, around 0 for unrelated sides and then of either sign): 1 for
      rotated, scaled or shifted copies. Unrelated isotropic noise of width d gives about
      d / (samples + d) plain. 0, the limit, when one side has collapsed to a point.

    Cost: O(samples·dim_x·dim_y), or O(samples²·(dim_x + dim_y)) when that is less; larger sets by
    :func:`minibatch_cka`.

    References:
      Kornblith et al. 2019, https://arxiv.org/abs/1905.00414, section 3; debiased: Murphy et al. 2024,
      https://arxiv.org/abs/2405.01012.
    """
    x, y = pair(x, y, names=('x', 'y'), rows=4 if debiased else 2, same='samples')
    x, y = frobenius_unit(centre(x)), frobenius_unit(centre(y))
    value = cka_from_terms(jnp.stack([_hsic(a, b, debiased=debiased) for a, b in ((x, y), (x, x), (y, y))]))
    return jnp.minimum(value, 1.0)


def minibatch_cka(
    x: Float[ArrayLike, 'samples dim_x'], y: Float[ArrayLike, 'samples dim_y'], *, batch: int = 256
) -> Float[Array, '']:
    """Debiased linear CKA from batches, each centred by itself, as a streaming reader would see them.

    A set larger than memory is read once with :func:`hsic_terms` and closed by :func:`cka_from_terms`,
    which is this function written out.

    Args:
      x, y: two representations of the same samples, in random order.
      batch: rows of a batch, at least four. The remainder of samples / batch is left out.

    Returns:
      A scalar around [0, 1], equal in expectation of its terms to `cka(debiased=True)`, and to it
      exactly when one batch holds all.

    Cost: that of `cka` of a batch, times their number; some thousand samples give two digits.

    References:
      Nguyen et al. 2021, https://arxiv.org/abs/2010.15327, section 3.1.
    """
    x, y = pair(x, y, names=('x', 'y'), rows=4, same='samples')
    if not 4 <= batch <= x.shape[0]:
        raise ValueError(f'batch={batch} must lie between 4 and the {x.shape[0]} rows of x')
    count = x.shape[0] // batch
    batches = [z[: count * batch].reshape(count, batch, -1) for z in (x, y)]
    return cka_from_terms(jax.lax.map(lambda both: hsic_terms(*both), tuple(batches)))


def procrustes(x: Float[ArrayLike, 'samples dim_x'], y: Float[ArrayLike, 'samples dim_y']) -> Float[Array, '']:
    """Orthogonal Procrustes distance min_Q ‖X − YQ‖²_F = 2 − 2‖XᵀY‖_*, both sides centred and of norm 1.

    Args:
      x, y: two representations of the same samples, at least two rows; no ε. Unequal widths are read
        as padded with zero columns.

    Returns:
      A scalar in [0, 2]: 0 for rotated, reflected, scaled or shifted copies (to a few ulp), near 2 for
      unrelated sides with samples ≫ dim. A collapsed side has norm 0: the distance is then 1, and 0
      when both are. Few samples (< 10·dim) align by chance and read too close.

    Cost: O(samples·dim_x·dim_y + min(dim)³); when samples < dim both sides are first reduced to
    `samples` columns by a QR, O(samples²·dim).

    References:
      Schönemann 1966, https://doi.org/10.1007/BF02289451; Ding et al. 2021,
      https://arxiv.org/abs/2108.01661, eq. 2.
    """
    x, y = pair(x, y, names=('x', 'y'), rows=2, same='samples')
    x, y = frobenius_unit(centre(x)), frobenius_unit(centre(y))
    norms = jnp.sum(x * x) + jnp.sum(y * y)
    # X = Rᵀ Qᵀ with orthonormal Q: singular values of XᵀY are those of R_x R_yᵀ.
    x, y = (factor(z.T).T if z.shape[0] < z.shape[1] else z for z in (x, y))
    nuclear = jnp.sum(jnp.linalg.svd(dot(x.T, y), compute_uv=False))
    return jnp.maximum(norms - 2.0 * nuclear, 0.0)

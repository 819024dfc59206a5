"""One-pass summaries of a set too large for memory: count, mean and the R factor of the centred rows.

Every measure of `spectrum`, and the deviations, correlations and whitenings, take a `Summary` in place
of the rows and give the same number:

    summary = empty_summary(dim)
    for batch in batches:
        summary = update_summary(summary, batch)        # jit it once; batches of one shape
    rank = rankme(summary)

The R factor is carried, never ZᵀZ: squaring would lose every singular value below 3e-4 of the largest in
float32. Centring is carried too, so both the centred and the uncentred spectrum come out without
cancellation.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from ._common import factor, matrix


class Summary(NamedTuple):
    """Sufficient statistics of second order.

    Attributes:
      count: number of rows, a float scalar of the type of the rows.
      mean: their mean.
      factor: upper triangular R with RᵀR = Σ (z − mean)(z − mean)ᵀ.
    """

    count: Float[Array, '']
    mean: Float[Array, 'dim']
    factor: Float[Array, 'dim dim']


def empty_summary(dim: int, *, dtype=jnp.float32) -> Summary:
    """The summary of no rows."""
    return Summary(jnp.zeros((), dtype), jnp.zeros(dim, dtype), jnp.zeros((dim, dim), dtype))


def update_summary(
    summary: Summary, z: Float[ArrayLike, 'samples dim'], *, mask: Bool[ArrayLike, 'samples'] | None = None
) -> Summary:
    """The summary of the rows so far and those of `z`.

    Args:
      summary: of the rows so far.
      z: more rows.
      mask: true for the rows that count; for a last batch filled up to the common shape. The others
        may hold anything, NaN too.

    Returns:
      The new summary. Merging is exact: the scatter of the union is the sum of both scatters and of
      n₁n₂/(n₁ + n₂)·δδᵀ, δ the difference of the means, and all three are stacked and reduced by one QR.

    Cost: O((samples + dim)·dim²); take batches of at least `dim` rows.

    References:
      Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance", eq. 2.1;
      Demmel et al. 2012, https://arxiv.org/abs/0808.2664 (tall-skinny QR).
    """
    z = matrix('z', z)
    if z.shape[1] != summary.mean.shape[0]:
        raise ValueError(f'z and summary differ in dim: {list(z.shape)} and {list(summary.mean.shape)}')
    if mask is None:
        count, rows = jnp.asarray(z.shape[0], z.dtype), z
        mean = jnp.mean(z, axis=0)
        centred = z - mean[None]
    else:
        keep = jnp.asarray(mask)
        if keep.shape != z.shape[:1]:
            raise ValueError(f'mask must have shape [{z.shape[0]}], one for each row of z, not {list(keep.shape)}')
        count = jnp.sum(keep, dtype=z.dtype)
        rows = jnp.where(keep[:, None], z, 0.0)
        mean = jnp.sum(rows, axis=0) / jnp.maximum(count, 1.0)
        centred = jnp.where(keep[:, None], rows - mean[None], 0.0)
    return _merge(summary, count, mean, centred)


def merge_summaries(a: Summary, b: Summary) -> Summary:
    """The summary of the union, as of two halves of a set seen by two processes."""
    if a.mean.shape != b.mean.shape:
        raise ValueError(f'the summaries differ in dim: {list(a.mean.shape)} and {list(b.mean.shape)}')
    return _merge(a, b.count, b.mean, b.factor)


def _merge(a: Summary, count: Array, mean: Array, centred: Array) -> Summary:
    dtype = jnp.promote_types(a.mean.dtype, mean.dtype)
    total = a.count + count
    share = count / jnp.maximum(total, 1.0)
    shift = mean - a.mean
    bridge = shift * jnp.sqrt(a.count * share)
    stack = jnp.concatenate([a.factor, centred, bridge[None]])
    return Summary(total.astype(dtype), (a.mean + share * shift).astype(dtype), factor(stack).astype(dtype))


def summarize(z: Float[ArrayLike, 'samples dim'], *, mask: Bool[ArrayLike, 'samples'] | None = None) -> Summary:
    """The summary of all rows of `z`."""
    z = matrix('z', z)
    return update_summary(empty_summary(z.shape[1], dtype=z.dtype), z, mask=mask)

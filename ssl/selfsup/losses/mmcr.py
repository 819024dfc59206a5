"""MMCR: centroids of views that span as much as they can."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import HIGHEST, normalize, several


@jax.custom_jvp
def nuclear_norm(x: Float[Array, '*batch rows dim']) -> Float[Array, '*batch']:
    """Σ singular values of each matrix, with the gradient U Vᵀ over the non-zero ones.

    Differentiating an SVD divides by differences of squared singular values; the nuclear norm's own
    gradient does not, so repeated singular values are harmless, and zero ones take the subgradient 0.
    """
    return jnp.sum(jnp.linalg.svd(x, compute_uv=False), axis=-1)


@nuclear_norm.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    u, s, vt = jnp.linalg.svd(x, full_matrices=False)
    floor = jnp.max(s, axis=-1, keepdims=True) * jnp.finfo(x.dtype).eps * max(x.shape[-2:])
    u = jnp.where((s > floor)[..., None, :], u, 0.0)
    polar = jnp.matmul(u, vt, precision=HIGHEST)
    return jnp.sum(s, axis=-1), jnp.sum(polar * dx, axis=(-2, -1))


def mmcr(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *more: Float[ArrayLike, 'batch dim'],
    lambd: ArrayLike | None = None,
) -> Float[Array, '']:
    """Maximum manifold capacity: L = −‖C‖_* + λ·mean_b ‖Z_b‖_*.

    Rows are normalised; row b of C is the mean of image b's views, and Z_b `[views, dim]` holds them.
    ‖·‖_* is the sum of singular values.

    Args:
      z1, z2, more: embeddings of two or more views of the same images, any norm (normalised here).
      lambd: λ, the weight of each image's own nuclear norm. None, the authors' default, leaves the
        term and its cost out, and equals 0.

    Returns:
      A dimensionless scalar. Without the λ term it lies in [−√(batch·min(batch, dim)), 0): the lower
      end is reached by aligned views that fill the space evenly, −√batch is the value at collapse.

    Convention: a sum over singular values, not divided by the batch, whereas the λ term is a mean
    over images. The authors' distributed gather keeps the gradient of the local rows alone, 1/W of
    the true one on W devices.

    Cost: O(batch·dim·min(batch, dim)) for the SVD; with λ, `batch` SVDs of views × dim. No state.

    References:
      Yerxa et al. 2023, https://arxiv.org/abs/2303.03307, section 3.
    """
    views = jnp.stack([normalize(z) for z in several(z1, z2, *more)])
    loss = -nuclear_norm(jnp.mean(views, axis=0))
    if lambd is None:
        return loss
    return loss + lambd * jnp.mean(nuclear_norm(jnp.swapaxes(views, 0, 1)))

"""Gaussian blur as one small matrix product per axis."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .geometry import HIGHEST


def blur_matrix(size: int, sigma: Float[Array, '']) -> Float[Array, 'size size']:
    """Weights that blur an axis of `size` pixels with a Gaussian of `sigma` pixels, edges repeated.

    A dense matrix, because each example has its own σ: a convolution would need the widest kernel for
    all of them, and a batched product is faster on every device at these sizes.
    """
    extended = jnp.arange(-size, 2 * size)
    distance = (extended[None, :] - jnp.arange(size)[:, None]) / jnp.maximum(sigma, 1e-3)
    weights = jnp.exp(-0.5 * distance * distance)
    weights = weights / jnp.sum(weights, axis=1, keepdims=True)
    inner = weights[:, size : 2 * size]
    left, right = jnp.sum(weights[:, :size], axis=1), jnp.sum(weights[:, 2 * size :], axis=1)
    return inner.at[:, 0].add(left).at[:, -1].add(right)


def gaussian_blur(
    image: Float[Array, 'height width channels'], sigma: Float[Array, '']
) -> Float[Array, 'height width channels']:
    """Blurs with a true Gaussian of `sigma` pixels; pixels beyond the border repeat the edge."""
    rows, columns = blur_matrix(image.shape[0], sigma), blur_matrix(image.shape[1], sigma)
    image = jnp.einsum('pw,hwc->hpc', columns, image, precision=HIGHEST)
    return jnp.einsum('oh,hpc->opc', rows, image, precision=HIGHEST)


def random_blur(
    key: PRNGKeyArray,
    image: Float[Array, 'height width channels'],
    *,
    p: float = 0.5,
    sigma: tuple[float, float] = (0.1, 2.0),
) -> Float[Array, 'height width channels']:
    """With probability `p`, a Gaussian blur whose σ, in pixels, is uniform between the two."""
    apply_key, sigma_key = jax.random.split(key)
    drawn = jax.random.uniform(sigma_key, minval=sigma[0], maxval=sigma[1]).astype(image.dtype)
    return jnp.where(jax.random.bernoulli(apply_key, p), gaussian_blur(image, drawn), image)

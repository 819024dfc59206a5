"""Gaussian blur as one small matrix product per axis."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from ._common import (
    HIGHEST,
    Image,
    Report,
    Result,
    reported,
    require_choice,
    require_probability,
    require_range,
    to_float,
)
from .geometry import resample

DIALECTS = ('pillow', 'gaussian')
_PASSES = 3


def box_matrix(size: int, sigma: ArrayLike) -> Float[Array, 'size size']:
    """One of the three box filters whose product is Pillow's Gaussian of `sigma` pixels, edges repeated.

    The box has a fractional radius ρ: weight 1 up to its whole part, the fraction at the next pixel
    (Gwosdek et al. 2011, extended box filters). What falls outside the image is added to its edge.
    """
    variance = sigma * sigma / _PASSES
    whole = jnp.floor((jnp.sqrt(12.0 * variance + 1.0) - 1.0) / 2.0)
    part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
    radius = whole + part
    place = jnp.arange(size, dtype=radius.dtype)
    weights = jnp.clip(radius + 1 - jnp.abs(place[None, :] - place[:, None]), 0.0, 1.0)

    def beyond(first: Array) -> Array:  # the box's weight at distances of at least `first` >= 1
        return jnp.maximum(whole - first + 1, 0.0) + jnp.where(first <= whole + 1, part, 0.0)

    weights += jnp.where(place[None, :] == 0, beyond(place + 1)[:, None], 0.0)
    weights += jnp.where(place[None, :] == size - 1, beyond(size - place)[:, None], 0.0)
    return weights / (2 * radius + 1)


def gaussian_matrix(size: int, sigma: ArrayLike, kernel: int) -> Float[Array, 'size size']:
    """A sampled Gaussian of `sigma` pixels cut to `kernel` taps, the image mirrored at its edges (torchvision's)."""
    half = kernel // 2
    if kernel < 1 or kernel % 2 == 0 or half >= size:
        raise ValueError(f'kernel must be odd and below {2 * size}, twice the side of the image, not {kernel}')
    place = jnp.arange(size)
    here, there = place[None, :], place[:, None]

    def weight(distance: Array) -> Array:
        scaled = distance / jnp.maximum(sigma, 1e-3)
        return jnp.where(jnp.abs(distance) <= half, jnp.exp(-0.5 * scaled * scaled), 0.0)

    weights = weight(here - there)
    weights += jnp.where(here > 0, weight(here + there), 0.0)
    weights += jnp.where(here < size - 1, weight(2 * (size - 1) - here - there), 0.0)
    return weights / jnp.sum(weights, axis=1, keepdims=True)


def blur_matrix(
    size: int, sigma: ArrayLike, *, dialect: str = 'pillow', kernel: int | None = None
) -> Float[Array, 'size size']:
    """The weights of :func:`gaussian_blur` along an axis of `size` pixels."""
    require_choice('dialect', dialect, DIALECTS)
    if dialect == 'gaussian':
        return gaussian_matrix(size, sigma, 2 * (size // 20) + 1 if kernel is None else kernel)
    box = box_matrix(size, sigma)
    return jnp.matmul(box, jnp.matmul(box, box, precision=HIGHEST), precision=HIGHEST)


def gaussian_blur(image: Image, sigma: ArrayLike, *, dialect: str = 'pillow', kernel: int | None = None) -> Result:
    """Blurs with a Gaussian of `sigma` pixels.

    A dense matrix per axis, because each example has its own σ: a convolution would need the widest
    kernel for all of them and one filter per example, which no convolution library does well, while
    a batched product runs near peak on every device at these sizes. Measured on two CPU cores at
    32 x 32, batch 512: 4 ms by products, 8 ms by three shifted sums per axis.

    Args:
      image: `[height, width, channels]`.
      sigma: σ in pixels, at least 0; Pillow calls it radius.
      dialect: 'pillow', three box filters, the edge repeated (MoCo, SwAV, DINO, VICReg, solo-learn); or
        'gaussian', a sampled and cut Gaussian, the image mirrored at the edge (torchvision on tensors;
        SimCLR's and BYOL's own code cut it likewise). The two differ by up to 27/255 on sharp edges.
      kernel: taps of 'gaussian', odd; None takes a tenth of the side as SimCLR does, 23 for 224.
    """
    require_range('sigma', sigma, 0.0)
    image = to_float(image)
    sigma = jnp.asarray(sigma, image.dtype)
    rows = blur_matrix(image.shape[0], sigma, dialect=dialect, kernel=kernel)
    square = image.shape[0] == image.shape[1]
    columns = rows if square else blur_matrix(image.shape[1], sigma, dialect=dialect, kernel=kernel)
    return resample(image, rows, columns)


def random_blur(
    key: PRNGKeyArray,
    image: Image,
    *,
    p: float = 0.5,
    sigma: tuple[float, float] = (0.1, 2.0),
    dialect: str = 'pillow',
    kernel: int | None = None,
    report: bool = False,
) -> Result | Report:
    """With probability `p`, a :func:`gaussian_blur` whose σ, in pixels, is uniform between the two.

    Reports `apply` and `sigma`.
    """
    require_probability(p)
    require_range('sigma', sigma, 0.0)
    image = to_float(image)
    apply_key, sigma_key = jax.random.split(key)
    drawn = {
        'apply': jax.random.bernoulli(apply_key, p),
        'sigma': jax.random.uniform(sigma_key, minval=sigma[0], maxval=sigma[1]).astype(image.dtype),
    }
    blurred = gaussian_blur(image, drawn['sigma'], dialect=dialect, kernel=kernel)
    return reported(jnp.where(drawn['apply'], blurred, image), drawn, report)


def sharpen(image: Image, factor: ArrayLike) -> Result:
    """Mixes the image with a smoothed one: 0 gives that, 1 the image, more sharpens (torchvision's `adjust_sharpness`).

    The smoothing is Pillow's 3 x 3 filter, centre 5/13 and neighbours 1/13; the outermost pixels stay.
    """
    require_range('factor', factor, 0.0)
    image = to_float(image)
    height, width, _ = image.shape
    if min(height, width) < 3:
        return image
    near = sum(image[i : height - 2 + i, j : width - 2 + j] for i in range(3) for j in range(3))
    smooth = image.at[1:-1, 1:-1].set((near + 4 * image[1:-1, 1:-1]) / 13.0)
    factor = jnp.asarray(factor, image.dtype)
    return jnp.clip(factor * image + (1 - factor) * smooth, 0.0, 1.0)

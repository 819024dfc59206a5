"""Histograms of oriented gradients, what MaskFeat predicts of hidden patches."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import as_float, normalize
from .masked import patchify


def hog(
    images: Float[ArrayLike, 'batch height width channels'], *, patch: int, cells: int = 2, orientations: int = 9
) -> Float[Array, 'batch patches values']:
    """Histograms of the gradient's direction in cells of each patch, each of unit length (MaskFeat).

    A pixel's gradient is that of Sobel's two kernels, over the image reflected at its border. Its direction, without
    sign, falls into one of `orientations` equal bins of half a circle, and its length is added to the bin of the cell
    that holds the pixel, for each channel apart.

    Args:
      images: any range; a channel's histograms do not change with its offset, nor with a positive factor.
      patch: side of a patch in pixels.
      cells: cells along a side of a patch; must divide `patch`. Authors: 2 in patches of 16.
      orientations: bins. Authors: 9.

    Returns:
      `[batch, patches, cells²·channels·orientations]` without gradient, patches row by row, in each the cells row by
      row and in each of these the channels. Entries lie in [0, 1]; a cell of one colour has zeros only.

    Raises:
      ValueError: sides that do not fit, images of a single row or column, or no bins.

    Convention: as the authors' `HOGLayerC`, a pixel counts in one bin alone, cells are not normalised together with
    their neighbours, and a channel has histograms of its own; scikit-image's `hog` has central differences, zero at the
    border.

    Cost: O(batch·pixels·channels·orientations); no state.

    References:
      Wei et al. 2022, https://arxiv.org/abs/2112.09133, sect. 3.2 and appendix; Dalal and Triggs 2005.
    """
    x = as_float('images', images)
    if x.ndim != 4 or min(x.shape[1:3]) < 2:
        raise ValueError(f'images must have shape [batch, height, width, channels] from 2x2, not {list(x.shape)}')
    if orientations < 1:
        raise ValueError(f'orientations must be at least 1, not {orientations}')
    if cells < 1 or patch % cells:
        raise ValueError(f'cells={cells} must divide the side of a patch, {patch}')
    height, width = x.shape[1:3]
    x = jnp.pad(jax.lax.stop_gradient(x), ((0, 0), (1, 1), (1, 1), (0, 0)), mode='reflect')
    rows = x[:, :-2] + 2.0 * x[:, 1:-1] + x[:, 2:]
    columns = x[:, :, :-2] + 2.0 * x[:, :, 1:-1] + x[:, :, 2:]
    across, down = rows[:, :, :-2] - rows[:, :, 2:], columns[:, :-2] - columns[:, 2:]
    length = jnp.sqrt(across * across + down * down)
    which = jnp.floor(jnp.arctan2(across, down) / math.pi * orientations).astype(int) % orientations
    voted = jax.nn.one_hot(which, orientations, dtype=x.dtype) * length[..., None]
    side = patch // cells
    pixels = patchify(voted.reshape(*voted.shape[:3], -1), side)
    summed = jnp.sum(pixels.reshape(*pixels.shape[:2], side * side, -1), axis=2)
    unit = normalize(summed.reshape(*summed.shape[:2], x.shape[3], orientations))
    return patchify(unit.reshape(x.shape[0], height // side, width // side, -1), cells)

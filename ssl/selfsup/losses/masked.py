"""Reconstruction of hidden patches: the losses of MAE and SimMIM, and images as patches."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from ._common import as_float

# Added to a patch's variance inside the root, as in the authors' code.
EPSILON = 1e-6


def patchify(images: Float[Array, 'batch height width channels'], patch: int) -> Float[Array, 'batch patches values']:
    """Square patches row by row, each flattened in the order row, column, channel (MAE's order).

    Args:
      images: any range.
      patch: side in pixels; must divide both sides of the image.

    Returns:
      `[batch, patches, patch²·channels]`.

    Raises:
      ValueError: a patch that does not tile the images.
    """
    batch, height, width, channels = images.shape
    if patch < 1 or height % patch or width % patch:
        raise ValueError(f'patches of {patch} do not tile images of {height}x{width}')
    rows, columns = height // patch, width // patch
    x = images.reshape(batch, rows, patch, columns, patch, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows * columns, patch * patch * channels)


def unpatchify(
    patches: Float[Array, 'batch patches values'], patch: int, grid: tuple[int, int]
) -> Float[Array, 'batch height width channels']:
    """The inverse of :func:`patchify`.

    Args:
      patches: `[batch, rows·columns, patch²·channels]`.
      patch: side in pixels.
      grid: rows and columns of patches.

    Returns:
      `[batch, rows·patch, columns·patch, channels]`.

    Raises:
      ValueError: a shape that is not of such patches on such a grid.
    """
    batch, count, values = patches.shape
    rows, columns = grid
    if count != rows * columns or values % patch**2:
        raise ValueError(
            f'patches must have shape [batch, {rows * columns}, a multiple of {patch**2}], not {list(patches.shape)}'
        )
    x = patches.reshape(batch, rows, columns, patch, patch, values // patch**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows * patch, columns * patch, -1)


def standardize_patches(patches: Float[Array, 'batch patches values']) -> Float[Array, 'batch patches values']:
    """Each patch to mean 0 and variance 1: (x − mean) / √(variance + 1e-6), the unbiased variance (ddof 1)."""
    centred = patches - jnp.mean(patches, axis=2, keepdims=True)
    variance = jnp.sum(centred * centred, axis=2, keepdims=True) / (patches.shape[2] - 1)
    return centred / jnp.sqrt(variance + EPSILON)


def standardize_channels(
    patches: Float[Array, 'batch patches values'], channels: int
) -> Float[Array, 'batch patches values']:
    """Each channel of each patch to mean 0 and variance 1: (x − mean) / √(variance + 1e-5), biased variance (BootMAE).

    Args:
      patches: as of :func:`patchify`, with the channel as their last order.
      channels: of the image.
    """
    x = patches.reshape(*patches.shape[:2], -1, channels)
    centred = x - jnp.mean(x, axis=2, keepdims=True)
    unit = centred / jnp.sqrt(jnp.mean(centred * centred, axis=2, keepdims=True) + 1e-5)
    return unit.reshape(patches.shape)


def checked(
    predictions: ArrayLike, targets: ArrayLike, hidden: ArrayLike, *, name: str = 'hidden'
) -> tuple[Array, Array, Array]:
    """The arrays in at least float32, after a check that they are `[batch, patches, values]` and a mask of the patches.

    Raises:
      ValueError: shapes that do not fit.
      TypeError: a mask that is not boolean.
    """
    predictions, targets = as_float('predictions', predictions), as_float('targets', targets)
    hidden = jnp.asarray(hidden)
    if predictions.ndim != 3 or predictions.shape != targets.shape:
        raise ValueError(
            'predictions and targets must both have shape [batch, patches, values], and have '
            f'{list(predictions.shape)} and {list(targets.shape)}'
        )
    if hidden.shape != predictions.shape[:2]:
        raise ValueError(f'{name} must have shape {list(predictions.shape[:2])}, not {list(hidden.shape)}')
    if hidden.dtype != jnp.bool_:
        raise TypeError(f'{name} must be a boolean array, not {hidden.dtype}')
    return predictions, targets, hidden


def masked_mse(
    predictions: Float[ArrayLike, 'batch patches values'],
    targets: Float[ArrayLike, 'batch patches values'],
    hidden: Bool[ArrayLike, 'batch patches'],
    *,
    normalize: bool = True,
    weights: Float[ArrayLike, 'batch patches'] | None = None,
) -> Float[Array, '']:
    """Mean squared error on hidden patches: Σ_hidden mean_values (prediction − target)² / #hidden (MAE, sect. 3).

    Args:
      predictions: the decoder's output for every patch; only hidden ones count.
      targets: the patches' values, in the same order (:func:`patchify`).
      hidden: which patches the encoder did not see.
      normalize: each target patch is brought to mean 0 and variance 1 first (the paper's `norm_pix`; variance with
        ddof 1, 1e-6 added inside the root), which needs at least two values a patch.
      weights: of the patches' errors, which do not change what is divided by (BootMAE). None: all 1.

    Returns:
      A scalar from 0, in squared units of the targets; the mean over the hidden patches of the whole batch, 0 if none
      is hidden. A prediction of zeros scores (n − 1)/n with `normalize`, for n values a patch none of which is
      constant: a run that stays there has learned nothing.

    Convention: the authors' code divides by the number of hidden patches, not of all of them; `normalize` is its
    `norm_pix_loss`, off by default there and on in the published recipes.

    Cost: O(batch·patches·values); no state.

    References:
      He et al. 2022, https://arxiv.org/abs/2111.06377, sect. 3 and Table 1d.
    """
    predictions, targets, hidden = checked(predictions, targets, hidden)
    if normalize and targets.shape[2] < 2:
        raise ValueError('normalize=True needs at least 2 values a patch, not 1')
    targets = standardize_patches(targets) if normalize else targets
    error = jnp.mean((predictions - targets) ** 2, axis=2)
    if weights is not None:
        weights = as_float('weights', weights)
        if weights.shape != error.shape:
            raise ValueError(f'weights must have shape {list(error.shape)}, not {list(weights.shape)}')
        error = error * weights.astype(error.dtype)
    return jnp.sum(jnp.where(hidden, error, 0.0)) / jnp.maximum(jnp.sum(hidden), 1)


def masked_l1(
    predictions: Float[ArrayLike, 'batch patches values'],
    targets: Float[ArrayLike, 'batch patches values'],
    hidden: Bool[ArrayLike, 'batch patches'],
    *,
    eps: ArrayLike = 3e-5,
) -> Float[Array, '']:
    """Mean absolute error of hidden patches: Σ_hidden Σ_values |prediction − target| / (#hidden · values + ε) (SimMIM).

    Args:
      predictions: for every patch; only hidden ones count.
      targets: the patches' values, in the same order (:func:`patchify`).
      hidden: which patches were replaced by a mask token.
      eps: added to the number of hidden values. Authors: 1e-5 for each channel, 3e-5 for colour images.

    Returns:
      A scalar from 0, in the units of the targets; the mean over the hidden values of the whole batch, 0 if no patch is
      hidden.

    Cost: O(batch·patches·values); no state.

    References:
      Xie et al. 2022, https://arxiv.org/abs/2111.09886, eq. 1.
    """
    predictions, targets, hidden = checked(predictions, targets, hidden)
    error = jnp.sum(jnp.abs(predictions - targets), axis=2)
    count = jnp.sum(hidden) * predictions.shape[2]
    return jnp.sum(jnp.where(hidden, error, 0.0)) / jnp.maximum(count + eps, 1e-12)

"""MaskFeat (Wei et al. 2022, https://arxiv.org/abs/2112.09133): masked feature prediction."""

import functools

import flax.linen as nn
from jaxtyping import Array

from ... import losses
from ...augment import masking
from ...errors import UserError
from ...signature import Count, StaticProperShare
from ..base import Method
from .patches import check_decoder, check_encoder, drawn, head_on_mask_tokens, patch_grid


def maskfeat(
    encoder: nn.Module,
    decoder: nn.Module,
    *,
    ratio: StaticProperShare = 0.4,
    cells: Count = 2,
    orientations: Count = 9,
) -> Method:
    """Hidden patches are mask tokens of the encoder, and a linear head predicts their gradients' histograms.

    Args:
      encoder: a vision transformer, which sees all patches, hidden ones as one learned token at their positions.
      decoder: a network of kind `linear`, or another decoder; its `out` is set here to the values of a patch.
      ratio: int(patches · ratio) are hidden in blocks, at most (:func:`selfsup.augment.masking.block`). Paper: 0.4.
      cells: along a side of a patch, each with histograms of its own (:func:`selfsup.losses.hog`). Paper: 2 in patches
        of 16; patches of few pixels want 1.
      orientations: bins of a histogram. Paper: 9.

    The loss is the mean squared error of the hidden patches' histograms (:func:`selfsup.losses.masked_mse`), those of
    the normalised view. Features are the encoder's pooled output, of the masked view in training and of the whole image
    in `encode`; the paper fine-tunes. The metric `explained_share` is 1 − loss / the loss of predicting the batch's
    mean histograms at each place. State: none.

    Raises:
      UserError: an encoder without patch tokens, a decoder of another kind, patches that do not tile the view, cells
        that do not tile a patch, a ratio that hides nothing, or a grid that is too small for blocks.

    References:
      Wei et al. 2022, https://arxiv.org/abs/2112.09133, sect. 3.
    """
    check_encoder('maskfeat', encoder)
    check_decoder('maskfeat', decoder, 'linear')
    if encoder.patch % cells:
        raise UserError(f'method.cells={cells} must divide model.patch={encoder.patch}')

    def masks(images: Array, keys: Array) -> tuple[tuple[int, int], Array]:
        grid = patch_grid(encoder, images)
        return grid, drawn(f'method.ratio={ratio}', masking.block, keys, grid, int(grid[0] * grid[1] * ratio))

    return head_on_mask_tokens(
        encoder,
        decoder,
        masks=masks,
        width=lambda channels: cells**2 * orientations * channels,
        targets=lambda images, _: losses.hog(images, patch=encoder.patch, cells=cells, orientations=orientations),
        loss=functools.partial(losses.masked_mse, normalize=False),
        flags='counted',
    )

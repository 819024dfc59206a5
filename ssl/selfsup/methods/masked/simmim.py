"""SimMIM (Xie et al. 2022, https://arxiv.org/abs/2111.09886)."""

import flax.linen as nn
from jaxtyping import Array

from ... import losses
from ...augment import masking
from ...losses.masked import patchify
from ...signature import Count, StaticProperShare
from ..base import Method
from .patches import check_decoder, check_encoder, drawn, head_on_mask_tokens, patch_grid


def simmim(encoder: nn.Module, decoder: nn.Module, *, ratio: StaticProperShare = 0.6, unit: Count = 2) -> Method:
    """Hidden patches are mask tokens of the encoder, and a linear head predicts their pixels.

    Args:
      encoder: a vision transformer, which sees all patches, hidden ones as one learned token at their positions. The
        paper's ViT-B has relative positions shared by its blocks and `model.layer_scale=0.1`; positions here are
        learned or fixed.
      decoder: a network of kind `linear`, or another decoder; its `out` is set here to the values of a patch.
      ratio: share of hidden units, rounded up.
      unit: side of the squares that are hidden, in patches. Paper: 32 pixels, 2 patches of 16.

    The loss is the absolute error of hidden pixels of the normalised view (:func:`selfsup.losses.masked_l1`). Features
    are the encoder's pooled output, of the masked view in training and of the whole image in `encode`. The paper
    fine-tunes and reports no k-NN; features without it are weak. The metric `explained_share` is 1 − loss / the loss of
    predicting the batch's mean patch at each place. State: none.

    Raises:
      UserError: an encoder without patch tokens, a decoder of another kind, patches that do not tile the view, units
        that do not tile the grid, or a ratio that hides every unit or none.

    References:
      Xie et al. 2022, https://arxiv.org/abs/2111.09886, sect. 3.
    """
    check_encoder('simmim', encoder)
    check_decoder('simmim', decoder, 'linear')

    def masks(images: Array, keys: Array) -> tuple[tuple[int, int], Array]:
        grid = patch_grid(encoder, images)
        _, hidden = drawn(f'method.ratio={ratio}, method.unit={unit}', masking.units, keys, grid, ratio, unit)
        return grid, hidden

    return head_on_mask_tokens(
        encoder,
        decoder,
        masks=masks,
        width=lambda channels: encoder.patch**2 * channels,
        targets=lambda images, _: patchify(images, encoder.patch),
        loss=losses.masked_l1,
    )

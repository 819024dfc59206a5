"""SimMIM (Xie et al. 2022, https://arxiv.org/abs/2111.09886)."""

from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array

from ... import losses
from ...augment import masking
from ...losses.masked import patchify
from ...signature import Count, StaticProperShare
from ..base import Method, encode_with, view_keys
from .patches import MASKS, at_each_place, check_decoder, check_encoder, drawn, every_patch, explained, patch_grid


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

    def sized(images: Array) -> nn.Module:
        return decoder.clone(out=encoder.patch**2 * images.shape[3])

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        images = batch['views'][0][:2]
        first, second, third = (jax.random.fold_in(key, index) for index in range(3))
        grid, hidden = masks(images, jax.random.split(third, len(images)))
        tokens, variables = encoder.init_with_output(first, images, method='tokens', hidden=hidden)
        decoded = sized(images).init(second, tokens, every_patch(images, grid), grid)
        return {'encoder': variables['params'], 'decoder': decoded['params']}, {'batch_stats': {'encoder': {}}}

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        images = batch['views'][0]
        grid, hidden = masks(images, view_keys(batch, MASKS)(0))
        seen = {'hidden': hidden, 'train': True, 'keys': view_keys(batch)(0)}
        tokens = encoder.apply({'params': params['encoder']}, images, method='tokens', **seen)
        features = (encoder.pooled(tokens),)
        places = every_patch(images, grid)
        outputs = {
            'features': features,
            'embeddings': features,
            'predictions': sized(images).apply({'params': params['decoder']}, tokens, places, grid, train=True),
            'targets': patchify(images, encoder.patch),
            'hidden': hidden,
        }
        return outputs, extra

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        predictions, targets, hidden = (outputs[name] for name in ('predictions', 'targets', 'hidden'))
        loss = losses.masked_l1(predictions, targets, hidden)
        baseline = losses.masked_l1(at_each_place(targets), targets, hidden)
        return loss, (extra, {'explained_share': explained(loss, baseline)})

    return Method(init, embed, criterion, encode_with({'encoder': encoder}), views=1, control='shuffled_targets')

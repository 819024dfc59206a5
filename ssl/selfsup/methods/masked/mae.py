"""MAE (He et al. 2022, https://arxiv.org/abs/2111.06377)."""

from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array

from ... import losses
from ...losses.masked import patchify, standardize_patches
from ...signature import StaticProperShare
from ..base import Method, encode_with, view_keys
from .patches import MASKS, at_each_place, check_decoder, check_encoder, every_patch, explained, random_masks


def mae(
    encoder: nn.Module,
    decoder: nn.Module,
    *,
    ratio: StaticProperShare = 0.75,
    normalize: bool = True,
    mask_tokens: bool = False,
) -> Method:
    """Masked autoencoder: the encoder sees a random part of the patches, the decoder predicts the pixels of the rest.

    Args:
      encoder: a vision transformer. The paper's has fixed positions (`model.positions='sincos'`).
      decoder: a network of kind `transformer`; its `out` is set here to the values of a patch. Paper: 8 blocks of
        width 512 with 16 heads.
      ratio: share of hidden patches; it decides shapes, so it is neither swept as a value nor scheduled.
      normalize: targets are the patches of the normalised view, each brought to mean 0 and variance 1; see
        :func:`selfsup.losses.masked_mse`.
      mask_tokens: the encoder sees hidden patches as well, as mask tokens, and the decoder has a token of each patch
        (the paper's Table 1c); the decoder's own mask token is not used then. An encoder that holds mask tokens leaves
        fewer dimensions to real ones (Meng et al. 2024, https://arxiv.org/abs/2302.02060), which
        :func:`selfsup.diagnostics.token_rank` measures.

    Features are the encoder's pooled output, of kept patches in training and of all in `encode`. No loss sees the class
    token, so k-NN wants `model.pool='mean'`; the paper's linear probe reads the class token. The metric
    `explained_share` is 1 − loss / the loss of predicting the batch's mean patch at each place. State: none.

    The authors' kernels start Xavier-uniform: the decoder's do, the encoder's with `model.init_kernels='xavier'`.

    Raises:
      UserError: an encoder without patch tokens, a decoder of another kind, patches that do not tile the view, or a
        ratio that keeps no patch.
    """
    check_encoder('mae', encoder)
    check_decoder('mae', decoder, 'transformer')

    def sized(images: Array) -> nn.Module:
        return decoder.clone(out=encoder.patch**2 * images.shape[3])

    def masks(images: Array, keys: Array) -> tuple[tuple[int, int], Array, Array, dict[str, Array]]:
        """The grid, the patches of which the encoder gives tokens, the hidden ones, and how the encoder is told."""
        grid, keep, hidden = random_masks(encoder, images, keys, ratio)
        if mask_tokens:
            return grid, every_patch(images, grid), hidden, {'hidden': hidden}
        return grid, keep, hidden, {'keep': keep}

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        images = batch['views'][0][:2]
        first, second, third = (jax.random.fold_in(key, index) for index in range(3))
        grid, keep, _, seen = masks(images, jax.random.split(third, len(images)))
        tokens, variables = encoder.init_with_output(first, images, method='tokens', **seen)
        params = {'encoder': variables['params'], 'decoder': sized(images).init(second, tokens, keep, grid)['params']}
        return params, {'batch_stats': {'encoder': {}}}

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        images = batch['views'][0]
        grid, keep, hidden, seen = masks(images, view_keys(batch, MASKS)(0))
        run = {'method': 'tokens', 'train': True, 'keys': view_keys(batch)(0)}
        tokens = encoder.apply({'params': params['encoder']}, images, **seen, **run)
        features = (encoder.pooled(tokens),)
        outputs = {
            'features': features,
            'embeddings': features,
            'predictions': sized(images).apply({'params': params['decoder']}, tokens, keep, grid, train=True),
            'targets': patchify(images, encoder.patch),
            'hidden': hidden,
        }
        return outputs, extra

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        predictions, targets, hidden = (outputs[name] for name in ('predictions', 'targets', 'hidden'))
        loss = losses.masked_mse(predictions, targets, hidden, normalize=normalize)
        known = standardize_patches(targets) if normalize else targets
        baseline = losses.masked_mse(at_each_place(known), known, hidden, normalize=False)
        return loss, (extra, {'explained_share': explained(loss, baseline)})

    return Method(init, embed, criterion, encode_with({'encoder': encoder}), views=1, control='shuffled_targets')

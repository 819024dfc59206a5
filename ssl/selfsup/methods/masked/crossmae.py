"""CrossMAE (Fu et al. 2024, https://arxiv.org/abs/2401.14391): masked autoencoders by cross-attention alone."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import losses
from ...augment import masking
from ...errors import UserError
from ...losses.masked import patchify, standardize_patches
from ...signature import StaticProperShare
from ..base import Method, encode_with, view_keys
from .patches import (
    MASKS,
    QUERIES,
    at_each_place,
    at_places,
    check_decoder,
    check_encoder,
    explained,
    normed,
    random_masks,
)


def crossmae(
    encoder: nn.Module,
    decoder: nn.Module,
    *,
    ratio: StaticProperShare = 0.75,
    predict: StaticProperShare = 0.25,
    inter_block: bool = True,
    normalize: bool = True,
) -> Method:
    """MAE whose mask tokens attend to the encoder's tokens and not to one another, so that a part of them suffices.

    Args:
      encoder: a vision transformer. The paper's has fixed positions (`model.positions='sincos'`).
      decoder: a network of kind `cross`; its `out` is set here to the values of a patch. Paper: 12 blocks of width 512
        with 16 heads.
      ratio, predict: shares of all patches that are hidden and, drawn anew from these, predicted. With N patches
        N − int(N·(1 − ratio)) − int(N·(ratio − predict)) are predicted, as in the authors' code. They decide shapes, so
        they are neither swept as values nor scheduled. Paper: 0.75, and 0.25 to 0.75.
      inter_block: every block of the decoder attends to a learned weighted sum of all the encoder's blocks' outputs and
        of what enters the first, normed (the authors' `weight_fm` and `use_input`), and the encoder's last norm has no
        gradient; else to its normed output.
      normalize: targets are the patches of the normalised view, each brought to mean 0 and variance 1; see
        :func:`selfsup.losses.masked_mse`.

    Features are the encoder's pooled output, of kept patches in training and of all in `encode`; k-NN wants
    `model.pool='mean'`, as in MAE. The metric `explained_share` is 1 − loss / the loss of predicting the batch's mean
    patch at each place. State: none.

    Raises:
      UserError: an encoder without patch tokens, a decoder of another kind, patches that do not tile the view, a ratio
        that keeps no patch, or a share to predict that is above it or takes none.

    References:
      Fu et al. 2024, https://arxiv.org/abs/2401.14391, sect. 3.
    """
    check_encoder('crossmae', encoder)
    check_decoder('crossmae', decoder, 'cross', has='self_attention')
    if predict > ratio:
        raise UserError(f'method.predict={predict} must be at most method.ratio={ratio}, the share that is hidden')

    def sized(images: Array) -> nn.Module:
        return decoder.clone(out=encoder.patch**2 * images.shape[3])

    def masks(images: Array, keys: Array, own: Array) -> tuple[tuple[int, int], Array, Array]:
        """The grid, and the numbers of the kept and of the predicted patches."""
        grid, keep, hidden = random_masks(encoder, images, keys, ratio)
        patches = grid[0] * grid[1]
        count = patches - keep.shape[1] - int(patches * (ratio - predict))
        if count < 1:
            raise UserError(f'method.predict={predict} predicts none of the {patches} patches of a view')
        return grid, keep, masking.chosen(own, hidden, count)

    def tokens_of(params: Any, images: Array, keep: Array, **seen: Any) -> tuple[Array, tuple[Array, ...]]:
        """The encoder's normed output, and what the decoder attends to instead of it."""
        which: dict[str, Any] = {'blocks': encoder.depth + 1, 'of': 'block'} if inter_block else {}
        seen = {'method': 'tokens', 'keep': keep, **which, **seen}
        found: Any = encoder.apply({'params': params['encoder']}, images, **seen)
        return (normed(params, found[-1]), found) if inter_block else (found, ())

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        images = batch['views'][0][:2]
        first, second, third, fourth = (jax.random.fold_in(key, index) for index in range(4))
        keys = (jax.random.split(k, len(images)) for k in (third, fourth))
        grid, keep, places = masks(images, *keys)
        params = {'encoder': encoder.init(first, images, method='tokens', keep=keep)['params']}
        tokens, maps = tokens_of(params, images, keep)
        params['decoder'] = sized(images).init(second, tokens, keep, grid, places, maps=maps)['params']
        return params, {'batch_stats': {'encoder': {}}}

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        images = batch['views'][0]
        grid, keep, places = masks(images, view_keys(batch, MASKS)(0), view_keys(batch, QUERIES)(0))
        tokens, maps = tokens_of(params, images, keep, train=True, keys=view_keys(batch)(0))
        features = (encoder.pooled(tokens),)
        asked = {'queries': places, 'maps': maps, 'train': True}
        outputs = {
            'features': features,
            'embeddings': features,
            'predictions': sized(images).apply({'params': params['decoder']}, tokens, keep, grid, **asked),
            'targets': patchify(images, encoder.patch),
            'places': places,
        }
        return outputs, extra

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        predictions, targets, places = (outputs[name] for name in ('predictions', 'targets', 'places'))
        known = standardize_patches(targets) if normalize else targets

        def compared(predictions: Array) -> Array:
            every = jnp.ones(places.shape, bool)
            return losses.masked_mse(predictions, at_places(known, places), every, normalize=False)

        loss = compared(predictions)
        share = explained(loss, compared(at_places(at_each_place(known), places)))
        return loss, (extra, {'explained_share': share})

    return Method(init, embed, criterion, encode_with({'encoder': encoder}), views=1, control='shuffled_targets')

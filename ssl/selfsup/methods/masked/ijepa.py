"""I-JEPA (Assran et al. 2023, https://arxiv.org/abs/2301.08243)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import losses
from ...augment import masking
from ...signature import Count, Positive, ScheduledShare
from ..base import Method, encode_with, target_network, view_keys
from ..target import follow
from .patches import (
    MASKS,
    Range,
    at_each_place,
    at_places,
    check_decoder,
    check_encoder,
    copied_encoder,
    deviation,
    drawn,
    explained,
    patch_grid,
    target_tokens,
)


def ijepa(
    encoder: nn.Module,
    predictor: nn.Module,
    *,
    context: Count = 55,
    blocks: Count = 4,
    scale: Range = (0.15, 0.2),
    aspect: Range = (0.75, 1.5),
    context_scale: Range = (0.85, 1.0),
    least: Count = 10,
    beta: Positive = 1.0,
    momentum: ScheduledShare = 0.996,
) -> Method:
    """A narrow predictor gives the target network's tokens of some blocks from those of a context without them.

    Args:
      encoder: a vision transformer. The paper's has fixed positions, no class token (`model.class_token=False`) and the
        mean of its tokens as features (`model.pool='mean'`).
      predictor: a network of kind `transformer`; its `out` is set here to the encoder's width. It predicts each block
        apart from the others. Paper: width 384, depth 6 to 16, heads of the encoder, kernels from a truncated normal
        (`predictor.init_kernels='truncated'`).
      context: how many patches the encoder sees; where fewer are allowed, the rest do not count. The authors' batches
        have some 55 of 14 x 14; on 8 x 8 at least 16 are always allowed.
      blocks, scale, aspect: target blocks of an image, their share of the patches, and their height / width.
      context_scale: share of the square from which the context is drawn, before the targets are taken out of it.
      least: context patches that masks should leave (:func:`selfsup.augment.masking.multi_block`). The authors' sampler
        does not end on 8 x 8 with more than 8.
      beta: of the loss, :func:`selfsup.losses.masked_smooth_l1`.
      momentum: m of the moving average, a value or a function of the step. Paper: linear from 0.996 to 1; a config's is
        a cosine.

    The targets are all patch tokens of the target network, which sees the whole view, each brought to mean 0 and
    variance 1; no gradient enters them. The target moves after the optimiser's step t, with m(t), and is what is
    evaluated. Metrics: `explained_share`, 1 − loss / the loss of predicting the batch's mean target at each place, and
    `target_deviation`, of the targets over the batch, 0 at collapse. State: parameters of the target encoder.

    Convention: masks differ from the authors' code in what :func:`selfsup.augment.masking.multi_block` lists; the loss
    is the mean over all target patches of the batch, as theirs, where blocks of all images have one size.

    Raises:
      UserError: an encoder without patch tokens, a predictor of another kind, patches that do not tile the view, or a
        grid that is too small for the blocks.

    References:
      Assran et al. 2023, https://arxiv.org/abs/2301.08243, sect. 3.
    """
    check_encoder('ijepa', encoder)
    check_decoder('ijepa', predictor, 'transformer', section='predictor', has='layer_scale')
    sized = predictor.clone(out=encoder.dim)

    def masks(images: Array, keys: Array) -> tuple[tuple[int, int], masking.MultiBlock]:
        grid = patch_grid(encoder, images)
        fields = 'method.context, method.blocks, method.scale, method.aspect, method.context_scale, method.least'
        shares = {'blocks': blocks, 'scale': scale, 'aspect': aspect, 'context_scale': context_scale, 'least': least}
        return grid, drawn(fields, masking.multi_block, keys, grid, context, **shares)

    def each_block(tokens: Array, mask: masking.MultiBlock) -> tuple[tuple, dict]:
        """What the predictor is asked: every block of every image is an example of its own."""
        images, count, size = mask.targets.shape

        def repeated(x: Array) -> Array:
            return jnp.repeat(x, count, axis=0)

        flags = {'valid': repeated(mask.context_valid), 'asked': mask.targets_valid.reshape(images * count, size)}
        return (repeated(tokens), repeated(mask.context)), {
            'queries': mask.targets.reshape(images * count, size),
            **flags,
        }

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        images = batch['views'][0][:2]
        first, second, third = (jax.random.fold_in(key, index) for index in range(3))
        grid, mask = masks(images, jax.random.split(third, len(images)))
        seen = {'keep': mask.context, 'valid': mask.context_valid}
        tokens, variables = encoder.init_with_output(first, images, method='tokens', **seen)
        asked, flags = each_block(tokens, mask)
        params = {'encoder': variables['params'], 'predictor': sized.init(second, *asked, grid, **flags)['params']}
        return params, {'batch_stats': {'encoder': {}}, 'target': copied_encoder(params)}

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        images = batch['views'][0]
        grid, mask = masks(images, view_keys(batch, MASKS)(0))
        seen = {'keep': mask.context, 'valid': mask.context_valid, 'train': True, 'keys': view_keys(batch)(0)}
        tokens = encoder.apply({'params': params['encoder']}, images, method='tokens', **seen)
        asked, flags = each_block(tokens, mask)
        predictions = sized.apply({'params': params['predictor']}, *asked, grid, train=True, **flags)
        features = (encoder.pooled(tokens, mask.context_valid),)
        outputs = {
            'features': features,
            'embeddings': features,
            'predictions': predictions.reshape(len(images), -1, predictions.shape[2]),
            'targets': losses.standardize_tokens(target_tokens(encoder, extra, images)),
            'places': mask.targets.reshape(len(images), -1),
            'counted': mask.targets_valid.reshape(len(images), -1),
        }
        return outputs, extra

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        def compared(predictions: Array, targets: Array) -> Array:
            return losses.masked_smooth_l1(predictions, targets, outputs['counted'], beta=beta)

        targets, places = outputs['targets'], outputs['places']
        loss = compared(outputs['predictions'], at_places(targets, places))
        baseline = compared(at_places(at_each_place(targets), places), at_places(targets, places))
        return loss, (extra, {'explained_share': explained(loss, baseline), 'target_deviation': deviation(targets)})

    return Method(
        init,
        embed,
        criterion,
        encode_with({'encoder': encoder}),
        follow(momentum),
        target_network,
        views=1,
        control='shuffled_targets',
    )

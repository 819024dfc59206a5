"""data2vec for images (Baevski et al. 2022, https://arxiv.org/abs/2202.03555)."""

from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array

from ... import losses
from ...augment import masking
from ...errors import UserError
from ...signature import Count, Positive, ScheduledShare, StaticProperShare
from ..base import Method, encode_with, view_keys
from ..target import follow
from .patches import (
    MASKS,
    at_each_place,
    check_decoder,
    check_encoder,
    copied_encoder,
    deviation,
    drawn,
    every_patch,
    explained,
    patch_grid,
    target_layers,
)


def data2vec(
    encoder: nn.Module,
    decoder: nn.Module,
    *,
    ratio: StaticProperShare = 0.6125,
    layers: Count = 6,
    beta: Positive = 2.0,
    momentum: ScheduledShare = 0.9998,
) -> Method:
    """Hidden patches, mask tokens of the encoder, predict the target network's averaged layers at their places.

    Args:
      encoder: a vision transformer, which sees all patches, hidden ones as one learned token at their positions. The
        authors' has relative positions shared by its blocks, stochastic depth and `model.layer_scale`.
      decoder: a network of kind `linear`, or another decoder; its `out` is set here to the encoder's width.
      ratio: int(patches · ratio) are hidden in blocks, at most (:func:`selfsup.augment.masking.block`): 120 of 14 x 14.
      layers: K, the last blocks of the target network that are averaged (:func:`selfsup.losses.averaged_layers`).
        Authors: 6 of ViT-B's 12.
      beta: of the loss, :func:`selfsup.losses.masked_smooth_l1`. Authors: 2 in the command for ViT-B.
      momentum: m of the moving average, a value or a function of the step. Authors: 0.9998 over 500,000 steps; in a
        short run it must be smaller, since the target should forget its start within a twentieth of the run.

    The target network sees the whole view without stochastic depth; no gradient enters the targets. It moves after the
    optimiser's step t, with m(t). The trained encoder is evaluated, as the authors fine-tune it. Metrics:
    `explained_share`, 1 − loss / the loss of predicting the batch's mean target at each place, and `target_deviation`,
    of the targets over the batch, 0 at collapse. State: parameters of the target encoder.

    Raises:
      UserError: an encoder without patch tokens, a decoder of another kind, patches that do not tile the view, a ratio
        that hides nothing, a grid that is too small for blocks, or more layers than the encoder has blocks.

    References:
      Baevski et al. 2022, https://arxiv.org/abs/2202.03555, sect. 3 and 4.1.
    """
    check_encoder('data2vec', encoder)
    check_decoder('data2vec', decoder, 'linear')
    if layers > encoder.depth:
        raise UserError(f'method.layers={layers} must be at most model.depth={encoder.depth}')
    sized = decoder.clone(out=encoder.dim)

    def masks(images: Array, keys: Array) -> tuple[tuple[int, int], Array]:
        grid = patch_grid(encoder, images)
        return grid, drawn(f'method.ratio={ratio}', masking.block, keys, grid, int(grid[0] * grid[1] * ratio))

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        images = batch['views'][0][:2]
        first, second, third = (jax.random.fold_in(key, index) for index in range(3))
        grid, hidden = masks(images, jax.random.split(third, len(images)))
        tokens, variables = encoder.init_with_output(first, images, method='tokens', hidden=hidden)
        decoded = sized.init(second, tokens, every_patch(images, grid), grid)
        params = {'encoder': variables['params'], 'decoder': decoded['params']}
        return params, {'batch_stats': {'encoder': {}}, 'target': copied_encoder(params)}

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
            'predictions': sized.apply({'params': params['decoder']}, tokens, places, grid, train=True),
            'targets': losses.averaged_layers(target_layers(encoder, extra, images, layers, of='block')),
            'counted': hidden,
        }
        return outputs, extra

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        predictions, targets, counted = (outputs[name] for name in ('predictions', 'targets', 'counted'))
        loss = losses.masked_smooth_l1(predictions, targets, counted, beta=beta)
        baseline = losses.masked_smooth_l1(at_each_place(targets), targets, counted, beta=beta)
        return loss, (extra, {'explained_share': explained(loss, baseline), 'target_deviation': deviation(targets)})

    return Method(
        init,
        embed,
        criterion,
        encode_with({'encoder': encoder}),
        follow(momentum),
        views=1,
        control='shuffled_targets',
    )

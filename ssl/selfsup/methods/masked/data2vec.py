"""data2vec for images (Baevski et al. 2022, https://arxiv.org/abs/2202.03555)."""

from functools import partial
from typing import Any

import flax.linen as nn
from jaxtyping import Array

from ... import losses
from ...augment import masking
from ...errors import UserError
from ...signature import Count, Positive, ScheduledShare, StaticProperShare
from ..base import Method
from ..target import follow
from .patches import (
    check_decoder,
    check_encoder,
    copied_encoder,
    deviation,
    drawn,
    head_on_mask_tokens,
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

    def masks(images: Array, keys: Array) -> tuple[tuple[int, int], Array]:
        grid = patch_grid(encoder, images)
        return grid, drawn(f'method.ratio={ratio}', masking.block, keys, grid, int(grid[0] * grid[1] * ratio))

    base = head_on_mask_tokens(
        encoder,
        decoder,
        masks=masks,
        width=lambda _: encoder.dim,
        targets=lambda images, extra: losses.averaged_layers(target_layers(encoder, extra, images, layers, of='block')),
        loss=partial(losses.masked_smooth_l1, beta=beta),
        flags='counted',
    )

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, extra = base.init(key, batch)
        return params, {**extra, 'target': copied_encoder(params)}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        loss, (extra, metrics) = base.criterion(params, outputs, extra, batch, key)
        return loss, (extra, {**metrics, 'target_deviation': deviation(outputs['targets'])})

    return base._replace(init=init, criterion=criterion, after=follow(momentum))

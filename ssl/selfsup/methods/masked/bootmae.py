"""BootMAE (Dong et al. 2022, https://arxiv.org/abs/2207.07116): bootstrapped masked autoencoders."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import losses
from ...augment import masking
from ...errors import UserError
from ...losses.masked import patchify, standardize_channels
from ...signature import Count, NonNegative, ScheduledShare, StaticProperShare, Whole
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
    explained,
    normed,
    patch_grid,
    target_layers,
)

TOKEN_EPSILON = 1e-6  # of the norm of targets and predicted tokens, as the authors'


def with_neighbours(hidden: Array, grid: tuple[int, int]) -> Array:
    """Weights `[batch, patches]`: of a hidden patch 1 + the share of its 3x3 patches that are hidden, of others 0.

    What lies outside the grid is not hidden.
    """
    x = hidden.reshape(-1, *grid).astype(jnp.float32)
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1)))
    around = sum(padded[:, i : i + grid[0], j : j + grid[1]] for i in range(3) for j in range(3)) / 9
    return (x * around + x).reshape(hidden.shape)


def bootmae(
    encoder: nn.Module,
    decoder: nn.Module,
    predictor: nn.Module,
    *,
    ratio: StaticProperShare = 0.75,
    shallow: Count = 1,
    neighbours: bool = True,
    feature_weight: NonNegative = 1.0,
    warmup_steps: Whole = 0,
    momentum: ScheduledShare = 0.999,
) -> Method:
    """Latent bootstrapping: of the hidden patches one decoder predicts the pixels, another the target network's tokens.

    Both decoders hold the encoder's tokens and mask tokens; the first also attends to the output of a shallow block, so
    that the encoder need not keep low-level detail, the second to the last block's.

    Args:
      encoder: a vision transformer, which sees the patches that a mask shows. The paper's has fixed positions.
      decoder: of pixels, a network of kind `cross`; its `out` is set here to the values of a patch. Paper: 2 blocks of
        width 512 with `decoder.self_attention=True`.
      predictor: of tokens, a network of kind `cross`; its `out` is set here to the encoder's width. Paper: 2 blocks of
        the encoder's width, likewise.
      ratio: int(patches · ratio) are hidden, in blocks and single patches (:func:`selfsup.augment.masking.block`,
        `exact`): 147 of 14 x 14.
      shallow: number of the block, from 1, whose output the decoder of pixels attends to. Paper: the first.
      neighbours: a hidden patch weighs up to twice as much the more of the patches around it are hidden
        (:func:`with_neighbours`), as with the authors' `weight_mask`.
      feature_weight, warmup_steps: of the tokens' error, reached linearly over so many steps; 0 has it from the start.
        Paper: 1, over a quarter of the run.
      momentum: m of the moving average, a value or a function of the step. Authors: 0.999, 0.9999 from epoch 100 and
        0.99999 from 400 of 800.

    The target network sees the whole view without stochastic depth; its tokens are its last block's, and they and the
    predictions are brought to mean 0 and variance 1; no gradient enters them. Pixels are those of the normalised view,
    each channel of each patch brought to mean 0 and variance 1. The target moves after the optimiser's step t, with
    m(t). The trained encoder is evaluated. Metrics: both errors; 1 − error / that of predicting the batch's mean at
    each place, `explained_share` of pixels and `explained_tokens` of tokens; and `target_deviation`, of the targets
    over the batch, 0 at collapse. State: parameters of the target encoder.

    Convention: in the authors' loop up to three of the hidden patches change places with shown ones, at random.

    Raises:
      UserError: an encoder without patch tokens, decoders of another kind, patches that do not tile the view, a ratio
        that hides nothing or everything, a grid that is too small for blocks, or a block beyond the depth.

    References:
      Dong et al. 2022, https://arxiv.org/abs/2207.07116, sect. 3.
    """
    check_encoder('bootmae', encoder)
    check_decoder('bootmae', decoder, 'cross', has='self_attention')
    check_decoder('bootmae', predictor, 'cross', section='predictor', has='self_attention')
    if shallow > encoder.depth:
        raise UserError(f'method.shallow={shallow} must be at most model.depth={encoder.depth}')
    featured = predictor.clone(out=encoder.dim)

    def sized(images: Array) -> nn.Module:
        return decoder.clone(out=encoder.patch**2 * images.shape[3])

    def masks(images: Array, keys: Array) -> tuple[tuple[int, int], Array, Array]:
        grid = patch_grid(encoder, images)
        count = int(grid[0] * grid[1] * ratio)
        hidden = drawn(f'method.ratio={ratio}', masking.block, keys, grid, count, exact=True)
        return grid, masking.places(~hidden, grid[0] * grid[1] - count)[0], hidden

    def tokens_of(params: Any, images: Array, keep: Array, **seen: Any) -> tuple[Array, tuple, tuple]:
        """The encoder's normed output, and what each of the decoders attends to besides."""
        seen = {'method': 'tokens', 'keep': keep, 'blocks': encoder.depth, 'of': 'block', **seen}
        found: Any = encoder.apply({'params': params['encoder']}, images, **seen)
        found = (found,) if encoder.depth == 1 else found
        return normed(params, found[-1]), (found[shallow - 1],), (found[-1],)

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        images = batch['views'][0][:2]
        first, second, third, fourth = (jax.random.fold_in(key, index) for index in range(4))
        grid, keep, _ = masks(images, jax.random.split(third, len(images)))
        params = {'encoder': encoder.init(first, images, method='tokens', keep=keep)['params']}
        tokens, low, high = tokens_of(params, images, keep)
        params['decoder'] = sized(images).init(second, tokens, keep, grid, maps=low)['params']
        params['predictor'] = featured.init(fourth, tokens, keep, grid, maps=high)['params']
        return params, {'batch_stats': {'encoder': {}}, 'target': copied_encoder(params)}

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        images = batch['views'][0]
        grid, keep, hidden = masks(images, view_keys(batch, MASKS)(0))
        tokens, low, high = tokens_of(params, images, keep, train=True, keys=view_keys(batch)(0))
        features = (encoder.pooled(tokens),)
        given = (tokens, keep, grid)
        (found,) = target_layers(encoder, extra, images, 1, of='block')
        outputs = {
            'features': features,
            'embeddings': features,
            'predictions': sized(images).apply({'params': params['decoder']}, *given, maps=low, train=True),
            'token_predictions': featured.apply({'params': params['predictor']}, *given, maps=high, train=True),
            'targets': {
                'pixels': standardize_channels(patchify(images, encoder.patch), images.shape[3]),
                'tokens': losses.standardize_tokens(found, eps=TOKEN_EPSILON),
            },
            'weights': with_neighbours(hidden, grid) if neighbours else hidden.astype(jnp.float32),
        }
        return outputs, extra

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        targets, weights = outputs['targets'], outputs['weights']

        def compared(predictions: Array, targets: Array) -> Array:
            return losses.masked_mse(predictions, targets, weights > 0, normalize=False, weights=weights)

        pixels = compared(outputs['predictions'], targets['pixels'])
        guessed = losses.standardize_tokens(outputs['token_predictions'], eps=TOKEN_EPSILON)
        tokens = compared(guessed, targets['tokens'])
        risen = jnp.minimum((batch['step'] + 1) / warmup_steps, 1.0) if warmup_steps else 1.0
        metrics = {
            'pixel_loss': pixels,
            'token_loss': tokens,
            'explained_share': explained(pixels, compared(at_each_place(targets['pixels']), targets['pixels'])),
            'explained_tokens': explained(tokens, compared(at_each_place(targets['tokens']), targets['tokens'])),
            'target_deviation': deviation(targets['tokens']),
        }
        return pixels + feature_weight * risen * tokens, (extra, jax.lax.stop_gradient(metrics))

    return Method(
        init,
        embed,
        criterion,
        encode_with({'encoder': encoder}),
        follow(momentum),
        views=1,
        control='shuffled_targets',
    )

"""CMAE (Huang et al. 2022, https://arxiv.org/abs/2207.13532): contrastive masked autoencoders."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import losses
from ...augment import masking
from ...errors import UserError
from ...losses.masked import patchify, standardize_patches
from ...signature import Count, NonNegative, Positive, ScheduledShare, StaticProperShare, Whole
from ..base import Method, encode_with, forward, mean_cosine, view_keys
from ..target import copied, follow
from .patches import (
    MASKS,
    at_each_place,
    check_decoder,
    check_encoder,
    drawn,
    explained,
    patch_grid,
    target_layers,
)

SHIFTS = 4  # stream of the examples' keys; 0 to 3 are those of patches.py


def corners(keys: Array, shift: int) -> Array:
    """Where the target's part of each view begins: row and column `[batch, 2]`, each uniform from 0 to `shift`."""
    # In float32, so that what is drawn does not depend on the arithmetic.
    shares = jax.vmap(lambda key: jax.random.uniform(key, (2,), jnp.float32))(keys)
    return jnp.minimum((shares * (shift + 1)).astype(int), shift)


def cropped(images: Array, begin: Array, size: tuple[int, int]) -> Array:
    """A part of each image, from its row and column `begin` `[batch, 2]` on."""

    def cut(image: Array, corner: Array) -> Array:
        return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), (*size, image.shape[2]))

    return jax.vmap(cut)(images, begin)


def cmae(
    encoder: nn.Module,
    decoder: nn.Module,
    projector: nn.Module,
    predictor: nn.Module,
    *,
    ratio: StaticProperShare = 0.65,
    unit: Count = 2,
    shift: Whole = 32,
    feature_depth: Count = 2,
    normalize: bool = True,
    temperature: Positive = 0.07,
    contrast_weight: NonNegative = 1.0,
    pixel_weight: NonNegative = 1.0,
    momentum: ScheduledShare = 0.996,
) -> Method:
    """A masked autoencoder whose second decoder makes features, which are to be those of a shifted view by a target.

    Of each view two parts are cut that are `shift` pixels smaller on both sides: one in its upper left corner, of which
    the encoder sees some patches, and one at a random place, which the target network sees whole. One decoder predicts
    the hidden pixels of the first; the mean of what the other gives for all patches passes through projector and
    predictor, and is compared with the target's mean patch, through its projector, of all images of the batch.

    Args:
      encoder: a vision transformer. The paper's has fixed positions.
      decoder: of pixels, a network of kind `transformer`; its `out` is set here. Paper: 8 blocks of width 512. The
        decoder of features is one like it of another depth, whose `out` is the encoder's width.
      projector, predictor: authors: 1536 with batch-norm, 256 without, both.
      ratio: share of hidden units, rounded up. Paper: 0.65 in the code.
      unit: side of the squares that are hidden, in patches. Authors: 2.
      shift: largest shift in pixels; views must be so much larger than what the networks are to see. Authors: 31, of
        parts of 224 in views of 256.
      feature_depth: blocks of the decoder of features. Paper: 2.
      normalize: targets are patches brought to mean 0 and variance 1; see :func:`selfsup.losses.masked_mse`.
      temperature: τ of the contrast, 2τ·InfoNCE as in MoCo v3 (:func:`selfsup.losses.moco_v3`). Paper: 0.07.
      contrast_weight, pixel_weight: of the two losses. Paper: 1 and 1.
      momentum: m of the target encoder and projector, a value or a function of the step. Paper: 0.996.

    The target's tokens are its last block's, without the last norm; it runs without stochastic depth, its projector
    with batch statistics of its own; it moves after the optimiser's step t, with m(t). The trained encoder is
    evaluated. Metrics: both losses, `explained_share`, 1 − error / the error of predicting the batch's mean patch at
    each place, and `positive_cosine`. State: parameters of the target encoder and projector, its batch statistics.

    Convention: the authors also change the colours of the target's part, and blur it; here both parts are of the view
    that the config makes.

    Raises:
      UserError: an encoder without patch tokens, networks of other kinds, a shift that leaves nothing, patches that do
        not tile the parts, units that do not tile the grid, or a ratio that hides every unit or none.

    References:
      Huang et al. 2022, https://arxiv.org/abs/2207.13532, sect. 3.
    """
    check_encoder('cmae', encoder)
    check_decoder('cmae', decoder, 'transformer', has='layer_scale')
    check_decoder('cmae', projector, 'mlp', section='projector', has='widths')
    check_decoder('cmae', predictor, 'mlp', section='predictor', has='widths')
    featured = decoder.clone(out=encoder.dim, depth=feature_depth)

    def sized(images: Array) -> nn.Module:
        return decoder.clone(out=encoder.patch**2 * images.shape[3])

    def parts(images: Array, keys: Array) -> tuple[Array, Array]:
        """The encoder's part of each view and the target's."""
        size = (images.shape[1] - shift, images.shape[2] - shift)
        if min(size) < encoder.patch or any(side % encoder.patch for side in size):
            raise UserError(
                f'method.shift={shift} leaves {size[0]}x{size[1]} of views of {images.shape[1]}x{images.shape[2]}, '
                f'which model.patch={encoder.patch} does not divide'
            )
        return images[:, : size[0], : size[1]], cropped(images, corners(keys, shift), size)

    def masks(images: Array, keys: Array) -> tuple[tuple[int, int], Array, Array]:
        grid = patch_grid(encoder, images)
        return grid, *drawn(f'method.ratio={ratio}, method.unit={unit}', masking.units, keys, grid, ratio, unit)

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        first, second, third, *rest = (jax.random.fold_in(key, index) for index in range(6))
        images, _ = parts(batch['views'][0][:2], jax.random.split(third, 2))
        grid, keep, _ = masks(images, jax.random.split(rest[0], 2))
        tokens, variables = encoder.init_with_output(first, images, method='tokens', keep=keep)
        params: dict[str, Any] = {'encoder': variables['params']}
        params['decoder'] = sized(images).init(second, tokens, keep, grid)['params']
        made, variables = featured.init_with_output(rest[1], tokens, keep, grid)
        params['feature_decoder'] = variables['params']
        stats, z = {'encoder': {}}, jnp.mean(made, axis=1)
        for index, (name, module) in enumerate((('projector', projector), ('predictor', predictor))):
            z, variables = module.init_with_output(jax.random.fold_in(rest[2], index), z, train=False)
            params[name], stats[name] = variables['params'], variables.get('batch_stats', {})
        return params, {'batch_stats': stats, 'target': copied(params, stats)}

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        images, shifted = parts(batch['views'][0], view_keys(batch, SHIFTS)(0))
        grid, keep, hidden = masks(images, view_keys(batch, MASKS)(0))
        seen = {'keep': keep, 'train': True, 'keys': view_keys(batch)(0)}
        tokens = encoder.apply({'params': params['encoder']}, images, method='tokens', **seen)
        features = (encoder.pooled(tokens),)
        stats, target = dict(extra['batch_stats']), extra['target']
        made = featured.apply({'params': params['feature_decoder']}, tokens, keep, grid, train=True)
        z, stats['projector'] = forward(
            projector, params['projector'], stats['projector'], jnp.mean(made, axis=1), train=True
        )
        z, stats['predictor'] = forward(predictor, params['predictor'], stats['predictor'], z, train=True)
        (found,) = target_layers(encoder, extra, shifted, 1, of='block')
        theirs, moved = forward(
            projector,
            jax.lax.stop_gradient(target['params']['projector']),
            target['batch_stats']['projector'],
            jnp.mean(found, axis=1),
            train=True,
        )
        outputs = {
            'features': features,
            'embeddings': features,
            'predictions': sized(images).apply({'params': params['decoder']}, tokens, keep, grid, train=True),
            'projections': z,
            'targets': {'pixels': patchify(images, encoder.patch), 'projections': jax.lax.stop_gradient(theirs)},
            'counted': hidden,
        }
        moved = {**target, 'batch_stats': {**target['batch_stats'], 'projector': moved}}
        return outputs, {**extra, 'batch_stats': stats, 'target': moved}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        pixels, projections = outputs['targets']['pixels'], outputs['targets']['projections']
        known = standardize_patches(pixels) if normalize else pixels

        def compared(predictions: Array) -> Array:
            return losses.masked_mse(predictions, known, outputs['counted'], normalize=False)

        pixel = compared(outputs['predictions'])
        contrast = losses.moco_v3(outputs['projections'], projections, temperature=temperature)
        metrics = {
            'pixel_loss': pixel,
            'contrast_loss': contrast,
            'explained_share': explained(pixel, compared(at_each_place(known))),
            'positive_cosine': mean_cosine(outputs['projections'], projections),
        }
        return pixel_weight * pixel + contrast_weight * contrast, (extra, jax.lax.stop_gradient(metrics))

    return Method(
        init,
        embed,
        criterion,
        encode_with({'encoder': encoder}),
        follow(momentum),
        views=1,
        control='shuffled_targets',
    )

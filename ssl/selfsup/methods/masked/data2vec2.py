"""data2vec 2.0 for images (Baevski et al. 2023, https://arxiv.org/abs/2212.07525)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import losses
from ...augment import masking
from ...errors import UserError
from ...signature import Count, NonNegative, ScheduledShare, StaticProperShare
from ..base import Method, encode_with, view_keys
from ..target import follow
from .patches import (
    DECODER,
    MASKS,
    at_each_place,
    check_decoder,
    check_encoder,
    copied_encoder,
    deviation,
    drawn,
    explained,
    patch_grid,
    target_layers,
)


def data2vec2(
    encoder: nn.Module,
    decoder: nn.Module,
    *,
    ratio: StaticProperShare = 0.8,
    masks: Count = 8,
    length: Count = 3,
    adjust: StaticProperShare = 0.07,
    layers: Count = 10,
    class_weight: NonNegative = 2.56,
    momentum: ScheduledShare = 0.9998,
) -> Method:
    """Several masks of an image predict the same averaged layers of a target network, whose pass they share.

    Args:
      encoder: a vision transformer with a class token, which sees the patches that a mask shows. The authors' blocks
        have their norms after the residuals, and positions are fixed; its first two blocks give no targets.
      decoder: a network of kind `convolution`, or another decoder; its `out` is set here to the encoder's width.
      ratio: share of hidden patches (:func:`selfsup.augment.masking.inverse_block`).
      masks: M, masks of an image. Authors: 16 for images.
      length, adjust: side of the visible blocks in patches, and share of patches for which more blocks are drawn.
        Authors: 3 and 0.07 on 14 x 14; on 8 x 8 blocks of 2 hide whole regions better.
      layers: the last blocks of the target network whose MLPs' outputs are averaged
        (:func:`selfsup.losses.averaged_layers`, instance norm). Authors: 10 of 12.
      class_weight: of the class token's error against the mean of the targets over patches. Authors: 0.01 times the
        views of a device, of which they have 256.
      momentum: m of the moving average, a value or a function of the step. Authors: a line from 0.9998 to 0.99999 over
        100,000 steps; a config's is a cosine over the run, and a short run needs a smaller one.

    The loss is √D · mean squared error over the hidden patches of all masks, plus `class_weight` times √D · that of the
    class token, for tokens of D features. The target network sees whole views without stochastic depth; no gradient
    enters the targets; it moves after the optimiser's step t, with m(t). The trained encoder is evaluated. Features in
    training are the mean over an image's masks. Metrics: `explained_share`, 1 − patch part of the loss / that of
    predicting the batch's mean target at each place, and `target_deviation`, of the targets over the batch, 0 at
    collapse. State: parameters of the target encoder.

    Raises:
      UserError: an encoder without patch or class tokens, a decoder of another kind, patches that do not tile the view,
        masks that show nothing, or more layers than the encoder has blocks.

    References:
      Baevski et al. 2023, https://arxiv.org/abs/2212.07525, sect. 3.
    """
    check_encoder('data2vec2', encoder)
    check_decoder('data2vec2', decoder, 'convolution')
    if layers > encoder.depth:
        raise UserError(f'method.layers={layers} must be at most model.depth={encoder.depth}')
    if not encoder.class_token:
        raise UserError('data2vec2 trains the class token; set model.class_token=True')
    sized = decoder.clone(out=encoder.dim)

    def of_masks(keys: Array | None) -> Any:
        """A key for each mask of each example, those of the first example first."""
        if keys is None:
            return None
        several = jax.vmap(lambda key: jax.vmap(lambda number: jax.random.fold_in(key, number))(jnp.arange(masks)))
        return several(keys).reshape(-1)

    def shown(images: Array, keys: Array) -> tuple[tuple[int, int], Array, Array]:
        grid = patch_grid(encoder, images)
        fields = f'method.ratio={ratio}, method.length={length}, method.adjust={adjust}'
        arguments = (of_masks(keys), grid, ratio)
        return grid, *drawn(fields, masking.inverse_block, *arguments, length=length, adjust=adjust)

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        images = batch['views'][0][:2]
        first, second, third = (jax.random.fold_in(key, index) for index in range(3))
        grid, keep, _ = shown(images, jax.random.split(third, len(images)))
        tokens, variables = encoder.init_with_output(first, images, method='tokens', keep=keep)
        params = {'encoder': variables['params'], 'decoder': sized.init(second, tokens, keep, grid)['params']}
        return params, {'batch_stats': {'encoder': {}}, 'target': copied_encoder(params)}

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        images = batch['views'][0]
        grid, keep, hidden = shown(images, view_keys(batch, MASKS)(0))
        seen = {'keep': keep, 'train': True, 'keys': of_masks(view_keys(batch)(0))}
        tokens = encoder.apply({'params': params['encoder']}, images, method='tokens', **seen)
        noise = of_masks(view_keys(batch, DECODER)(0))
        predictions = sized.apply({'params': params['decoder']}, tokens, keep, grid, train=True, keys=noise)

        def by_image(x: Array) -> Array:
            return x.reshape(len(images), masks, *x.shape[1:])

        features = (jnp.mean(by_image(encoder.pooled(tokens)), axis=1),)
        layered = target_layers(encoder, extra, images, layers, of='mlp')
        outputs = {
            'features': features,
            'embeddings': features,
            'predictions': by_image(predictions),
            'class_predictions': by_image(tokens[:, 0]),
            'targets': losses.averaged_layers(layered, instance=True),
            'counted': by_image(hidden),
        }
        return outputs, extra

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        targets, counted = outputs['targets'], outputs['counted'].reshape(-1, outputs['counted'].shape[2])
        scale = encoder.dim**0.5

        def compared(predictions: Array, targets: Array) -> Array:
            whole = jnp.repeat(targets, masks, axis=0)
            return scale * losses.masked_mse(predictions, whole, counted, normalize=False)

        def repeated(x: Array) -> Array:
            return x.reshape(-1, *x.shape[2:])

        loss = compared(repeated(outputs['predictions']), targets)
        mean = jnp.mean(targets, axis=1, keepdims=True)
        error = scale * jnp.mean((outputs['class_predictions'] - mean) ** 2)
        baseline = compared(jnp.repeat(at_each_place(targets), masks, axis=0), targets)
        metrics = {'explained_share': explained(loss, baseline), 'target_deviation': deviation(targets)}
        return loss + class_weight * error, (extra, metrics)

    return Method(
        init,
        embed,
        criterion,
        encode_with({'encoder': encoder}),
        follow(momentum),
        views=1,
        control='shuffled_targets',
    )

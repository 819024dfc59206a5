"""GMML (Atito et al. 2022, https://arxiv.org/abs/2205.14986): group masked model learning."""

from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import losses
from ...augment import masking
from ...errors import UserError
from ...losses.masked import patchify
from ...signature import Count, Counts, Domain, Share
from ..base import Method, encode_with, forward, through, view_keys
from .patches import MASKS, at_each_place, check_decoder, check_encoder, drawn, explained, normed, patch_grid

StaticShare = Annotated[float, Domain(above=0, below=1, static=True)]


def swapped(images: Array) -> Array:
    """Each image's neighbour in the batch: the first and the second change places, the third and the fourth, …

    The batch is in random order, so this is another image at random; pairs stay whole in microbatches and on devices
    that have an even number of images.
    """
    return images.reshape(-1, 2, *images.shape[1:])[:, ::-1].reshape(images.shape)


def absolute_error(predictions: tuple, targets: tuple, corrupted: tuple) -> Array:
    """Mean absolute error of all corrupted values, of views that may have different sizes."""
    flat = [jnp.concatenate([x.reshape(len(x), -1) for x in xs], axis=1) for xs in (predictions, targets, corrupted)]
    return losses.masked_l1(flat[0][..., None], flat[1][..., None], flat[2], eps=0.0)


def gmml(
    encoder: nn.Module,
    decoder: nn.Module,
    *,
    noise_share: StaticShare = 0.75,
    image_share: StaticShare = 0.3,
    image_probability: Share = 0.5,
    largest: StaticShare = 0.3,
    align: Count = 1,
    layers: Counts = (6, 8, 10, 12),
) -> Method:
    """Groups of neighbouring pixels are replaced by noise or by parts of another image, and reconstructed.

    Rectangles cover a share of each view from min(0.5, `noise_share`) to `noise_share` with normal noise, or, with
    `image_probability`, about `image_share` with the same place of the neighbour in the batch. The encoder sees all
    patches; the mean of the outputs of `layers`, normed by its last norm, passes through the decoder, patch by patch.
    The loss is the mean absolute error of corrupted pixels of the normalised views; all views are corrupted alike.

    Args:
      encoder: a vision transformer.
      decoder: a network of kind `mlp`, to which a linear layer with the values of a patch is added here. Paper: three
        layers of the encoder's width with GELU and no batch-norm, the last of them with GELU too.
      noise_share: largest share of noise. Paper: 0.75.
      image_share: largest share of another image. Paper: 0.3.
      image_probability: how often a view gets parts of another image instead of noise. Paper: 0.5.
      largest: longest side of a rectangle, as a share of the view's. Paper: 0.3.
      align: corners and sides of rectangles are multiples of it, in pixels. Authors: 1.
      layers: numbers of the blocks whose outputs are averaged, from 1. Paper: 6, 8, 10 and 12.

    The shares and `largest` decide how many rectangles are drawn, so they are neither swept as values nor scheduled.
    Features are the encoder's pooled output, of corrupted views in training and of whole ones in `encode`. The metric
    `explained_share` is 1 − loss / the loss of predicting the batch's mean at each place. State: none.

    Convention: the authors' partner is any image of the batch; here it is the neighbour.

    Raises:
      UserError: an encoder without patch tokens, a decoder of another kind, patches that do not tile a view, views too
        small for rectangles, blocks beyond the depth, or an odd number of images.
    """
    check_encoder('gmml', encoder)
    check_decoder('gmml', decoder, 'mlp', has='widths')
    if max(layers) > encoder.depth:
        raise UserError(f'method.layers={layers} must be at most {encoder.depth}, model.depth')

    def sized(images: Array) -> nn.Module:
        return decoder.clone(widths=(*decoder.widths, encoder.patch**2 * images.shape[3]))

    def corrupt(images: Array, keys: Array) -> tuple[Array, Array]:
        """The corrupted images, and which of their pixels `[batch, height, width]` are."""
        if len(images) % 2:
            raise UserError(f'gmml exchanges parts of neighbouring images and needs an even number, not {len(images)}')
        size, where = images.shape[1:3], f'method.largest={largest}, method.align={align}'
        streams = [jax.vmap(lambda key, i=i: jax.random.fold_in(key, i))(keys) for i in range(4)]

        def cover(keys: Array, share: float) -> Array:
            return drawn(where, masking.group, keys, size, (min(0.5, share), share), largest=largest, align=align)

        noisy, foreign = cover(streams[0], noise_share), cover(streams[1], image_share)
        noise = jax.vmap(lambda key: jax.random.normal(key, images.shape[1:], images.dtype))(streams[2])
        # In float32, so that what is drawn does not depend on the arithmetic.
        draw = jax.vmap(lambda key: jax.random.uniform(key, (), jnp.float32))(streams[3])
        other = (draw < image_probability)[:, None, None]
        covered = jnp.where(other, foreign, noisy)
        new = jnp.where(other[..., None], swapped(images), noise)
        return jnp.where(covered[..., None], new, images), covered

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        images = batch['views'][0][:2]
        patch_grid(encoder, images)
        corrupt(images, jax.random.split(key, len(images)))
        tokens, variables = encoder.init_with_output(jax.random.fold_in(key, 0), images, method='tokens')
        made = sized(images).init(jax.random.fold_in(key, 1), tokens[:, 0], train=False)
        params = {'encoder': variables['params'], 'decoder': made['params']}
        return params, {'batch_stats': {'encoder': {}, 'decoder': made.get('batch_stats', {})}}

    def outputs_of(params: Any, images: Array, keys: Any) -> Array:
        """Normed outputs of the last block, and behind them the normed means of `layers`: `[batch, 2·length, dim]`."""
        seen = {'blocks': encoder.depth, 'of': 'block', 'train': True, 'keys': keys}
        given: Any = encoder.apply({'params': params['encoder']}, images, method='tokens', **seen)
        found = (given,) if encoder.depth == 1 else given
        mean = sum(found[number - 1] for number in layers) / len(layers)
        return jnp.concatenate([normed(params, found[-1]), normed(params, mean)], axis=1)

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        views, drawn_keys, own = batch['views'], view_keys(batch, MASKS), view_keys(batch)
        for images in views:
            patch_grid(encoder, images)
        seen, covered = zip(*(corrupt(images, drawn_keys(v)) for v, images in enumerate(views)), strict=True)
        keys = tuple(own(v) for v in range(len(views)))

        def apply(view: Any, nothing: Any) -> tuple[Array, Any]:
            return outputs_of(params, *view), nothing

        both, _ = through(apply, tuple(zip(seen, keys, strict=True)), None, fuse=True)
        halves = [jnp.split(x, 2, axis=1) for x in both]
        features = tuple(encoder.pooled(last) for last, _ in halves)
        stats, predictions = extra['batch_stats'], []
        for images, (_, mean) in zip(views, halves, strict=True):
            rows = mean[:, encoder.prefix :].reshape(-1, mean.shape[2])
            y, moved = forward(sized(images), params['decoder'], stats['decoder'], rows, train=True)
            stats = {**stats, 'decoder': moved}
            y = y.astype(jnp.promote_types(y.dtype, jnp.float32))
            predictions.append(y.reshape(len(images), -1, y.shape[1]))
        whole = [jnp.broadcast_to(c[..., None], x.shape) for c, x in zip(covered, views, strict=True)]
        outputs = {
            'features': features,
            'embeddings': features,
            'predictions': tuple(predictions),
            'targets': tuple(patchify(images, encoder.patch) for images in views),
            'corrupted': tuple(patchify(c.astype(jnp.float32), encoder.patch) > 0 for c in whole),
        }
        return outputs, {**extra, 'batch_stats': stats}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        predictions, targets, corrupted = (outputs[name] for name in ('predictions', 'targets', 'corrupted'))
        loss = absolute_error(predictions, targets, corrupted)
        baseline = absolute_error(tuple(at_each_place(t) for t in targets), targets, corrupted)
        metrics = {
            'explained_share': explained(loss, baseline),
            'corrupted_share': sum(jnp.mean(c) for c in corrupted) / len(corrupted),
        }
        return loss, (extra, metrics)

    return Method(init, embed, criterion, encode_with({'encoder': encoder}), views=1, control='shuffled_targets')

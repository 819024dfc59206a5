"""JigClu (Chen et al. 2021, https://arxiv.org/abs/2104.00323): patches of montages, clustered by image and placed."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ... import losses
from ...errors import UserError
from ...models import MLP
from ...signature import Count, NonNegative, Positive
from ..base import Method, encode_with, forward, mean_cosine, pairs, view_keys
from .parts import correct_share

OPERATION = 'quarter'
SIDE = 2  # patches along a side of a montage
QUARTERS = 4
# Of one example's keys: views use the first ones.
ORDER = 19


def block_orders(keys: Any, block: int, patches: int) -> Int[Array, 'blocks places']:
    """A permutation of the patches of each `block` consecutive images, from the key of the first of them."""
    return jax.vmap(lambda key: jax.random.permutation(key, block * patches))(keys[::block])


def montages(
    patches: Float[Array, 'batch patches rows columns channels'], orders: Int[Array, 'blocks places']
) -> Float[Array, 'montages height width channels']:
    """All patches in the order of their block, four and four in a square, row by row."""
    blocks, places = orders.shape
    _, _, rows, columns, channels = patches.shape
    flat = patches.reshape(blocks, places, rows, columns, channels)
    mixed = jnp.take_along_axis(flat, orders[:, :, None, None, None], axis=1)
    mixed = mixed.reshape(-1, SIDE, SIDE, rows, columns, channels)
    return jnp.swapaxes(mixed, 2, 3).reshape(-1, SIDE * rows, SIDE * columns, channels)


def apart(
    maps: Float[Array, 'montages rows columns dim'], orders: Int[Array, 'blocks places'], patches: int
) -> Float[Array, 'batch patches dim']:
    """The mean over each patch's part of the maps, back in the order of the images.

    Raises:
      UserError: a map of odd sides, or of one row.
    """
    rows, columns = maps.shape[1:3]
    if rows % SIDE or columns % SIDE:
        raise UserError(
            f'jigclu needs a map whose sides are multiples of {SIDE}, and that of a montage has {rows}x{columns} '
            f'places: take patches of another side'
        )
    cells = maps.reshape(len(maps), SIDE, rows // SIDE, SIDE, columns // SIDE, -1)
    means = jnp.mean(cells, axis=(2, 4), dtype=jnp.promote_types(maps.dtype, jnp.float32))
    mixed = means.reshape(*orders.shape, -1)
    ordered = jnp.take_along_axis(mixed, jnp.argsort(orders, axis=1)[:, :, None], axis=1)
    return ordered.reshape(-1, patches, ordered.shape[-1])


def jigclu(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    mixing: Count = 32,
    temperature: Positive = 0.3,
    base_temperature: Positive = 0.07,
    cluster_weight: NonNegative = 1.0,
    place_weight: NonNegative = 1.0,
) -> Method:
    """JigClu: patches of many images in montages; which patches are of one image, and of which of its quarters?

    The views of an image are patches, one of each quarter (`augment.recipe=jigclu`). The patches of `mixing` neighbours
    in the batch, a block, are put in a random order, and every four make a montage that the encoder sees as one image.
    The mean over each patch's part of the feature map is its feature:

        L = τ/0.07 · SupCon(patches, the image as label) + cross-entropy of the quarter,

    the latter of a linear layer on the features (`params['head']`).

    Args:
      encoder: with a feature map that it can give (`maps=True`).
      projector: from features to what is clustered. Authors: the features' width (ReLU), 128, without batch-norm.
      mixing: how many neighbours in the batch share montages. The order is drawn from the key of the first of them, so
        that microbatches and devices that hold whole blocks change nothing. Authors: the batch, over all devices.
      temperature: τ. Authors: 0.3.
      base_temperature: the 0.07 of the factor, which the authors' loss has from SupCon's code.
      cluster_weight, place_weight: of the two parts. Authors: 1 and 1.

    An even number of views of one size, at least two. Metrics: both parts, `pretext_accuracy`, the share of quarters
    that are told right (chance: ¼), and `positive_cosine` of the first two patches. The control draws all patches but
    the first from another image. An image is evaluated whole: the mean over its map. State: none beside batch
    statistics.

    Raises:
      UserError: an encoder without feature maps, an odd number of views, views of several sizes or without `quarter`, a
        batch, or a microbatch, that is no multiple of `mixing`, patches of a block that fill no montage, a map whose
        sides are odd.

    References:
      Chen et al. 2021, https://arxiv.org/abs/2104.00323, section 3; `jigclu.py` of the authors, who
      resize the map to 8x8 before the mean.
    """
    if not hasattr(encoder, 'maps'):
        raise UserError(f'jigclu needs an encoder that gives feature maps, and {type(encoder).__name__} does not')
    mapped = encoder.clone(maps=True)
    modules = {'projector': projector, 'head': MLP(widths=(QUARTERS,), dtype=getattr(projector, 'dtype', None))}

    def stacked(views: tuple) -> Float[Array, 'batch patches rows columns channels']:
        pairs(views)
        if len(views) % 2 or len({v.shape for v in views}) > 1:
            shapes = ', '.join(sorted({f'{v.shape[1]}x{v.shape[2]}' for v in views}))
            raise UserError(f'jigclu needs an even number of views of one size, and gets {len(views)} of {shapes}')
        rows = len(views[0])
        if rows % mixing:
            raise UserError(
                f'method.mixing={mixing} must divide the {rows} images that the network sees at once '
                f'(data.batch_size / train.microbatches)'
            )
        if mixing * len(views) % SIDE**2:
            raise UserError(f'{mixing * len(views)} patches of method.mixing={mixing} images fill no montages of 2x2')
        return jnp.stack(views, axis=1)

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        first = batch['views'][0][:2]
        x, variables = encoder.init_with_output(key, jnp.tile(first, (1, SIDE, SIDE, 1)), train=False)
        params, stats = {'encoder': variables['params']}, {'encoder': variables.get('batch_stats', {})}
        for number, (name, module) in enumerate(modules.items(), 1):
            variables = module.init(jax.random.fold_in(key, number), x, train=False)
            params[name], stats[name] = variables['params'], variables.get('batch_stats', {})
        return params, {'batch_stats': stats}

    def answers(batch: dict) -> Array:
        drawn = batch['view_params']
        if not all(OPERATION in d for d in drawn):
            raise UserError(f"jigclu needs views with the operation {OPERATION!r}; augment.recipe='jigclu' has four")
        return jnp.stack([d[OPERATION]['answer'] for d in drawn], axis=1)

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        patches, stats = stacked(batch['views']), dict(extra['batch_stats'])
        count = patches.shape[1]
        orders = block_orders(view_keys(batch, ORDER)(0), mixing, count)
        maps, stats['encoder'] = forward(
            mapped, params['encoder'], stats['encoder'], montages(patches, orders), train=True
        )
        features = apart(maps, orders, count)
        found = {}
        for name, module in modules.items():
            flat = features.reshape(-1, features.shape[-1])
            y, stats[name] = forward(module, params[name], stats[name], flat, train=True)
            found[name] = y.reshape(-1, count, y.shape[-1])
        outputs = {
            'features': tuple(jnp.moveaxis(features, 1, 0)),
            'embeddings': tuple(jnp.moveaxis(found['projector'], 1, 0)),
            'predictions': found['head'],
            'targets': answers(batch),
        }
        return outputs, {**extra, 'batch_stats': stats}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        z, half = outputs['embeddings'], len(outputs['embeddings']) // 2
        image = jnp.tile(jnp.arange(len(z[0])), half)
        cluster = losses.supcon(jnp.concatenate(z[:half]), jnp.concatenate(z[half:]), image, temperature=temperature)
        place = losses.cross_entropy(outputs['predictions'], outputs['targets'])
        value = cluster_weight * temperature / base_temperature * cluster + place_weight * place
        metrics = {
            'cluster': cluster,
            'place': place,
            'pretext_accuracy': correct_share(outputs['predictions'], outputs['targets']),
            'positive_cosine': mean_cosine(*pairs(z)),
        }
        return value, (extra, metrics)

    whole = encode_with({'encoder': encoder, 'projector': projector})
    return Method(init, embed, criterion, whole)

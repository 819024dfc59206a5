"""DetCon-B (Hénaff et al. 2021, https://arxiv.org/abs/2103.10957): contrast between regions of images."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ... import losses
from ...errors import UserError
from ...signature import Count, Positive, ScheduledShare
from ..base import Method, encode_with, init_modules, mean_cosine, module_outputs, only_two, view_keys
from ..places import places
from ..target import copied, follow

# Of one example's keys: the two networks use the first ones.
REGIONS = 13
# Cells of one row of an image's grid; only whether two numbers are equal matters.
ROW = 2**15


def cell_numbers(at: Float[Array, 'batch places 2'], cell: Any) -> Int[Array, 'batch places']:
    """The number of the square cell of `cell` pixels in which each (row, column) of the original image lies."""
    return (jnp.floor(at[..., 0] / cell) * ROW + jnp.floor(at[..., 1] / cell)).astype(jnp.int32)


def drawn_regions(key: Any, numbers: Int[Array, ' places'], count: int) -> Int[Array, ' count']:
    """`count` of the numbers, each that occurs with the same chance, with replacement."""
    occurs = jnp.sum(numbers[:, None] == numbers[None], axis=1)
    return numbers[jax.random.categorical(key, -jnp.log(occurs.astype(jnp.float32)), shape=(count,))]


def region_means(
    maps: Float[Array, 'batch places dim'], numbers: Int[Array, 'batch places'], chosen: Int[Array, 'batch regions']
) -> Float[Array, 'batch regions dim']:
    """The mean of the features of the places that have each chosen number, at least one."""
    inside = (chosen[:, :, None] == numbers[:, None]).astype(jnp.promote_types(maps.dtype, jnp.float32))
    return jnp.einsum('brp,bpd->brd', inside / jnp.sum(inside, axis=2, keepdims=True), maps, precision='highest')


def detcon(
    encoder: nn.Module,
    projector: nn.Module,
    predictor: nn.Module,
    *,
    cell: Positive = 8.0,
    regions: Count = 16,
    temperature: Positive = 0.1,
    momentum: ScheduledShare = 0.996,
    fuse_views: bool = False,
) -> Method:
    """DetCon-B: the mean feature of a region must pick that region of the other view, as a target network has it.

    The regions are the squares of a grid over the original image, the paper's "spatial" heuristic, so that no masks are
    needed: each place of a view's feature map lies in one, by the view's crop box and flip (an augmentation that moves
    pixels otherwise, such as `affine`, makes that wrong). Of the regions that a view shows, `regions` are drawn with
    replacement, each with the same chance, from the example's key; a region of one view whose number is not among those
    of the other has no part in the loss (:func:`selfsup.losses.detcon`). The authors assign a place to the mask that
    covers most of it, here it is the one of its centre; their other masks come from a segmentation.

    Args:
      encoder: with a feature map that it can give (`maps=True`).
      projector, predictor: flax modules, of regions. Authors: 4096 (batch-norm), 256, both.
      cell: side of a region in pixels of the original image. Paper: the image in a grid of so many squares.
      regions: drawn for each view. Authors: 16.
      temperature: τ. Authors: 0.1.
      momentum: m of the moving average, a value or a function of the step. Authors: a cosine from 0.996 to 1.
      fuse_views: whether the two views share batch-norm statistics.

    Two views. The target starts as a copy; the authors initialise it with a key of its own. `embeddings` in training
    are the means of a view's drawn projections; those of an image are the projector's of its mean feature. Metrics:
    `positive_cosine` of predictions and targets averaged over regions, and `shared_regions`, the share of drawn regions
    that are among those of the other view. State: parameters and batch statistics of the target.

    Raises:
      UserError: an encoder without feature maps, more than two views, or views without a crop box.

    References:
      Hénaff et al. 2021, https://arxiv.org/abs/2103.10957, section 3.1, eq. 3; `detcon_b.py` of the authors.
    """
    if not hasattr(encoder, 'maps'):
        raise UserError(f'detcon needs an encoder that gives feature maps, and {type(encoder).__name__} does not')
    mapped = encoder.clone(maps=True)

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        modules = {'encoder': encoder, 'projector': projector, 'predictor': predictor}
        params, stats = init_modules(key, modules, batch['views'][0])
        return params, {'batch_stats': stats, 'target': copied(params, stats)}

    def drawn(batch: dict, view: int, keys: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """The number of each place of a view's map, and the drawn ones."""
        params = batch['view_params'][view]
        if 'box' not in params:
            raise UserError('detcon needs views with a crop box; augment.views.<view>.crop draws one')
        numbers = cell_numbers(places(params, *shape[1:3]), cell)
        return numbers, jax.vmap(lambda k, n: drawn_regions(k, n, regions))(keys, numbers)

    def through_heads(names: tuple, params: Any, stats: dict, x: tuple) -> list[tuple]:
        """What each head gives of the regions `[batch, regions, dim]` of two views; moves `stats`."""
        modules, found = {'projector': projector, 'predictor': predictor}, []
        for name in names:
            flat = tuple(v.reshape(-1, v.shape[-1]) for v in x)
            y, stats[name] = module_outputs(modules[name], params[name], stats[name], flat, train=True, fuse=fuse_views)
            x = tuple(v.reshape(-1, regions, v.shape[-1]) for v in y)
            found.append(x)
        return found

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        views, keys = only_two(batch['views']), view_keys(batch, REGIONS)
        target = jax.lax.stop_gradient(extra['target'])
        run = {'train': True, 'fuse': fuse_views}
        stats, theirs = dict(extra['batch_stats']), dict(extra['target']['batch_stats'])
        maps, stats['encoder'] = module_outputs(
            mapped, params['encoder'], stats['encoder'], views, keys=view_keys(batch, 0), **run
        )
        known, theirs['encoder'] = module_outputs(
            mapped, target['params']['encoder'], theirs['encoder'], views, keys=view_keys(batch, 1), **run
        )
        numbers, chosen = zip(*(drawn(batch, v, keys(v), maps[v].shape) for v in range(2)), strict=True)

        def pooled(maps: tuple) -> tuple:
            flat = [m.reshape(len(m), -1, m.shape[-1]) for m in maps]
            return tuple(region_means(*each) for each in zip(flat, numbers, chosen, strict=True))

        projections, predictions = through_heads(('projector', 'predictor'), params, stats, pooled(maps))
        (targets,) = through_heads(('projector',), target['params'], theirs, pooled(known))
        wide = jnp.promote_types(maps[0].dtype, jnp.float32)
        outputs = {
            'features': tuple(jnp.mean(m, axis=(1, 2), dtype=wide) for m in maps),
            'embeddings': tuple(jnp.mean(z, axis=1, dtype=wide) for z in projections),
            'predictions': predictions,
            'targets': jax.lax.stop_gradient(targets),
            'regions': chosen,
        }
        return outputs, {**extra, 'batch_stats': stats, 'target': {**extra['target'], 'batch_stats': theirs}}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        predictions, targets, numbers = outputs['predictions'], outputs['targets'], outputs['regions']
        value = losses.detcon(*predictions, *targets, *numbers, temperature=temperature)
        alike = numbers[0][:, :, None] == numbers[1][:, None]
        metrics = {
            'positive_cosine': mean_cosine(jnp.mean(predictions[0], axis=1), jnp.mean(targets[1], axis=1)),
            'shared_regions': jnp.mean(jnp.any(alike, axis=2).astype(jnp.float32)),
        }
        return value, (extra, metrics)

    whole = encode_with({'encoder': encoder, 'projector': projector})
    return Method(init, embed, criterion, whole, follow(momentum))

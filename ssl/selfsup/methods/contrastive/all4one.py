"""All4One (Estepa et al. 2023, https://arxiv.org/abs/2303.09417): neighbours, their centroid, and features."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ... import losses
from ...errors import UserError
from ...models.post_norm import PostNormTransformer
from ...signature import Count, NonNegative, Positive, ScheduledShare, StaticProperShare
from ..base import Method, embedding_width, heads, mean_cosine, module_outputs, only_two, towards, unit, view_keys
from ..queue import begun_with_queue, enqueue
from ..target import predicted_target

# Of one example's keys: the two networks use the first ones.
DROPOUT = 17
# A number of the code of places 10000^(−2i/k) is sin or cos of it.
BASE = 10000.0


def place_codes(count: int, dim: int) -> Float[Array, 'count dim']:
    """What is added to each of `count` neighbours: sin(x·f) or cos(x·f) over the places x of its numbers.

    f = 10000^(−2⌊c/2⌋/k) with k the next even number from `count`, sine for even c. solo-learn's code encodes the place
    in the embedding and takes the neighbours for channels, so each neighbour has a frequency of its own.
    """
    channel = jnp.arange(count)
    frequency = BASE ** (-2.0 * (channel // 2) / (count + count % 2))
    angle = frequency[:, None] * jnp.arange(dim)[None]
    return jnp.where(channel[:, None] % 2 == 0, jnp.sin(angle), jnp.cos(angle))


def all4one(
    encoder: nn.Module,
    projector: nn.Module,
    predictor: nn.Module,
    *,
    temperature: Positive = 0.2,
    centroid_temperature: Positive = 0.1,
    queue: Count = 98304,
    neighbours: Count = 5,
    neighbour_weight: NonNegative = 0.5,
    centroid_weight: NonNegative = 0.5,
    feature_weight: NonNegative = 5.0,
    depth: Count = 3,
    transformer_heads: Count = 8,
    mlp_ratio: Positive = 2.0,
    dropout: StaticProperShare = 0.1,
    momentum: ScheduledShare = 0.99,
    fuse_views: bool = False,
) -> Method:
    """All4One: NNCLR towards neighbours of a target's output, contrast of their centroids, and of features.

    L = ½·NNCLR + ½·centroid + 5·½(on + off), each symmetric. NNCLR asks the nearest of the queue's rows, to the target
    network's projection of one view, to pick the other view's prediction. The centroid of the five nearest is what a
    transformer gives at the first of them; it must pick what the transformer gives where a second prediction, of the
    other view, stands first and its four nearest follow. :func:`selfsup.losses.feature_contrast` compares projections
    with those of the target.

    Order of a step: both views through both networks; neighbours in the queue as it was; then the first view's unit
    targets enter the queue; the target moves after the optimiser's step t with m(t). It starts as a copy.

    Args:
      encoder, projector: flax modules. solo-learn: 2048, 2048, 256, batch-norm after all (`last_norm='affine'`).
      predictor: flax module, of which the method takes two. solo-learn: 4096 (batch-norm), 256.
      temperature: τ of NNCLR. solo-learn: 0.2.
      centroid_temperature: τ of the centroids. solo-learn: 0.1, the default of its function.
      queue: rows of the queue; the global batch must divide it. solo-learn: 98304.
      neighbours: rows of the queue whose centroid is taken, at most `queue`. Authors: 5.
      neighbour_weight, centroid_weight, feature_weight: of the three terms. solo-learn: ½, ½, and ½ of ten times
        ½(on + off), which is 5 of :func:`selfsup.losses.feature_contrast` with `scale=1`.
      depth, transformer_heads, mlp_ratio, dropout: of the transformer (:class:`PostNormTransformer`); its heads divide
        the embedding's width. solo-learn: 3, 8, 2, 0.1.
      momentum: m of the moving average, a value or a function of the step. solo-learn: a cosine from 0.99 to 1.
      fuse_views: whether the two views share batch-norm statistics.

    Two views. Metrics: the three terms, and `positive_cosine` of predictions and targets. State: parameters and batch
    statistics of the target, queue `[queue, dim]` of random directions at first, pointer. `params['transformer']` may
    have an optimiser group of its own (solo-learn: a tenth of the learning rate), and `params['second_predictor']`.

    Raises:
      UserError: more neighbours than the queue has rows, heads that do not divide the width, or more than two views.

    References:
      Estepa et al. 2023, https://arxiv.org/abs/2303.09417; in the form of solo-learn's `all4one.py`, whose sequence has
      the second prediction in front of four of the five neighbours.
    """
    if neighbours > queue:
        raise UserError(f'method.neighbours={neighbours} rows cannot be chosen from method.queue={queue}')
    transformer = PostNormTransformer(
        depth=depth,
        heads=transformer_heads,
        mlp_ratio=mlp_ratio,
        dropout=dropout,
        dtype=getattr(projector, 'dtype', None),
    )
    modules = heads(encoder, projector, None)

    base = predicted_target(
        encoder, projector, predictor, lambda predictions, targets: jnp.zeros(()),
        momentum=momentum, ahead=0, own_start=False, fuse_views=fuse_views,
    )  # fmt: skip

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, extra = begun(key, batch)
        width = embedding_width(modules, params, extra['batch_stats'], batch)
        if width % transformer_heads:
            raise UserError(
                f'method.transformer_heads={transformer_heads} must divide the {width} numbers of an embedding'
            )
        rows = jnp.zeros((2, width), extra['queue'].dtype)
        keys = jax.random.split(jax.random.fold_in(key, 98), 2)
        second = predictor.init(keys[0], rows, train=False)
        tokens = jnp.broadcast_to(rows[:, None], (2, neighbours, width))
        params = {
            **params,
            'second_predictor': second['params'],
            'transformer': transformer.init(keys[1], tokens, train=False)['params'],
        }
        stats = {**extra['batch_stats'], 'second_predictor': second.get('batch_stats', {})}
        return params, {**extra, 'batch_stats': stats}

    def embed(params: Any, extra: Any, batch: dict, key: Array) -> tuple[dict, dict]:
        only_two(batch['views'])
        outputs, new = base.embed(params, extra, batch, key)
        shifted, own = module_outputs(
            predictor, params['second_predictor'], extra['batch_stats']['second_predictor'], outputs['embeddings'],
            train=True, fuse=fuse_views,
        )  # fmt: skip
        near = [losses.nearest_few(t, extra['queue'], count=neighbours) for t in outputs['targets']]
        codes = place_codes(neighbours, near[0].shape[2]).astype(near[0].dtype)[None]
        asked = [
            jnp.concatenate([p[:, None].astype(n.dtype), n[:, :-1]], axis=1) for p, n in zip(shifted, near, strict=True)
        ]
        sequences = tuple(x + codes for x in (*near, *asked))
        seen, _ = module_outputs(
            transformer, params['transformer'], {}, sequences, train=True, fuse=True, keys=view_keys(batch, DROPOUT)
        )
        firsts = tuple(x[:, 0] for x in seen)
        outputs |= {'near': tuple(n[:, 0] for n in near), 'centroids': firsts[:2], 'shifted': firsts[2:]}
        return outputs, {**new, 'batch_stats': {**new['batch_stats'], 'second_predictor': own}}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        targets, predictions = outputs['targets'], outputs['predictions']

        def contrast(asked: tuple, asking: tuple, tau: Any) -> Array:
            return towards(lambda p, n: losses.info_nce_in_batch(n, p, temperature=tau), asked, asking) / 2

        terms = {
            'neighbour': contrast(predictions, outputs['near'], temperature),
            'centroid': contrast(outputs['shifted'], outputs['centroids'], centroid_temperature),
            'feature': losses.feature_contrast(*outputs['embeddings'], *map(unit, targets), scale=1.0),
        }
        weights = {'neighbour': neighbour_weight, 'centroid': centroid_weight, 'feature': feature_weight}
        rows, pointer = enqueue(extra['queue'], extra['pointer'], jax.lax.stop_gradient(unit(targets[0])))
        metrics = {**terms, 'positive_cosine': mean_cosine(predictions[0], targets[1])}
        value = sum(weight * terms[name] for name, weight in weights.items())
        return value, ({**extra, 'queue': rows, 'pointer': pointer}, metrics)

    begun = begun_with_queue(base, queue)
    return base._replace(init=init, embed=embed, criterion=criterion)

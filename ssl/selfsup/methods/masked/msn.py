"""MSN (Assran et al. 2022, https://arxiv.org/abs/2204.07141) and PMSN (https://arxiv.org/abs/2210.07277)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import losses
from ...errors import UserError
from ...signature import Count, NonNegative, Positive, ScheduledShare, StaticProperShare, Whole
from ..base import (
    Method,
    embedding_width,
    encode_with,
    forward,
    heads,
    init_modules,
    mean_cosine,
    pairs,
    target_network,
    through,
    view_keys,
)
from ..target import copied, follow
from .patches import check_encoder, random_masks

MASKS = 2  # stream of the examples' keys; 0 and 1 are the anchors' and the target's


def msn(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    prototypes: Count = 1024,
    ratio: StaticProperShare = 0.15,
    masked_views: Count = 1,
    temperature: Positive = 0.1,
    sharpening: Positive = 0.25,
    iterations: Whole = 3,
    prior_weight: NonNegative = 1.0,
    power: NonNegative = 0.0,
    entropy_weight: NonNegative = 0.0,
    momentum: ScheduledShare = 0.996,
    fuse_views: bool = True,
) -> Method:
    """MSN: views of which random patches are dropped predict the prototypes of a whole view by an EMA target network.

    The first view is the target's; of the others, the anchors, the first `masked_views` lose patches, the rest (small
    crops) none. Dropped patches do not enter the encoder. Order of a step: loss with the target as it was; after
    the optimiser's step the target follows with m(t). The target runs in training mode with batch statistics of its
    own and without stochastic depth. `encode` is the target network, with the head's output as embedding.

    Args:
      encoder: a vision transformer; its features are the class token with `model.pool='token'`.
      projector: paper: 2048, 2048, 256 with GELU, batch-norm on hidden layers.
      prototypes: learned rows, normalised where they are used. Paper: 1024. No more than the
        targets of a step can be used at once.
      ratio: share of dropped patches; it decides shapes, so it is neither swept as a value nor scheduled. Paper: 0.15
        for ViT-S, 0.3 for ViT-B, 0.7 for ViT-L. The authors draw one mask for the batch, here each image has its own.
      masked_views: anchors that lose patches. Paper: 1, beside 10 focal views that do not.
      temperature, sharpening, iterations: τ, T and Sinkhorn's iterations on the targets, 0 for none. Paper: 0.1,
        0.25, 3.
      prior_weight: weight of KL(mean prediction ‖ prior). Paper: 1.
      power: exponent of the prior over prototypes, k^(−power). 0 is MSN's flat prior; PMSN: 0.25.
      entropy_weight: weight of the entropy of single predictions. Paper: 0.
      momentum: m of the target, a value or a function of the step. Paper: 0.996, rising linearly to 0.9992.
      fuse_views: whether anchors of one resolution and equally many patches share batch-norm statistics.

    The metrics hold the parts of the loss, `prototypes_used` (different most likely prototypes in the targets of a
    batch; 1 after collapse) and `target_confidence` (mean of the targets' largest entry; 1 after collapse). The authors
    keep prototypes out of weight decay: `optimizer.groups.prototypes.decay`. State: target parameters and batch
    statistics.

    Raises:
      UserError: an encoder without patch tokens, patches that do not tile a view, a ratio that keeps none, or more
        masked views than anchors.
    """
    check_encoder('msn', encoder)
    modules = heads(encoder, projector, None)
    still = encoder.clone(drop_path=0.0) if getattr(encoder, 'drop_path', 0.0) else encoder
    target_modules = heads(still, projector, None)

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, stats = init_modules(key, modules, batch['views'][0])
        width = embedding_width(modules, params, stats, batch)
        bound = width**-0.5
        shape = (prototypes, width)
        params['prototypes'] = jax.random.uniform(jax.random.fold_in(key, 99), shape, minval=-bound, maxval=bound)
        return params, {'batch_stats': stats, 'target': copied(params, stats)}

    def kept(images: Array, keys: Array) -> Array:
        return random_masks(encoder, images, keys, ratio)[1]

    def run(network: nn.Module, params: Any, stats: dict, views: tuple, keep: tuple, keys: tuple) -> tuple:
        def features_of(view: Any, nothing: Any) -> tuple[Array, Any]:
            images, numbers, keys = view
            seen = {'keep': numbers, 'train': True, 'keys': keys}
            return network.pooled(
                network.apply({'params': params['encoder']}, images, method='tokens', **seen)
            ), nothing

        def head(view: Any, stats: Any) -> tuple[Array, Any]:
            return forward(projector, params['projector'], stats, view[0], train=True)

        # A pair of an image and its numbers of patches tells views apart, so heads fuse what encoders fused.
        features, _ = through(features_of, tuple(zip(views, keep, keys, strict=True)), None, fuse=fuse_views)
        told = tuple(zip(features, views, keep, strict=True))
        embeddings, moved = through(head, told, stats['projector'], fuse=fuse_views)
        return features, embeddings, {**stats, 'projector': moved}

    def embed(params: Any, extra: Any, batch: dict, key: Array) -> tuple[dict, dict]:
        views, target = batch['views'], extra['target']
        pairs(views)  # refuses fewer than two
        whole, anchors = views[:1], views[1:]
        if masked_views > len(anchors):
            raise UserError(
                f'method.masked_views={masked_views} must be at most {len(anchors)}, one less than the views'
            )
        drawn, own = view_keys(batch, MASKS), view_keys(batch, 0)
        keep = tuple(kept(x, drawn(v)) if v < masked_views else None for v, x in enumerate(anchors))
        keys = tuple(own(v) for v in range(len(anchors)))
        features, predictions, stats = run(encoder, params, extra['batch_stats'], anchors, keep, keys)
        frozen = jax.lax.stop_gradient(target['params'])
        seen, targets, target_stats = run(still, frozen, target['batch_stats'], whole, (None,), (None,))
        targets = jax.lax.stop_gradient(targets)
        outputs = {
            'features': (*jax.lax.stop_gradient(seen), *features),
            'embeddings': (*targets, *predictions),
            'predictions': predictions,
            'targets': targets,
        }
        return outputs, {**extra, 'batch_stats': stats, 'target': {**target, 'batch_stats': target_stats}}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        anchors, (target,) = outputs['predictions'], outputs['targets']
        fields = {'temperature': temperature, 'sharpening': sharpening, 'iterations': iterations}
        rows = params['prototypes']
        terms = losses.msn_terms(anchors, target, prototypes=rows, power=power, **fields)
        value = terms['cross_entropy'] + prior_weight * terms['prior'] + entropy_weight * terms['entropy']
        wanted = losses.msn_targets(target, jax.lax.stop_gradient(rows), **fields)
        used = jnp.zeros(len(rows), wanted.dtype).at[jnp.argmax(wanted, axis=1)].set(1.0)
        metrics = {
            **terms,
            'prototypes_used': jnp.sum(used),
            'target_confidence': jnp.mean(jnp.max(wanted, axis=1)),
            'positive_cosine': mean_cosine(anchors[0], target),
        }
        return value, (extra, jax.lax.stop_gradient(metrics))

    return Method(init, embed, criterion, encode_with(target_modules), follow(momentum), network=target_network)

"""Metric learning with labels (Venkataramanan et al. 2022, https://arxiv.org/abs/2106.04990): margins and proxies."""

from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ... import losses
from ...signature import Count, Domain, NonNegative, Positive
from ..base import Method, mean_cosine, pairs, unit
from ..siamese import siamese

Objective = Annotated[str, Domain(str, choices=('pairs', 'metrix', 'proxies'))]


def hardest_triples(
    key: Any, z: Float[Array, 'rows dim'], labels: Int[Array, ' rows']
) -> tuple[Int[Array, ' rows'], Int[Array, ' rows'], Bool[Array, ' rows']]:
    """For each row another of its class, drawn at random, the nearest of another class, and whether both are there.

    A negative label means unknown: the row is in no triple.
    """
    known = (labels >= 0)[:, None] & (labels >= 0)[None]
    same = labels[:, None] == labels[None]
    positives, negatives = known & same & ~jnp.eye(len(z), dtype=bool), known & ~same
    drawn = jnp.argmax(jnp.where(positives, jax.random.uniform(key, positives.shape), -1.0), axis=1)
    n = unit(jax.lax.stop_gradient(z))
    cosines = jnp.matmul(n, n.T, precision='highest')
    hardest = jnp.argmax(jnp.where(negatives, cosines, -jnp.inf), axis=1)
    return drawn, hardest, jnp.any(positives, axis=1) & jnp.any(negatives, axis=1)


def metric(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    objective: Objective = 'pairs',
    positive_margin: NonNegative = 0.0,
    negative_margin: NonNegative = 0.5,
    mixed_weight: NonNegative = 0.4,
    mixed_concentration: Positive = 2.0,
    classes: Count = 10,
    scale: Positive = 32.0,
    margin: NonNegative = 0.1,
    fuse_views: bool = True,
) -> Method:
    """Embeddings of one class near one another, of two classes apart. It is supervised: it sees the labels.

    Every view of an image is an example of its class. The objectives:

    - `pairs`: :func:`selfsup.losses.pair_margin`;
    - `metrix`: the same and `mixed_weight` times :func:`selfsup.losses.mixed_pairs`. Each row is an anchor; its mixture
      is of the nearest row of another class with, by one coin a step, another row of its class or itself, and one share
      a step from Beta(a, a). Embeddings are mixed, one of the authors' three places;
    - `proxies`: :func:`selfsup.losses.proxy_anchor`, with a learned proxy for each class.

    The shuffled-pairs control gives every image the label of another, and draws its second view from another as well.

    Args:
      encoder, projector: flax modules.
      objective: 'pairs', 'metrix' or 'proxies'.
      positive_margin, negative_margin: of `pairs` and `metrix`. Metrix: 0 and 0.5.
      mixed_weight: of the mixtures. Authors: 0.4.
      mixed_concentration: a of Beta(a, a). Authors: 2.
      classes: of `proxies`: labels run below it. One from it up has no proxy, and is pushed from all.
      scale, margin: of `proxies`. Authors: 32 and 0.1.
      fuse_views: whether the two views share batch-norm statistics.

    State: none beside batch statistics. With `proxies` `params['prototypes']` `[classes, dim]`, random directions at
    first; their authors give them a hundred times the learning rate (`optimizer.groups.prototypes.scale`).

    References:
      Hadsell et al. 2006, https://doi.org/10.1109/CVPR.2006.100; Venkataramanan et al. 2022,
      https://arxiv.org/abs/2106.04990; Kim et al. 2020, https://arxiv.org/abs/2003.13911.
    """

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, extra = base.init(key, batch)
        if objective != 'proxies':
            return params, extra
        width = base.encode(base.network(params, extra), batch['views'][0][:1])['embeddings'].shape[1]
        return {**params, 'prototypes': unit(jax.random.normal(jax.random.fold_in(key, 99), (classes, width)))}, extra

    def of_pairs(z: Array, labels: Array) -> Array:
        return losses.pair_margin(z, labels, positive_margin=positive_margin, negative_margin=negative_margin)

    def of_mixtures(z: Array, labels: Array, key: Any) -> Array:
        keys = jax.random.split(key, 3)
        positives, hardest, counted = hardest_triples(keys[0], z, labels)
        own = jax.random.bernoulli(keys[1])
        share = jax.random.beta(keys[2], mixed_concentration, mixed_concentration, dtype=z.dtype)
        return losses.mixed_pairs(
            z,
            jnp.where(own, z, z[positives]),
            z[hardest],
            jnp.broadcast_to(share, len(z)),
            counted=counted,
            positive_margin=positive_margin,
            negative_margin=negative_margin,
        )

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        views = outputs['embeddings']
        z, labels = jnp.concatenate(views), jnp.tile(batch['label'], len(views))
        z = z.astype(jnp.promote_types(z.dtype, jnp.float32))
        metrics = {'positive_cosine': mean_cosine(*pairs(views))}
        if objective == 'proxies':
            value = losses.proxy_anchor(z, params['prototypes'], labels, scale=scale, margin=margin)
        else:
            value = of_pairs(z, labels)
        if objective == 'metrix':
            metrics |= {'clean': value, 'mixed': of_mixtures(z, labels, key)}
            value = value + mixed_weight * metrics['mixed']
        return value, (extra, metrics)

    base = siamese(encoder, projector, criterion, fuse_views=fuse_views)
    return base._replace(init=init, uses_labels=True)

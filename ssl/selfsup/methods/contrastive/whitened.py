"""WhitenedCSE (Zhuo et al. 2023, https://arxiv.org/abs/2305.17746): contrast between views whitened in groups."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ... import losses
from ...signature import Count, NonNegative, Positive
from ..base import Method, mean_cosine, only_two
from ..siamese import siamese


def whitened_contrastive(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    temperature: Positive = 0.05,
    column_groups: Count = 128,
    copies: Count = 2,
    eps: NonNegative = 1e-4,
    fuse_views: bool = True,
) -> Method:
    """WhitenedCSE: embeddings are whitened in groups of columns that each step shuffles, anew for each copy.

    See :func:`selfsup.losses.whitened_contrastive`, also for where it departs from the paper.

    Args:
      encoder, projector: flax modules.
      temperature: τ. Authors: 0.05.
      column_groups: how many groups, which divide the embedding's width; a group needs fewer columns than the batch has
        rows. Authors: 128 of 6.
      copies: whitenings of the second view. Authors: two further views.
      eps: ε of the whitening. Authors: none.
      fuse_views: whether the two views share batch-norm statistics.

    State: none beside batch statistics.
    """

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        only_two(batch['views'])
        return base.embed(params, extra, batch, key)

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        first, second = outputs['embeddings']
        keys = jax.random.split(key, copies + 1)
        orders = jnp.stack([jax.random.permutation(one, first.shape[1]) for one in keys])
        value = losses.whitened_contrastive(
            first, second, orders=orders, groups=column_groups, temperature=temperature, eps=eps
        )
        return value, (extra, {'positive_cosine': mean_cosine(first, second)})

    base = siamese(encoder, projector, criterion, fuse_views=fuse_views)
    return base._replace(embed=embed)

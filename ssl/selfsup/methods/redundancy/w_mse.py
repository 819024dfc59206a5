"""W-MSE (Ermolov et al. 2021, https://arxiv.org/abs/2007.06346)."""

from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ... import losses
from ...signature import Count, Domain, NonNegative
from ..base import Method, mean_cosine, pairs
from ..siamese import siamese


def w_mse(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    block: Count = 128,
    iterations: Annotated[int, Domain(int, least=1, most=1000)] = 1,
    eps: NonNegative = 0.0,
    normalized: bool = True,
    fuse_views: bool = False,
) -> Method:
    """W-MSE: views are whitened by block and view, and must then agree; any number of views.

    Each step draws `iterations` random partitions of the global batch into blocks of `block` rows, the
    same for all views; see :func:`selfsup.losses.w_mse`. `block` must exceed the embedding's width
    (the authors advise twice it) and divide the batch.

    Args:
      encoder, projector: flax modules; the paper's projector is 1024 (batch-norm), then 64 or 128.
      block: rows whitened together. Paper: 128 (CIFAR, 64 dims), 256 (STL-10, 128 dims).
      iterations: partitions a step. Paper: 1, and 4 on STL-10 and Tiny ImageNet.
      eps: ε, the identity's share of the covariance. Authors: 0.
      normalized: whether whitened rows are normalised.
      fuse_views: whether views of one resolution share batch-norm statistics.

    State: none beside batch statistics.
    """

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        views = outputs['embeddings']
        first, second = pairs(views)
        rows = first.shape[0]
        order = jnp.stack([jax.random.permutation(jax.random.fold_in(key, i), rows) for i in range(iterations)])
        value = losses.w_mse(*views, order=order, block=block, eps=eps, normalized=normalized)
        return value, (extra, {'positive_cosine': mean_cosine(first, second)})

    return siamese(encoder, projector, criterion, fuse_views=fuse_views)

"""Alignment and uniformity (Wang and Isola 2020, https://arxiv.org/abs/2005.10242)."""

from functools import partial

import flax.linen as nn

from ... import losses
from ...signature import NonNegative, Positive
from ..base import Method, mean_cosine, over_pairs, pairs
from ..siamese import of_embeddings, siamese


def hypersphere(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    alpha: Positive = 2.0,
    t: Positive = 2.0,
    alignment_weight: NonNegative = 1.0,
    uniformity_weight: NonNegative = 1.0,
    fuse_views: bool = False,
) -> Method:
    """Views near one another on the hypersphere, and each view spread over it; no softmax.

    Args:
      encoder, projector: flax modules. Authors: one linear layer, without activation after it.
      alpha, t, alignment_weight, uniformity_weight: see :func:`selfsup.losses.hypersphere`.
      fuse_views: whether the two views share batch-norm statistics.

    State: none beside batch statistics.

    References:
      Wang and Isola 2020, https://arxiv.org/abs/2005.10242, section 4.
    """
    weights = {'alignment_weight': alignment_weight, 'uniformity_weight': uniformity_weight}

    def loss(embeddings: tuple) -> tuple:
        value = over_pairs(partial(losses.hypersphere, alpha=alpha, t=t, **weights), embeddings)
        return value, {'positive_cosine': mean_cosine(*pairs(embeddings))}

    return siamese(encoder, projector, of_embeddings(loss), fuse_views=fuse_views)

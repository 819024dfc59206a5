"""MACL (Huang et al. 2023, https://arxiv.org/abs/2207.07874): a temperature that follows the alignment."""

from functools import partial

import flax.linen as nn

from ... import losses
from ...signature import Positive, Share
from ..base import Method, mean_cosine, over_pairs, pairs
from ..siamese import of_embeddings, siamese


def macl(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    temperature: Positive = 0.1,
    alpha: Share = 0.5,
    reference: Share = 0.0,
    fuse_views: bool = True,
) -> Method:
    """SimCLR with a temperature that grows with the alignment of the pairs, and easy anchors weighed up again.

    Args:
      encoder, projector: flax modules. SimCLR's.
      temperature, alpha, reference: τ₀, α and A₀ of :func:`selfsup.losses.macl`.
      fuse_views: whether the two views share batch-norm statistics, as in SimCLR.

    State: none beside batch statistics.

    References:
      Huang et al. 2023, https://arxiv.org/abs/2207.07874.
    """

    def loss(embeddings: tuple) -> tuple:
        compare = partial(losses.macl, temperature=temperature, alpha=alpha, reference=reference)
        return over_pairs(compare, embeddings), {'positive_cosine': mean_cosine(*pairs(embeddings))}

    return siamese(encoder, projector, of_embeddings(loss), fuse_views=fuse_views)

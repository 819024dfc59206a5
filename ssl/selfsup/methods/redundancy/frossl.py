"""FroSSL (Skean et al. 2024, https://arxiv.org/abs/2310.02903)."""

import flax.linen as nn

from ... import losses
from ...signature import NonNegative
from ..base import Method, mean_cosine, pairs, weighted
from ..siamese import of_embeddings, siamese


def frossl(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    invariance_weight: NonNegative = 1.0,
    fuse_views: bool = False,
) -> Method:
    """FroSSL: any number of views near their mean, and each view's covariance with a small Frobenius norm.

    Args:
      encoder, projector: flax modules. Authors: 2048, 2048, 1024, no norm after the last.
      invariance_weight: w of :func:`selfsup.losses.frossl`. Authors: 1.
      fuse_views: whether views of one resolution share batch-norm statistics.

    State: none beside batch statistics.

    References:
      Skean et al. 2024, https://arxiv.org/abs/2310.02903, eq. 3 and 6.
    """

    def loss(embeddings: tuple) -> tuple:
        first, second = pairs(embeddings)
        terms = losses.frossl_terms(first, second, *embeddings[2:])
        value = weighted(terms, regularisation=1.0, invariance=invariance_weight)
        return value, {**terms, 'positive_cosine': mean_cosine(first, second)}

    return siamese(encoder, projector, of_embeddings(loss), fuse_views=fuse_views)

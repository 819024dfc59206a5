"""EMP-SSL (Tong et al. 2023, https://arxiv.org/abs/2304.03977): many patches of an image in one step."""

import flax.linen as nn

from ... import losses
from ...signature import NonNegative, Positive
from ..base import Method, mean_cosine, pairs, weighted
from ..siamese import of_embeddings, siamese


def emp_ssl(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    invariance_weight: NonNegative = 200.0,
    eps: Positive = 0.2,
    fuse_views: bool = True,
) -> Method:
    """EMP-SSL: many views near their mean, and each view's batch with a large coding rate.

    The authors take 20 to 200 views of an image and as few as one epoch, and evaluate the mean feature over patches; an
    encoder of ours is evaluated on whole images, as all are.

    Args:
      encoder, projector: flax modules. Authors: 4096 (batch-norm), 4096 (batch-norm), 1024.
      invariance_weight, eps: λ and ε of :func:`selfsup.losses.emp_ssl`.
      fuse_views: whether views of one resolution share batch-norm statistics. Authors: yes.

    State: none beside batch statistics.

    References:
      Tong et al. 2023, https://arxiv.org/abs/2304.03977, section 2.
    """

    def loss(embeddings: tuple) -> tuple:
        first, second = pairs(embeddings)
        terms = losses.emp_ssl_terms(first, second, *embeddings[2:], eps=eps)
        value = weighted(terms, invariance=invariance_weight, coding_rate=-1.0)
        return value, {**terms, 'positive_cosine': mean_cosine(first, second)}

    return siamese(encoder, projector, of_embeddings(loss), fuse_views=fuse_views)

"""MMCR (Yerxa et al. 2023, https://arxiv.org/abs/2303.03307)."""

import flax.linen as nn

from ... import losses
from ...signature import OptionalNumber
from ..base import Method, mean_cosine, pairs
from ..siamese import of_embeddings, siamese


def mmcr(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    lambd: OptionalNumber = None,
    fuse_views: bool = True,
) -> Method:
    """MMCR: the centroids of each image's views should span the embedding space; any number of views.

    See :func:`selfsup.losses.mmcr` for `lambd`. The authors stack an image's views into the batch, so
    views share batch-norm statistics; their ImageNet runs add a momentum encoder, which this leaves out.
    Paper's projector: 512, 128 with 40 views of 32 images on CIFAR-10; 8192, 8192, 512 on ImageNet.
    State: none beside batch statistics.
    """

    def loss(embeddings: tuple) -> tuple:
        value = losses.mmcr(*embeddings, lambd=lambd)
        return value, {'positive_cosine': mean_cosine(*pairs(embeddings))}

    return siamese(encoder, projector, of_embeddings(loss), fuse_views=fuse_views)

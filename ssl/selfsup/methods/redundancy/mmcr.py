"""MMCR (Yerxa et al. 2023, https://arxiv.org/abs/2303.03307)."""

import flax.linen as nn

from ... import losses, parallel
from ...signature import OptionalNumber
from ..base import Method, joint_embedding, mean_cosine, over, pairs


def mmcr(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    lambd: OptionalNumber = None,
    fuse_views: bool = True,
    axis_name: str | None = None,
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

    encoder, projector = over(axis_name, encoder, projector)
    return parallel.over_axis(joint_embedding(encoder, projector, loss, fuse_views=fuse_views), axis_name)

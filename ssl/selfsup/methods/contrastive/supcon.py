"""SupCon (Khosla et al. 2020, https://arxiv.org/abs/2004.11362): SimCLR's contrast, with labels."""

from typing import Any

import flax.linen as nn
from jaxtyping import Array

from ... import losses
from ...signature import Positive
from ..base import Method, mean_cosine, over_pairs, pairs
from ..siamese import siamese


def supcon(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    temperature: Positive = 0.1,
    sum_inside: bool = False,
    fuse_views: bool = True,
) -> Method:
    """SupCon: the positives of a view are all views of images with its label. It is supervised: it sees the labels.

    Both views run through the network as one batch, as in the authors' code. The shuffled-pairs control
    says nothing about it, because labels go on telling which images belong together.

    Args:
      encoder, projector: flax modules. Paper: 2048, 128 without batch-norm.
      temperature: τ. Paper: 0.1; solo-learn on CIFAR: 0.2.
      sum_inside: see :func:`selfsup.losses.supcon`.
      fuse_views: whether the two views share batch-norm statistics.

    State: none beside batch statistics.

    References:
      Khosla et al. 2020, https://arxiv.org/abs/2004.11362, section 3.2.
    """

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        def compare(z1: Array, z2: Array) -> Array:
            return losses.supcon(z1, z2, batch['label'], temperature=temperature, sum_inside=sum_inside)

        value = over_pairs(compare, outputs['embeddings'])
        return value, (extra, {'positive_cosine': mean_cosine(*pairs(outputs['embeddings']))})

    return siamese(encoder, projector, criterion, fuse_views=fuse_views)._replace(uses_labels=True)

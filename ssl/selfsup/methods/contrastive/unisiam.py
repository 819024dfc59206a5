"""UniSiam (Lu et al. 2022, https://arxiv.org/abs/2207.09176): SimSiam with a uniformity term."""

from functools import partial

import flax.linen as nn

from ... import losses
from ...signature import NonNegative, Positive
from ..base import Method, mean_cosine, pairs
from ..siamese import of_embeddings, siamese


def unisiam(
    encoder: nn.Module,
    projector: nn.Module,
    predictor: nn.Module | None,
    *,
    uniformity_weight: NonNegative = 0.1,
    temperature: Positive = 2.0,
    fuse_views: bool = True,
) -> Method:
    """UniSiam: each view's prediction points along the other view, and views of different images spread.

    Its distillation from a larger network is not here. With more than two views, each further one meets both of the
    first two as a pair, mean over pairs.

    Args:
      encoder, projector: flax modules. Authors: three layers as wide as the features, batch-norm after all
        (`last_norm='affine'`).
      predictor: flax module. Authors: a quarter of that (batch-norm), then its width. With None the embeddings take its
        place.
      uniformity_weight, temperature: λ and T of :func:`selfsup.losses.unisiam`.
      fuse_views: whether the two views share batch-norm statistics. Authors: yes.

    State: none beside batch statistics.

    References:
      Lu et al. 2022, https://arxiv.org/abs/2207.09176, section 3.
    """
    compare = partial(losses.unisiam, uniformity_weight=uniformity_weight, temperature=temperature)

    def loss(embeddings: tuple, predictions: tuple | None = None) -> tuple:
        p, z = predictions or embeddings, embeddings
        found = [compare(p[i], p[j], z[i], z[j]) for i in range(len(pairs(z))) for j in range(i + 1, len(z))]
        return sum(found) / len(found), {'positive_cosine': mean_cosine(*pairs(z))}

    return siamese(encoder, projector, of_embeddings(loss), predictor=predictor, fuse_views=fuse_views)

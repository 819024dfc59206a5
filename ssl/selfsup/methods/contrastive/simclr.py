"""SimCLR (Chen et al. 2020, https://arxiv.org/abs/2002.05709)."""

from functools import partial

import flax.linen as nn

from ... import losses
from ...signature import Positive
from ..base import Method, mean_cosine, over_pairs, pairs
from ..siamese import of_embeddings, siamese


def simclr(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    temperature: Positive = 0.1,
    scale: Positive = 1.0,
    fuse_views: bool = True,
) -> Method:
    """SimCLR: NT-Xent between two views; both run through the network as one batch, as in the paper.

    `scale=2` repeats the authors' code, which adds the two views' means where :func:`selfsup.losses.ntxent`
    averages them. State: none beside batch statistics.
    """

    def loss(embeddings: tuple) -> tuple:
        value = over_pairs(partial(losses.ntxent, temperature=temperature), embeddings)
        return scale * value, {'positive_cosine': mean_cosine(*pairs(embeddings))}

    return siamese(encoder, projector, of_embeddings(loss), fuse_views=fuse_views)

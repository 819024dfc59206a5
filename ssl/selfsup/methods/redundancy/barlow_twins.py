"""Barlow Twins (Zbontar et al. 2021, https://arxiv.org/abs/2103.03230)."""

import flax.linen as nn

from ... import losses
from ...signature import NonNegative, Positive
from ..base import Method, over_pairs, weighted
from ..siamese import of_embeddings, siamese


def barlow_twins(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    lambd: NonNegative = 5.1e-3,
    scale: Positive = 1.0,
    fuse_views: bool = False,
) -> Method:
    """Barlow Twins; see :func:`selfsup.losses.barlow_twins` for `lambd` and `scale`.

    The paper's projector has three layers of 8192 without biases, batch-norm after the first two.
    State: none beside batch statistics.
    """

    def loss(embeddings: tuple) -> tuple:
        terms = over_pairs(losses.barlow_twins_terms, embeddings)
        return scale * weighted(terms, on_diagonal=1.0, off_diagonal=lambd), terms

    return siamese(encoder, projector, of_embeddings(loss), fuse_views=fuse_views)

"""VICReg (Bardes et al. 2022, https://arxiv.org/abs/2105.04906)."""

from functools import partial

import flax.linen as nn

from ... import losses
from ...signature import NonNegative
from ..base import Method, over_pairs, weighted
from ..siamese import of_embeddings, siamese


def vicreg(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    invariance_weight: NonNegative = 25.0,
    variance_weight: NonNegative = 25.0,
    covariance_weight: NonNegative = 1.0,
    halve_variance: bool = True,
    fuse_views: bool = False,
) -> Method:
    """VICReg; see :func:`selfsup.losses.vicreg` for the weights and `halve_variance`.

    The paper's expander has three layers of 8192, biases in the first two, batch-norm after them.
    State: none beside batch statistics.
    """

    def loss(embeddings: tuple) -> tuple:
        compare = partial(losses.vicreg_terms, halve_variance=halve_variance)
        terms = over_pairs(compare, embeddings)
        weights = {'invariance': invariance_weight, 'variance': variance_weight, 'covariance': covariance_weight}
        return weighted(terms, **weights), terms

    return siamese(encoder, projector, of_embeddings(loss), fuse_views=fuse_views)

"""VIbCReg (Lee and Aune 2021, https://arxiv.org/abs/2109.00783)."""

from functools import partial

import flax.linen as nn

from ... import losses
from ...signature import NonNegative
from ..base import Method, over_pairs, weighted
from ..siamese import of_embeddings, siamese


def vibcreg(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    invariance_weight: NonNegative = 25.0,
    variance_weight: NonNegative = 25.0,
    covariance_weight: NonNegative = 200.0,
    halve_variance: bool = False,
    fuse_views: bool = False,
) -> Method:
    """VIbCReg; see :func:`selfsup.losses.vibcreg` for the weights and `halve_variance`.

    The paper's projector ends in iterative normalisation: `last_norm='iterative'` of
    :class:`selfsup.models.MLP`. State: none beside batch statistics.
    """

    def loss(embeddings: tuple) -> tuple:
        compare = partial(losses.vibcreg_terms, halve_variance=halve_variance)
        terms = over_pairs(compare, embeddings)
        weights = {'invariance': invariance_weight, 'variance': variance_weight, 'covariance': covariance_weight}
        return weighted(terms, **weights), terms

    return siamese(encoder, projector, of_embeddings(loss), fuse_views=fuse_views)

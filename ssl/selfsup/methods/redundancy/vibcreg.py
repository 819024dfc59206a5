"""VIbCReg (Lee and Aune 2021, https://arxiv.org/abs/2109.00783)."""

from functools import partial

import flax.linen as nn

from ... import losses, parallel
from ...signature import NonNegative
from ..base import Method, joint_embedding, over, over_pairs


def vibcreg(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    invariance_weight: NonNegative = 25.0,
    variance_weight: NonNegative = 25.0,
    covariance_weight: NonNegative = 200.0,
    halve_variance: bool = False,
    fuse_views: bool = False,
    axis_name: str | None = None,
) -> Method:
    """VIbCReg; see :func:`selfsup.losses.vibcreg` for the weights and `halve_variance`.

    The paper's projector ends in iterative normalisation: `last_norm='iterative'` of
    :class:`selfsup.models.MLP`. State: none beside batch statistics.
    """

    def loss(embeddings: tuple) -> tuple:
        compare = partial(losses.vibcreg_terms, halve_variance=halve_variance)
        terms = over_pairs(compare, embeddings)
        total = (
            invariance_weight * terms['invariance']
            + variance_weight * terms['variance']
            + covariance_weight * terms['covariance']
        )
        return total, terms

    encoder, projector = over(axis_name, encoder, projector)
    return parallel.over_axis(joint_embedding(encoder, projector, loss, fuse_views=fuse_views), axis_name)

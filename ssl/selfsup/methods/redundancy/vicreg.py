"""VICReg (Bardes et al. 2022, https://arxiv.org/abs/2105.04906)."""

from functools import partial

import flax.linen as nn

from ... import losses, parallel
from ...signature import NonNegative
from ..base import Method, joint_embedding, over, over_pairs


def vicreg(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    invariance_weight: NonNegative = 25.0,
    variance_weight: NonNegative = 25.0,
    covariance_weight: NonNegative = 1.0,
    halve_variance: bool = True,
    fuse_views: bool = False,
    axis_name: str | None = None,
) -> Method:
    """VICReg; see :func:`selfsup.losses.vicreg` for the weights and `halve_variance`.

    The paper's expander has three layers of 8192, biases in the first two, batch-norm after them.
    State: none beside batch statistics.
    """

    def loss(embeddings: tuple) -> tuple:
        compare = partial(losses.vicreg_terms, halve_variance=halve_variance)
        terms = over_pairs(compare, embeddings)
        total = (
            invariance_weight * terms['invariance']
            + variance_weight * terms['variance']
            + covariance_weight * terms['covariance']
        )
        return total, terms

    encoder, projector = over(axis_name, encoder, projector)
    return parallel.over_axis(joint_embedding(encoder, projector, loss, fuse_views=fuse_views), axis_name)

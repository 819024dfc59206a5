"""Decoupled contrastive learning (Yeh et al. 2022, https://arxiv.org/abs/2110.06848)."""

from functools import partial

import flax.linen as nn

from ... import losses
from ...signature import OptionalPositive, Positive
from ..base import Method, mean_cosine, over_pairs, pairs
from ..siamese import of_embeddings, siamese


def decoupled(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    temperature: Positive = 0.1,
    sigma: OptionalPositive = None,
    stop_weights: bool = False,
    fuse_views: bool = True,
) -> Method:
    """DCL: SimCLR whose denominator leaves out the positive; with `sigma` (0.5 in the paper) DCLW.

    Args:
      encoder, projector: flax modules. Paper: SimCLR's.
      temperature, sigma, stop_weights: see :func:`selfsup.losses.decoupled`.
      fuse_views: whether the two views share batch-norm statistics, as in SimCLR.

    State: none beside batch statistics.

    References:
      Yeh et al. 2022, https://arxiv.org/abs/2110.06848, section 3.
    """

    def loss(embeddings: tuple) -> tuple:
        compare = partial(losses.decoupled, temperature=temperature, sigma=sigma, stop_weights=stop_weights)
        return over_pairs(compare, embeddings), {'positive_cosine': mean_cosine(*pairs(embeddings))}

    return siamese(encoder, projector, of_embeddings(loss), fuse_views=fuse_views)

"""Debiased and hard-negative contrast (Chuang et al. 2020, https://arxiv.org/abs/2007.00224; Robinson et al. 2021)."""

from functools import partial

import flax.linen as nn

from ... import losses
from ...signature import NonNegative, Positive, ProperShare
from ..base import Method, mean_cosine, over_pairs, pairs
from ..siamese import of_embeddings, siamese


def debiased(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    temperature: Positive = 0.5,
    positive_prior: ProperShare = 0.1,
    concentration: NonNegative = 0.0,
    fuse_views: bool = False,
) -> Method:
    """SimCLR with negatives corrected for false ones (DCL) and, if `concentration` > 0, weighed by hardness (HCL).

    Args:
      encoder, projector: flax modules. Papers: 512 (batch-norm), 128, the first without bias.
      temperature, positive_prior, concentration: τ, τ⁺ and β of :func:`selfsup.losses.debiased`.
      fuse_views: whether the two views share batch-norm statistics. Authors: no.

    State: none beside batch statistics.

    References:
      Chuang et al. 2020, https://arxiv.org/abs/2007.00224; Robinson et al. 2021,
      https://arxiv.org/abs/2010.04592.
    """

    def loss(embeddings: tuple) -> tuple:
        keywords = {'temperature': temperature, 'positive_prior': positive_prior, 'concentration': concentration}
        value = over_pairs(partial(losses.debiased, **keywords), embeddings)
        return value, {'positive_cosine': mean_cosine(*pairs(embeddings))}

    return siamese(encoder, projector, of_embeddings(loss), fuse_views=fuse_views)

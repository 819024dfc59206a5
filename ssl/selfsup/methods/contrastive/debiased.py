"""Debiased and hard-negative contrastive learning (Chuang et al. 2020, Robinson et al. 2021)."""

from functools import partial

import flax.linen as nn

from ... import losses, parallel
from ...signature import NonNegative, Positive, ProperShare
from ..base import Method, joint_embedding, mean_cosine, over, over_pairs, pairs


def debiased(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    temperature: Positive = 0.5,
    positive_prior: ProperShare = 0.1,
    concentration: NonNegative = 0.0,
    fuse_views: bool = False,
    axis_name: str | None = None,
) -> Method:
    """SimCLR with negatives corrected for false ones (DCL) and, if `concentration` > 0, weighed by hardness (HCL).

    Args:
      encoder, projector: flax modules. Papers: 512 (batch-norm), 128, the first without bias.
      temperature, positive_prior, concentration: τ, τ⁺ and β of :func:`selfsup.losses.debiased`.
      fuse_views: whether the two views share batch-norm statistics. Authors: no.
      axis_name: axis of `pmap` or `shard_map`; see :mod:`selfsup.parallel`.

    State: none beside batch statistics.

    References:
      Chuang et al. 2020, https://arxiv.org/abs/2007.00224; Robinson et al. 2021,
      https://arxiv.org/abs/2010.04592.
    """

    def loss(embeddings: tuple) -> tuple:
        keywords = {'temperature': temperature, 'positive_prior': positive_prior, 'concentration': concentration}
        value = over_pairs(partial(losses.debiased, **keywords), embeddings)
        return value, {'positive_cosine': mean_cosine(*pairs(embeddings))}

    encoder, projector = over(axis_name, encoder, projector)
    return parallel.over_axis(joint_embedding(encoder, projector, loss, fuse_views=fuse_views), axis_name)

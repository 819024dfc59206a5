"""DirectCLR (Jing et al. 2022, https://arxiv.org/abs/2110.09348): contrast of a part of the features, no projector."""

from functools import partial
from typing import Any

import flax.linen as nn
from jaxtyping import Array

from ... import losses
from ...signature import Count, Positive
from ..base import Method, backbone, embedding_width, mean_cosine, over_pairs, pairs


def directclr(encoder: nn.Module, *, dims: Count = 360, temperature: Positive = 0.1) -> Method:
    """InfoNCE on the first `dims` features, in both directions; the rest is trained through the network alone.

    L = ½·InfoNCE(r1[:dims], r2[:dims]) + ½·InfoNCE(r2[:dims], r1[:dims]), negatives of the other view's batch. (lightly
    takes NT-Xent at τ = 0.5 of the same part.)

    Args:
      encoder: flax module with at least `dims` features.
      dims: d₀. Authors: 360 of ResNet-50's 2048.
      temperature: τ. Authors: 0.1.

    State: none beside batch statistics.

    References:
      Jing et al. 2022, https://arxiv.org/abs/2110.09348, section 6.
    """
    compare = partial(losses.info_nce_in_batch, temperature=temperature)

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, extra = base.init(key, batch)
        width = embedding_width({'encoder': encoder}, params, extra['batch_stats'], batch)
        if dims > width:
            raise ValueError(f'dims={dims} is more than the {width} features of the encoder')
        return params, extra

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        parts = tuple(z[:, :dims] for z in outputs['embeddings'])
        value = over_pairs(lambda a, b: (compare(a, b) + compare(b, a)) / 2, parts)
        return value, (extra, {'positive_cosine': mean_cosine(*pairs(parts))})

    base = backbone(encoder)
    return base._replace(init=init, criterion=criterion)

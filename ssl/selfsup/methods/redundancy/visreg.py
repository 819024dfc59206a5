"""VISReg (Wu et al. 2026, https://arxiv.org/abs/2606.02572)."""

from typing import Any

import flax.linen as nn

from ... import losses
from ...signature import Count, Positive, Share, Whole
from ..base import Method, pairs, random_directions, weighted
from ..siamese import siamese


def visreg(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    lambd: Share = 0.9,
    directions: Count = 4096,
    centres: Whole = 0,
    eps: Positive = 1e-4,
    fuse_views: bool = True,
) -> Method:
    """VISReg: views agree, and embeddings have the centre, scale and shape of the standard normal; any number of views.

    Each step draws `directions` random directions, the same for all views and devices; see
    :func:`selfsup.losses.visreg`.

    Args:
      encoder, projector: flax modules; the embeddings are not normalised.
      lambd: λ, the share of centre, scale and shape. Authors: 0.9 on ImageNet, 0.6 on Imagenette.
      directions: random directions a step. Authors: 4096.
      centres: how many of the first views (global crops) the others are drawn to; 0 takes all. Authors: those.
      eps: ε of the shape.
      fuse_views: whether views of one resolution share batch-norm statistics.

    State: none beside batch statistics.
    """

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        views = outputs['embeddings']
        pairs(views)  # refuses a single view
        drawn = random_directions(key, directions, views[0])
        terms = losses.visreg_terms(*views, directions=drawn, centres=centres, eps=eps)
        return weighted(terms, invariance=1.0 - lambd, centre=lambd, scale=lambd, shape=lambd), (extra, terms)

    return siamese(encoder, projector, criterion, fuse_views=fuse_views)

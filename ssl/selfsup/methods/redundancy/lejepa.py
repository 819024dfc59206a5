"""LeJEPA (Balestriero and LeCun 2025, https://arxiv.org/abs/2511.08544)."""

from typing import Annotated, Any

import flax.linen as nn

from ... import losses
from ...signature import Count, Domain, Share, Whole
from ..base import Method, pairs, random_directions, weighted
from ..siamese import siamese


def lejepa(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    lambd: Share = 0.05,
    directions: Count = 1024,
    centres: Whole = 0,
    knots: Annotated[int, Domain(int, least=2, most=10_000)] = 17,
    fuse_views: bool = True,
) -> Method:
    """LeJEPA: views agree, and their embeddings are a sample of the standard normal; any number of views.

    Each step draws `directions` random directions, the same for all views and devices; see
    :func:`selfsup.losses.lejepa`.

    Args:
      encoder, projector: flax modules; the embeddings are not normalised.
      lambd: λ, SIGReg's share. Authors: 0.05 (0.02 in their minimal example).
      directions: random directions a step. Authors: 1024.
      centres: how many of the first views (global crops) the others are drawn to; 0 takes all.
      knots: points t of the statistic.
      fuse_views: whether views of one resolution share batch-norm statistics.

    State: none beside batch statistics.
    """

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        views = outputs['embeddings']
        pairs(views)  # refuses a single view
        drawn = random_directions(key, directions, views[0])
        terms = losses.lejepa_terms(*views, directions=drawn, centres=centres, knots=knots)
        return weighted(terms, invariance=1.0 - lambd, sigreg=lambd), (extra, terms)

    return siamese(encoder, projector, criterion, fuse_views=fuse_views)

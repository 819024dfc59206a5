"""LeJEPA (Balestriero and LeCun 2025, https://arxiv.org/abs/2511.08544)."""

from typing import Annotated, Any

import flax.linen as nn
import jax

from ... import losses, parallel
from ...signature import Count, Domain, Share, Whole
from ..base import Method, joint_embedding, over, pairs


def lejepa(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    lambd: Share = 0.05,
    directions: Count = 1024,
    centres: Whole = 0,
    knots: Annotated[int, Domain(int, least=2, most=10_000)] = 17,
    fuse_views: bool = True,
    axis_name: str | None = None,
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
      axis_name: axis of `pmap` or `shard_map`; see :mod:`selfsup.parallel`.

    State: none beside batch statistics.
    """
    encoder, projector = over(axis_name, encoder, projector)
    method = joint_embedding(encoder, projector, lambda embeddings: (0.0, {}), fuse_views=fuse_views)

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        views = outputs['embeddings']
        first, _ = pairs(views)
        # The loss scales each direction to unit length, so normal draws are uniform on the sphere.
        drawn = jax.random.normal(key, (directions, first.shape[1]), 'float32')
        terms = losses.lejepa_terms(*views, directions=drawn, centres=centres, knots=knots)
        return (1.0 - lambd) * terms['invariance'] + lambd * terms['sigreg'], (extra, terms)

    return parallel.over_axis(method._replace(criterion=criterion), axis_name)

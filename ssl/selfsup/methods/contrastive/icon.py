"""I-Con (Alshammari et al. 2025, https://arxiv.org/abs/2504.16929): debiased neighbourhoods of two views."""

from functools import partial
from typing import Annotated

import flax.linen as nn

from ... import losses
from ...losses.icon import LEARNED
from ...signature import Domain, Positive, Share
from ..base import Method, mean_cosine, over_pairs, pairs
from ..siamese import of_embeddings, siamese


def icon(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    kernel: Annotated[str, Domain(str, choices=tuple(LEARNED))] = 'cosine',
    temperature: Positive = 0.5,
    learned_leak: Share = 0.2,
    target_leak: Share = 0.0,
    fuse_views: bool = True,
) -> Method:
    """I-Con with pairs of views as supervision; see :func:`selfsup.losses.icon_views` for the keywords.

    Without leaks and with the cosine kernel it is SimCLR; with the cluster kernel the projector's outputs are scores
    of clusters, and their number is its width. The paper's clustering results train a head on frozen features with
    p of neighbours; its leaks lie between 0 and 0.8, and 0.2 is our choice.

    State: none beside batch statistics.
    """

    def loss(embeddings: tuple) -> tuple:
        compare = partial(
            losses.icon_views,
            kernel=kernel,
            temperature=temperature,
            learned_leak=learned_leak,
            target_leak=target_leak,
        )
        return over_pairs(compare, embeddings), {'positive_cosine': mean_cosine(*pairs(embeddings))}

    return siamese(encoder, projector, of_embeddings(loss), fuse_views=fuse_views)

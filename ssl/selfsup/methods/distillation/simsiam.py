"""SimSiam (Chen and He 2021, https://arxiv.org/abs/2011.10566): a predictor and a stopped gradient."""

from functools import partial

import flax.linen as nn

from ... import losses
from ..base import Method, mean_cosine, pairs, towards
from ..siamese import of_embeddings, siamese


def simsiam(
    encoder: nn.Module,
    projector: nn.Module,
    predictor: nn.Module | None,
    *,
    stop_gradient: bool = True,
    fuse_views: bool = False,
) -> Method:
    """SimSiam: each view's prediction points along the other view's embedding, which gets no gradient.

    The loss is ½·D(p1, z2) + ½·D(p2, z1), D of :func:`selfsup.losses.simsiam`. The authors keep the
    predictor's learning rate constant: `optimizer.groups.predictor = {'schedule': 'constant'}`.

    Args:
      encoder, projector: flax modules. Paper: 2048, 2048, 2048, batch-norm after all, `last_norm='plain'`.
      predictor: flax module. Paper: 512 (batch-norm), 2048. None is the paper's ablation, which collapses.
      stop_gradient: False is the paper's ablation (Figure 2), which collapses.
      fuse_views: whether the two views share batch-norm statistics. Authors: no.

    State: none beside batch statistics.

    References:
      Chen and He 2021, https://arxiv.org/abs/2011.10566, algorithm 1.
    """

    def loss(embeddings: tuple, predictions: tuple | None = None) -> tuple:
        compare = partial(losses.simsiam, stop_gradient=stop_gradient)
        value = towards(compare, predictions or embeddings, pairs(embeddings)) / 2
        return value, {'positive_cosine': mean_cosine(*pairs(embeddings))}

    return siamese(encoder, projector, of_embeddings(loss), predictor=predictor, fuse_views=fuse_views)

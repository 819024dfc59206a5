"""NNCLR (Dwibedi et al. 2021, https://arxiv.org/abs/2104.14548): positives are neighbours of the other view."""

from functools import partial

import flax.linen as nn

from ... import losses
from ...signature import Count, Positive
from ..base import Method
from ..queue import of_neighbours


def nnclr(
    encoder: nn.Module,
    projector: nn.Module,
    predictor: nn.Module | None,
    *,
    temperature: Positive = 0.1,
    queue: Count = 98304,
    fuse_views: bool = False,
) -> Method:
    """NNCLR: the queue's nearest neighbour of one view must pick the other view's prediction out of the batch.

    Order of a step: both views through the network; neighbours in the queue as it was, without
    gradient; ½ of each direction's loss; then the first view's unit embeddings enter the queue.

    Args:
      encoder, projector: flax modules. Paper: 2048, 2048, 256, batch-norm after all (`last_norm='affine'`).
      predictor: flax module. Paper: 4096 (batch-norm), 256. With None the embeddings take its place.
      temperature: τ. Paper: 0.1; solo-learn on CIFAR: 0.2.
      queue: rows of the queue; the global batch must divide it. Paper: 98304; solo-learn: 65536.
      fuse_views: whether the two views share batch-norm statistics.

    State: queue `[queue, dim]` of random directions at first, pointer.

    References:
      Dwibedi et al. 2021, https://arxiv.org/abs/2104.14548, section 3.2 and algorithm 1.
    """
    return of_neighbours(
        encoder,
        projector,
        predictor,
        partial(losses.nnclr, temperature=temperature),
        queue=queue,
        fuse_views=fuse_views,
    )

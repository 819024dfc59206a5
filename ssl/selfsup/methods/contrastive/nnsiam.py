"""NNSiam (solo-learn 2021, https://github.com/vturrisi/solo-learn): SimSiam towards neighbours of the other view."""

import flax.linen as nn
from jaxtyping import Array

from ... import losses
from ...signature import Count
from ..base import Method
from ..queue import of_neighbours


def nnsiam(
    encoder: nn.Module,
    projector: nn.Module,
    predictor: nn.Module | None,
    *,
    queue: Count = 65536,
    fuse_views: bool = False,
) -> Method:
    """NNSiam: each view's prediction points along the queue's nearest neighbour of the other view's embedding.

    L = ½·D(p1, NN(z2)) + ½·D(p2, NN(z1)), D of :func:`selfsup.losses.simsiam`, no gradient into neighbours. Order of a
    step as in :func:`selfsup.methods.nnclr`. The predictor's learning rate is constant:
    `optimizer.groups.predictor = {'schedule': 'constant'}`.

    Args:
      encoder, projector: flax modules. solo-learn: SimSiam's, 2048, 2048, 2048, `last_norm='plain'`.
      predictor: flax module. solo-learn: 4096 (batch-norm), 2048. With None the embeddings take its place.
      queue: rows of the queue; the global batch must divide it. solo-learn: 65536.
      fuse_views: whether the two views share batch-norm statistics.

    State: queue `[queue, dim]` of random directions at first, pointer.

    References:
      solo-learn's `NNSiam`, after Dwibedi et al. 2021, https://arxiv.org/abs/2104.14548, and Chen and He 2021,
      https://arxiv.org/abs/2011.10566.
    """

    def compare(p: Array, z: Array, rows: Array) -> Array:
        return losses.simsiam(p, losses.nearest(z, rows))

    return of_neighbours(encoder, projector, predictor, compare, queue=queue, fuse_views=fuse_views)

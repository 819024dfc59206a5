"""NNBYOL (solo-learn 2021, https://github.com/vturrisi/solo-learn): BYOL towards neighbours of the target's output."""

from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array

from ... import losses
from ...signature import Count, ScheduledShare
from ..base import Method, mean_cosine, towards, unit
from ..queue import begun_with_queue, enqueue
from ..target import predicted_target


def nnbyol(
    encoder: nn.Module,
    projector: nn.Module,
    predictor: nn.Module | None,
    *,
    queue: Count = 65536,
    momentum: ScheduledShare = 0.99,
    fuse_views: bool = False,
) -> Method:
    """NNBYOL: each view's prediction must equal the queue's nearest neighbour of the other view's target projection.

    L = ‖n(p1) − NN(t2)‖² + ‖n(p2) − NN(t1)‖², the sum of both directions as in BYOL. Order of a step: both views
    through both networks; the loss against the queue as it was; then the first view's unit targets enter the queue; the
    target moves after the optimiser's step t with m(t). It starts as a copy.

    Args:
      encoder, projector: flax modules. solo-learn: 4096 (batch-norm), 256.
      predictor: flax module. solo-learn: 4096 (batch-norm), 256. With None the embeddings take its place.
      queue: rows of the queue; the global batch must divide it. solo-learn: 65536.
      momentum: m of the moving average, a value or a function of the step. solo-learn: a cosine from 0.99 to 1.
      fuse_views: whether the two views share batch-norm statistics.

    State: parameters and batch statistics of the target, queue `[queue, dim]` of random directions at first, pointer.

    References:
      solo-learn's `NNBYOL`, after Dwibedi et al. 2021, https://arxiv.org/abs/2104.14548, and Grill et al. 2020,
      https://arxiv.org/abs/2006.07733.
    """

    def compare(predictions: tuple, targets: tuple, rows: Array) -> Array:
        return towards(lambda p, t: 2.0 + 2.0 * losses.simsiam(p, losses.nearest(t, rows)), predictions, targets)

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        predictions, targets = outputs.get('predictions', outputs['embeddings']), outputs['targets']
        value = compare(predictions, targets, extra['queue'])
        rows, pointer = enqueue(extra['queue'], extra['pointer'], jax.lax.stop_gradient(unit(targets[0])))
        metrics = {'positive_cosine': mean_cosine(predictions[0], targets[1])}
        return value, ({**extra, 'queue': rows, 'pointer': pointer}, metrics)

    base = predicted_target(
        encoder,
        projector,
        predictor,
        lambda predictions, targets: compare(predictions, targets, targets[0]),
        momentum=momentum,
        ahead=0,
        own_start=False,
        fuse_views=fuse_views,
    )
    return base._replace(init=begun_with_queue(base, queue), criterion=criterion)

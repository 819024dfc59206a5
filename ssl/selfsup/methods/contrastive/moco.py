"""MoCo v1 and v2 (He et al. 2020, https://arxiv.org/abs/1911.05722): a momentum encoder and a queue."""

from functools import partial

import flax.linen as nn

from ... import losses
from ...signature import Count, Positive, ScheduledShare
from ..base import Method
from ..queue import against_queue


def moco_v2(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    temperature: Positive = 0.2,
    queue: Count = 65536,
    momentum: ScheduledShare = 0.999,
    groups: Count = 8,
    symmetric: bool = False,
) -> Method:
    """MoCo v2: a query must pick its key from the momentum encoder out of a queue of earlier keys.

    Order of a step, as in the authors' code: query; key from the momentum encoder, no gradient, with
    its own batch statistics; loss against the queue as it was; then the keys enter the queue. The
    authors move the momentum encoder before the key's forward pass of step t; here `after` of step
    t − 1 does it with m(t), which is the same (at step 0 both networks are equal).

    Batch-norm must not let a query recognise its key by the batch they share. It runs in `groups`
    groups (the authors' 8 devices), the query's in order, the key's by a random permutation; `groups`
    counts parts of the global batch, so the result is the same on any number of devices.

    Args:
      encoder, projector: flax modules; the projector has no batch-norm in the paper (2048, 128).
      temperature: τ. Paper: 0.2.
      queue: rows of the queue; the global batch must divide it. Paper: 65536.
      momentum: m of the moving average, a value or a function of the step. Paper: 0.999.
      groups: batch-norm groups of the encoder; 1 switches the protection off.
      symmetric: average both directions, each with a queue of its own, as solo-learn's MoCo v2+.

    State: target parameters and batch statistics, queue `[directions, queue, dim]`, pointer.

    References:
      Chen et al. 2020, https://arxiv.org/abs/2003.04297; He et al. 2020,
      https://arxiv.org/abs/1911.05722, section 3 and algorithm 1.
    """
    return against_queue(
        encoder,
        projector,
        partial(losses.info_nce, temperature=temperature),
        queue=queue,
        momentum=momentum,
        groups=groups,
        symmetric=symmetric,
    )


def moco_v1(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    temperature: Positive = 0.07,
    queue: Count = 65536,
    momentum: ScheduledShare = 0.999,
    groups: Count = 8,
) -> Method:
    """MoCo v1: :func:`moco_v2` in one direction at temperature 0.07; the paper's projector is one linear layer (128,).

    Args and state: as there.

    References:
      He et al. 2020, https://arxiv.org/abs/1911.05722, section 3 and algorithm 1.
    """
    return moco_v2(
        encoder,
        projector,
        temperature=temperature,
        queue=queue,
        momentum=momentum,
        groups=groups,
    )

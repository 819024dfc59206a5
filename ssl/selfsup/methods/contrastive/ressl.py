"""ReSSL (Zheng et al. 2021, https://arxiv.org/abs/2107.09282): keep a weak view's relations to a queue."""

from functools import partial

import flax.linen as nn

from ... import losses
from ...signature import Count, Positive, ScheduledShare
from ..base import Method
from ..queue import against_queue


def ressl(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    temperature: Positive = 0.1,
    teacher_temperature: Positive = 0.04,
    queue: Count = 131072,
    momentum: ScheduledShare = 0.999,
    groups: Count = 1,
) -> Method:
    """ReSSL: the student's similarities to a queue must follow the momentum teacher's, which sees a weak view.

    The augmentation gives the student's strong view first and the teacher's weak view (crop and flip
    alone) second. The order of a step is MoCo's: student; teacher, no gradient, batch statistics of its
    own; loss against the queue as it was; then the teacher's embeddings enter the queue. The teacher
    moves with m(t) before its forward pass of step t, that is in `after` of step t − 1.

    Args:
      encoder, projector: flax modules. Paper: 4096, 512, without batch-norm.
      temperature: τ_s of the student. Paper: 0.1.
      teacher_temperature: τ_t. Paper: 0.04.
      queue: rows of the queue; the global batch must divide it. Paper: 131072, 4096 on CIFAR.
      momentum: m of the moving average, a value or a function of the step. Paper: 0.999, 0.99 on CIFAR.
      groups: batch-norm groups of the encoder, as in :func:`selfsup.methods.moco_v2`.

    State: teacher parameters and batch statistics, queue `[1, queue, dim]`, pointer.

    References:
      Zheng et al. 2021, https://arxiv.org/abs/2107.09282, section 3.2 and algorithm 1.
    """
    return against_queue(
        encoder,
        projector,
        partial(losses.ressl, temperature=temperature, teacher_temperature=teacher_temperature),
        queue=queue,
        momentum=momentum,
        groups=groups,
        symmetric=False,
    )

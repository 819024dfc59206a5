"""Enhanced MoCo (arXiv 2025, https://arxiv.org/abs/2501.16360): both directions, the hardest negatives alone."""

from functools import partial

import flax.linen as nn

from ... import losses
from ...signature import Count, Positive, ScheduledShare
from ..base import Method
from ..queue import against_queue


def moco_hard(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    temperature: Positive = 0.2,
    queue: Count = 65536,
    hardest: Count = 1024,
    momentum: ScheduledShare = 0.999,
    groups: Count = 8,
    symmetric: bool = True,
) -> Method:
    """MoCo v2 in both directions, each query against those rows of the queue alone that are most alike to it.

    The paper was read in its abstract alone, and there is no public code: both roles are exchanged and averaged, each
    with a queue of its own, and the hardest negatives by cosine are kept, with no further weights. Order of a step as
    in :func:`selfsup.methods.moco_v2`.

    Args:
      encoder, projector, temperature, queue, momentum, groups: as of :func:`selfsup.methods.moco_v2`.
      hardest: how many rows each query meets, at most `queue`; with all of them this is symmetric MoCo v2.
      symmetric: False asks with the first view alone.

    State: as of :func:`selfsup.methods.moco_v2`.

    References:
      https://arxiv.org/abs/2501.16360 (2025); He et al. 2020, https://arxiv.org/abs/1911.05722.
    """
    if hardest > queue:
        raise ValueError(f'hardest={hardest} rows cannot be chosen from queue={queue}')
    return against_queue(
        encoder,
        projector,
        partial(losses.info_nce_hardest, temperature=temperature, hardest=hardest),
        queue=queue,
        momentum=momentum,
        groups=groups,
        symmetric=symmetric,
    )

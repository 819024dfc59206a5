"""CO2 (Wei et al. 2021, https://arxiv.org/abs/2010.02217): consistent contrast with a queue."""

import flax.linen as nn
from jaxtyping import Array

from ... import losses
from ...signature import Count, NonNegative, Positive, ScheduledShare
from ..base import Method
from ..queue import against_queue


def co2(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    temperature: Positive = 0.2,
    consistency_temperature: Positive = 0.05,
    consistency_weight: NonNegative = 1.0,
    queue: Count = 65536,
    momentum: ScheduledShare = 0.999,
    groups: Count = 8,
) -> Method:
    """MoCo v2, and a query and its key must be alike to the same rows of the queue: L = InfoNCE + α·CO2.

    Args:
      encoder, projector, temperature, queue, momentum, groups: as of :func:`selfsup.methods.moco_v2`.
      consistency_temperature: τ of :func:`selfsup.losses.co2`. lightly: 0.05.
      consistency_weight: α. lightly: 1.

    State: as of :func:`selfsup.methods.moco_v2`.

    References:
      Wei et al. 2021, https://arxiv.org/abs/2010.02217.
    """

    def loss(query: Array, key: Array, rows: Array) -> Array:
        contrast = losses.info_nce(query, key, rows, temperature=temperature)
        return contrast + consistency_weight * losses.co2(query, key, rows, temperature=consistency_temperature)

    return against_queue(
        encoder,
        projector,
        loss,
        queue=queue,
        momentum=momentum,
        groups=groups,
        symmetric=False,
    )

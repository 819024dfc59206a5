"""MoCHi (Kalantidis et al. 2020, https://arxiv.org/abs/2010.01028): mixtures of hard negatives."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import losses
from ...signature import Count, Positive, ScheduledShare, Whole
from ..base import Method
from ..queue import against_queue


def mochi(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    temperature: Positive = 0.2,
    queue: Count = 65536,
    hardest: Count = 1024,
    mixed: Whole = 1024,
    harder: Whole = 128,
    start_steps: Whole = 0,
    momentum: ScheduledShare = 0.999,
    groups: Count = 8,
) -> Method:
    """MoCo v2 whose queries also meet mixtures of their hardest negatives, and of those with themselves.

    Rows and shares are drawn anew for every query of every step: two of the hardest with α from (0, 1), or one with the
    query, whose share is from (0, ½). Order of a step as in :func:`selfsup.methods.moco_v2`.

    Args:
      encoder, projector, temperature, queue, momentum, groups: as of :func:`selfsup.methods.moco_v2`.
      hardest: how many of the queue's rows are mixed, at most `queue`. Paper: 1024 (N).
      mixed: mixtures of two rows. Paper: 1024 (s).
      harder: mixtures with the query. Paper: 128 (s′).
      start_steps: steps of plain MoCo before mixtures count. Paper: some epochs of warm-up.

    State: as of :func:`selfsup.methods.moco_v2`.

    References:
      Kalantidis et al. 2020, https://arxiv.org/abs/2010.01028, section 4.
    """
    if hardest > queue:
        raise ValueError(f'hardest={hardest} rows cannot be chosen from queue={queue}')

    def loss(query: Array, key: Array, rows: Array, *, random: Array, step: Array) -> Array:
        keys, batch = jax.random.split(random, 4), len(query)
        value = losses.mochi(
            query,
            key,
            rows,
            jax.random.randint(keys[0], (batch, mixed, 2), 0, hardest, jnp.int32),
            jax.random.uniform(keys[1], (batch, mixed), query.dtype),
            jax.random.randint(keys[2], (batch, harder), 0, hardest, jnp.int32),
            jax.random.uniform(keys[3], (batch, harder), query.dtype, maxval=0.5),
            temperature=temperature,
            hardest=hardest,
        )
        return jnp.where(step < start_steps, losses.info_nce(query, key, rows, temperature=temperature), value)

    return against_queue(
        encoder,
        projector,
        loss,
        queue=queue,
        momentum=momentum,
        groups=groups,
        symmetric=False,
        draws=True,
    )

"""BatchTopK autoencoder (Bussmann et al. 2024, https://arxiv.org/abs/2412.06410)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from ... import dictionaries
from ...signature import Count, NonNegative, ProperShare, Whole
from ..base import Method
from .autoencoder import HIGHEST, Rule, autoencoder


def of_batch(active: int, momentum: Any) -> Rule:
    """The k·batch largest pre-activations of a batch in training; at evaluation those above a moving threshold."""

    def codes(params, extra, drive):
        return dictionaries.above(drive, extra['threshold'])

    def batch_codes(params, extra, drive):
        found, least = dictionaries.batch_top_k(drive, active=active)
        old = extra['threshold']
        moved = momentum * old + (1.0 - momentum) * least
        return found, {'threshold': jnp.where(least > 0, moved, old).astype(old.dtype)}

    def init(key, params, rows):
        atoms, centre = params['dictionary']['atoms'], params['dictionary']['centre']
        drive = jnp.matmul(rows - centre[None], atoms.T, precision=HIGHEST)
        _, least = dictionaries.batch_top_k(drive, active=active)
        return params, {'threshold': least.astype(jnp.float32)}

    return Rule(codes, batch_codes, init=init, dead_codes=dictionaries.top_k, state=('threshold',))


def batch_topk(
    encoder: nn.Module,
    *,
    active: Count = 32,
    threshold_momentum: ProperShare = 0.99,
    auxiliary_weight: NonNegative = 1 / 32,
    auxiliary_active: Whole = 0,
    dead_after: Count = 10_000_000,
) -> Method:
    """TopK over the whole batch: examples share k·batch active units as they need them.

    Args:
      encoder: flax module to one number a unit; a linear one begins as the transposed atoms.
      active: k, units on in an example on average. Paper: 32.
      threshold_momentum: of the smallest entry that a batch keeps; at evaluation a unit is on above it. Authors: 0.99.
      auxiliary_weight, auxiliary_active, dead_after: as in :func:`.topk.topk`. Authors: dead after 20 batches.

    State: the threshold, which begins as that of the initial dictionary; examples since each unit was on.
    """
    return autoencoder(
        encoder,
        of_batch(active, threshold_momentum),
        auxiliary_weight=auxiliary_weight,
        auxiliary_active=auxiliary_active,
        dead_after=dead_after,
    )

"""AbsTopK autoencoder (Zhu et al. 2025, https://arxiv.org/abs/2510.00404): codes of both signs."""

import flax.linen as nn

from ... import dictionaries
from ...signature import Count, NonNegative, Whole
from ..base import Method
from .autoencoder import Rule, autoencoder


def abs_topk(
    encoder: nn.Module,
    *,
    active: Count = 32,
    auxiliary_weight: NonNegative = 1 / 32,
    auxiliary_active: Whole = 0,
    dead_after: Count = 10_000_000,
) -> Method:
    """Sparse autoencoder that keeps the k pre-activations of largest magnitude, signed: opposites share an atom.

    Args:
      encoder: flax module to one number a unit; a linear one begins as the transposed atoms.
      active: k, units on in each example.
      auxiliary_weight, auxiliary_active, dead_after: as in :func:`.topk.topk`; dead units are chosen by magnitude too.

    State: examples since each unit was on.
    """

    def codes(params, extra, drive):
        return dictionaries.abs_top_k(drive, active=active)

    return autoencoder(
        encoder,
        Rule(codes, dead_codes=dictionaries.abs_top_k),
        auxiliary_weight=auxiliary_weight,
        auxiliary_active=auxiliary_active,
        dead_after=dead_after,
    )

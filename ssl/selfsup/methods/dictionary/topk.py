"""TopK autoencoder (Gao et al. 2024, https://arxiv.org/abs/2406.04093)."""

import flax.linen as nn

from ... import dictionaries
from ...signature import Count, NonNegative, Whole
from ..base import Method
from .autoencoder import Rule, autoencoder


def topk(
    encoder: nn.Module,
    *,
    active: Count = 32,
    auxiliary_weight: NonNegative = 1 / 32,
    auxiliary_active: Whole = 0,
    dead_after: Count = 10_000_000,
) -> Method:
    """Sparse autoencoder that keeps the k largest pre-activations of each example; dead units reconstruct what is left.

    Args:
      encoder: flax module to one number a unit; the paper's is linear, and then begins as the transposed atoms.
      active: k, units on in each example. Paper: 32 of 32,768.
      auxiliary_weight: of what dead units leave of the residual, over its variance. Paper: 1/32.
      auxiliary_active: dead units of each example in that; 0 is half of the dims. Paper: a power of two near that.
      dead_after: examples without being on after which a unit counts as dead. Paper: 10 million tokens.

    State: examples since each unit was on.
    """

    def codes(params, extra, drive):
        return dictionaries.top_k(drive, active=active)

    return autoencoder(
        encoder,
        Rule(codes, dead_codes=dictionaries.top_k),
        auxiliary_weight=auxiliary_weight,
        auxiliary_active=auxiliary_active,
        dead_after=dead_after,
    )

"""ReLU autoencoder with an L1 penalty (Bricken et al. 2023, https://transformer-circuits.pub/2023/monosemantic-features)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from ... import losses
from ...signature import Count, NonNegative, Whole
from ..base import Method
from .autoencoder import Rule, Seen, autoencoder


def warmed(weight: Any, step: Any, steps: int) -> Any:
    """A weight that rises linearly from 0 over so many steps."""
    return weight * jnp.minimum(step / max(steps, 1), 1.0) if steps else weight


def rectified(params: Any, extra: Any, drive: Any) -> Any:
    """Max(a, 0)."""
    return jnp.maximum(drive, 0.0)


def relu_l1(
    encoder: nn.Module,
    *,
    weight: NonNegative = 0.1,
    weight_warmup: Whole = 2000,
    dead_after: Count = 10_000_000,
    resample: Whole = 0,
    resample_epochs: Count = 1,
) -> Method:
    """Sparse autoencoder with ReLU units, unit atoms and the penalty λ·Σ f; dead units may start anew.

    Args:
      encoder: flax module to one number a unit; a linear one begins as the transposed atoms.
      weight: λ.
      weight_warmup: steps over which λ rises from 0. dictionary_learning: 2000.
      dead_after: examples without being on after which a unit counts as dead.
      resample: how many dead units at most start anew between epochs: the atom at a row drawn in proportion to its
        squared error, the encoder's weights at 0.2 of the mean length of the others, its bias and the optimiser's
        moments at 0. 0 for none. Needs a linear encoder.
      resample_epochs: how often.

    State: examples since each unit was on; with `resample`, a weighted sample of rows since the last time.
    """

    def terms(seen: Seen):
        penalty = warmed(weight, seen.step, weight_warmup) * losses.sparsity(seen.codes)
        return {'reconstruction': losses.reconstruction(seen.inputs, seen.reconstructions), 'sparsity': penalty}, {}

    return autoencoder(
        encoder,
        Rule(rectified, terms=terms),
        dead_after=dead_after,
        resample=resample,
        resample_epochs=resample_epochs,
    )

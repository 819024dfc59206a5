"""JumpReLU autoencoder (Rajamanoharan et al. 2024, https://arxiv.org/abs/2407.14435)."""

import flax.linen as nn
import jax.numpy as jnp

from ... import dictionaries, losses
from ...signature import Count, NonNegative, OptionalPositive, Positive, Whole
from ..base import Method
from .autoencoder import Rule, Seen, autoencoder
from .relu_l1 import warmed


def jump_relu(
    encoder: nn.Module,
    *,
    weight: NonNegative = 0.1,
    weight_warmup: Whole = 2000,
    target: OptionalPositive = None,
    threshold: Positive = 1e-3,
    bandwidth: Positive = 1e-3,
    centred: bool = True,
    after_jump: bool = False,
    dead_after: Count = 10_000_000,
) -> Method:
    """Sparse autoencoder whose units are on above thresholds that are learned, by straight-through gradients, with L0.

    Args:
      encoder: flax module to one number a unit; a linear one begins as the transposed atoms.
      weight: λ of L0, or of (L0/target − 1)².
      weight_warmup: steps over which λ rises from 0.
      target: L0 to hold, as in dictionary_learning; None has the paper's λ·L0.
      threshold: of every unit at the start. Authors: 1e-3.
      bandwidth: ε of the gradient of the thresholds. Paper: 1e-3, for inputs whose mean square is 1; with few examples
        in a batch wider, as a unit's threshold moves only where a pre-activation lies within ε/2 of it.
      centred: whether the centre is taken from the encoder's inputs. dictionary_learning: no.
      after_jump: L0's gradient looks at the codes, as in dictionary_learning, where it sees the upper half of the
        window alone.
      dead_after: examples without being on after which a unit counts as dead; for the metrics.

    State: examples since each unit was on. The thresholds are parameters, `units`.
    """

    def init(key, params, rows):
        units = len(params['dictionary']['atoms'])
        return {**params, 'units': {'threshold': jnp.full(units, threshold, jnp.float32)}}, {}

    def codes(params, extra, drive):
        return dictionaries.jump_relu(drive, params['units']['threshold'], bandwidth=bandwidth)

    def terms(seen: Seen):
        looked = seen.codes if after_jump else seen.drive
        on = dictionaries.heaviside(looked, seen.params['units']['threshold'], bandwidth=bandwidth)
        number = jnp.mean(jnp.sum(on, axis=1))
        amount = number if target is None else (number / target - 1.0) ** 2
        penalty = warmed(weight, seen.step, weight_warmup) * amount
        return {'reconstruction': losses.reconstruction(seen.inputs, seen.reconstructions), 'sparsity': penalty}, {}

    return autoencoder(encoder, Rule(codes, terms=terms, init=init), centred=centred, dead_after=dead_after)

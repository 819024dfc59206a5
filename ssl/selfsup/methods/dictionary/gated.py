"""Gated autoencoder (Rajamanoharan et al. 2024, https://arxiv.org/abs/2404.16014)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ... import dictionaries, losses
from ...signature import Count, NonNegative, Whole
from ..base import Method
from .autoencoder import HIGHEST, Rule, Seen, autoencoder
from .relu_l1 import warmed


def gated(
    encoder: nn.Module,
    *,
    weight: NonNegative = 0.1,
    weight_warmup: Whole = 2000,
    dead_after: Count = 10_000_000,
    resample: Whole = 0,
    resample_epochs: Count = 1,
) -> Method:
    """Sparse autoencoder with a gate that says whether a unit is on, and a magnitude, which no penalty shrinks.

    Gate π = a + b_gate and magnitude exp(r)·a + b_mag share the encoder's a, whose own bias is best left out
    (`model.last_bias=False`). The gates learn from λ·Σ max(π, 0) and from the squared error of max(π, 0) with the
    dictionary held fixed.

    Args:
      encoder: flax module to one number a unit; a linear one begins as the transposed atoms.
      weight: λ.
      weight_warmup: steps over which λ rises from 0.
      dead_after, resample, resample_epochs: as in :func:`.relu_l1.relu_l1`.

    State: as of ReLU-L1. `gate`, `gain` (r) and `magnitude` are parameters, `units`.
    """

    def init(key, params, rows):
        zero = jnp.zeros(len(params['dictionary']['atoms']))
        return {**params, 'units': {'gate': zero, 'gain': zero, 'magnitude': zero}}, {}

    def codes(params, extra, drive):
        own = params['units']
        magnitude = jnp.exp(own['gain'])[None] * drive + own['magnitude'][None]
        return dictionaries.gated(drive + own['gate'][None], magnitude)

    def terms(seen: Seen):
        opening = jnp.maximum(seen.drive + seen.params['units']['gate'][None], 0.0)
        held = jax.lax.stop_gradient((seen.atoms, seen.centre))
        guess = jnp.matmul(opening, held[0], precision=HIGHEST) + held[1][None]
        return {
            'reconstruction': losses.reconstruction(seen.inputs, seen.reconstructions),
            'gate': losses.reconstruction(seen.inputs, guess),
            'sparsity': warmed(weight, seen.step, weight_warmup) * losses.sparsity(opening),
        }, {}

    return autoencoder(
        encoder,
        Rule(codes, terms=terms, init=init),
        dead_after=dead_after,
        resample=resample,
        resample_epochs=resample_epochs,
    )

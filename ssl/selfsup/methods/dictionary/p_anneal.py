"""ReLU autoencoder with p-annealing (Karvonen et al. 2024, https://arxiv.org/abs/2408.00113)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ... import losses
from ...signature import Count, NonNegative, OpenShare, Whole
from ..base import Method
from .autoencoder import Rule, Seen, autoencoder
from .relu_l1 import rectified, warmed

WINDOW = 10  # steps over which the norms are averaged at a change of p; authors: 10


def p_anneal(
    encoder: nn.Module,
    *,
    weight: NonNegative = 0.1,
    weight_warmup: Whole = 2000,
    p_final: OpenShare = 0.2,
    anneal_start: Whole = 15_000,
    anneal_steps: Count = 10_000,
    changes: Count = 10,
    dead_after: Count = 10_000_000,
    resample: Whole = 0,
    resample_epochs: Count = 1,
) -> Method:
    """Sparse autoencoder with the penalty λ·Σ f^p, whose p falls in stages from 1, L1, towards the number of units on.

    At each stage λ is multiplied by the ratio of the old penalty to the new, over the last ten steps, so that the
    penalty does not jump.

    Args:
      encoder: flax module to one number a unit; a linear one begins as the transposed atoms.
      weight: λ at p = 1.
      weight_warmup: steps over which λ rises from 0.
      p_final: the last p. The authors' code has 0, at which its own norm divides by zero.
      anneal_start: the step of the first change. Authors: 15,000.
      anneal_steps: from the first change to the last.
      changes: of p, by equal steps.
      dead_after, resample, resample_epochs: as in :func:`.relu_l1.relu_l1`.

    State: the factor on λ, the penalties of the last ten steps with this p and with the next; as of ReLU-L1.
    """

    def stage(step):
        between = anneal_steps / max(changes - 1, 1)
        done = jnp.floor((step - anneal_start) / between) + 1
        return jnp.clip(jnp.where(step < anneal_start, 0, done), 0, changes)

    def power(number):
        return 1.0 + (p_final - 1.0) * jnp.minimum(number, changes) / changes

    def init(key, params, rows):
        return params, {'factor': jnp.ones(()), 'norms': jnp.ones((WINDOW, 2))}

    def terms(seen: Seen):
        now = stage(seen.step)
        # The first step of a stage: what the penalty was, and would have been with this p, of the steps before it.
        changed = (now > stage(seen.step - 1)) & (seen.step > 0)
        means = jnp.mean(seen.extra['norms'], axis=0)
        ratio = means[0] / jnp.where(means[1] > 0, means[1], 1.0)
        factor = jnp.where(changed & (means[1] > 0), seen.extra['factor'] * ratio, seen.extra['factor'])
        norms = [losses.sparsity(seen.codes, p=power(number)) for number in (now, now + 1)]
        latest = jax.lax.stop_gradient(jnp.stack(norms)).astype(jnp.float32)
        moved = {'factor': factor, 'norms': jnp.roll(seen.extra['norms'], 1, axis=0).at[0].set(latest)}
        penalty = warmed(weight, seen.step, weight_warmup) * factor * norms[0]
        value = losses.reconstruction(seen.inputs, seen.reconstructions)
        return {'reconstruction': value, 'sparsity': penalty}, moved

    return autoencoder(
        encoder,
        Rule(rectified, terms=terms, init=init),
        dead_after=dead_after,
        resample=resample,
        resample_epochs=resample_epochs,
    )

"""Relaxed archetypal autoencoder (Fel et al. 2025, https://arxiv.org/abs/2502.12892): RA-SAE."""

import flax.linen as nn
import jax.numpy as jnp

from ... import diagnostics, dictionaries
from ...signature import Count, NonNegative, Whole
from ..base import Method
from .autoencoder import Rule, autoencoder, is_linear, of_linear


def archetypal(
    encoder: nn.Module,
    *,
    active: Count = 32,
    points: Count = 1000,
    delta: NonNegative = 1.0,
    iterations: Count = 20,
    auxiliary_weight: NonNegative = 0.0,
    auxiliary_active: Whole = 0,
    dead_after: Count = 10_000_000,
) -> Method:
    """TopK with atoms that are convex combinations of cluster centres of the data, each moved by at most δ.

    D = e^s·(WC + Λ); nothing is added to the reconstruction or taken from the inputs. W begins as an identity (atom i
    is centre i), Λ and s at 0.

    Args:
      encoder: flax module to one number a unit; a linear one begins as the transposed centres, of length 1.
      active: k, units on in each example.
      points: centres, of k-means on rows of the training set, at least as many as units; with fewer rows they
        repeat. Paper: tens of thousands.
      delta: δ; 0 is the archetypal form, whose atoms lie in the hull. Paper: 1.
      iterations: of k-means.
      auxiliary_weight, auxiliary_active, dead_after: as in :func:`.topk.topk`. The authors have no auxiliary loss.

    State: the centres `[points, dim]`; examples since each unit was on.
    """

    def init(key, params, rows):
        shape = params['dictionary']['atoms'].shape
        if points < shape[0]:
            raise ValueError(f'points={points} must be at least the {shape[0]} units')
        count = min(points, len(rows))
        centres, _ = diagnostics.kmeans(key, rows, clusters=count, iterations=iterations)
        centres = centres[jnp.arange(points) % count]
        first = dictionaries.unit_atoms(centres[: shape[0]])
        if is_linear(params['encoder'], shape):
            params = {**params, 'encoder': of_linear(params['encoder'], shape, lambda _: first.T, jnp.zeros_like)}
        own = {'weights': jnp.eye(shape[0], points), 'relaxation': jnp.zeros(shape), 'log_scale': jnp.zeros(())}
        return {**params, 'dictionary': own}, {'points': centres}

    def codes(params, extra, drive):
        return dictionaries.top_k(drive, active=active)

    def atoms(params, extra):
        own = params['dictionary']
        return dictionaries.near_hull(own['weights'], extra['points'], own['relaxation'], own['log_scale'])

    def constrain(params):
        own = params['dictionary']
        weights, relaxation = dictionaries.hull_constraints(own['weights'], own['relaxation'], delta=delta)
        return {**params, 'dictionary': {**own, 'weights': weights, 'relaxation': relaxation}}

    return autoencoder(
        encoder,
        Rule(codes, init=init, atoms=atoms, constrain=constrain, dead_codes=dictionaries.top_k, state=('points',)),
        auxiliary_weight=auxiliary_weight,
        auxiliary_active=auxiliary_active,
        dead_after=dead_after,
    )

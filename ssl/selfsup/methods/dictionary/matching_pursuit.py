"""Matching-pursuit autoencoder (Costa et al. 2025, https://arxiv.org/abs/2506.03093): MP-SAE."""

from ... import dictionaries
from ...signature import Count
from ..base import Method
from .autoencoder import Rule, autoencoder, unit_norm


def matching_pursuit(
    *,
    units: Count = 1024,
    active: Count = 32,
    each: Count = 1,
    nonnegative: bool = False,
    dead_after: Count = 10_000_000,
) -> Method:
    """Sparse autoencoder whose codes are found by matching pursuit: no encoder, the atoms are the only weights.

    Gradients pass through every round, with the chosen atoms held fixed.

    Args:
      units: atoms.
      active: rounds; an example has at most `active`·`each` units on.
      each: atoms chosen in a round by the same residual; above 1 it is the encoder of in-context factor learning.
      nonnegative: codes from 0, as in the authors' small experiments; else of both signs.
      dead_after: examples without being on after which a unit counts as dead; for the metrics.

    State: examples since each unit was on.
    """
    if each > units:
        raise ValueError(f'each={each} must be at most units={units}')

    def codes(params, extra, rows):
        atoms = unit_norm(params, extra)
        return dictionaries.matching_pursuit(rows, atoms, rounds=active, each=each, nonnegative=nonnegative)

    return autoencoder(None, Rule(codes), units=units, dead_after=dead_after)

"""Matryoshka autoencoder (Bussmann et al. 2025, https://arxiv.org/abs/2503.17547): nested dictionaries."""

from typing import Annotated

import flax.linen as nn

from ... import losses
from ...errors import UserError
from ...signature import Count, Domain, NonNegative, ProperShare, Whole
from ..base import Method
from .autoencoder import Rule, Seen, autoencoder
from .batch_topk import of_batch


def sizes(shares: tuple[float, ...], units: int) -> tuple[int, ...]:
    """Units of each group: `shares` of all, rounded down, the rest in the last.

    Raises:
      UserError: a group without units.
    """
    first = [int(share * units) for share in shares[:-1]]
    found = (*first, units - sum(first))
    if min(found) < 1:
        raise UserError(f'method.shares={shares} of {units} units (model.widths) are {found}: each must be at least 1')
    return found


def checked(shares: tuple[float, ...]) -> None:
    """Refuses shares of the units that do not sum to 1."""
    if abs(sum(shares) - 1.0) > 1e-6:
        raise ValueError(f'shares={shares} are of the units and must sum to 1, not {sum(shares):g}')


def matryoshka(
    encoder: nn.Module,
    *,
    active: Count = 32,
    shares: Annotated[tuple[float, ...], Domain(above=0, several=True, static=True)] = (
        1 / 16,
        1 / 16,
        1 / 8,
        1 / 4,
        1 / 2,
    ),
    empty: bool = True,
    threshold_momentum: ProperShare = 0.99,
    auxiliary_weight: NonNegative = 1 / 32,
    auxiliary_active: Whole = 0,
    dead_after: Count = 10_000_000,
) -> Method:
    """BatchTopK whose first units reconstruct alone, as do more and more of them: general features come first.

    Args:
      encoder: flax module to one number a unit; a linear one begins as the transposed atoms.
      active: k, units on in an example on average.
      shares: the units, what each prefix adds; they sum to 1. Paper: 1/16, 1/16, 1/8, 1/4, 1/2.
      empty: whether the centre alone counts as one more prefix, as in the authors' code.
      threshold_momentum: as in :func:`.batch_topk.batch_topk`.
      auxiliary_weight, auxiliary_active, dead_after: as in :func:`.topk.topk`.

    State: as of BatchTopK.
    """
    checked(shares)

    def terms(seen: Seen):
        parts = sizes(shares, len(seen.atoms))
        nested = {'sizes': parts, 'empty': empty}
        value = losses.nested_reconstruction(seen.inputs, seen.codes, seen.atoms, seen.centre, **nested)
        return {'reconstruction': value}, {}

    rule: Rule = of_batch(active, threshold_momentum)
    return autoencoder(
        encoder,
        rule._replace(terms=terms),
        auxiliary_weight=auxiliary_weight,
        auxiliary_active=auxiliary_active,
        dead_after=dead_after,
    )

"""Progressive coding (Peter and Søgaard 2025, https://arxiv.org/abs/2505.00190): every prefix is an autoencoder."""

import math
from typing import Annotated

import flax.linen as nn
import jax.numpy as jnp

from ... import dictionaries, losses
from ...signature import Count, Domain, NonNegative, Whole
from ..base import Method
from .autoencoder import HIGHEST, Rule, Seen, autoencoder
from .matryoshka import checked, sizes


def prefixes(shares: tuple[float, ...], units: int, active: int) -> list[tuple[int, int]]:
    """Units and active units of each prefix: as many of `active` as the prefix has of the units, rounded up."""
    parts = sizes(shares, units)
    return [(count, math.ceil(active * count / units)) for count in (sum(parts[: n + 1]) for n in range(len(parts)))]


def progressive(
    encoder: nn.Module,
    *,
    active: Count = 32,
    shares: Annotated[tuple[float, ...], Domain(above=0, several=True, static=True)] = (1 / 4, 1 / 4, 1 / 2),
    auxiliary_weight: NonNegative = 1 / 32,
    auxiliary_active: Whole = 0,
    dead_after: Count = 10_000_000,
) -> Method:
    """TopK autoencoders of growing size in one: each prefix of the units has its own k, in proportion to its size.

    The pre-activations are computed once. A prefix of m of n units keeps the k·m/n largest of its own, rounded up, so
    that it can be cut off and used alone; a prefix of :func:`.matryoshka.matryoshka` keeps what the whole has chosen.

    Args:
      encoder: flax module to one number a unit; a linear one begins as the transposed atoms.
      active: k of all units, which codes at evaluation have.
      shares: of the units, what each prefix adds; they sum to 1. Paper: 2^14, 2^15 and 2^16 units.
      auxiliary_weight, auxiliary_active, dead_after: as in :func:`.topk.topk`.

    Loss: the squared error, mean over the prefixes, and that of dead units. Equal weights of the prefixes and k in
    proportion to the units are choices made here.

    State: examples since each unit was on.
    """
    checked(shares)

    def codes(params, extra, drive):
        return dictionaries.top_k(drive, active=active)

    def terms(seen: Seen):
        *inner, _ = prefixes(shares, len(seen.atoms), active)
        errors = [losses.reconstruction(seen.inputs, seen.reconstructions)]
        for units, kept in inner:
            found = dictionaries.top_k(seen.drive[:, :units], active=kept)
            decoded = jnp.matmul(found, seen.atoms[:units], precision=HIGHEST) + seen.centre[None]
            errors.append(losses.reconstruction(seen.inputs, decoded))
        return {'reconstruction': sum(errors) / len(errors)}, {}

    return autoencoder(
        encoder,
        Rule(codes, terms=terms, dead_codes=dictionaries.top_k),
        auxiliary_weight=auxiliary_weight,
        auxiliary_active=auxiliary_active,
        dead_after=dead_after,
    )

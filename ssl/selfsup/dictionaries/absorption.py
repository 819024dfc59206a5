"""Absorption: a unit of a narrow concept that takes the place of the unit of the wide one in the rows of both."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from ._common import concrete, dot, finite, matrix
from .atoms import unit_atoms


class Absorption(NamedTuple):
    """How much of a concept other units than its own carry in each row.

    Attributes:
      fraction: `[rows]`, in [0, 1].
      full: `[rows]`, whether one other unit carries the concept while all its own are off.
    """

    fraction: Float[Array, ' rows']
    full: Bool[Array, ' rows']


def absorption(
    inputs: Float[ArrayLike, 'rows dim'],
    codes: Float[ArrayLike, 'rows units'],
    atoms: Float[ArrayLike, 'units dim'],
    direction: Float[ArrayLike, ' dim'],
    main: Sequence[int] | np.ndarray,
    *,
    least_cosine: float = 0.1,
    full_cosine: float = 0.025,
    least_share: float = 0.4,
    absorbers: int = 3,
) -> Absorption:
    """Absorption of a concept in rows that have it.

    With p the direction of length 1, unit i carries z_i·⟨d_i, p⟩ of a row's ⟨x, p⟩. What the `absorbers` largest of the
    other units carry, of atoms that point along p, is A, what the main units carry M. The fraction is 0 where M reaches
    ⟨x, p⟩ or A is less than `least_share` of it, 1 where M ≤ 0, and A' / (A' + M) elsewhere, A' = min(A, ⟨x, p⟩ − M).

    Args:
      inputs: rows less what the dictionary adds to every row (its centre).
      codes, atoms: of the rows; atoms of any length but 0.
      direction: of the concept, such as the weights of a linear probe; any length but 0.
      main: numbers of the units that say the concept.
      least_cosine: of an atom with p, below which its unit absorbs nothing.
      full_cosine: the same for `full`, where the unit that carries most must carry `least_share` of ⟨x, p⟩.
      least_share: see above.
      absorbers: units that absorb together.

    Raises:
      ValueError: shapes that do not fit, main units that there are not, a direction of zero or not finite.

    References:
      Chanin et al. 2024, https://arxiv.org/abs/2409.14507 (the phenomenon); Karvonen et al. 2025,
      https://arxiv.org/abs/2503.09532 (these numbers; defaults of their code).
    """
    inputs, codes, atoms = (matrix(n, z) for n, z in (('inputs', inputs), ('codes', codes), ('atoms', atoms)))
    dtype = jnp.promote_types(inputs.dtype, jnp.promote_types(codes.dtype, atoms.dtype))
    inputs, codes, atoms, direction = (jnp.asarray(z, dtype) for z in (inputs, codes, atoms, direction))
    if codes.shape != (len(inputs), len(atoms)) or not inputs.shape[1:] == atoms.shape[1:] == direction.shape:
        raise ValueError(
            f'inputs {list(inputs.shape)}, codes {list(codes.shape)}, atoms {list(atoms.shape)} and direction '
            f'{list(direction.shape)} do not match'
        )
    chosen = np.asarray(main, int).reshape(-1)
    if not len(chosen) or chosen.min() < 0 or chosen.max() >= len(atoms):
        raise ValueError(f'main must name units from 0 to {len(atoms) - 1}, and is {chosen.tolist()}')
    for name, values in (('inputs', inputs), ('codes', codes), ('atoms', atoms), ('direction', direction[None])):
        finite(name, values)
    length = jnp.linalg.norm(direction)
    if concrete(length) and float(length) == 0:
        raise ValueError(f'direction {list(direction.shape)} is zero')
    along = direction / length
    own = jnp.zeros(len(atoms), bool).at[chosen].set(True)[None]
    carried = codes * dot(atoms, along)[None]
    cosines = dot(unit_atoms(atoms), along)[None]
    whole = dot(inputs, along)
    there = whole > 0
    safe = jnp.where(there, whole, 1.0)

    of_main = jnp.sum(jnp.where(own, carried, 0.0), axis=1)
    others = jnp.where(~own & (cosines >= least_cosine), jnp.maximum(carried, 0.0), 0.0)
    absorbed = jnp.sum(jax.lax.top_k(others, min(absorbers, len(atoms)))[0], axis=1)
    capped = jnp.minimum(absorbed, whole - of_main)
    together = jnp.where(capped + of_main > 0, capped + of_main, 1.0)
    fraction = jnp.where(of_main <= 0, 1.0, capped / together)
    fraction = jnp.where(there & (of_main < whole) & (absorbed / safe >= least_share), fraction, 0.0)

    most = jnp.argmax(carried, axis=1)
    at_most = jnp.take_along_axis(carried, most[:, None], axis=1)[:, 0]
    silent = ~jnp.any(own & (codes != 0), axis=1)
    full = there & silent & (cosines[0, most] >= full_cosine) & (at_most / safe >= least_share)
    return Absorption(fraction, full)

"""Numbers of codes and dictionaries: how well, how sparsely, and which atoms two dictionaries share.

Matching is a linear assignment and runs on the host (SciPy); the others are functions of arrays under jit.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int
from scipy.optimize import linear_sum_assignment

from ._common import both, dot, finite, matrix
from .atoms import unit_atoms


def _pair(inputs: ArrayLike, reconstructions: ArrayLike) -> tuple[Array, Array]:
    inputs, reconstructions = matrix('inputs', inputs), matrix('reconstructions', reconstructions)
    if inputs.shape != reconstructions.shape:
        raise ValueError(
            f'inputs and reconstructions must have the same shape, and are {list(inputs.shape)} and '
            f'{list(reconstructions.shape)}'
        )
    finite('inputs', inputs)
    return inputs, reconstructions


def explained_variance(
    inputs: Float[ArrayLike, 'rows dim'], reconstructions: Float[ArrayLike, 'rows dim']
) -> Float[Array, '']:
    """R² = 1 − Σ_d Var(x − x̂) / Σ_d Var(x), at most 1; 0 for a constant reconstruction.

    A constant offset of the reconstruction costs nothing; :func:`normalised_error` counts it. NaN where the inputs have
    no variance.
    """
    inputs, reconstructions = _pair(inputs, reconstructions)
    residual = inputs - reconstructions
    left, whole = (jnp.sum(jnp.var(z, axis=0)) for z in (residual, inputs))
    return 1.0 - left / whole


def normalised_error(
    inputs: Float[ArrayLike, 'rows dim'], reconstructions: Float[ArrayLike, 'rows dim']
) -> Float[Array, '']:
    """Σ‖x − x̂‖² / Σ‖x − mean x‖², from 0; 1 for the mean of the inputs. NaN where the inputs have no variance."""
    inputs, reconstructions = _pair(inputs, reconstructions)
    centred = inputs - jnp.mean(inputs, axis=0, keepdims=True)
    return jnp.sum((inputs - reconstructions) ** 2) / jnp.sum(centred**2)


def code_numbers(codes: Float[ArrayLike, 'rows units'], *, dense: float = 0.1) -> dict[str, Float[Array, '']]:
    """`l0`, `l1` (means over rows), `dead` (share of units that no row turns on) and `dense` (that many rows do).

    Args:
      codes: a unit is on where its code is not 0, of either sign.
      dense: share of the rows above which a unit counts as dense.
    """
    codes = matrix('codes', codes)
    on = codes != 0
    rate = jnp.mean(on, axis=0, dtype=codes.dtype)
    return {
        'l0': jnp.mean(jnp.sum(on, axis=1, dtype=codes.dtype)),
        'l1': jnp.mean(jnp.sum(jnp.abs(codes), axis=1)),
        'dead': jnp.mean(rate == 0, dtype=codes.dtype),
        'dense': jnp.mean(rate > dense, dtype=codes.dtype),
    }


def hoyer(codes: Float[ArrayLike, 'rows units']) -> Float[Array, ' rows']:
    """(√n − ‖z‖₁/‖z‖₂)/(√n − 1) of each row: 1 for one unit on, 0 for all equal; 0 for a row of zeros.

    References:
      Hoyer 2004, https://www.jmlr.org/papers/v5/hoyer04a.html, section 3.1.
    """
    codes = matrix('codes', codes)
    if codes.shape[1] < 2:
        raise ValueError(f'codes must have at least 2 units, not {list(codes.shape)}')
    root = jnp.sqrt(jnp.asarray(codes.shape[1], codes.dtype))
    squared = jnp.sum(codes * codes, axis=1)
    length = jnp.sqrt(jnp.where(squared > 0, squared, 1.0))
    ratio = jnp.sum(jnp.abs(codes), axis=1) / length
    return jnp.where(squared > 0, (root - ratio) / (root - 1.0), 0.0)


class Match(NamedTuple):
    """Which atom of one dictionary goes with which of another.

    Attributes:
      first, second: numbers of the atoms of each pair, as many as the smaller dictionary has, `first` ascending.
      cosines: of each pair; magnitudes where signs do not count.
    """

    first: np.ndarray
    second: np.ndarray
    cosines: np.ndarray


def match(
    first: Float[ArrayLike, 'units dim'], second: Float[ArrayLike, 'others dim'], *, signed: bool = True
) -> Match:
    """The one-to-one matching of atoms with the largest sum of cosines.

    Args:
      first, second: dictionaries of one width; their atoms may have any length.
      signed: whether an atom and its negative are different, as they are where codes are never negative.

    Raises:
      ValueError: dictionaries of other widths, or not finite.

    Cost: O(units·others·dim + max(units, others)³) at worst.
    """
    a, b = both(first, second)
    cosines = np.asarray(dot(unit_atoms(a), unit_atoms(b).T), np.float64)
    cosines = cosines if signed else np.abs(cosines)
    rows, columns = linear_sum_assignment(-cosines)
    return Match(rows, columns, cosines[rows, columns])


def stability(
    first: Float[ArrayLike, 'units dim'], second: Float[ArrayLike, 'others dim'], *, signed: bool = True
) -> float:
    """Mean cosine of matched atoms of two dictionaries, in [−1, 1]; 1 for the same atoms in any order.

    References:
      Fel et al. 2025, https://arxiv.org/abs/2502.12892, eq. 3.
    """
    return float(match(first, second, signed=signed).cosines.mean())


def recovered(
    truth: Float[ArrayLike, 'units dim'],
    found: Float[ArrayLike, 'others dim'],
    *,
    cosine: float = 0.95,
    signed: bool = False,
) -> float:
    """Share of the true atoms whose match has at least so large a cosine."""
    pairs = match(truth, found, signed=signed)
    return float((pairs.cosines >= cosine).sum() / len(np.asarray(truth)))


def mean_correlation(truth: Float[ArrayLike, 'rows units'], found: Float[ArrayLike, 'rows others']) -> float:
    """MCC: mean |Pearson correlation| of true codes and those matched to them; a true unit without a match counts 0.

    Units that do not vary correlate with nothing.

    References:
      Hyvärinen and Morioka 2016, https://arxiv.org/abs/1605.06336, section 6.
    """
    truth, found = (np.asarray(matrix(n, z), np.float64) for n, z in (('truth', truth), ('found', found)))
    if len(truth) != len(found):
        raise ValueError(f'truth and found must have as many rows, and are {list(truth.shape)} and {list(found.shape)}')
    scaled = []
    for z in (truth, found):
        centred = z - z.mean(axis=0)
        length = np.linalg.norm(centred, axis=0)
        scaled.append(centred / np.where(length > 1e-12, length, np.inf))
    correlation = np.abs(scaled[0].T @ scaled[1])
    rows, columns = linear_sum_assignment(-correlation)
    return float(correlation[rows, columns].sum() / truth.shape[1])


def importance(codes: Float[ArrayLike, 'rows units']) -> Float[Array, ' units']:
    """Mean squared code of each unit: by what order units are kept where a dictionary is cut to fewer.

    References:
      Peter and Søgaard 2025, https://arxiv.org/abs/2505.00190: mean squared activation orders better than frequency.
    """
    codes = matrix('codes', codes)
    return jnp.mean(codes * codes, axis=0)


def kept_errors(
    inputs: Float[ArrayLike, 'rows dim'],
    codes: Float[ArrayLike, 'rows units'],
    atoms: Float[ArrayLike, 'units dim'],
    centre: Float[ArrayLike, ' dim'],
    *,
    kept: Sequence[int],
    order: Int[ArrayLike, ' units'] | None = None,
) -> list[float]:
    """:func:`normalised_error` where only the first `kept[i]` units in an order decode, for each i: progressive coding.

    Args:
      inputs: x.
      codes: of all units.
      atoms: one a row.
      centre: added to every reconstruction.
      kept: how many units, each from 0 to all.
      order: of the units; None is by falling :func:`importance`.
    """
    codes, atoms = matrix('codes', codes), matrix('atoms', atoms, rows='units')
    if codes.shape[1] != len(atoms):
        raise ValueError(f'codes {list(codes.shape)} must have a column for each of atoms {list(atoms.shape)}')
    order = jnp.argsort(-importance(codes)) if order is None else jnp.asarray(order)
    if any(not 0 <= count <= len(atoms) for count in kept):
        raise ValueError(f'kept must be from 0 to {len(atoms)}, the units of atoms {list(atoms.shape)}, not {kept}')
    found = []
    for number in kept:
        some = order[:number]
        decoded = dot(codes[:, some], atoms[some]) + jnp.asarray(centre)[None]
        found.append(float(normalised_error(inputs, decoded)))
    return found


class PowerLaw(NamedTuple):
    """value ∝ rank^exponent: the least-squares line through logarithms, and the share of their variance it explains."""

    exponent: float
    explained: float


def power_law(values: Float[ArrayLike, ' units']) -> PowerLaw:
    """The power law of values over their rank, from the largest; values of 0 are left out.

    Raises:
      ValueError: fewer than three values above 0.
    """
    found = np.sort(np.asarray(values, np.float64).ravel())[::-1]
    found = found[found > 0]
    if len(found) < 3:
        raise ValueError(f'values must have at least 3 above 0, not {len(found)}')
    logs, ranks = np.log(found), np.log(np.arange(1, len(found) + 1))
    exponent, level = np.polyfit(ranks, logs, 1)
    left = logs - exponent * ranks - level
    whole = np.var(logs)
    return PowerLaw(float(exponent), float(1 - np.var(left) / whole) if whole > 0 else 1.0)

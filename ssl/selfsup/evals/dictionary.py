"""Evaluation of a dictionary: error and sparsity of its codes, and what classes they keep, beside controls."""

from typing import NamedTuple

import jax
import numpy as np
from sklearn.decomposition import NMF

from .. import dictionaries
from ..errors import UserError
from .features import Features
from .linear import linear_probe

LEAST_DENSE = 0.1  # a unit that more of the rows turn on counts as dense
TOP = 9  # rows of a unit whose classes are compared


class Coded(NamedTuple):
    """Rows with their codes.

    Attributes:
      inputs: what was coded, `[n, dim]`.
      codes: `[n, units]`.
      reconstructions: of the codes, `[n, dim]`.
      labels: `[n]`, −1 where unknown.
    """

    inputs: np.ndarray
    codes: np.ndarray
    reconstructions: np.ndarray
    labels: np.ndarray


def reconstructed(
    train: np.ndarray, test: np.ndarray, *, active: int, units: int, seed: int = 0
) -> dict[str, np.ndarray]:
    """Test rows as the controls reconstruct them from `active` numbers each.

    Args:
      train, test: rows `[n, dim]`.
      active: components of `pca` and of `nmf`, and atoms of a row of `random`.
      units: random unit atoms, among which orthogonal matching pursuit chooses.
      seed: of the random atoms and of NMF's beginning.

    Returns:
      `pca`, `random`, both about train's mean, and `nmf`, of the rows less train's least values and cut at 0.
    """
    mean, floor = train.mean(axis=0), train.min(axis=0)
    directions = np.linalg.svd(train - mean, full_matrices=False)[2][:active]
    atoms = np.asarray(dictionaries.unit_atoms(jax.random.normal(jax.random.key(seed), (units, train.shape[1]))))
    codes = np.asarray(dictionaries.omp(np.asarray(test - mean, np.float32), atoms, active=min(active, *atoms.shape)))
    factors = NMF(active, init='nndsvda', random_state=seed, max_iter=500, tol=1e-3)
    factors.fit(np.asarray(train - floor, np.float64))
    positive = factors.transform(np.maximum(test - floor, 0).astype(np.float64)) @ factors.components_
    return {
        'pca': mean + (test - mean) @ directions.T @ directions,
        'random': mean + codes @ atoms,
        'nmf': (positive + floor).astype(np.float32),
    }


def top_purity(values: np.ndarray, labels: np.ndarray, *, count: int = TOP, magnitude: bool = True) -> float:
    """How much the rows that a unit is on for most are of one class: the mean share of the commonest class among them.

    Args:
      values: `[rows, units]`; of a unit the `count` rows of largest value are looked at.
      labels: `[rows]`, from 0.
      count: rows a unit. Units that fewer rows turn on (a value other than 0) are left out.
      magnitude: whether values of both signs count by their size.

    Returns:
      A share between 1 / count and 1; NaN where no unit is on in so many rows.
    """
    values = np.abs(values) if magnitude else values
    values = values[:, (values != 0).sum(axis=0) >= count]
    if not values.size:
        return float('nan')
    top = np.argpartition(-values, count - 1, axis=0)[:count]
    counts = (labels[top][..., None] == np.arange(labels.max() + 1)).sum(axis=0)
    return float(counts.max(axis=1).mean() / count)


def purities(test: Coded, *, seed: int = 0) -> dict[str, float]:
    """:func:`top_purity` of a dictionary's units, and of as many random directions of the inputs.

    Args:
      test: rows with a label each.
      seed: of the directions.
    """
    directions = np.random.default_rng(seed).normal(size=(test.inputs.shape[1], test.codes.shape[1]))
    projected = (test.inputs - test.inputs.mean(axis=0)) @ directions.astype(test.inputs.dtype)
    return {
        'top_purity': top_purity(test.codes, test.labels),
        'top_purity_directions': top_purity(projected, test.labels, magnitude=False),
    }


def dictionary(train: Coded, test: Coded, *, controls: bool = True, seed: int = 0) -> dict[str, float]:
    """The numbers of a dictionary on test rows, beside those of simpler codes of as many numbers.

    Args:
      train, test: rows of one set with the codes that one dictionary gives them; rows without a label are left out of
        the probes, which need two classes.
      controls: whether PCA, NMF and random atoms are computed too, each with as many components as a row has units on.
      seed: of the controls.

    Returns:
      `explained_variance` (R²) and `normalised_error` of the reconstructions, `l0`, `dead` and `dense` (shares of
      units) of the codes, all on test; `probe_codes`, `probe_reconstructions`, `probe_inputs`, accuracies of a logistic
      regression on train's (C = 1, :func:`linear_probe`); `top_purity` of the units and `top_purity_directions` of as
      many random directions; `explained_variance_pca`, `_nmf`, `_random` of the controls. All have `dictionary_` before
      them.

    Raises:
      UserError: parts of other widths, inputs that do not vary.
    """
    for name, part in (('train', train), ('test', test)):
        if part.inputs.shape != part.reconstructions.shape or len(part.inputs) != len(part.codes):
            raise UserError(
                f'{name}: inputs {list(part.inputs.shape)}, reconstructions {list(part.reconstructions.shape)} and '
                f'codes {list(part.codes.shape)} do not match'
            )
        if not np.var(part.inputs, axis=0).any():
            raise UserError(f'{name}: inputs {list(part.inputs.shape)} do not vary')
    numbers = {
        'explained_variance': dictionaries.explained_variance(test.inputs, test.reconstructions),
        'normalised_error': dictionaries.normalised_error(test.inputs, test.reconstructions),
        **dictionaries.code_numbers(test.codes, dense=LEAST_DENSE),
    }
    found = {name: float(value) for name, value in numbers.items() if name != 'l1'}
    known = [part.labels >= 0 for part in (train, test)]
    if known[1].any() and len(np.unique(train.labels[known[0]])) > 1:
        for name in ('codes', 'reconstructions', 'inputs'):
            sets = [
                Features(getattr(part, name)[rows], part.labels[rows])
                for part, rows in zip((train, test), known, strict=True)
            ]
            found[f'probe_{name}'] = linear_probe(*sets, label_counts=())['linear']
        found |= purities(Coded(*(part[known[1]] for part in test)), seed=seed)
    if controls:
        active = int(np.clip(round(found['l0']), 1, min(train.inputs.shape)))
        others = reconstructed(train.inputs, test.inputs, active=active, units=test.codes.shape[1], seed=seed)
        for name, rows in others.items():
            rows = np.asarray(rows, test.inputs.dtype)
            found[f'explained_variance_{name}'] = float(dictionaries.explained_variance(test.inputs, rows))
    return {f'dictionary_{name}': value for name, value in found.items()}

"""Dictionaries and codes that more than the signals guides: labels, a graph of rows."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray

from ._common import both, class_labels, dot, finite, matrix
from .atoms import unit_atoms
from .lasso import descend, largest_curvature, shrink
from .learning import ksvd_step, rows_as_atoms
from .pursuit import omp


def graph_laplacian(affinity: Float[ArrayLike, 'rows rows']) -> Float[Array, 'rows rows']:
    """L = diag(W1) − W of a symmetric affinity W ≥ 0: tr(ZᵀLZ) = ½ Σ_ij W_ij‖z_i − z_j‖².

    Raises:
      ValueError: an affinity that is not square, symmetric and from 0.
    """
    affinity = matrix('affinity', affinity)
    if affinity.shape[0] != affinity.shape[1]:
        raise ValueError(f'affinity must be square, not {list(affinity.shape)}')
    finite('affinity', affinity)
    if not isinstance(affinity, jax.core.Tracer) and not (
        np.allclose(affinity, np.asarray(affinity).T) and float(affinity.min()) >= 0
    ):
        raise ValueError(f'affinity {list(affinity.shape)} must be symmetric and not negative')
    return jnp.diag(jnp.sum(affinity, axis=1)) - affinity


def graph_fista(
    signals: Float[ArrayLike, 'rows dim'],
    dictionary: Float[ArrayLike, 'units dim'],
    laplacian: Float[ArrayLike, 'rows rows'],
    *,
    penalty: ArrayLike,
    smoothness: ArrayLike,
    iterations: int = 200,
    nonnegative: bool = False,
) -> Float[Array, 'rows units']:
    """Codes of all rows together, of least ½‖X − ZD‖² + λ‖Z‖₁ + ½μ·tr(ZᵀLZ): rows that the graph joins get alike codes.

    Args:
      signals, dictionary, penalty, nonnegative: as in :func:`.lasso.fista`.
      laplacian: L, as of :func:`graph_laplacian`.
      smoothness: μ; with 0 the rows are those of :func:`.lasso.fista`.
      iterations: steps.

    Raises:
      ValueError: shapes that do not fit, values that are not finite.

    References:
      Zheng et al. 2011, https://doi.org/10.1109/TIP.2010.2090535, eq. 8 (with D held fixed).
    """
    signals, dictionary = both(signals, dictionary)
    laplacian = matrix('laplacian', laplacian).astype(signals.dtype)
    if laplacian.shape != (len(signals), len(signals)):
        raise ValueError(
            f'laplacian must be [rows, rows] of signals {list(signals.shape)}, and is {list(laplacian.shape)}'
        )
    return _graph_fista(
        signals, dictionary, laplacian, penalty, smoothness, iterations=iterations, nonnegative=nonnegative
    )


@partial(jax.jit, static_argnames=('iterations', 'nonnegative'))
def _graph_fista(
    signals: Array,
    dictionary: Array,
    laplacian: Array,
    penalty: Any,
    smoothness: Any,
    *,
    iterations: int,
    nonnegative: bool,
) -> Array:
    curvature = largest_curvature(dictionary) + smoothness * jnp.linalg.eigvalsh(laplacian)[-1]

    def step(point: Array) -> Array:
        slope = dot(dot(point, dictionary) - signals, dictionary.T) + smoothness * dot(laplacian, point)
        return shrink(point - slope / curvature, penalty / curvature, nonnegative)

    start = jnp.zeros((len(signals), len(dictionary)), signals.dtype)
    return descend(step, start, iterations=iterations, fast=True)


class LabelConsistent(NamedTuple):
    """A dictionary whose codes say the class.

    Attributes:
      dictionary: atoms of length 1, `[units, dim]`; those of a class stand together, in the order of the classes.
      classifier: `[units, classes]`: scores of a row are its codes times it.
      transform: `[units, units]`: makes codes alike within a class.
    """

    dictionary: Array
    classifier: Array
    transform: Array


def fit_label_consistent(
    key: PRNGKeyArray,
    signals: Float[ArrayLike, 'rows dim'],
    labels: Int[ArrayLike, ' rows'],
    *,
    each: int,
    active: int,
    consistency: float = 4.0,
    error: float = 2.0,
    iterations: int = 50,
) -> LabelConsistent:
    """LC-KSVD: one K-SVD of signals beside their ideal codes and their classes, ‖X − ZD‖² + α‖Q − ZA‖² + β‖H − ZW‖².

    Row i of Q is 1 at the atoms of i's class and of H at its class. The first atoms are signals of each class, the
    first A and W least squares on their codes. In the end atoms are brought to length 1, and A and W with them.

    Args:
      key: of the first atoms.
      signals: one a row.
      labels: from 0, each class with `each` signals or more.
      each: atoms of each class.
      active: atoms of each signal.
      consistency, error: α and β, on the scale of the squared error of a signal.
      iterations: of K-SVD; with α = β = 0 the dictionary is that of K-SVD from the same atoms.

    References:
      Jiang et al. 2013, https://doi.org/10.1109/TPAMI.2013.88, eq. 5 to 11 (LC-KSVD2).
    """
    signals = matrix('signals', signals)
    finite('signals', signals)
    labels = class_labels(labels, signals)
    classes = int(labels.max()) + 1
    keys = jax.random.split(key, classes)
    first = jnp.concatenate([rows_as_atoms(k, signals[labels == c], each) for c, k in enumerate(keys)])
    wanted = jnp.asarray(np.eye(classes)[labels], signals.dtype)
    ideal = jnp.repeat(wanted, each, axis=1)
    codes = omp(signals, first, active=active)
    transform, classifier = (jnp.linalg.lstsq(codes, target)[0] for target in (ideal, wanted))
    alpha, beta = consistency**0.5, error**0.5
    stacked = jnp.concatenate([signals, alpha * ideal, beta * wanted], axis=1)
    atoms = unit_atoms(jnp.concatenate([first, alpha * transform, beta * classifier], axis=1))
    for _ in range(iterations):
        atoms, _ = ksvd_step(stacked, atoms, active=active)
    dim, units = signals.shape[1], len(first)
    length = jnp.linalg.norm(atoms[:, :dim], axis=1, keepdims=True)
    length = jnp.where(length > 0, length, 1.0)
    parts = atoms[:, :dim], atoms[:, dim + units :] / max(beta, 1e-30), atoms[:, dim : dim + units] / max(alpha, 1e-30)
    dictionary, classifier, transform = (part / length for part in parts)
    return LabelConsistent(dictionary, classifier, transform)


def label_scores(
    fitted: LabelConsistent, signals: Float[ArrayLike, 'rows dim'], *, active: int
) -> Float[Array, 'rows classes']:
    """Scores of the classes: codes by orthogonal matching pursuit, times the classifier."""
    return dot(omp(signals, fitted.dictionary, active=active), fitted.classifier)

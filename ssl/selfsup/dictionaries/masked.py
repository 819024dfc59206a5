"""Hiding data helps: atoms that predict coordinates which the codes have not seen."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray

from ._common import both, count, dot, finite, matrix
from .atoms import unit_atoms
from .learning import rows_as_atoms
from .pursuit import omp

FIRST, SECOND, EPS = 0.9, 0.999, 1e-8  # Adam's


def masked_error(
    signals: Float[ArrayLike, 'rows dim'],
    dictionary: Float[ArrayLike, 'units dim'],
    visible: Int[ArrayLike, ' seen'],
    *,
    active: int,
) -> Float[Array, '']:
    """Mean squared error of hidden coordinates that codes of the visible ones predict: ‖x_H − OMP(x_V, D_V)·D_H‖².

    Its gradient passes through the hidden columns of the dictionary alone; the visible parts of atoms are brought to
    length 1 for the pursuit. Reconstruction of all coordinates is least
    for a dictionary that fits noise where there are more atoms than true ones; prediction is not.

    Args:
      signals: one a row.
      dictionary: atoms, one a row.
      visible: different numbers of the coordinates that are seen, fewer than all.
      active: atoms of each signal, at most as many as are seen.

    References:
      Chidambaram et al. 2023, https://arxiv.org/abs/2302.12715.
    """
    signals, dictionary = both(signals, dictionary)
    visible = jnp.asarray(visible)
    dim = signals.shape[1]
    if visible.ndim != 1 or not 0 < len(visible) < dim:
        raise ValueError(
            f'visible must be numbers of some of the coordinates of signals {list(signals.shape)}, and not of all, and '
            f'is {list(visible.shape)}'
        )
    hidden = jnp.ones(dim, bool).at[visible].set(False)
    return _error(signals, dictionary, visible, hidden, active=active)


def _error(signals: Array, dictionary: Array, visible: Array, asked: Array, *, active: int) -> Array:
    """Mean over rows of the squared error at the coordinates `asked` of what codes of the visible ones decode to."""
    seen = jax.lax.stop_gradient(dictionary[:, visible])
    lengths = jnp.linalg.norm(seen, axis=1, keepdims=True)
    lengths = jnp.where(lengths > 0, lengths, 1.0)
    codes = jax.lax.stop_gradient(omp(signals[:, visible], seen / lengths, active=active) / lengths[:, 0][None])
    residual = jnp.where(asked[None], signals - dot(codes, dictionary), 0.0)
    return jnp.mean(jnp.sum(residual**2, axis=1))


def fit_masked(
    key: PRNGKeyArray,
    signals: Float[ArrayLike, 'rows dim'],
    *,
    units: int,
    active: int,
    visible: int,
    batch: int = 200,
    epochs: int = 500,
    rate: ArrayLike = 1e-3,
) -> Float[Array, 'units dim']:
    """Atoms of least :func:`masked_error`, by Adam over batches, each with other coordinates hidden.

    Begins at random signals. Atoms are brought to length 1 after each step; an epoch drops its last incomplete batch.

    Args:
      key: of the first atoms, the order and the masks.
      signals: all of them.
      units: atoms.
      active: atoms of each signal.
      visible: how many coordinates the codes see; all of them is the plain objective, the error of reconstruction.
      batch, epochs, rate: of Adam. Paper: 200, 500 and 1e-3.

    Raises:
      ValueError: more units or batch than signals, more visible coordinates than there are, more active units than
        those or than units; signals that are not finite.

    References:
      Chidambaram et al. 2023, https://arxiv.org/abs/2302.12715, algorithm 1 and section 4: masks of 90 of 100.
    """
    signals = matrix('signals', signals)
    finite('signals', signals)
    count('batch', batch, len(signals), signals.shape, of='rows of signals')
    count('visible', visible, signals.shape[1], signals.shape, of='coordinates of signals')
    count('active', active, min(units, visible), (units, visible), of='units and visible coordinates')
    first, key = jax.random.split(key)
    atoms = rows_as_atoms(first, signals, units)
    return _fit_masked(key, signals, atoms, rate, active=active, visible=visible, batch=batch, epochs=epochs)


@partial(jax.jit, static_argnames=('active', 'visible', 'batch', 'epochs'))
def _fit_masked(
    key: Array, signals: Array, atoms: Array, rate: Any, *, active: int, visible: int, batch: int, epochs: int
) -> Array:
    rows, dim = signals.shape
    steps = rows // batch

    def update(carry: tuple, number: Array) -> tuple:
        atoms, first, second, order = carry
        keys = jax.random.split(jax.random.fold_in(key, number))
        place = number % steps
        order = jnp.where(place == 0, jax.random.permutation(keys[0], rows), order)
        chosen = signals[jax.lax.dynamic_slice(order, (place * batch,), (batch,))]
        seen = jax.random.permutation(keys[1], dim)[:visible]
        asked = jnp.ones(dim, bool) if visible == dim else jnp.ones(dim, bool).at[seen].set(False)
        slope = jax.grad(lambda d: _error(chosen, d, seen, asked, active=active))(atoms)
        first = FIRST * first + (1.0 - FIRST) * slope
        second = SECOND * second + (1.0 - SECOND) * slope**2
        now = (number + 1).astype(atoms.dtype)
        move = (first / (1.0 - FIRST**now)) / (jnp.sqrt(second / (1.0 - SECOND**now)) + EPS)
        return (unit_atoms(atoms - rate * move), first, second, order), None

    begin = (atoms, jnp.zeros_like(atoms), jnp.zeros_like(atoms), jnp.arange(rows))
    return jax.lax.scan(update, begin, jnp.arange(epochs * steps))[0][0]

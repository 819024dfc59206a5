"""Sparse codes by greedy choice of atoms: matching pursuit, and orthogonal matching pursuit."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import both, count, dot


def omp(
    signals: Float[ArrayLike, 'batch dim'], dictionary: Float[ArrayLike, 'units dim'], *, active: int
) -> Float[Array, 'batch units']:
    """Codes by orthogonal matching pursuit: the atom that correlates most with the residual joins, then all are fitted.

    Args:
      signals: one a row.
      dictionary: atoms of length 1, one a row.
      active: atoms of each signal, at most the width and the units. Fewer where the residual is zero to rounding.

    Returns:
      `[batch, units]`, at most `active` entries of a row not 0; the residual is orthogonal to the atoms chosen.

    Raises:
      ValueError: shapes that do not fit, atoms not of length 1, more active units than the width or the units.

    Cost: O(batch·active·(units·dim + active²·(dim + active))).

    References:
      Pati et al. 1993, https://doi.org/10.1109/ACSSC.1993.342465; scikit-learn's `orthogonal_mp` takes the same atoms.
    """
    signals, dictionary = both(signals, dictionary, unit=True)
    active = count('active', active, min(dictionary.shape), dictionary.shape, of='units and dims of dictionary')
    return _omp(signals, dictionary, active=active)


@partial(jax.jit, static_argnames='active')
def _omp(signals: Array, dictionary: Array, *, active: int) -> Array:
    tiny = 10 * float(jnp.finfo(signals.dtype).eps)

    def one(x: Array) -> Array:
        least = tiny * jnp.sqrt(jnp.sum(x * x))

        def body(number: Any, carry: tuple) -> tuple:
            support, chosen, weights, residual = carry
            correlation = jnp.abs(dot(dictionary, residual))
            taken = jnp.zeros(len(dictionary), bool).at[support].max(chosen)
            correlation = jnp.where(taken, -1.0, correlation)
            best = jnp.argmax(correlation)
            support = support.at[number].set(best)
            chosen = chosen.at[number].set(correlation[best] > least)
            atoms = jnp.where(chosen[:, None], dictionary[support], 0.0)
            # Places that hold no atom get an equation of their own, whose solution is 0.
            gram = dot(atoms, atoms.T) + jnp.diag(jnp.where(chosen, 0.0, 1.0).astype(x.dtype))
            factor = jax.scipy.linalg.cho_factor(gram, lower=True)
            weights = jax.scipy.linalg.cho_solve(factor, dot(atoms, x))
            # Once more for the residual: the Gram matrix has the square of the atoms' condition number.
            weights = weights + jax.scipy.linalg.cho_solve(factor, dot(atoms, x - dot(weights, atoms)))
            return support, chosen, weights, x - dot(weights, atoms)

        start = (jnp.zeros(active, int), jnp.zeros(active, bool), jnp.zeros(active, x.dtype), x)
        support, chosen, weights, _ = jax.lax.fori_loop(0, active, body, start)
        return jnp.zeros(len(dictionary), x.dtype).at[support].add(jnp.where(chosen, weights, 0.0))

    return jax.vmap(one)(signals)


def matching_pursuit(
    signals: Float[ArrayLike, 'batch dim'],
    dictionary: Float[ArrayLike, 'units dim'],
    *,
    rounds: int,
    each: int = 1,
    nonnegative: bool = False,
) -> Float[Array, 'batch units']:
    """Codes by matching pursuit: each round moves the atoms that correlate most with the residual out of it.

    With one atom a round, ‖r‖² falls by the square of its correlation. An atom may be chosen again, and its entry is
    the sum. Differentiable in signals and atoms with the choice held fixed.

    Args:
      signals: one a row.
      dictionary: atoms of length 1, one a row.
      rounds: how often atoms are chosen.
      each: atoms chosen in a round, by the same residual (the in-context form has several).
      nonnegative: atoms are chosen by their correlation rather than its magnitude, and one below 0 is not used.

    Returns:
      `[batch, units]`, at most `rounds`·`each` entries of a row not 0.

    Raises:
      ValueError: shapes that do not fit, atoms not of length 1, more atoms a round than there are.

    Cost: O(batch·rounds·units·dim).

    References:
      Mallat and Zhang 1993, https://doi.org/10.1109/78.258082, eq. 12; Costa et al. 2025,
      https://arxiv.org/abs/2506.03093, algorithm 1.
    """
    signals, dictionary = both(signals, dictionary, unit=True)
    count('each', each, len(dictionary), dictionary.shape)
    if rounds < 1:
        raise ValueError(f'rounds must be at least 1, not {rounds}')
    return _matching_pursuit(signals, dictionary, rounds=rounds, each=each, nonnegative=nonnegative)


@partial(jax.jit, static_argnames=('rounds', 'each', 'nonnegative'))
def _matching_pursuit(signals: Array, dictionary: Array, *, rounds: int, each: int, nonnegative: bool) -> Array:
    rows = jnp.arange(len(signals))[:, None]

    def body(carry: tuple, _: None) -> tuple:
        codes, residual = carry
        correlation = dot(residual, dictionary.T)
        _, best = jax.lax.top_k(jax.lax.stop_gradient(correlation if nonnegative else jnp.abs(correlation)), each)
        found = jnp.take_along_axis(correlation, best, axis=1)
        found = jnp.maximum(found, 0.0) if nonnegative else found
        moved = jnp.zeros_like(codes).at[rows, best].add(found)
        return (codes + moved, residual - dot(moved, dictionary)), None

    zero = jnp.zeros((len(signals), len(dictionary)), signals.dtype)
    # The first round stands outside: inside shard_map its results vary over devices, and zeros do not.
    first, _ = body((zero, signals), None)
    (codes, _), _ = jax.lax.scan(body, first, length=rounds - 1)
    return codes

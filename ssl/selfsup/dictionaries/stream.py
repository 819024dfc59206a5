"""An orthogonal dictionary from a stream, by Frank-Wolfe steps inside the ball of matrices of spectral norm 1."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import both, dot, matrix
from .atoms import nearest_orthogonal


class Stream(NamedTuple):
    """State of the stream: the dictionary `[dim, dim]`, the moving slope of the objective, and the steps so far."""

    dictionary: Array
    slope: Array
    steps: Array


def stream_begin(dictionary: Float[ArrayLike, 'dim dim']) -> Stream:
    """The state before the first signals, from an orthogonal dictionary or any of spectral norm 1 at most."""
    dictionary = matrix('dictionary', dictionary, rows='dim')
    return Stream(dictionary, jnp.zeros_like(dictionary), jnp.zeros((), jnp.int32))


def stream_step(
    state: Stream, signals: Float[ArrayLike, 'batch dim'], *, power: int = 3, forget: float = 0.5, move: float = 0.5
) -> Stream:
    """One batch of online orthogonal dictionary learning: towards the largest Σ|DXᵀ|^p, no signal is kept.

    The slope is a moving mean, G ← (1 − ρ)G + ρ·f(DXᵀ)X/batch with f(a) = sign(a)|a|^(p−1), and the dictionary goes a
    share γ of the way to the orthogonal matrix that is largest along it, D ← D + γ(polar(G) − D). At the first step
    both shares are 1, which is :func:`.learning.lp_step`; then ρ = t^−forget and γ = t^−move.

    Args:
      state: of before.
      signals: of an orthogonal dictionary with sparse codes, one a row.
      power: p, 3 or more.
      forget, move: exponents of the shares, in (0, 1], the first not above the second: the slope is learned
        no slower than the dictionary moves.

    Returns:
      The next state. Its dictionary is inside the ball and only in the end orthogonal; :func:`nearest_orthogonal` makes
      it so.

    References:
      After Xue and Lau 2021, https://arxiv.org/abs/2103.01484 (the ball in the place of the orthogonal group, one
      Frank-Wolfe step a batch); the shares ρ and γ are not theirs.
    """
    signals, _ = both(signals, state.dictionary)
    if power < 3:
        raise ValueError(f'power must be at least 3, not {power}')
    if not 0 < forget <= move <= 1:
        raise ValueError(f'forget={forget} and move={move} must lie in (0, 1], the first not above the second')
    return _stream_step(state, signals, forget, move, power=power)


@partial(jax.jit, static_argnames='power')
def _stream_step(state: Stream, signals: Array, forget: Any, move: Any, *, power: int) -> Stream:
    steps = state.steps + 1
    codes = dot(signals, state.dictionary.T)
    slope = dot((jnp.sign(codes) * jnp.abs(codes) ** (power - 1)).T, signals) / len(signals)
    rho, gamma = (jnp.asarray(steps, signals.dtype) ** -exponent for exponent in (forget, move))
    slope = (1.0 - rho) * state.slope + rho * slope
    moved = state.dictionary + gamma * (nearest_orthogonal(slope) - state.dictionary)
    return Stream(moved, slope, steps)

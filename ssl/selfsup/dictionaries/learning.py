"""Classical dictionary learning: online by Mairal, K-SVD, orthogonal by Procrustes, ℓp maximisation.

Each has a step, jitted, from a dictionary (or its state) and a batch of signals to the next, and a `fit` of signals
that are in memory. Streams larger than memory call the step of the online forms for each batch.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from ._common import both, count, dot, finite, matrix
from .activations import abs_top_k
from .atoms import nearest_orthogonal, unit_atoms
from .lasso import fista
from .pursuit import omp

TWINS = 0.99  # |cosine| above which K-SVD takes two atoms for one, as its authors do


class Planted(NamedTuple):
    """Signals of a known dictionary: `signals = codes·dictionary + noise`, `[rows, dim]`."""

    signals: Array
    dictionary: Array
    codes: Array


def planted(
    key: PRNGKeyArray,
    *,
    rows: int,
    dim: int,
    units: int,
    active: int,
    noise: ArrayLike = 0.0,
    orthogonal: bool = False,
) -> Planted:
    """Signals that are sums of a few atoms of a random unit dictionary.

    Args:
      key: of the draw.
      rows, dim, units: sizes.
      active: atoms of each signal, drawn without replacement; their weights are ±(0.5 + a half-normal number).
      noise: standard deviation of Gaussian noise in each coordinate.
      orthogonal: an orthogonal dictionary, of as many units as dims.

    Raises:
      ValueError: more active atoms than units, an orthogonal dictionary that is not square.
    """
    count('active', active, units, (units, dim))
    if orthogonal and units != dim:
        raise ValueError(f'an orthogonal dictionary has as many units as dims, not {units} and {dim}')
    keys = jax.random.split(key, 4)
    dictionary = unit_atoms(jax.random.normal(keys[0], (units, dim)))
    dictionary = nearest_orthogonal(dictionary) if orthogonal else dictionary
    order = jax.vmap(lambda k: jax.random.permutation(k, units))(jax.random.split(keys[1], rows))
    weights = jax.random.normal(keys[2], (rows, units))
    weights = jnp.where(order < active, weights + 0.5 * jnp.sign(weights), 0.0)
    return Planted(dot(weights, dictionary) + noise * jax.random.normal(keys[3], (rows, dim)), dictionary, weights)


def rows_as_atoms(key: PRNGKeyArray, signals: Float[ArrayLike, 'rows dim'], units: int) -> Float[Array, 'units dim']:
    """Random signals of length 1 as a first dictionary.

    Raises:
      ValueError: fewer signals than units.
    """
    signals = matrix('signals', signals)
    count('units', units, len(signals), signals.shape, of='rows of signals')
    return unit_atoms(signals[jax.random.permutation(key, len(signals))[:units]])


class Online(NamedTuple):
    """State of online dictionary learning.

    Attributes:
      dictionary: `[units, dim]`, atoms of length at most 1.
      gram: A = Σ zᵀz, `[units, units]`.
      cross: B = Σ zᵀx, `[units, dim]`.
      seen: signals so far.
    """

    dictionary: Array
    gram: Array
    cross: Array
    seen: Array


def online_begin(dictionary: Float[ArrayLike, 'units dim']) -> Online:
    """The state before the first signals."""
    dictionary = matrix('dictionary', dictionary, rows='units')
    units = len(dictionary)
    zero = jnp.zeros((units, units), dictionary.dtype)
    return Online(dictionary, zero, jnp.zeros_like(dictionary), jnp.zeros((), jnp.int32))


def online_step(
    state: Online, signals: Float[ArrayLike, 'batch dim'], *, penalty: ArrayLike, iterations: int = 100, sweeps: int = 1
) -> Online:
    """One batch of online dictionary learning: lasso codes, their moments, and a sweep over the atoms.

    After t batches of η signals the moments are multiplied by β = (θ + 1 − η)/(θ + 1), with θ = tη up to t = η and
    η² + t − η after it, so that early codes, of a worse dictionary, are forgotten (as in scikit-learn and SPAMS). An
    atom that no signal uses becomes the signal that is reconstructed worst.

    Args:
      state: of before.
      signals: one a row.
      penalty: λ of the lasso ½‖x − zD‖² + λ‖z‖₁.
      iterations: of :func:`fista`.
      sweeps: passes over the atoms.

    References:
      Mairal et al. 2010, https://www.jmlr.org/papers/v11/mairal10a.html, algorithms 1 and 2.
    """
    signals, _ = both(signals, state.dictionary)
    return _online_step(state, signals, penalty, iterations=iterations, sweeps=sweeps)


@partial(jax.jit, static_argnames=('iterations', 'sweeps'))
def _online_step(state: Online, signals: Array, penalty: Any, *, iterations: int, sweeps: int) -> Online:
    batch, units = len(signals), len(state.dictionary)
    codes = fista(signals, state.dictionary, penalty=penalty, iterations=iterations)
    steps = state.seen // batch + 1
    theta = jnp.where(steps < batch, steps * batch, batch**2 + steps - batch).astype(signals.dtype)
    memory = (theta + 1.0 - batch) / (theta + 1.0)
    gram = memory * state.gram + dot(codes.T, codes) / batch
    cross = memory * state.cross + dot(codes.T, signals) / batch
    errors = jnp.sum((signals - dot(codes, state.dictionary)) ** 2, axis=1)
    worst = unit_atoms(signals[jax.lax.top_k(errors, min(units, batch))[1]])
    place = jnp.minimum(jnp.cumsum(unused(gram)) - 1, len(worst) - 1)
    dictionary = swept(state.dictionary, gram, cross, worst[place], sweeps=sweeps)
    return Online(dictionary, gram, cross, state.seen + batch)


def unused(gram: Array) -> Array:
    """Which atoms no code of a Gram matrix of codes uses, to rounding."""
    return jnp.diagonal(gram) <= 1e-6 * jnp.max(jnp.diagonal(gram))


def swept(dictionary: Array, gram: Array, cross: Array, instead: Array, *, sweeps: int) -> Array:
    """Atoms of length at most 1, one after another each the best for ½‖X − ZD‖² with the others held: Mairal's sweep.

    Args:
      dictionary: of before.
      gram, cross: ZᵀZ and ZᵀX, on any common scale.
      instead: what an atom that no code uses becomes, `[units, dim]`.
      sweeps: passes.
    """
    idle = unused(gram)

    def one(number: Any, dictionary: Array) -> Array:
        weight = jnp.where(idle[number], 1.0, gram[number, number])
        moved = (cross[number] - dot(gram[number], dictionary)) / weight + dictionary[number]
        moved = moved / jnp.maximum(jnp.sqrt(jnp.sum(moved**2)), 1.0)
        return dictionary.at[number].set(jnp.where(idle[number], instead[number], moved))

    def sweep(_: Any, dictionary: Array) -> Array:
        return jax.lax.fori_loop(0, len(dictionary), one, dictionary)

    return jax.lax.fori_loop(0, sweeps, sweep, dictionary)


def fit_online(
    key: PRNGKeyArray,
    signals: Float[ArrayLike, 'rows dim'],
    *,
    units: int,
    penalty: ArrayLike,
    batch: int = 256,
    epochs: int = 20,
    iterations: int = 100,
) -> Online:
    """Online dictionary learning over shuffled batches; each epoch drops its last incomplete one.

    Args:
      key: of the first atoms and of the order.
      signals, penalty, iterations: as in :func:`online_step`.
      units: atoms.
      batch: signals of a step.
      epochs: passes.
    """
    signals = matrix('signals', signals)
    finite('signals', signals)
    count('batch', batch, len(signals), signals.shape, of='rows of signals')
    first, key = jax.random.split(key)
    state = online_begin(rows_as_atoms(first, signals, units))
    for epoch in range(epochs):
        order = jax.random.permutation(jax.random.fold_in(key, epoch), len(signals))
        for start in range(0, len(signals) - batch + 1, batch):
            chosen = signals[order[start : start + batch]]
            state = online_step(state, chosen, penalty=penalty, iterations=iterations)
    return state


def ksvd_step(
    signals: Float[ArrayLike, 'rows dim'], dictionary: Float[ArrayLike, 'units dim'], *, active: int, powers: int = 4
) -> tuple[Float[Array, 'units dim'], Float[Array, 'rows units']]:
    """One iteration of K-SVD: OMP codes, then atom by atom the best rank-one fit of what the others leave.

    The first singular pair of an atom's residual comes from power iterations that begin at the atom, one of which is
    approximate K-SVD. An atom that no signal uses, or that is almost another, becomes a signal that is reconstructed
    badly.

    Args:
      signals: all of them, one a row.
      dictionary: atoms of length 1.
      active: atoms of each signal.
      powers: power iterations.

    Returns:
      The next dictionary, and the codes that were fitted with it; a replaced twin's are of the old one.

    References:
      Aharon et al. 2006, https://doi.org/10.1109/TSP.2006.881199, figure 2; Rubinstein et al. 2008 (approximate).
    """
    signals, dictionary = both(signals, dictionary, unit=True)
    return _ksvd_step(signals, dictionary, active=count('active', active, min(dictionary.shape), dictionary.shape),
                      powers=powers)  # fmt: skip


@partial(jax.jit, static_argnames=('active', 'powers'))
def _ksvd_step(signals: Array, dictionary: Array, *, active: int, powers: int) -> tuple[Array, Array]:
    codes = omp(signals, dictionary, active=active)
    residual = signals - dot(codes, dictionary)

    def one(number: Any, carry: tuple) -> tuple:
        dictionary, codes, residual = carry
        weights = codes[:, number]
        used = weights != 0
        own = jnp.where(used[:, None], residual + weights[:, None] * dictionary[number][None], 0.0)

        def power(_: Any, atom: Array) -> Array:
            moved = dot(dot(own, atom), own)
            length = jnp.sqrt(jnp.sum(moved**2))
            return jnp.where(length > 0, moved / jnp.where(length > 0, length, 1.0), atom)

        atom = jax.lax.fori_loop(0, powers, power, dictionary[number])
        worst = signals[jnp.argmax(jnp.sum(residual**2, axis=1))]
        atom = jnp.where(jnp.any(used), atom, unit_atoms(worst[None])[0])
        fitted = jnp.where(used, dot(own, atom), 0.0)
        left = jnp.where(used[:, None], own - fitted[:, None] * atom[None], residual)
        return dictionary.at[number].set(atom), codes.at[:, number].set(fitted), left

    dictionary, codes, residual = jax.lax.fori_loop(0, len(dictionary), one, (dictionary, codes, residual))
    return _without_twins(dictionary, signals, residual), codes


def _without_twins(dictionary: Array, signals: Array, residual: Array) -> Array:
    """The dictionary with each atom that is almost an earlier one replaced by a signal that is reconstructed badly."""
    alike = jnp.abs(dot(dictionary, dictionary.T)) > TWINS
    twin = jnp.any(jnp.tril(alike, -1), axis=1)
    _, order = jax.lax.top_k(jnp.sum(residual**2, axis=1), min(len(dictionary), len(signals)))
    fresh = unit_atoms(signals[order])[jnp.minimum(jnp.cumsum(twin) - 1, len(order) - 1)]
    return jnp.where(twin[:, None], fresh, dictionary)


def fit_ksvd(
    key: PRNGKeyArray, signals: Float[ArrayLike, 'rows dim'], *, units: int, active: int, iterations: int = 50
) -> tuple[Float[Array, 'units dim'], Float[Array, 'rows units']]:
    """K-SVD from random signals as atoms; see :func:`ksvd_step`."""
    signals = matrix('signals', signals)
    finite('signals', signals)
    dictionary, codes = rows_as_atoms(key, signals, units), None
    for _ in range(iterations):
        dictionary, codes = ksvd_step(signals, dictionary, active=active)
    if codes is None:
        raise ValueError(f'iterations must be at least 1, not {iterations}')
    return dictionary, codes


class Orthogonal(NamedTuple):
    """State of an orthogonal dictionary: it, `[dim, dim]`, and the moving correlation ZᵀX of codes and signals."""

    dictionary: Array
    cross: Array


def orthogonal_step(
    state: Orthogonal, signals: Float[ArrayLike, 'batch dim'], *, active: int, memory: ArrayLike = 0.0
) -> Orthogonal:
    """Codes by hard thresholding, which is exact for an orthogonal dictionary, and the dictionary in closed form.

    D = argmin ‖X − ZD‖² over orthogonal D = UVᵀ of the singular vectors of ZᵀX. With all signals in one batch and no
    memory the error never rises.

    Args:
      state: of before.
      signals: one a row.
      active: atoms of each signal.
      memory: share of the old correlation that is kept, for streams of batches.

    References:
      Bao et al. 2013, https://doi.org/10.1109/ICCV.2013.420, section 3.
    """
    signals, _ = both(signals, state.dictionary)
    count('active', active, len(state.dictionary), state.dictionary.shape)
    return _orthogonal_step(state, signals, memory, active=active)


@partial(jax.jit, static_argnames='active')
def _orthogonal_step(state: Orthogonal, signals: Array, memory: Any, *, active: int) -> Orthogonal:
    codes = abs_top_k(dot(signals, state.dictionary.T), active=active)
    cross = memory * state.cross + (1.0 - memory) * dot(codes.T, signals) / len(signals)
    return Orthogonal(nearest_orthogonal(cross), cross)


def fit_orthogonal(
    key: PRNGKeyArray, signals: Float[ArrayLike, 'rows dim'], *, active: int, iterations: int = 100
) -> Float[Array, 'dim dim']:
    """An orthogonal dictionary of signals in memory, from a random one."""
    signals = matrix('signals', signals)
    finite('signals', signals)
    dim = signals.shape[1]
    first = nearest_orthogonal(jax.random.normal(key, (dim, dim), signals.dtype))
    state = Orthogonal(first, jnp.zeros_like(first))
    for _ in range(iterations):
        state = orthogonal_step(state, signals, active=active)
    return state.dictionary


def lp_step(
    dictionary: Float[ArrayLike, 'dim dim'], signals: Float[ArrayLike, 'batch dim'], *, power: int = 4
) -> Float[Array, 'dim dim']:
    """D ← polar(f(DXᵀ)X) with f(a) = sign(a)|a|^(p−1): a step towards the largest Σ|DXᵀ|^p on the orthogonal group.

    Args:
      dictionary: orthogonal.
      signals: of an orthogonal dictionary, or whitened ones of a complete one.
      power: p, 3 or more; 4 is the paper's matching, stretching and projection.

    References:
      Zhai et al. 2020, https://arxiv.org/abs/1906.02435, algorithm 1; for other p Shen et al. 2020,
      https://arxiv.org/abs/2002.10043.
    """
    signals, dictionary = both(signals, dictionary)
    if power < 3:
        raise ValueError(f'power must be at least 3, not {power}')
    return _lp_step(dictionary, signals, power=power)


@partial(jax.jit, static_argnames='power')
def _lp_step(dictionary: Array, signals: Array, *, power: int) -> Array:
    codes = dot(signals, dictionary.T)
    return nearest_orthogonal(dot((jnp.sign(codes) * jnp.abs(codes) ** (power - 1)).T, signals))


def fit_lp(
    key: PRNGKeyArray, signals: Float[ArrayLike, 'rows dim'], *, power: int = 4, iterations: int = 50
) -> Float[Array, 'dim dim']:
    """An orthogonal dictionary by :func:`lp_step`, from a random one: no number of active atoms is needed."""
    signals = matrix('signals', signals)
    finite('signals', signals)
    dim = signals.shape[1]
    dictionary = nearest_orthogonal(jax.random.normal(key, (dim, dim), signals.dtype))
    for _ in range(iterations):
        dictionary = lp_step(dictionary, signals, power=power)
    return dictionary

"""Convolutional dictionaries of series and images: short atoms that stand anywhere, x ≈ Σ_u z_u * d_u + noise.

Signals are `[batch, time, channels]` or `[batch, height, width, channels]`; atoms `[units, *window, channels]`; codes
`[batch, *places, units]`, a place for each position at which the whole window lies inside (x = 'full' convolution).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray
from scipy.optimize import linear_sum_assignment

from ._common import HIGHEST, as_float, finite
from .lasso import descend, shrink

RULES = ('quantile', 'mad')
NORMAL = 0.6745  # median absolute deviation of a standard normal


def _checked(signals: ArrayLike, atoms: ArrayLike) -> tuple[Array, Array]:
    """Finite signals and atoms that fit, or an error that names both shapes."""
    signals, atoms = as_float('signals', signals), as_float('atoms', atoms)
    fit = signals.ndim == atoms.ndim and signals.ndim in (3, 4) and signals.shape[-1] == atoms.shape[-1]
    if not fit or 0 in signals.shape or any(w > n for w, n in zip(atoms.shape[1:-1], signals.shape[1:-1], strict=True)):
        raise ValueError(
            f'signals [batch, *space, channels] and atoms [units, *window, channels] must have one or two axes of '
            f'space and windows no larger than it, and are {list(signals.shape)} and {list(atoms.shape)}'
        )
    finite('signals', signals)
    finite('atoms', atoms)
    dtype = jnp.promote_types(signals.dtype, atoms.dtype)
    return signals.astype(dtype), atoms.astype(dtype)


def _convolve(inputs: Array, kernel: Array, padding: Any) -> Array:
    axes = 'XY'[: inputs.ndim - 2]
    numbers = (f'N{axes}C', f'{axes}IO', f'N{axes}C')
    ones = (1,) * (inputs.ndim - 2)
    return jax.lax.conv_general_dilated(inputs, kernel, ones, padding, dimension_numbers=numbers, precision=HIGHEST)


def _correlated(signals: Array, atoms: Array) -> Array:
    return _convolve(signals, jnp.moveaxis(atoms, 0, -1), 'VALID')


def _synthesised(codes: Array, atoms: Array) -> Array:
    space = tuple(range(1, atoms.ndim - 1))
    kernel = jnp.moveaxis(jnp.flip(atoms, space), 0, -2)
    return _convolve(codes, kernel, [(w - 1, w - 1) for w in atoms.shape[1:-1]])


def conv_synthesis(
    codes: Float[ArrayLike, 'batch *places units'], atoms: Float[ArrayLike, 'units *window channels']
) -> Float[Array, 'batch *space channels']:
    """Σ_u z_u * d_u, with `space = places + window − 1`."""
    return _synthesised(as_float('codes', codes), as_float('atoms', atoms))


def conv_correlation(
    signals: Float[ArrayLike, 'batch *space channels'], atoms: Float[ArrayLike, 'units *window channels']
) -> Float[Array, 'batch *places units']:
    """Inner products of every atom with every window: the adjoint of :func:`conv_synthesis`.

    Their largest magnitude is the least λ at which all codes are 0.
    """
    return _correlated(*_checked(signals, atoms))


def _curvature(atoms: Array, space: tuple[int, ...]) -> Array:
    """The largest ‖Σ_u z_u * d_u‖² over ‖z‖², from above and tightly: over the frequencies of a ring of that size."""
    axes = tuple(range(1, atoms.ndim - 1))
    spectrum = jnp.fft.fftn(atoms, s=space, axes=axes).reshape(len(atoms), -1, atoms.shape[-1])
    gram = jnp.einsum('ufc,ufd->fcd', spectrum.conj(), spectrum, precision=HIGHEST)
    return jnp.maximum(jnp.linalg.eigvalsh(gram)[:, -1].max(), jnp.finfo(atoms.dtype).tiny)


def conv_fista(
    signals: Float[ArrayLike, 'batch *space channels'],
    atoms: Float[ArrayLike, 'units *window channels'],
    *,
    penalty: ArrayLike,
    trusted: Float[ArrayLike, 'batch *space'] | Bool[ArrayLike, 'batch *space'] | None = None,
    iterations: int = 100,
    nonnegative: bool = False,
) -> Float[Array, 'batch *places units']:
    """Codes of least ½Σ w‖x − Σ_u z_u * d_u‖² + λ‖z‖₁, by FISTA with restarts as in :func:`.lasso.fista`.

    Args:
      signals, atoms: see the module; atoms of any length.
      penalty: λ, above 0.
      trusted: w from 0 to 1, a number a position, 0 where nothing is to be fitted; None fits all.
      iterations: steps.
      nonnegative: codes from 0.

    Raises:
      ValueError: shapes that do not fit, windows larger than the signals, concrete values that are not finite.

    References:
      Wohlberg 2016, https://doi.org/10.1109/TIP.2015.2495260, eq. 3 (the problem); RoseCDL, Yehya et al. 2025,
      https://arxiv.org/abs/2509.07523 (FISTA, constant step).
    """
    signals, atoms = _checked(signals, atoms)
    weights = None if trusted is None else _weights(trusted, signals)
    return _conv_fista(signals, atoms, penalty, weights, iterations=iterations, nonnegative=nonnegative)


def _weights(trusted: ArrayLike, signals: Array) -> Array:
    """A number for each position of the signals, or an error that names both shapes."""
    weights = jnp.asarray(trusted, signals.dtype)
    if weights.shape != signals.shape[:-1]:
        raise ValueError(f'trusted must be {list(signals.shape[:-1])}, a number a position, not {list(weights.shape)}')
    return weights


@partial(jax.jit, static_argnames=('iterations', 'nonnegative'))
def _conv_fista(
    signals: Array, atoms: Array, penalty: Any, weights: Array | None, *, iterations: int, nonnegative: bool
) -> Array:
    curvature = _curvature(atoms, signals.shape[1:-1])
    places = tuple(n - w + 1 for n, w in zip(signals.shape[1:-1], atoms.shape[1:-1], strict=True))

    def one(x: Array, weight: Array | None) -> Array:
        def step(point: Array) -> Array:
            residual = x[None] - _synthesised(point[None], atoms)
            residual = residual if weight is None else weight[None, ..., None] * residual
            return shrink(point + _correlated(residual, atoms)[0] / curvature, penalty / curvature, nonnegative)

        return descend(step, jnp.zeros((*places, len(atoms)), x.dtype), iterations=iterations, fast=True)

    return jax.vmap(one)(signals, weights)


def _pooled(values: Array, window: tuple[int, ...], start: Any, operation: Any, *, before: bool) -> Array:
    """A sliding reduction of `[batch, *space]`, over the window that begins at a position, or that ends there."""
    padding = [(0, 0), *((w - 1, 0) if before else (0, w - 1) for w in window)]
    return jax.lax.reduce_window(values, start, operation, (1, *window), (1,) * values.ndim, padding)


@partial(jax.jit, static_argnames='rule')
def conv_outliers(
    signals: Float[Array, 'batch *space channels'],
    atoms: Float[Array, 'units *window channels'],
    codes: Float[Array, 'batch *places units'],
    *,
    penalty: ArrayLike,
    rule: str = 'mad',
    level: ArrayLike = 3.5,
) -> Bool[Array, 'batch *space']:
    """Positions inside a window that costs much more than the others: what a robust dictionary does not learn from.

    The cost of a position is ‖x − x̂‖² + λ‖z‖₁ there, that of a window the mean over it (with zeros beyond the end).

    Args:
      signals, atoms, codes: as in :func:`conv_fista`.
      penalty: λ.
      rule: 'quantile' takes the share `level` of windows of largest cost; 'mad' those above median + level·MAD/0.6745.
      level: see `rule`. RoseCDL: 3.5 for 'mad', 0.05 to 0.1 for 'quantile'.

    References:
      RoseCDL (see :func:`conv_fista`), section 3.2. Its code marks all positions within 15 before what was found, or in
      images after it; here the positions of outlying windows are marked and no others.
    """
    if rule not in RULES:
        raise ValueError(f'rule must be one of {", ".join(RULES)}, not {rule!r}')
    window = atoms.shape[1:-1]
    cost = jnp.sum((signals - _synthesised(codes, atoms)) ** 2, axis=-1)
    amount = jnp.sum(jnp.abs(codes), axis=-1)
    cost = cost + penalty * jnp.pad(amount, [(0, 0), *((0, w - 1) for w in window)])
    patches = _pooled(cost, window, 0.0, jax.lax.add, before=False) / np.prod(window)
    if rule == 'quantile':
        most = jnp.quantile(patches, 1.0 - level)
    else:
        middle = jnp.median(patches)
        most = middle + level * jnp.median(jnp.abs(patches - middle)) / NORMAL
    return _pooled((patches > most).astype(cost.dtype), window, -jnp.inf, jax.lax.max, before=True) > 0


def conv_atoms_step(
    signals: Float[ArrayLike, 'batch *space channels'],
    atoms: Float[ArrayLike, 'units *window channels'],
    codes: Float[ArrayLike, 'batch *places units'],
    *,
    trusted: Float[ArrayLike, 'batch *space'] | Bool[ArrayLike, 'batch *space'] | None = None,
    updates: int = 20,
) -> Float[Array, 'units *window channels']:
    """Atoms of length at most 1 that lower Σ w‖x − Σ_u z_u * d_u‖², by accelerated projected gradient steps.

    Args:
      signals, atoms, codes: see the module.
      trusted: w, 0 at positions that are not to be learned from; None trusts all.
      updates: steps; they restart as FISTA's do.

    The step is 1/L with L the largest eigenvalue over frequencies of the codes' Gram matrix, summed over the batch.
    """
    signals, atoms = _checked(signals, atoms)
    codes = as_float('codes', codes).astype(signals.dtype)
    weights = jnp.ones(signals.shape[:-1], signals.dtype) if trusted is None else _weights(trusted, signals)
    return _atoms_step(signals, atoms, codes, weights, updates=updates)


@partial(jax.jit, static_argnames='updates')
def _atoms_step(signals: Array, atoms: Array, codes: Array, weights: Array, *, updates: int) -> Array:
    space = signals.shape[1:-1]
    axes = tuple(range(1, codes.ndim - 1))
    spectrum = jnp.fft.fftn(codes, s=space, axes=axes).reshape(len(codes), -1, codes.shape[-1])
    gram = jnp.einsum('bfu,bfv->fuv', spectrum.conj(), spectrum, precision=HIGHEST)
    curvature = jnp.maximum(jnp.linalg.eigvalsh(gram)[:, -1].max(), jnp.finfo(atoms.dtype).tiny)

    def error(point: Array) -> Array:
        return 0.5 * jnp.sum(weights[..., None] * (signals - _synthesised(codes, point)) ** 2)

    def step(point: Array) -> Array:
        moved = point - jax.grad(error)(point) / curvature
        lengths = jnp.sqrt(jnp.sum(moved**2, axis=tuple(range(1, moved.ndim)), keepdims=True))
        return moved / jnp.maximum(lengths, 1.0)

    return descend(step, atoms, iterations=updates, fast=True)


def windows_as_atoms(
    key: PRNGKeyArray, signals: Float[ArrayLike, 'batch *space channels'], *, units: int, window: tuple[int, ...]
) -> Float[Array, 'units *window channels']:
    """Random windows of the signals, of length 1, as first atoms; noise where a window is zero."""
    signals = as_float('signals', signals)
    _checked(signals, jnp.zeros((units, *window, signals.shape[-1]), signals.dtype))
    keys = jax.random.split(key, 3)
    rows = jax.random.randint(keys[0], (units,), 0, len(signals))
    most = jnp.asarray([n - w + 1 for n, w in zip(signals.shape[1:-1], window, strict=True)])
    places = jax.random.randint(keys[1], (units, len(window)), 0, most[None])
    noise = jax.random.normal(keys[2], (units, *window, signals.shape[-1]), signals.dtype)

    def cut(row: Array, place: Array) -> Array:
        return jax.lax.dynamic_slice(signals[row], (*place, 0), (*window, signals.shape[-1]))

    atoms = jax.vmap(cut)(rows, places)
    axes = tuple(range(1, atoms.ndim))
    atoms = jnp.where(jnp.any(atoms != 0, axis=axes, keepdims=True), atoms, noise)
    return atoms / jnp.sqrt(jnp.sum(atoms**2, axis=axes, keepdims=True))


def fit_convolutional(
    key: PRNGKeyArray,
    signals: Float[ArrayLike, 'batch *space channels'],
    *,
    units: int,
    window: tuple[int, ...],
    penalty: ArrayLike,
    iterations: int = 30,
    code_steps: int = 60,
    atom_steps: int = 20,
    nonnegative: bool = False,
    rule: str | None = None,
    level: ArrayLike = 3.5,
) -> tuple[Float[Array, 'units *window channels'], Float[Array, 'batch *places units']]:
    """Codes and atoms in turn, from random windows of the signals.

    Args:
      key: of the first atoms.
      signals: all of them.
      units, window: number and size of the atoms.
      penalty: λ of :func:`conv_fista`; a tenth of the largest |:func:`conv_correlation`| is a usual choice.
      iterations: of both.
      code_steps, atom_steps: of :func:`conv_fista` and :func:`conv_atoms_step` in each.
      nonnegative: codes from 0.
      rule, level: of :func:`conv_outliers`; None learns from all. Codes of everything say which positions those are;
        neither the first atoms, nor the codes that the atoms learn from, nor the atoms see them.

    Returns:
      Atoms and the codes of the last, which see everything.
    """
    signals = as_float('signals', signals)

    def coded(atoms: Array, trusted: Array | None = None) -> Array:
        how = {'iterations': code_steps, 'nonnegative': nonnegative}
        return conv_fista(signals, atoms, penalty=penalty, trusted=trusted, **how)

    def trusted_of(atoms: Array, codes: Array) -> Array | None:
        return ~conv_outliers(signals, atoms, codes, penalty=penalty, rule=rule, level=level) if rule else None

    atoms = windows_as_atoms(key, signals, units=units, window=window)
    if rule is not None:  # before anything is learned, outliers are what is largest
        places = tuple(n - w + 1 for n, w in zip(signals.shape[1:-1], window, strict=True))
        nothing = jnp.zeros((len(signals), *places, units), signals.dtype)
        seen = jnp.where(trusted_of(atoms, nothing)[..., None], signals, 0.0)
        atoms = windows_as_atoms(key, seen, units=units, window=window)
    for _ in range(iterations):
        codes = coded(atoms)
        trusted = trusted_of(atoms, codes)
        codes = codes if trusted is None else coded(atoms, trusted)
        atoms = conv_atoms_step(signals, atoms, codes, trusted=trusted, updates=atom_steps)
    return atoms, coded(atoms)


def conv_recovered(
    truth: Float[ArrayLike, 'units *window channels'],
    found: Float[ArrayLike, 'others *window channels'],
    *,
    cosine: float = 0.95,
) -> float:
    """Share of true atoms whose match has at least so large a |cosine|, at the best shift of one against the other."""
    a, b = (np.asarray(z, np.float64) for z in (truth, found))
    if a.shape[1:] != b.shape[1:]:
        raise ValueError(f'truth and found must have atoms of one shape, and are {list(a.shape)} and {list(b.shape)}')
    a, b = (z / np.maximum(np.linalg.norm(z.reshape(len(z), -1), axis=1), 1e-30).reshape(-1, *[1] * (z.ndim - 1))
            for z in (a, b))  # fmt: skip
    axes, size = tuple(range(1, a.ndim - 1)), [2 * w - 1 for w in a.shape[1:-1]]
    first, second = (np.fft.fftn(z, s=size, axes=axes) for z in (a, b))
    products = np.einsum('u...c,v...c->uv...', first, second.conj())
    shifted = np.abs(np.fft.ifftn(products, axes=tuple(range(2, products.ndim))).real)
    best = shifted.reshape(len(a), len(b), -1).max(axis=-1)
    rows, columns = linear_sum_assignment(-best)
    return float((best[rows, columns] >= cosine).sum() / len(a))

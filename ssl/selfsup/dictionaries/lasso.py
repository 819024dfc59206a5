"""Sparse codes by the lasso: ½‖x − zD‖² + λ‖z‖₁ of each signal x, by proximal gradient steps.

Atoms are rows of `dictionary`, as in scikit-learn. Its `sparse_encode(algorithm='lasso_lars')` has the same objective.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import both, dot, matrix


def soft_threshold(z: Float[Array, '*batch units'], threshold: ArrayLike) -> Float[Array, '*batch units']:
    """sign(z)·max(|z| − θ, 0), the proximal map of θ‖z‖₁. The gradient is 0 where |z| ≤ θ."""
    return jnp.sign(z) * jnp.maximum(jnp.abs(z) - threshold, 0.0)


def lasso_objective(
    signals: Float[ArrayLike, 'batch dim'],
    dictionary: Float[ArrayLike, 'units dim'],
    codes: Float[ArrayLike, 'batch units'],
    *,
    penalty: ArrayLike,
) -> Float[Array, ' batch']:
    """½‖x − zD‖² + λ‖z‖₁ of each signal.

    Args:
      signals: one a row.
      dictionary: atoms, one a row, of any length.
      codes: z.
      penalty: λ.
    """
    signals, dictionary = both(signals, dictionary)
    codes = matrix('codes', codes)
    residual = signals - dot(codes, dictionary)
    return 0.5 * jnp.sum(residual * residual, axis=1) + penalty * jnp.sum(jnp.abs(codes), axis=1)


def largest_curvature(dictionary: Array) -> Array:
    """L = ‖DDᵀ‖₂, the Lipschitz constant of the gradient in z, from the smaller Gram matrix."""
    units, dim = dictionary.shape
    gram = dot(dictionary, dictionary.T) if units <= dim else dot(dictionary.T, dictionary)
    return jnp.maximum(jnp.linalg.eigvalsh(gram)[-1], jnp.finfo(dictionary.dtype).tiny)


def ista(
    signals: Float[ArrayLike, 'batch dim'],
    dictionary: Float[ArrayLike, 'units dim'],
    *,
    penalty: ArrayLike,
    iterations: int = 1000,
    nonnegative: bool = False,
) -> Float[Array, 'batch units']:
    """Codes by iterative soft thresholding from zero: z ← soft(z + (x − zD)Dᵀ/L, λ/L).

    Args:
      signals: one a row.
      dictionary: atoms, one a row, of any length.
      penalty: λ, above 0.
      iterations: steps. The objective's distance to its least value falls as 1/steps at worst, and linearly once the
        support is found.
      nonnegative: codes from 0: max(· − λ/L, 0).

    Returns:
      `[batch, units]`. Zeros where λ ≥ max |Dx|.

    Raises:
      ValueError: shapes that do not fit, concrete values that are not finite.

    References:
      Daubechies et al. 2004, https://arxiv.org/abs/math/0307152, eq. 5.
    """
    signals, dictionary = both(signals, dictionary)
    return proximal(signals, dictionary, penalty, iterations=iterations, nonnegative=nonnegative, fast=False)


def fista(
    signals: Float[ArrayLike, 'batch dim'],
    dictionary: Float[ArrayLike, 'units dim'],
    *,
    penalty: ArrayLike,
    iterations: int = 200,
    nonnegative: bool = False,
) -> Float[Array, 'batch units']:
    """Codes by accelerated soft thresholding, restarted for each signal when a step goes against the momentum.

    Args:
      signals, dictionary, penalty, nonnegative: as in :func:`ista`.
      iterations: steps; the distance to the least objective falls as 1/steps² at worst.

    Returns:
      `[batch, units]`, the same minimiser as :func:`ista`'s where it is unique.

    References:
      Beck and Teboulle 2009, https://doi.org/10.1137/080716542, section 4 (FISTA with constant step);
      O'Donoghue and Candès 2015, https://arxiv.org/abs/1204.3982, section 3.2 (gradient scheme).
    """
    signals, dictionary = both(signals, dictionary)
    return proximal(signals, dictionary, penalty, iterations=iterations, nonnegative=nonnegative, fast=True)


def shrink(z: Array, threshold: Any, nonnegative: bool) -> Array:
    """The proximal map of θ‖z‖₁, or of that and z ≥ 0: :func:`soft_threshold`, or max(z − θ, 0)."""
    return jnp.maximum(z - threshold, 0.0) if nonnegative else soft_threshold(z, threshold)


def descend(step: Callable[[Array], Array], start: Array, *, iterations: int, fast: bool) -> Array:
    """Repeats a proximal step; `fast` with momentum that restarts where a step goes against it, as in :func:`fista`."""

    def body(_: Any, carry: tuple) -> tuple:
        codes, point, speed = carry
        new = step(point)
        if not fast:
            return new, new, speed
        against = jnp.sum((point - new) * (new - codes)) > 0
        speed = jnp.where(against, 1.0, speed)
        faster = 0.5 * (1.0 + jnp.sqrt(1.0 + 4.0 * speed * speed))
        return new, new + jnp.where(against, 0.0, (speed - 1.0) / faster) * (new - codes), faster

    return jax.lax.fori_loop(0, iterations, body, (start, start, jnp.ones((), start.dtype)))[0]


@partial(jax.jit, static_argnames=('iterations', 'nonnegative', 'fast'))
def proximal(
    signals: Array,
    dictionary: Array,
    penalty: ArrayLike,
    ridge: ArrayLike | None = None,
    *,
    iterations: int,
    nonnegative: bool = False,
    fast: bool = True,
) -> Array:
    """Codes of least ½‖x − zD‖² + λ‖z‖₁ + ½·ridge·‖z‖², from zero; arguments as of :func:`ista` and :func:`fista`."""
    curvature = largest_curvature(dictionary)
    curvature = curvature if ridge is None else curvature + ridge

    def one(x: Array) -> Array:
        def step(point: Array) -> Array:
            downhill = dot(dictionary, x - dot(point, dictionary))
            downhill = downhill if ridge is None else downhill - ridge * point
            return shrink(point + downhill / curvature, penalty / curvature, nonnegative)

        return descend(step, jnp.zeros(dictionary.shape[0], x.dtype), iterations=iterations, fast=fast)

    return jax.vmap(one)(signals)


def lista_cell(
    codes: Float[Array, 'batch units'],
    drive: Float[Array, 'batch units'],
    mutual: Float[Array, 'units units'],
    threshold: ArrayLike,
) -> Float[Array, 'batch units']:
    """One layer of learned ISTA: z ← soft(xW + zS, θ).

    With W = Dᵀ/L, S = I − DDᵀ/L and θ = λ/L it is one step of :func:`ista`.

    Args:
      codes: z of the layer before; zeros at first.
      drive: xW, the same for all layers.
      mutual: S.
      threshold: θ, a number or one for each unit `[units]`.

    References:
      Gregor and LeCun 2010, https://icml.cc/Conferences/2010/papers/449.pdf, algorithm 3.
    """
    threshold = jnp.asarray(threshold)
    return soft_threshold(drive + dot(codes, mutual), threshold if threshold.ndim == 0 else threshold[None])

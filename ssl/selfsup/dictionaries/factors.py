"""Dictionaries that are products of sparse factors, so that applying them is fast: A ≈ λ·S_1·S_2 ⋯ S_J.

A product of J factors with s numbers a row takes J·s·dim multiplications for a vector, a dense matrix dim².
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import count, dot, finite, matrix

ROOM = 1.001  # by how much a step is shorter than the inverse of the curvature, as in the authors' code


class Factors(NamedTuple):
    """A product λ·S_1 ⋯ S_J of square factors, each of Frobenius norm 1."""

    scale: Array
    factors: tuple[Array, ...]

    def dense(self) -> Array:
        """The product, `[dim, dim]`."""
        return self.scale * _product(self.factors, len(self.factors[0]))

    def numbers(self) -> int:
        """Numbers of all factors that are not 0: multiplications for one vector."""
        return int(sum(jnp.count_nonzero(factor) for factor in self.factors))


def _product(factors: tuple[Array, ...], dim: int) -> Array:
    whole = jnp.eye(dim, dtype=factors[0].dtype if factors else None)
    for factor in factors:
        whole = dot(whole, factor)
    return whole


def sparse_rows_and_columns(factor: Float[ArrayLike, 'dim dim'], number: int) -> Float[Array, 'dim dim']:
    """The factor of Frobenius norm 1 that keeps the `number` largest magnitudes of each row and of each column.

    An entry stays that is among the largest of its row or of its column. Zeros stay zeros.
    """
    factor = matrix('factor', factor)
    kept = _largest(factor, number) | _largest(factor.T, number).T
    left = jnp.where(kept, factor, 0.0)
    length = jnp.sqrt(jnp.sum(left**2))
    return left / jnp.where(length > 0, length, 1.0)


def _largest(factor: Array, number: int) -> Array:
    _, columns = jax.lax.top_k(jnp.abs(factor), number)
    return jnp.zeros(factor.shape, bool).at[jnp.arange(len(factor))[:, None], columns].set(True)


@partial(jax.jit, static_argnames=('numbers', 'iterations'))
def _palm(target: Array, start: Factors, *, numbers: tuple[int, ...], iterations: int) -> Factors:
    dim = len(target)

    def one(_: Any, now: Factors) -> Factors:
        scale, factors = now.scale, list(now.factors)
        for place, number in enumerate(numbers):
            left, right = _product(tuple(factors[:place]), dim), _product(tuple(factors[place + 1 :]), dim)
            curvature = ROOM * scale**2 * _norm(left) ** 2 * _norm(right) ** 2
            error = scale * dot(dot(left, factors[place]), right) - target
            slope = scale * dot(dot(left.T, error), right.T)
            moved = factors[place] - slope / jnp.where(curvature > 0, curvature, 1.0)
            factors[place] = sparse_rows_and_columns(moved, number)
        whole = _product(tuple(factors), dim)
        squared = jnp.sum(whole**2)
        return Factors(jnp.sum(target * whole) / jnp.where(squared > 0, squared, 1.0), tuple(factors))

    return jax.lax.fori_loop(0, iterations, one, start)


def _norm(z: Array) -> Array:
    return jnp.linalg.norm(z, ord=2)


def palm(
    target: Float[ArrayLike, 'dim dim'],
    *,
    numbers: tuple[int, ...],
    start: Factors | None = None,
    iterations: int = 100,
) -> Factors:
    """Sparse factors by proximal alternating steps: each in turn goes down ½‖A − λΠS‖² and keeps its largest entries.

    Args:
      target: A, square.
      numbers: entries of each row and column that each factor keeps.
      start: where to begin; by default the first factor is 0 and the others identities, as the authors begin.
      iterations: rounds over all factors.

    Raises:
      ValueError: a target that is not square or not finite, numbers outside 1 to dim.

    References:
      Le Magoarou and Gribonval 2016, https://arxiv.org/abs/1506.07300, figure 4 (palm4MSA).
    """
    target = matrix('target', target)
    if target.shape[0] != target.shape[1]:
        raise ValueError(f'target must be square, not {list(target.shape)}')
    finite('target', target)
    for number in numbers:
        count('numbers', number, len(target), target.shape, of='columns of target')
    if start is None:
        whole = jnp.eye(len(target), dtype=target.dtype)
        one = jnp.ones((), target.dtype)
        start = Factors(one, (jnp.zeros_like(target), *[whole] * (len(numbers) - 1)))
    return _palm(target, start, numbers=tuple(numbers), iterations=iterations)


def fast_transform(
    target: Float[ArrayLike, 'dim dim'], *, factors: int, number: int = 2, rest: float = 0.5, iterations: int = 100
) -> Factors:
    """Sparse factors of a square matrix one at a time: a sparse one and a rest, and the rest again in two.

    After each split all factors so far are fitted together. A Hadamard matrix of 2^J rows is found exactly with J
    factors of two entries a row and a rest that halves.

    Args:
      target: A.
      factors: J, 2 or more.
      number: entries of each row and column of a factor.
      rest: share of the entries of each row and column that the rest of one split keeps in the next.
      iterations: of :func:`palm`, at each split twice.

    References:
      Le Magoarou and Gribonval 2016, figure 5 (hierarchical factorisation) and section 4.3 (Hadamard).
    """
    target = matrix('target', target)
    if factors < 2:
        raise ValueError(f'factors must be at least 2, not {factors}')
    dim = len(target)
    left, scale, remainder = [], jnp.ones((), target.dtype), target
    for split in range(1, factors):
        size = max(round(dim * rest**split), number)
        two = palm(remainder, numbers=(size, number), iterations=iterations)
        left = [two.factors[1], *left]
        scale, remainder = scale * two.scale, two.factors[0]
        sizes = (size, *[number] * split)
        whole = palm(target, numbers=sizes, start=Factors(scale, (remainder, *left)), iterations=iterations)
        scale, remainder, left = whole.scale, whole.factors[0], list(whole.factors[1:])
    return Factors(scale, (remainder, *left))

"""Multinomial logistic regression by L-BFGS, many at once."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

HIGHEST = jax.lax.Precision.HIGHEST
MEMORY = 10  # corrections that L-BFGS keeps
PATIENCE = 50  # steps with neither a lower objective nor a smaller gradient after which rounding has been met


class Classifier(NamedTuple):
    """Weights `[dim, classes]` and intercepts `[classes]` of a multinomial logistic regression."""

    kernel: Array
    bias: Array


def scores(model: Classifier, features: Array) -> Array:
    """Logits `[samples, classes]`."""
    return jnp.matmul(features, model.kernel, precision=HIGHEST) + model.bias[None]


class _Rotated(NamedTuple):
    """Features in the basis of their own principal axes, in which the problem is well scaled."""

    features: Array
    basis: Array
    curvature: Array


def _rotate(features: Array, weights: Array) -> _Rotated:
    # The penalty does not see rotations, and the optimum lies in the span of the rows.
    samples, dim = features.shape
    basis = None
    if samples < dim:
        basis, factor = jnp.linalg.qr(features.T)
        features = factor.T
    gram = jnp.matmul((features * weights[:, None]).T, features, precision=HIGHEST) / jnp.sum(weights)
    values, vectors = jnp.linalg.eigh(gram)
    features = jnp.matmul(features, vectors, precision=HIGHEST)
    basis = vectors if basis is None else jnp.matmul(basis, vectors, precision=HIGHEST)
    return _Rotated(features, basis, jnp.maximum(values, 0.0))


def _solve(rotated: _Rotated, targets: Array, weights: Array, c: Array, tolerance: float, max_steps: int) -> Classifier:
    """The classifier in the basis of `rotated`."""
    features, _, curvature = rotated
    total = jnp.sum(weights)
    classes = targets.shape[1]
    strength = 1.0 / (c * total)
    # Coordinates in which the Hessian is near the identity while class probabilities are even; the mean keeps
    # directions of little variance, which matter once they are not, from being stretched without bound.
    scale = jax.lax.rsqrt((curvature + jnp.mean(curvature)) / classes + strength)[:, None]

    def objective(model: Classifier) -> Array:
        kernel = scale * model.kernel
        logits = jnp.matmul(features, kernel, precision=HIGHEST) + model.bias[None]
        # log(1 + Σ exp(l_j − l_y)) over the other classes: exact where the loss is small, unlike log Σ exp(l_j) − l_y.
        margins = logits - jnp.sum(logits * targets, axis=1, keepdims=True)
        losses = jax.nn.softplus(jax.nn.logsumexp(jnp.where(targets > 0, -jnp.inf, margins), axis=1))
        return jnp.sum(weights * losses) / total + 0.5 * strength * jnp.sum(kernel**2)

    dim = features.shape[1]

    def unpack(flat: Array) -> Classifier:
        return Classifier(flat[: dim * classes].reshape(dim, classes), flat[dim * classes :])

    start = jnp.zeros((dim * classes + classes,), features.dtype)
    best = unpack(_minimum(lambda flat: objective(unpack(flat)), start, tolerance=tolerance, max_steps=max_steps))
    return Classifier(scale * best.kernel, best.bias)


class _Search(NamedTuple):
    """State of L-BFGS: the accepted point, the direction tried from it, and the corrections, newest last."""

    point: Array
    value: Array
    gradient: Array
    direction: Array
    length: Array
    moves: Array
    changes: Array
    best: Array
    lowest: Array
    least: Array
    idle: Array
    number: Array


def _direction(gradient: Array, moves: Array, changes: Array) -> Array:
    """−H·g by the two-loop recursion; rows of zeros in `moves` are corrections not made yet."""
    curvature = jnp.sum(moves * changes, axis=1)
    inverse = jnp.where(curvature > 0, 1.0 / jnp.where(curvature > 0, curvature, 1.0), 0.0)

    def back(q: Array, row: tuple) -> tuple[Array, Array]:
        move, change, rho = row
        alpha = rho * jnp.sum(move * q)
        return q - alpha * change, alpha

    def forth(r: Array, row: tuple) -> tuple[Array, None]:
        move, change, rho, alpha = row
        return r + move * (alpha - rho * jnp.sum(change * r)), None

    q, alphas = jax.lax.scan(back, gradient, (moves, changes, inverse), reverse=True)
    norm = jnp.sum(changes[-1] ** 2)
    q = q * jnp.where(norm > 0, curvature[-1] / jnp.where(norm > 0, norm, 1.0), 1.0)
    return -jax.lax.scan(forth, q, (moves, changes, inverse, alphas))[0]


def _minimum(objective: Callable[[Array], Array], start: Array, *, tolerance: float, max_steps: int) -> Array:
    """The point of least value that L-BFGS finds, and of least gradient where values are equal to rounding.

    Each step evaluates the objective once and either moves there or halves the length: one loop, so that
    problems under `vmap` do not wait for each other's line searches.
    """
    resolution = 4 * float(jnp.finfo(start.dtype).eps)
    value, gradient = jax.value_and_grad(objective)(start)
    empty = jnp.zeros((MEMORY, start.shape[0]), start.dtype)
    most, zero = jnp.asarray(jnp.finfo(start.dtype).max, start.dtype), jnp.zeros((), jnp.int32)
    one = jnp.ones((), start.dtype)
    search = _Search(start, value, gradient, -gradient, one, empty, empty, start, most, most, zero, zero)

    def step(s: _Search) -> _Search:
        point = s.point + s.length * s.direction
        value, gradient = jax.value_and_grad(objective)(point)
        # Near the optimum the objective drowns in rounding before the gradient does, hence the slack.
        slack = resolution * jnp.abs(s.value)
        accepted = value <= s.value + 1e-4 * s.length * jnp.sum(s.gradient * s.direction) + slack
        move, change = point - s.point, gradient - s.gradient
        kept = accepted & (jnp.sum(move * change) > resolution * jnp.sum(change**2))
        moves = jnp.where(kept, jnp.concatenate([s.moves[1:], move[None]]), s.moves)
        changes = jnp.where(kept, jnp.concatenate([s.changes[1:], change[None]]), s.changes)
        direction = _direction(gradient, moves, changes)
        direction = jnp.where(jnp.sum(direction * gradient) < 0, direction, -gradient)

        largest = jnp.max(jnp.abs(gradient))
        rounding = resolution * jnp.abs(s.lowest)
        lower = value < s.lowest - rounding
        better = lower | ((value <= s.lowest + rounding) & (largest < s.least))
        return _Search(
            jnp.where(accepted, point, s.point),
            jnp.where(accepted, value, s.value),
            jnp.where(accepted, gradient, s.gradient),
            jnp.where(accepted, direction, s.direction),
            jnp.where(accepted, one, 0.5 * s.length),
            moves,
            changes,
            jnp.where(better, point, s.best),
            jnp.where(lower, value, s.lowest),
            jnp.where(better, largest, s.least),
            jnp.where(better, 0, s.idle + 1),
            s.number + 1,
        )

    def unfinished(s: _Search) -> Array:
        return (s.number < max_steps) & (s.least > tolerance) & (s.idle < PATIENCE)

    return jax.lax.while_loop(unfinished, step, search).best


def logistic_path(
    features: Float[Array, 'samples dim'],
    labels: Int[Array, ' samples'],
    inverse_regularizations: Float[Array, ' values'],
    *,
    classes: int,
    weights: Float[Array, ' samples'] | None = None,
    tolerance: float = 3e-8,
    max_steps: int = 1000,
) -> Classifier:
    """:func:`logistic_regression` for several C side by side; kernel `[values, dim, classes]`."""
    weights = jnp.ones((features.shape[0],), features.dtype) if weights is None else weights.astype(features.dtype)
    targets = jax.nn.one_hot(labels, classes, dtype=features.dtype)
    rotated = _rotate(features, weights)
    model = jax.vmap(lambda c: _solve(rotated, targets, weights, c, tolerance, max_steps))(inverse_regularizations)
    return Classifier(jnp.einsum('dr,vrc->vdc', rotated.basis, model.kernel, precision=HIGHEST), model.bias)


def logistic_regression(
    features: Float[Array, 'samples dim'],
    labels: Int[Array, ' samples'],
    *,
    classes: int,
    inverse_regularization: float | Array = 1.0,
    weights: Float[Array, ' samples'] | None = None,
    tolerance: float = 3e-8,
    max_steps: int = 1000,
) -> Classifier:
    """The minimum of ½‖W‖² + C Σᵢ wᵢ CE(softmax(xᵢW + b), yᵢ), as scikit-learn's `LogisticRegression`.

    Pure and traceable; `vmap` it over draws. L-BFGS with ten corrections and backtracking, in the
    coordinates of the features' principal axes, each scaled by the curvature there: tens of steps
    where raw coordinates take hundreds.

    Args:
      features: standardise them first. Rows of weight 0 must be finite.
      labels: 0 … classes − 1.
      classes: number of classes.
      inverse_regularization: C; the intercept is not penalised.
      weights: wᵢ ≥ 0 of each sample, 1 by default.
      tolerance: stops when no entry of the gradient (of the objective over C·Σw, in the scaled
        coordinates) is larger, or when it has not shrunk for some steps.
      max_steps: at most so many iterations.
    """
    c = jnp.asarray(inverse_regularization, features.dtype)[None]
    model = logistic_path(
        features, labels, c, classes=classes, weights=weights, tolerance=tolerance, max_steps=max_steps
    )
    return Classifier(model.kernel[0], model.bias[0])

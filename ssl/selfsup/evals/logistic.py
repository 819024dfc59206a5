"""Multinomial logistic regression by L-BFGS, many at once."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

HIGHEST = jax.lax.Precision.HIGHEST
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

    resolution = 4 * float(jnp.finfo(features.dtype).eps)
    # Near the optimum the objective drowns in rounding before the gradient does, hence the slack.
    search = optax.scale_by_backtracking_linesearch(
        max_backtracking_steps=20, decrease_factor=0.5, rtol=resolution, store_grad=True
    )
    solver = optax.lbfgs(memory_size=10, linesearch=search)
    value_and_grad = optax.value_and_grad_from_state(objective)
    zero = jnp.zeros((), jnp.int32)
    model = Classifier(jnp.zeros((features.shape[1], classes), features.dtype), jnp.zeros((classes,), features.dtype))

    def body(carry: tuple) -> tuple:
        model, state, number, best, (lowest, least), idle = carry
        value, gradient = value_and_grad(model, state=state)
        largest = jax.tree.reduce(jnp.maximum, jax.tree.map(lambda g: jnp.max(jnp.abs(g)), gradient))
        rounding = resolution * jnp.abs(lowest)
        lower = ~(value >= lowest - rounding)
        better = lower | ((value <= lowest + rounding) & (largest < least))
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), model, best)
        record = (jnp.where(lower, value, lowest), jnp.where(better, largest, least))
        updates, state = solver.update(gradient, state, model, value=value, grad=gradient, value_fn=objective)
        model = Classifier(*jax.tree.map(jnp.add, model, updates))
        return model, state, number + 1, best, record, jnp.where(better, 0, idle + 1)

    def unfinished(carry: tuple) -> Array:
        return (carry[2] < max_steps) & (carry[4][1] > tolerance) & (carry[5] < PATIENCE)

    most = jnp.asarray(jnp.finfo(features.dtype).max, features.dtype)
    start = (model, solver.init(model), zero, model, (most, most), zero)
    best = jax.lax.while_loop(unfinished, body, start)[3]
    return Classifier(scale * best.kernel, best.bias)


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

    Pure and traceable; `vmap` it over draws. L-BFGS with ten corrections and a line search, in the
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

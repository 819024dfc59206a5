"""Linear probes: L-BFGS logistic regression on standardised features."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from ..errors import UserError
from .features import Features, check, standardized

HIGHEST = jax.lax.Precision.HIGHEST
PATIENCE = 5  # steps without progress beyond rounding after which L-BFGS stops


class Classifier(NamedTuple):
    """Weights `[dim, classes]` and intercepts `[classes]` of a multinomial logistic regression."""

    kernel: Array
    bias: Array


def logistic_regression(
    features: Float[Array, 'samples dim'],
    labels: Int[Array, ' samples'],
    *,
    classes: int,
    inverse_regularization: float | Array = 1.0,
    tolerance: float = 1e-6,
    max_steps: int = 1000,
) -> Classifier:
    """The minimum of ½‖W‖² + C Σᵢ CE(softmax(xᵢW + b), yᵢ), as scikit-learn's `LogisticRegression`.

    Pure and traceable; `vmap` it over draws or over C. L-BFGS with ten corrections and a line search,
    until the largest entry of the gradient (of the objective over C·samples) is below `tolerance`, or
    until the objective has not moved beyond rounding for a few steps.

    Args:
      features: standardise them first.
      labels: 0 … classes − 1.
      classes: number of classes.
      inverse_regularization: C; the intercept is not penalised.
      tolerance: stopping threshold.
      max_steps: at most so many iterations.
    """
    samples, dim = features.shape
    strength = 1.0 / (inverse_regularization * samples)
    targets = jax.nn.one_hot(labels, classes, dtype=features.dtype)

    def objective(model: Classifier) -> Array:
        logits = jnp.matmul(features, model.kernel, precision=HIGHEST) + model.bias[None]
        data = jnp.mean(jax.nn.logsumexp(logits, axis=1) - jnp.sum(logits * targets, axis=1))
        return data + 0.5 * strength * jnp.sum(model.kernel**2)

    # Backtracking instead of the default zoom: the objective is convex, and it compiles in half the time.
    search = optax.scale_by_backtracking_linesearch(max_backtracking_steps=30, store_grad=True)
    solver = optax.lbfgs(memory_size=10, linesearch=search)
    value_and_grad = optax.value_and_grad_from_state(objective)
    model = Classifier(jnp.zeros((dim, classes), features.dtype), jnp.zeros((classes,), features.dtype))

    def body(carry: tuple) -> tuple:
        model, state, number, _, last, idle = carry
        value, gradient = value_and_grad(model, state=state)
        updates, state = solver.update(gradient, state, model, value=value, grad=gradient, value_fn=objective)
        largest = jax.tree.reduce(jnp.maximum, jax.tree.map(lambda g: jnp.max(jnp.abs(g)), gradient))
        idle = jnp.where(last - value <= resolution * jnp.abs(value), idle + 1, 0)
        model = Classifier(*jax.tree.map(jnp.add, model, updates))
        return model, state, number + 1, largest, value, idle

    def unfinished(carry: tuple) -> Array:
        return (carry[2] < max_steps) & (carry[3] > tolerance) & (carry[5] < PATIENCE)

    zero, infinite = jnp.zeros((), jnp.int32), jnp.asarray(jnp.inf, features.dtype)
    start = (model, solver.init(model), zero, infinite, infinite, zero)
    resolution = 2 * jnp.finfo(features.dtype).eps
    return jax.lax.while_loop(unfinished, body, start)[0]


@functools.partial(jax.jit, static_argnames=('classes',))
def _accuracies(train: Array, labels: Array, test: Array, test_labels: Array, strength: Array, *, classes: int):
    """Test accuracy of a classifier for each row of draws `train [draws, n, dim]`."""

    def one(x: Array, y: Array) -> Array:
        model = logistic_regression(x, y, classes=classes, inverse_regularization=strength)
        return jnp.mean(
            jnp.argmax(jnp.matmul(test, model.kernel, precision=HIGHEST) + model.bias[None], 1) == test_labels
        )

    return jax.vmap(one)(train, labels)


def draw_per_class(labels: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """Indices of `count` random samples of each class."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < count:
            raise UserError(f'class {label} has {len(members)} samples, and {count} labels per class were asked for')
        chosen.append(members[np.argsort(generator.random(len(members)), kind='stable')[:count]])
    return np.concatenate(chosen)


def linear_probe(
    train: Features,
    test: Features,
    *,
    label_counts: tuple[int, ...] = (1, 10),
    draws: int = 5,
    inverse_regularization: float = 1.0,
    width: int = 0,
) -> dict[str, float]:
    """Accuracy of logistic regression on features standardised by train's statistics.

    Args:
      train, test: features and labels.
      label_counts: labels per class of the low-label probes, each the mean over `draws` random draws.
      draws: number of draws; draw d is the same for every representation of one data set.
      inverse_regularization: C, in scikit-learn's convention; fixed, so nothing is chosen on test.
      width: features are padded with zeros to this width (which changes no solution), so that
        representations of different widths share one compilation.

    Returns:
      `linear_<k>` for each k of `label_counts`, and `linear` with all labels.
    """
    check(train, 'train'), check(test, 'test')
    classes = int(train.labels.max()) + 1
    if len(np.unique(train.labels)) < 2:
        raise UserError('a linear probe needs at least two classes of labels')
    x, x_test = standardized(train, test)
    pad = max(width - x.shape[1], 0)
    x, x_test = (np.pad(a, ((0, 0), (0, pad))) for a in (x, x_test))
    results = {}
    smallest = min(np.bincount(train.labels)[np.unique(train.labels)])
    for count in [*[c for c in label_counts if c <= smallest], 0]:
        sets = [
            draw_per_class(train.labels, count, seed=d) if count else np.arange(len(x))
            for d in range(draws if count else 1)
        ]
        accuracy = _accuracies(
            np.stack([x[s] for s in sets]),
            np.stack([train.labels[s] for s in sets]),
            x_test,
            test.labels,
            jnp.float32(inverse_regularization),
            classes=classes,
        )
        results[f'linear_{count}' if count else 'linear'] = float(np.mean(np.asarray(accuracy)))
    return results

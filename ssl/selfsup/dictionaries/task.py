"""Dictionaries for a task: lasso codes with the derivative of their optimum, and atoms learned through it."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray

from ._common import both, class_labels, count, dot, finite, matrix
from .atoms import unit_atoms
from .lasso import proximal
from .learning import fit_online


def elastic_net(
    signals: Float[ArrayLike, 'batch dim'],
    dictionary: Float[ArrayLike, 'units dim'],
    *,
    penalty: ArrayLike,
    ridge: ArrayLike,
    iterations: int = 200,
) -> Float[Array, 'batch units']:
    """Codes of least ½‖x − zD‖² + λ₁‖z‖₁ + ½λ₂‖z‖², whose derivative is that of the optimum and not of the iterations.

    On the support S of z the optimum solves (D_S D_Sᵀ + λ₂)z_S = D_S x − λ₁ sign z_S, and S does not change nearby, so
    for the gradient g in z, with β_S = (D_S D_Sᵀ + λ₂)⁻¹ g_S and 0 elsewhere: ∂x = βD, ∂D = βᵀ(x − zD) − zᵀ(βD),
    ∂λ₁ = −β·sign z, ∂λ₂ = −β·z.

    Args:
      signals: one a row.
      dictionary: atoms, one a row, of any length.
      penalty, ridge: λ₁ and λ₂; with λ₂ = 0 the codes are those of :func:`.lasso.fista`, and the derivative needs
        active atoms that are independent.
      iterations: of :func:`.lasso.fista`; the derivative is exact where they have reached the optimum.

    Raises:
      ValueError: shapes that do not fit, concrete values that are not finite.

    Cost: of the derivative O(batch·units³).

    References:
      Mairal et al. 2012, https://arxiv.org/abs/1009.5358, eq. 4 and proposition 1 (equations 9 and 10).
    """
    signals, dictionary = both(signals, dictionary)
    values = jnp.asarray(penalty, signals.dtype), jnp.asarray(ridge, signals.dtype)
    return _elastic_net(iterations, signals, dictionary, *values)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _elastic_net(iterations: int, signals: Array, dictionary: Array, penalty: Array, ridge: Array) -> Array:
    return proximal(signals, dictionary, penalty, ridge, iterations=iterations)


def _forward(iterations: int, signals: Array, dictionary: Array, penalty: Array, ridge: Array) -> tuple[Array, tuple]:
    codes = _elastic_net(iterations, signals, dictionary, penalty, ridge)
    return codes, (codes, signals, dictionary, ridge)


def _backward(iterations: int, kept: tuple, gradient: Array) -> tuple:
    codes, signals, dictionary, ridge = kept
    gram = dot(dictionary, dictionary.T)

    def solved(z: Array, g: Array) -> Array:
        on = z != 0
        system = jnp.where(on[:, None] & on[None], gram, 0.0) + jnp.diag(jnp.where(on, ridge, 1.0))
        return jnp.linalg.solve(system, jnp.where(on, g, 0.0))

    beta = jax.vmap(solved)(codes, gradient)
    back = dot(beta, dictionary)
    atoms = dot(beta.T, signals - dot(codes, dictionary)) - dot(codes.T, back)
    return back, atoms, -jnp.sum(beta * jnp.sign(codes)), -jnp.sum(beta * codes)


_elastic_net.defvjp(_forward, _backward)


class TaskDriven(NamedTuple):
    """Atoms of length 1, `[units, dim]`, and a linear classifier on their codes: `[units, classes]`, `[classes]`."""

    dictionary: Array
    weights: Array
    bias: Array


def fit_task_driven(
    key: PRNGKeyArray,
    signals: Float[ArrayLike, 'rows dim'],
    labels: Int[ArrayLike, ' rows'],
    *,
    units: int,
    penalty: float,
    ridge: float = 0.01,
    unsupervised: float = 0.0,
    decay: float = 1e-3,
    rate: float = 0.5,
    steps: int = 500,
    batch: int = 64,
    iterations: int = 100,
) -> TaskDriven:
    """Atoms and a linear classifier on their codes, learned together by gradient steps through the codes.

    The objective is (1 − μ)·cross-entropy of softmax(zW + b) over rows with a label, plus μ times half the squared
    error of all rows, plus ½ν‖W‖². It begins at the dictionary of :func:`.learning.fit_online` and W = 0; the step is
    ρ, and from a tenth of the steps on ρ·t₀/t. After each step the atoms are brought to length 1.

    Args:
      key: of the first atoms and of the batches.
      signals: one a row.
      labels: from 0; −1 is unknown, and such a row counts in the second term alone (semi-supervised).
      units: atoms.
      penalty, ridge: λ₁ and λ₂ of the codes (:func:`elastic_net`).
      unsupervised: μ, from 0 and below 1.
      decay: ν.
      rate: ρ.
      steps, batch: gradient steps, and rows of each.
      iterations: of the codes.

    Raises:
      ValueError: shapes that do not fit, labels that are no whole numbers from −1, fewer than two classes, μ outside.

    References:
      Mairal et al. 2012, https://arxiv.org/abs/1009.5358, algorithm 1 and section 3.5 (the mixture with μ).
    """
    signals = matrix('signals', signals)
    finite('signals', signals)
    labels = class_labels(labels, signals, least=-1)
    classes = int(labels.max()) + 1
    if classes < 2:
        raise ValueError(f'labels must be of two classes or more, not of {classes}')
    if not 0 <= unsupervised < 1:
        raise ValueError(f'unsupervised must be from 0 and below 1, not {unsupervised!r}')
    count('units', units, len(signals), signals.shape, of='rows of signals')
    first, second = jax.random.split(key)
    begun = TaskDriven(
        unit_atoms(fit_online(first, signals, units=units, penalty=penalty, batch=min(256, len(signals))).dictionary),
        jnp.zeros((units, classes), signals.dtype),
        jnp.zeros(classes, signals.dtype),
    )
    values = {'penalty': penalty, 'ridge': ridge, 'unsupervised': unsupervised, 'decay': decay, 'rate': rate}
    return _descended(
        second, signals, jnp.asarray(labels), begun, values, steps=steps, batch=min(batch, len(signals)),
        iterations=iterations,
    )  # fmt: skip


@partial(jax.jit, static_argnames=('steps', 'batch', 'iterations'))
def _descended(
    key: Array,
    signals: Array,
    labels: Array,
    begun: TaskDriven,
    values: dict,
    *,
    steps: int,
    batch: int,
    iterations: int,
) -> TaskDriven:
    share = values['unsupervised']

    def objective(model: TaskDriven, x: Array, y: Array) -> Array:
        net = {'penalty': values['penalty'], 'ridge': values['ridge'], 'iterations': iterations}
        codes = elastic_net(x, model.dictionary, **net)
        logits = jax.nn.log_softmax(dot(codes, model.weights) + model.bias[None])
        known = y >= 0
        right = jnp.take_along_axis(logits, jnp.maximum(y, 0)[:, None], axis=1)[:, 0]
        task = -jnp.sum(jnp.where(known, right, 0.0)) / jnp.maximum(jnp.sum(known), 1)
        error = 0.5 * jnp.mean(jnp.sum((x - dot(codes, model.dictionary)) ** 2, axis=1))
        return (1 - share) * task + share * error + 0.5 * values['decay'] * jnp.sum(model.weights**2)

    def step(number: Any, model: TaskDriven) -> TaskDriven:
        rows = jax.random.choice(jax.random.fold_in(key, number), len(signals), (batch,), replace=False)
        slope = jax.grad(objective)(model, signals[rows], labels[rows])
        late = jnp.maximum(number + 1, steps // 10 + 1) / (steps // 10 + 1)
        moved = jax.tree.map(lambda p, g: p - values['rate'] / late * g, model, slope)
        return moved._replace(dictionary=unit_atoms(moved.dictionary))

    return jax.lax.fori_loop(0, steps, step, begun)


def task_scores(
    fitted: TaskDriven, signals: Float[ArrayLike, 'rows dim'], *, penalty: float, ridge: float = 0.01
) -> Float[Array, 'rows classes']:
    """Scores of the classes, zW + b, of codes with the same λ₁ and λ₂."""
    codes = elastic_net(signals, fitted.dictionary, penalty=penalty, ridge=ridge)
    return dot(codes, fitted.weights) + fitted.bias[None]

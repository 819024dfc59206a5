"""TLDR (Kalantidis et al. 2022, https://arxiv.org/abs/2110.09455): Barlow Twins on pairs of nearest neighbours."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from .. import diagnostics, losses, models, optim
from ..errors import UserError
from .linear import check_dim
from .reducer import Reducer


def networks(dim: int, hidden: Sequence[int], projector: Sequence[int]) -> tuple[nn.Module, nn.Module]:
    """The encoder, linear with a bias, or with hidden layers (batch-norm, ReLU, no bias), and the projector."""
    encoder = models.MLP((*hidden, dim), hidden_bias=False, last_bias=not hidden)
    return encoder, models.MLP(tuple(projector), hidden_bias=False, last_bias=False)


def loss_of(encoder: nn.Module, projector: nn.Module, *, lambd: float, scale: float) -> Callable:
    """`(params, statistics, pairs) -> (loss, statistics)` of pairs `[2, batch, width]`; statistics are of each side."""
    modules = {'encoder': encoder, 'projector': projector}

    def loss(params: Any, statistics: Any, pairs: Array) -> tuple[Array, Any]:
        sides = []
        for x in pairs:
            for name, module in modules.items():
                variables: dict[str, Any] = {'params': params[name], 'batch_stats': statistics[name]}
                x, new = module.apply(variables, x, train=True, mutable=['batch_stats'])
                statistics = {**statistics, name: new.get('batch_stats', statistics[name])}
            sides.append(x)
        return losses.barlow_twins(*sides, lambd=lambd, scale=scale), statistics

    return loss


def tldr(
    rows: np.ndarray,
    dim: int,
    *,
    hidden: Sequence[int] = (),
    projector: Sequence[int] = (2048, 2048, 2048),
    neighbours: int = 5,
    epochs: int = 100,
    batch_size: int = 1024,
    learning_rate: float = 0.2,
    warmup_epochs: int = 10,
    lambd: float = 3.9e-3,
    scale: float = 1 / 32,
    seed: int = 0,
    tell: Callable[[int, int, float], None] | None = None,
) -> Reducer:
    """Fits an encoder of which each row and one of its nearest neighbours have alike, uncorrelated outputs.

    Each step draws a batch of rows, and for each of them one of its `neighbours` nearest by exact Euclidean distance,
    anew; both pass through encoder and projector, each with batch statistics of its own, and
    :func:`selfsup.losses.barlow_twins` compares them. The projector is dropped. LARS (trust 0.001, momentum 0.9,
    weight decay 1e-6 on matrices), warm-up and cosine to a thousandth, as in the authors' code, whose defaults these
    are but for one thing: rows are centred and divided by one number, the root of their mean variance, so that the
    fit does not depend on the unit of the features (the neighbours do not either). Both are part of the reducer.

    Args:
      rows: features `[n, width]`, at least 16.
      dim: width of the reduced rows, at most `width`.
      hidden: widths of the encoder's hidden layers; none is the paper's linear encoder.
      projector: widths of the projector. Authors' code: 2048 three times; their README names one hidden layer.
      neighbours: k; fewer than `n`.
      epochs, batch_size: passes over the rows, and rows of a step; a batch larger than `n` is `n`.
      learning_rate: of 256 rows; it is multiplied by batch_size / 256.
      warmup_epochs: of the learning rate; at most `epochs`.
      lambd, scale: see :func:`selfsup.losses.barlow_twins`.
      seed: of the initialisation and of every draw; two fits of one seed are equal on one machine.
      tell: called after each epoch with its number, from 1, their count, and the mean loss.

    Returns:
      The encoder, running batch statistics folded into its layers.

    Raises:
      UserError: naming what is wrong with the rows or `dim`, or if the loss is no longer finite.

    References:
      Kalantidis et al. 2022, https://arxiv.org/abs/2110.09455, section 3.
    """
    check_dim(rows, dim, least=16)
    if not 1 <= neighbours < len(rows):
        raise UserError(f'--neighbours must lie between 1 and {len(rows) - 1}, and is {neighbours}')
    mean = rows.mean(axis=0, dtype=np.float64)
    unit = float(np.sqrt(np.mean(rows.var(axis=0, dtype=np.float64)))) or 1.0
    x = jnp.asarray((rows - mean) / unit, jnp.float32)
    _, graph = jax.jit(lambda x: diagnostics.nearest(x, k=neighbours))(x)
    batch = min(batch_size, len(rows))
    steps = len(rows) // batch
    encoder, head = networks(dim, hidden, projector)
    root = jax.random.key(seed)
    params, statistics = {}, {}
    seen = x[:2]
    for index, (name, module) in enumerate((('encoder', encoder), ('projector', head))):
        seen, variables = module.init_with_output(jax.random.fold_in(root, index), seen)
        params[name], statistics[name] = variables['params'], variables.get('batch_stats', {})
    total, warm = epochs * len(rows) // batch, min(warmup_epochs, epochs) * len(rows) // batch
    peak = learning_rate * batch / 256
    schedule = optim.warmup_cosine(peak, steps=total, warmup_steps=warm, final_share=1e-3)
    # The authors count steps from 1.
    rule = optim.optimizer('lars', lambda step: schedule(step + 1), peak=peak, weight_decay=1e-6)
    loss = loss_of(encoder, head, lambd=lambd, scale=scale)

    def step(state: tuple, drawn: tuple) -> tuple:
        (params, statistics, moments), (own, which) = state, drawn
        pairs = jnp.stack([x[own], x[graph[own, which]]])
        (value, statistics), gradient = jax.value_and_grad(loss, has_aux=True)(params, statistics, pairs)
        updates, moments = rule.update(gradient, moments, params)
        return (optax.apply_updates(params, updates), statistics, moments), value

    @jax.jit
    def epoch(state: tuple, number: Array) -> tuple:
        order, which = jax.random.split(jax.random.fold_in(root, 2 + number))
        own = jax.random.permutation(order, len(rows))[: steps * batch].reshape(steps, batch)
        return jax.lax.scan(step, state, (own, jax.random.randint(which, own.shape, 0, neighbours)))

    state = (params, statistics, rule.init(params))
    for number in range(epochs):
        state, values = epoch(state, jnp.asarray(number))
        value = float(jnp.mean(values))
        if not np.isfinite(value):
            raise UserError(f'the loss is {value} in epoch {number + 1}; lower --learning-rate={learning_rate:g}')
        if tell is not None:
            tell(number + 1, epochs, value)
    params, statistics = jax.device_get(state[:2])
    return folded(params['encoder'], statistics['encoder'], mean, unit)


def folded(params: dict, statistics: dict, mean: np.ndarray, unit: float) -> Reducer:
    """The encoder as layers: centring, unit and the running statistics of batch-norm are affine maps."""
    matrices, biases = [], []
    for index in range(sum(name.startswith('linear') for name in params)):
        layer = params[f'linear{index}']
        matrix = np.asarray(layer['kernel'], np.float64)
        bias = np.asarray(layer.get('bias', np.zeros(matrix.shape[1])), np.float64)
        if not index:
            matrix = matrix / unit
            bias = bias - mean @ matrix
        if f'norm{index}' in params:
            norm, running = params[f'norm{index}'], statistics[f'norm{index}']
            gain = np.asarray(norm['scale'], np.float64) / np.sqrt(np.asarray(running['var'], np.float64) + 1e-5)
            matrix, bias = matrix * gain, (bias - np.asarray(running['mean'])) * gain + np.asarray(norm['bias'])
        matrices.append(matrix.astype(np.float32))
        biases.append(np.asarray(bias, np.float32))
    return Reducer('tldr', tuple(matrices), tuple(biases))

"""Invariance Propagation (Wang et al. 2020, https://arxiv.org/abs/2010.11694): neighbours' neighbours are positives."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import losses
from ...signature import Count, NonNegative, Positive, Share, Whole
from ..base import Method, mean_cosine, unit, weighted
from ..memory import begun_with, check_size, moved, padded, uniform_rows
from ..siamese import siamese

HIGHEST = jax.lax.Precision.HIGHEST


def nearest_others(z: Array, memory: Array, index: Array, *, near: int, count: int) -> Array:
    """The rows of the memory most alike to each embedding, its own left out, `[batch, near]`; no gradient passes."""
    z, memory = jax.lax.stop_gradient((unit(z), memory))
    similarity = jnp.matmul(z, memory.T, precision=HIGHEST)
    rows = jnp.arange(memory.shape[0])[None]
    return jax.lax.top_k(jnp.where((rows < count) & (rows != index[:, None]), similarity, -jnp.inf), near)[1]


def invprop(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    data_size: int,
    temperature: Positive = 0.07,
    momentum: Share = 0.5,
    background: Count = 4096,
    near: Count = 4,
    hops: Count = 3,
    hardest: Count = 50,
    invariance_weight: NonNegative = 0.6,
    start_steps: Whole = 0,
) -> Method:
    """InstDisc, and as further positives the examples a few steps away in the graph of nearest neighbours.

    Each example keeps its nearest neighbours in the memory as they were when it was last seen. Its candidates are the
    neighbours, theirs, and so on for some hops (repeats stand as often as they are reached); the least alike of them
    are the positives. Order of a step, as in the authors' code: embedding; both terms against memory and graph as they
    were; then the batch's neighbours and rows move. The mean over views, if there are several; the state follows the
    first. Before an example is first seen it is its own neighbour (the authors' graph begins at example 0, and is not
    used before the 31st epoch).

    The control draws each image's place in memory and graph from another image.

    Args:
      encoder, projector: flax modules. Paper's projector: 128, or an MLP.
      data_size: examples in the data set; `batch['index']` runs below it.
      temperature: τ. Authors: 0.07, 0.2 in the scripts.
      momentum: m of the memory. Authors: 0.5.
      background: rows in the denominators, at most all. Authors: 4096.
      near, hops: neighbours kept, and steps in the graph. Authors: 4 and 3.
      hardest: positives kept of the candidates. Authors: 50, 20 on CIFAR-10.
      invariance_weight: λ. Authors: 0.6.
      start_steps: steps before λ counts. Authors: those of 30 epochs.

    State: memory `[data_size, dim]` and neighbours `[data_size, near]`, rows padded to a multiple of 256.

    References:
      Wang et al. 2020, https://arxiv.org/abs/2010.11694, section 3.
    """
    check_size('invprop', data_size)
    if near >= data_size:
        raise ValueError(f'near={near} neighbours cannot be found among {data_size} examples')
    rows = padded(data_size)

    def start(key: Array, dim: int) -> dict[str, Array]:
        own = jnp.broadcast_to(jnp.arange(rows, dtype=jnp.int32)[:, None], (rows, near))
        return {'memory': uniform_rows(key, rows, dim), 'neighbours': own}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        views, index, held = outputs['embeddings'], batch['index'], extra['per_example']
        memory = held['memory']
        positives = losses.propagated(held['neighbours'], index, hops=hops)
        found = [
            losses.invariance_propagation_terms(
                z, memory, index, positives, temperature=temperature, background=background, hardest=hardest,
                count=data_size,
            )
            for z in views
        ]  # fmt: skip
        terms = jax.tree.map(lambda *values: sum(values) / len(values), *found)
        weight = invariance_weight * (batch['step'] >= start_steps)
        value = weighted(terms, instance=1.0, invariance=weight)
        nearest = nearest_others(views[0], memory, index, near=near, count=data_size)
        new = {
            'memory': moved(memory, index, views[0], momentum),
            'neighbours': held['neighbours'].at[index].set(nearest.astype(held['neighbours'].dtype)),
        }
        return value, (
            {**extra, 'per_example': new},
            {**terms, 'positive_cosine': mean_cosine(views[0], memory[index])},
        )

    base = siamese(encoder, projector, criterion)
    return base._replace(init=begun_with(base, start), views=1)

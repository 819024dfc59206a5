"""The untrained control: the same architecture before any training, with batch statistics adapted on train."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..methods import Method
from . import build
from .encoder import Encoder
from .run import Run

# How many batches of images adapt the statistics of an untrained encoder.
ADAPTING_BATCHES = 20


def adapt_statistics(method: Method, params: Any, extra: Any, batches: Any, views: Callable, *, seed: int) -> Any:
    """`extra` after the network part has seen `batches` without learning: the untrained encoder's control.

    An untrained network with batch statistics of its own data is a fair opponent; with the initial
    ones (mean 0, variance 1) it would be handicapped.
    """

    @jax.jit
    def one(params: Any, extra: Any, images: Array, index: Array, number: Array) -> Any:
        key = jax.random.fold_in(jax.random.key(seed), number)
        positions = jnp.arange(index.shape[0])
        seen, sampled = views(key, images, positions)
        batch = {'views': seen, 'index': index, 'view_params': sampled, 'step': jnp.zeros((), jnp.int32)}
        batch['keys'] = jax.vmap(lambda position: jax.random.fold_in(key, position))(positions)
        return method.embed(params, extra, batch, key)[1]

    for number, (images, index) in enumerate(batches):
        extra = one(params, extra, images, index, np.int32(number))
    return extra


def of_run(run: Run) -> Encoder:
    """The encoder before the first step, with batch statistics adapted on train."""
    state = run.start()
    count = min(max(1, run.epoch_steps), ADAPTING_BATCHES)
    batches = []
    for number in range(count):
        rows, indices = run.feed(number, 1)
        batch = rows['input'][indices[0]] if run.feed.resident else jax.tree.map(lambda x: x[0], rows['input'])
        batches.append((batch, indices[0]))
    extra = adapt_statistics(run.method, state.params, state.extra, batches, run.views, seed=run.config.seed)
    return Encoder(run.config, run.method, state.params, extra, 0)


def of_encoder(encoder: Encoder, images: np.ndarray) -> Encoder:
    """The same architecture before any training, with batch statistics adapted on images."""
    config, method = encoder.config, encoder.method
    prepare = build.build_preparation(config)
    params, extra = method.init(jax.random.key(config.seed), {'views': (prepare(images[:2]),)})
    size = min(config.evaluate.batch_size, len(images))
    starts = range(0, len(images) - size + 1, size)[:ADAPTING_BATCHES]
    batches = [(images[s : s + size], np.arange(s, s + size)) for s in starts]
    extra = adapt_statistics(
        method, params, extra, batches, lambda key, rows, positions: ((prepare(rows),), ({},)), seed=config.seed
    )
    return Encoder(config, method, params, extra, 0, channels=encoder.channels)

"""The untrained control: the same architecture before any training, with batch statistics adapted on train."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..data.sources import Source
from ..evals import even_draw
from ..methods import Method
from . import build, images
from .encoder import Encoder
from .run import Run

# How many batches of images adapt the statistics of an untrained encoder.
ADAPTING_BATCHES = 20


def adapt_statistics(method: Method, params: Any, extra: Any, batches: Any, views: Callable, *, seed: int) -> Any:
    """`extra` after the network part was applied to `batches` without learning: the untrained encoder's control.

    With the initial batch statistics (mean 0, variance 1) an untrained network would be a weaker control than
    with those of its own data.

    Args:
      method, params, extra: before training.
      batches: iterable of `(inputs [b, …], index [b])`, one held at a time.
      views: `(key, inputs, positions) -> (views, view_params)`.
      seed: of the keys.
    """

    @jax.jit
    def one(params: Any, extra: Any, inputs: Array, index: Array, number: Array) -> Any:
        key = jax.random.fold_in(jax.random.key(seed), number)
        positions = jnp.arange(index.shape[0])
        seen, sampled = views(key, inputs, positions)
        batch = {'views': seen, 'index': index, 'view_params': sampled, 'step': jnp.zeros((), jnp.int32)}
        batch['keys'] = jax.vmap(lambda position: jax.random.fold_in(key, position))(positions)
        return method.embed(params, extra, batch, key)[1]

    for number, (inputs, index) in enumerate(batches):
        extra = one(params, extra, inputs, index, np.int32(number))
    return extra


def of_run(run: Run) -> Encoder:
    """The encoder before the first step, with batch statistics adapted on train."""
    state = run.start()

    @jax.jit
    def first(inputs: Any, indices: Array) -> tuple[Any, Array]:
        chosen = indices[0] if run.feed.resident else 0
        return jax.tree.map(lambda x: x[chosen], inputs), indices[0]

    def batches() -> Iterator[tuple[Any, Array]]:
        for number in range(min(max(1, run.epoch_steps), ADAPTING_BATCHES)):
            rows, indices = run.feed(number, 1)
            yield first(rows['input'], indices)

    extra = adapt_statistics(run.method, state.params, state.extra, batches(), run.views, seed=run.config.seed)
    return Encoder(run.config, run.method, state.params, extra, 0, rank=len(run.image_shape))


def of_encoder(encoder: Encoder, source: Source) -> Encoder:
    """The same architecture before any training, with batch statistics adapted on images of a source.

    They are at most `ADAPTING_BATCHES` full batches of `evaluate.batch_size` images, drawn evenly from the classes
    where the source has more.
    """
    config, method = encoder.config, encoder.method
    prepare = build.build_preparation(config)
    size = min(config.evaluate.batch_size, len(source))
    rows = even_draw(source.labels, ADAPTING_BATCHES * size, seed=0)
    found = ((seen, numbers) for numbers, seen in images.batches(source, size, rows))
    first = next(found)
    seen = {'views': (prepare(first[0][:2]),), **({'reference': prepare(first[0])} if method.reference else {})}
    params, extra = method.init(jax.random.key(config.seed), seen)
    full = (batch for batch in itertools.chain([first], found) if len(batch[0]) == len(first[0]))

    def views(key: Array, rows: Any, positions: Array) -> tuple[Any, Any]:
        return (prepare(rows),) * method.views, ({},) * method.views

    extra = adapt_statistics(method, params, extra, full, views, seed=config.seed)
    return Encoder(config, method, params, extra, 0, channels=encoder.channels, rank=encoder.rank)

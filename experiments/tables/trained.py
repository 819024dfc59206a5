"""One run of a config from its first step to its last, in memory: for tables that need no workdir."""

from collections.abc import Callable
from typing import Any, NamedTuple

from selfsup import evals
from selfsup.methods import Method


class Trained(NamedTuple):
    """A finished run.

    Attributes:
      run: its objects; `run.data` holds the images.
      encoder: what was trained.
      state: after the last step, where it was kept.
    """

    run: Any
    encoder: Any
    state: Any = None


def train(resolved: Any, change: Callable[[Method], Method] | None = None) -> Trained:
    """Trains by a resolved config, on one device; nothing is measured or written.

    Args:
      resolved: the config.
      change: applied to its method, as in :class:`selfsup.engine.run.Run`.
    """
    from selfsup.engine.encoder import Encoder
    from selfsup.engine.run import Run

    run = Run(resolved, devices=1, change=change)
    state, step = run.start(), 0
    if run.method.refresh and run.method.refresh.needs_features:
        state = run.refresh(state, run.training_features(state))
    while step < run.total:
        count = run.next_chunk(step)
        state, _ = run.dispatch(state, *run.feed(step, count))
        step += count
        if run.refresh_steps and step % run.refresh_steps == 0 and step < run.total:
            state = run.refresh(state, run.training_features(state))
    encoder = Encoder(resolved, run.method, state.params, state.extra, step, rank=len(run.image_shape))
    return Trained(run, encoder, state)


def outputs(found: Trained, of: str = 'features') -> tuple[evals.Features, evals.Features]:
    """`features` or `embeddings` of the labelled training images and of the test images."""
    data = found.run.data
    train, test = (evals.Features(found.encoder.outputs(p.images())[of], p.labels) for p in (data.labelled, data.test))
    return train, test

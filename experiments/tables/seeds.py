"""Runs of one config that differ in seed and in values, trained side by side by one compiled program."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from selfsup.data.sampler import batch_indices
from selfsup.engine import build
from selfsup.engine.encoder import Encoder
from selfsup.engine.run import Run
from selfsup.engine.step import TrainState, count_views, init_state, make_step


class Together:
    """Trains `count` runs of a config at once, each the run that its own seed gives, to rounding.

    Unlike the members of a sweep, which share the order of the data and the views, these have the order of their own
    seed. Rows must be resident, and the method one without a refresh.

    Args:
      config: resolved; its seed is not used.
      fields: of the config, of which each run has a value of its own: those that a sweep can take as values, such as
        `method.weight`.
      count: of the runs.

    Attributes:
      run: the objects that they share.
    """

    def __init__(self, config: Any, fields: tuple[str, ...], count: int):
        self.run, self._config, self._fields, self._count = Run(config, devices=1), config, fields, count
        assert self.run.feed.resident and not self.run.method.refresh
        everything: Any = None  # the step counter is shared, so that what branches on it stays scalar
        axes = TrainState(step=everything, params=0, extra=0, opt_state=0, probe=0)
        reference = self.run.reference()
        self._reference = {} if reference is None else {'reference': self.run.prepare(reference)}
        self._begin = jax.jit(jax.vmap(self._begun, out_axes=axes))
        self._advance = jax.jit(
            jax.vmap(self._updated, in_axes=(0, 0, axes, None, 0), out_axes=(axes, 0)), donate_argnums=2
        )
        self.encoder = Encoder(config, self.run.method, None, None, self.run.total, rank=len(self.run.image_shape))

    def _parts(self, values: dict[str, Any]) -> Any:
        own = {name.removeprefix('method.'): value for name, value in values.items()}
        return build.build_method(self._config, steps=self.run.total, data_size=len(self.run.data.train), **own)

    def _begun(self, seed: Any, values: dict[str, Any]) -> TrainState:
        rows = jnp.zeros((2, *self.run.image_shape), self.run.data.train.spec.dtype)
        batch = {'views': self.run.views(jax.random.key(0), rows, jnp.arange(2))[0], **self._reference}
        return init_state(self._parts(values), self.run.optimizer, batch, seed=seed, classes=self.run.classes)

    def _updated(self, seed: Any, values: dict[str, Any], state: TrainState, data: dict, indices: Any) -> Any:
        config = self._config
        step = make_step(
            self._parts(values),
            self.run.optimizer,
            self.run.rate,
            self.run.views,
            probe_rate=config.probe.learning_rate,
            control=config.control,
            view_count=count_views(config.augment.views),
        )
        return step(state, {**jax.tree.map(lambda x: x[indices], data), 'index': indices}, seed)

    def train(self, seeds: list[int], values: dict[str, list[float]]) -> TrainState:
        """The final states, a leading axis of runs on all but the step.

        Args:
          seeds: one a run.
          values: of each of the fields, one a run.
        """
        config, run = self._config, self.run
        assert len(seeds) == self._count and set(values) == set(self._fields)
        given = {name: jnp.asarray(value, jnp.float32) for name, value in values.items()}
        numbers = jnp.asarray(seeds)
        state = self._begin(numbers, given)
        data = run.feed(0, 1)[0]
        for step in range(run.total):
            rows = [batch_indices(seed, step, 1, len(run.data.train), config.data.batch_size)[0] for seed in seeds]
            state, report = self._advance(numbers, given, state, data, jnp.asarray(np.stack(rows)))
            if not bool(jnp.all(report['finite'])):
                raise FloatingPointError(f'{config.method.name} is not finite at step {step}: {values}')
        return state

    def member(self, state: TrainState, number: int) -> Encoder:
        """The encoder of one run; it is valid until the next call."""
        params, extra = jax.tree.map(lambda x: x[number], (state.params, state.extra))
        self.encoder.params, self.encoder.extra = params, extra
        return self.encoder

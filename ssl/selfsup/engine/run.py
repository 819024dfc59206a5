"""Everything that a config is turned into before the first step.

Keys: step t uses fold_in(key(seed), t), example i of it fold_in(·, i); see `step` and `augment`.
Borders: dispatches hold `steps_per_call` steps and start at its absolute multiples, and checkpoints,
measurements and stops fall between them, so a resumed run repeats the uninterrupted one to the bit.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array
from ml_collections import ConfigDict

from .. import parallel
from ..errors import UserError
from ..methods import Method
from . import build
from .capacity import check_rows
from .checkpoint import shapes
from .controls import check_control
from .gradient import check_microbatches
from .monitor import make_monitor, monitored_rows
from .step import Seeded, TrainState, count_views, init_state, make_dispatch, make_refresh, make_step, root_key


class Run:
    """Everything that a config is turned into before the first step.

    Args:
      config: resolved and validated.
      devices: use only the first so many.
      mesh: what to compile for, in their place; it may be of devices that are not there. No image is read then, and
        the feed has shapes alone.
      change: applied to the method that the config names: a regulariser around its criterion, or a fault.
    """

    def __init__(
        self,
        config: ConfigDict,
        *,
        devices: int | None = None,
        mesh: Mesh | None = None,
        change: Callable[[Method], Method] | None = None,
    ):
        self.config = config
        self._change = change or (lambda method: method)
        self._described = mesh is not None
        self.data = build.open_data(config)
        self.mesh = mesh or parallel.data_mesh(devices)
        self.feed = build.build_feed(config, self.data.train, self.mesh, described=mesh is not None)
        self.epoch_steps = len(self.data.train) // config.data.batch_size
        self.total = config.train.epochs * self.epoch_steps
        self.chunk = config.train.steps_per_call or (1 if self.mesh.devices.flat[0].platform == 'cpu' else 20)
        self.views = build.build_views(config, self.data.train)
        self.prepare = build.build_preparation(config)
        self.image_shape = self.data.train.image_shape
        self.classes = self.data.train.num_classes
        try:
            self._build()
        except UserError:
            raise
        except (ValueError, TypeError) as error:
            named = f'method.name={config.method.name!r} with model.name={config.model.name!r}'
            raise UserError(f'{named} cannot be built: {str(error).splitlines()[0]}') from error

    def _build(self) -> None:
        config = self.config
        self.method = self._change(build.build_method(config, steps=self.total, data_size=len(self.data.train)))
        check_control(config, self.method, count_views(config.augment.views))
        refresh = self.method.refresh
        # Steps between two refreshes; 0 for a method without one.
        self.refresh_steps = round(refresh.every_epochs * self.epoch_steps) if refresh else 0
        self.optimizer, self.rate = build.build_optimizer(config, epoch_steps=self.epoch_steps)
        images = jax.ShapeDtypeStruct((2, *self.image_shape), self.data.train.spec.dtype)
        # Shapes alone: initial parameters are functions of the key, and views of absurd sizes cost nothing here.
        shapes_of_views, _ = jax.eval_shape(lambda x: self.views(jax.random.key(0), x, jnp.arange(2)), images)
        self.view_shapes = [v.shape[1:] for v in shapes_of_views]
        jax.eval_shape(self.prepare, images)

        def start(reference: Any, seed: Any) -> TrainState:
            batch = {'views': tuple(jnp.zeros(v.shape, v.dtype) for v in shapes_of_views)}
            if reference is not None:
                batch['reference'] = self.prepare(reference)
            return init_state(self.method, self.optimizer, batch, seed=seed, classes=self.classes)

        count = min(self.method.reference, len(self.data.train))
        rows = jax.ShapeDtypeStruct((count, *self.image_shape), self.data.train.spec.dtype) if count else None
        # The same program for every seed, so that one compilation, kept by the commands' cache, serves them all.
        seed = np.asarray(jax.random.key_data(root_key(config.seed)))
        if not self._described:
            seed = jax.device_put(seed, parallel.replicated(self.mesh))
        self.state_shapes = jax.eval_shape(start, rows, seed)
        check_microbatches(config, self.state_shapes.extra, self.mesh.shape['data'])
        c = config.parallel
        rules = parallel.fsdp(c.fsdp_least_bytes) if c.shard == 'fsdp' else parallel.REPLICATED
        shardings = parallel.state_sharding(self.mesh, self.state_shapes, rules)
        if not self._described:
            check_rows(config.method.name, self.state_shapes, shardings, list(self.mesh.local_devices))
        self.shapes = shapes(self.state_shapes, shardings)
        self._start = Seeded(jax.jit(start, out_shardings=shardings), seed)
        self.step = make_step(
            self.method,
            self.optimizer,
            self.rate,
            self.views,
            probe_rate=config.probe.learning_rate,
            control=config.control,
            view_count=count_views(config.augment.views),
            skip_nonfinite=config.train.on_nonfinite == 'skip',
            microbatches=config.train.microbatches,
            mesh=self.mesh,
        )
        keep = (refresh.encode if refresh else None) or self._evaluated_features
        self._features = jax.jit(
            lambda params, extra, images: keep(params, extra, self.prepare(images)),
            out_shardings=parallel.replicated(self.mesh),
        )
        if self.method.companions and not self.feed.resident:
            raise UserError(
                f'{config.method.name} draws views from other images of the set, which must be on the device: '
                f'data.feed=resident, with fewer images or more devices where they do not fit'
            )
        dispatch = make_dispatch(
            self.step,
            resident=self.feed.resident,
            shardings=shardings,
            companions=self.method.companions,
        )
        self.dispatch = Seeded(dispatch, seed)
        self.refresh = Seeded(make_refresh(self.method, self.optimizer, shardings=shardings), seed)

    def _evaluated_features(self, params: Any, extra: Any, inputs: Any) -> Array:
        return self.method.encode(self.method.network(params, extra), inputs)['features']

    def reference(self) -> np.ndarray | None:
        """The rows of the training set that the method's `init` sees, unprepared; None where it asks for none.

        Raises:
          UserError: where they are all the same.
        """
        if not self.method.reference:
            return None
        rows = build.reference_rows(self.data.train, self.method.reference)
        if (rows == rows[:1]).all():
            raise UserError(
                f'{self.config.method.name} has nothing to learn from {self.data.train.name}: its rows '
                f'{list(rows.shape)} are all the same'
            )
        return rows

    def start(self) -> TrainState:
        """The state before the first step."""
        return self._start(self.reference())

    def monitor(self) -> Callable[[TrainState], dict[str, Any]]:
        """What measures a state on the held-out images; see :func:`make_monitor`."""
        rows = monitored_rows(self.data.holdout.labels, self.config.monitor.max_samples)
        held = self.data.holdout.select(rows, 'monitored')
        return make_monitor(
            self.config,
            self.method,
            self.views,
            self.prepare,
            *held.arrays()[:2],
            state=self.state_shapes,
            mesh=self.mesh,
        )

    def training_features(self, state: TrainState) -> Array | None:
        """What a refresh sees of the training set unaugmented, `[examples, dim]` in its order, on every device.

        None unless the method's refresh needs them. Images are read and encoded `evaluate.batch_size` at a time.
        """
        if self.method.refresh is None or not self.method.refresh.needs_features:
            return None
        train, size = self.data.train, min(self.config.evaluate.batch_size, len(self.data.train))
        found = []
        for start in range(0, len(train), size):
            rows = np.arange(start, start + size) % len(train)  # one shape: the last batch is filled up from the front
            images = train.select(rows, 'features').arrays()[0]
            found.append(self._features(state.params, state.extra, images))
        return jnp.concatenate(found)[: len(train)]

    def next_chunk(self, step: int) -> int:
        """Steps of the dispatch that starts at `step`: up to the next multiple of the chunk, or the end.

        Multiples count from step 0, or from the last refresh of a method that has one: then no dispatch runs
        across a refresh.
        """
        span = self.refresh_steps or self.total
        within = step % span
        return min(self.chunk - within % self.chunk, span - within, self.total - step)

    def _begun(self, step: int) -> int:
        """Where the dispatch that ended at `step` had begun."""
        span = self.refresh_steps or max(self.total, step)
        within = (step - 1) % span
        return step - 1 - within % self.chunk

    def is_border(self, step: int, every_epochs: float) -> bool:
        """Whether a dispatch that ends at `step` is the first to end past a multiple of so many epochs."""
        every = max(round(every_epochs * self.epoch_steps), 1)
        return step // every > self._begun(step) // every or step == self.total


def banner(run: Run) -> None:
    """What is about to be run."""
    params = sum(x.size for x in jax.tree.leaves(run.state_shapes.params))
    views, unit = ', '.join('x'.join(map(str, shape)) for shape in run.view_shapes), run.data.train.spec.unit
    print(
        f'{run.config.method.name} on {run.config.data.source}: {len(run.data.train)} {unit} to train on, '
        f'{len(run.data.holdout)} held out, {len(run.data.test)} to test; views {views}\n'
        f'{params:,} parameters, {run.total} steps of {run.config.data.batch_size} {unit}, '
        f'{run.mesh.size} {jax.devices()[0].platform} device(s), {run.feed.__class__.__name__.lower()} data',
        flush=True,
    )

"""A run from config to report, top to bottom.

Order on start: the workdir's own newest readable checkpoint, else `init_from`, else from scratch.
Keys: step t uses fold_in(key(seed), t), example i of it fold_in(·, i); see `step` and `augment`.
Borders: dispatches hold `steps_per_call` steps and start at its absolute multiples, and checkpoints,
measurements and stops fall between them, so a resumed run repeats the uninterrupted one to the bit.
"""

import collections
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from .. import parallel
from ..config import to_json
from ..data.order import batch_indices
from ..errors import REQUEUE, UserError
from ..methods import Method
from . import build, initial, report, together, workdir
from .checkpoint import Checkpoints, shapes
from .encoder import Encoder
from .gradient import check_microbatches
from .monitor import collapsed, exhausted, make_monitor, measurements, raised, verdict
from .step import TrainState, adapt_statistics, count_views, init_state, make_dispatch, make_refresh, make_step
from .writer import Bar, Memory, Writer

IN_FLIGHT = 2  # dispatches that may be under way before the host waits for the oldest


class Run:
    """Everything that a config is turned into before the first step.

    Args:
      config: resolved and validated.
      devices: use only the first so many.
      change: applied to the method that the config names: a regulariser around its criterion, or a fault.
    """

    def __init__(
        self,
        config: ConfigDict,
        *,
        devices: int | None = None,
        change: Callable[[Method], Method] | None = None,
    ):
        self.config = config
        self._change = change or (lambda method: method)
        self.data = build.open_data(config)
        self.mesh = parallel.data_mesh(devices)
        self.feed = build.build_feed(config, self.data.train, self.mesh)
        self.epoch_steps = len(self.data.train) // config.data.batch_size
        self.total = config.train.epochs * self.epoch_steps
        self.chunk = config.train.steps_per_call or (1 if jax.default_backend() == 'cpu' else 20)
        self.views = build.build_views(config)
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
        self.optimizer, self.rate = build.build_optimizer(config, epoch_steps=self.epoch_steps)
        images = jax.ShapeDtypeStruct((2, *self.image_shape), jnp.uint8)
        # Shapes alone: initial parameters are functions of the key, and views of absurd sizes cost nothing here.
        shapes_of_views, _ = jax.eval_shape(lambda x: self.views(jax.random.key(0), x, jnp.arange(2)), images)
        self.view_shapes = [v.shape[1:] for v in shapes_of_views]
        jax.eval_shape(self.prepare, images)

        def start() -> TrainState:
            views = tuple(jnp.zeros(v.shape, v.dtype) for v in shapes_of_views)
            return init_state(self.method, self.optimizer, {'views': views}, seed=config.seed, classes=self.classes)

        self.state_shapes = jax.eval_shape(start)
        check_microbatches(config, self.state_shapes.extra, self.mesh.size)
        shardings = parallel.state_sharding(self.mesh, self.state_shapes)
        self.shapes = shapes(self.state_shapes, shardings)
        self.start = jax.jit(start, out_shardings=shardings)
        self.step = make_step(
            self.method,
            self.optimizer,
            self.rate,
            self.views,
            seed=config.seed,
            probe_rate=config.probe.learning_rate,
            control=config.control,
            view_count=count_views(config.augment.views),
            skip_nonfinite=config.train.on_nonfinite == 'skip',
            microbatches=config.train.microbatches,
            mesh=self.mesh,
        )
        self.dispatch = make_dispatch(self.step, resident=self.feed.resident)
        self.refresh = make_refresh(self.method, seed=config.seed, shardings=shardings)

    def monitor(self) -> Callable[[TrainState], dict[str, Any]]:
        """What measures a state on the held-out images; see :func:`make_monitor`."""
        count = min(len(self.data.holdout), self.config.monitor.max_samples)
        held = self.data.holdout.select(np.arange(count), 'monitored')
        return make_monitor(
            self.config,
            self.method,
            self.views,
            self.prepare,
            *held.arrays()[:2],
            state=self.state_shapes,
            mesh=self.mesh,
        )

    def next_chunk(self, step: int) -> int:
        """Steps of the dispatch that starts at `step`: up to the next multiple of the chunk, or the end.

        Multiples count from step 0, or from the epoch's start for a method that is refreshed between
        epochs: then no dispatch runs across the end of one.
        """
        span = self.epoch_steps if self.method.refreshes else self.total
        within = step % span
        return min(self.chunk - within % self.chunk, span - within, self.total - step)

    def _begun(self, step: int) -> int:
        """Where the dispatch that ended at `step` had begun."""
        span = self.epoch_steps if self.method.refreshes else max(self.total, step)
        within = (step - 1) % span
        return step - 1 - within % self.chunk

    def is_border(self, step: int, every_epochs: float) -> bool:
        """Whether a dispatch that ends at `step` is the first to end past a multiple of so many epochs."""
        every = max(round(every_epochs * self.epoch_steps), 1)
        return step // every > self._begun(step) // every or step == self.total


def check_finite(run: Run, root: Path, steps: np.ndarray, metrics: dict[str, np.ndarray]) -> None:
    """Stops at the first step whose loss or gradient was not finite, naming the terms and the images it saw."""
    bad = np.flatnonzero(metrics['finite'] == 0)
    if not len(bad) or run.config.train.on_nonfinite == 'skip':
        return
    step = int(steps[bad[0]])
    names = [k for k, v in metrics.items() if k != 'finite' and not np.isfinite(v[bad[0]])]
    seen = batch_indices(run.config.seed, step, 1, len(run.data.train), run.config.data.batch_size)[0].tolist()
    file = root / 'nonfinite.json'
    if together.is_first():
        file.write_text(json.dumps({'step': step, 'terms': names, 'indices': seen}) + '\n')
    raise UserError(
        f"step {step}: not finite: {', '.join(names)}; the last checkpoint is kept, and the numbers of its batch's "
        f'images are in {file}. Lower the learning rate, or set train.on_nonfinite=skip to leave such steps out'
    )


def banner(run: Run) -> None:
    """What is about to be run."""
    params = sum(x.size for x in jax.tree.leaves(run.state_shapes.params))
    views = ', '.join('x'.join(map(str, shape)) for shape in run.view_shapes)
    print(
        f'{run.config.method.name} on {run.config.data.source}: {len(run.data.train)} images to train on, '
        f'{len(run.data.holdout)} held out, {len(run.data.test)} to test; views {views}\n'
        f'{params:,} parameters, {run.total} steps of {run.config.data.batch_size} images, '
        f'{run.mesh.size} {jax.devices()[0].platform} device(s), {run.feed.__class__.__name__.lower()} data',
        flush=True,
    )


def train(config: ConfigDict, path: str, *, devices: int | None = None) -> int:
    """Trains (or goes on training) in a workdir, then evaluates and writes the report.

    Args:
      config: resolved and validated.
      path: the workdir.
      devices: use only the first so many.

    Returns:
      The exit code: 0 when finished, 75 when stopped by a signal or a budget after saving.
    """
    root, lock = workdir.hold(path)
    stop = together.Stop()
    try:
        return _train(config, root, stop, devices)
    finally:
        stop.restore()
        if lock is not None:
            lock.release()


def _train(config: ConfigDict, root: Path, stop: together.Stop, devices: int | None) -> int:
    run = Run(config, devices=devices)
    about = {
        'fingerprint': run.data.fingerprint,
        'image_shape': list(run.image_shape),
        'classes': run.classes,
        'steps_per_epoch': run.epoch_steps,
        'total_steps': run.total,
        'data_size': len(run.data.train),
    }
    together.check_same({'config': to_json(config), 'data': run.data.fingerprint})
    # Initial weights that do not fit are refused before the workdir belongs to this config.
    begun = None if together.from_first((root / 'config.json').exists) else initial.begin(run)
    together.from_first(lambda: workdir.claim(root, config, about))
    checkpoints = Checkpoints(root, keep=config.checkpoint.keep, best=config.checkpoint.best)
    restored = checkpoints.restore(run.shapes)
    step, state = restored or (0, begun or initial.begin(run))
    checkpoints.delete_after(step)
    written = Writer(root, step=step) if together.is_first() else None
    lines = together.from_first(lambda: written.lines if written else [])
    writer = written or Memory(lines)
    banner(run)
    if restored:
        print(f'going on from step {step}', flush=True)
    try:
        state, step, finished = _loop(run, root, state, step, writer, checkpoints, stop)
    finally:
        checkpoints.wait()
        checkpoints.close()
        writer.close()
    if not finished or stop.heard or (stop.asked and not together.several()):
        print(f'stopped at step {step} of {run.total}; run the same command to go on', flush=True)
        return REQUEUE
    if step < run.total:
        print(
            f'ended at step {step} of {run.total}: {config.checkpoint.best} has not bettered in '
            f'{config.monitor.patience} measurements (monitor.patience)',
            flush=True,
        )
    trained = Encoder(config, run.method, state.params, state.extra, step)
    trained, control = _alone(trained, run.mesh), _alone(untrained(run), run.mesh)

    def finish() -> None:
        report.finish(root, run.data, trained, control, writer.lines)

    together.first_works(lambda: stop.during(finish), stop, run.mesh)
    return REQUEUE if stop.asked or stop.heard else 0


def _alone(encoder: Encoder, mesh: Any) -> Encoder:
    """The encoder for one process of several, without what it keeps for each image, which is spread over them."""
    if not together.several():
        return encoder
    extra = {name: value for name, value in encoder.extra.items() if name != 'per_example'}
    params, extra = together.local((encoder.params, extra), mesh)
    return Encoder(encoder.config, encoder.method, params, extra, encoder.step)


def untrained(run: Run) -> Encoder:
    """The encoder before the first step, with batch statistics adapted on train."""
    state = run.start()
    count = min(max(1, run.epoch_steps), initial.ADAPTING_BATCHES)
    batches = []
    for number in range(count):
        rows, indices = run.feed(number, 1)
        batch = rows['image'][indices[0]] if run.feed.resident else jax.tree.map(lambda x: x[0], rows['image'])
        batches.append((batch, indices[0]))
    extra = adapt_statistics(run.method, state.params, state.extra, batches, run.views, seed=run.config.seed)
    return Encoder(run.config, run.method, state.params, extra, 0)


def _loop(
    run: Run,
    root: Path,
    state: TrainState,
    step: int,
    writer: Writer | Memory,
    checkpoints: Checkpoints,
    stop: together.Stop,
) -> tuple[TrainState, int, bool]:
    config = run.config
    monitor = run.monitor()
    warm = round(config.optimizer.warmup_epochs * run.epoch_steps)
    bar = Bar(run.total, step, config.data.batch_size)
    pending: collections.deque = collections.deque()
    begun, first, measured = time.monotonic(), step, {}
    skip = config.train.on_nonfinite == 'skip'
    last_waited = run.feed.waited
    ballot = together.Ballot(run.mesh, 2) if together.several() else None
    late = False

    def settle(limit: int) -> None:
        """Writes what the device has finished, until at most `limit` dispatches are outstanding."""
        nonlocal last_waited, measured, late
        while len(pending) > limit:
            start, count, metrics, numbers, vote = pending.popleft()
            metrics = jax.device_get(metrics)
            steps = np.arange(start, start + count)
            check_finite(run, root, steps, metrics)
            for row in np.flatnonzero((steps + 1) % config.train.log_every == 0):
                values = {k: float(v[row]) for k, v in metrics.items() if k != 'finite'}
                if skip and not metrics['finite'][row]:
                    values['skipped'] = 1.0
                writer.write(int(steps[row]) + 1, values)
            if numbers is not None:
                measured = {k: float(v) for k, v in jax.device_get(numbers).items()}
                writer.write(start + count, measured)
                heed(writer.lines, bar, stop=config.monitor.on_collapse == 'stop', warm=warm, half=run.total // 2)
            if (start + count) % config.train.log_every < count or start + count == run.total:
                timing = bar.update(start + count, float(metrics['loss'][-1]), run.feed.waited - last_waited)
                last_waited = run.feed.waited
                writer.time(start + count, **timing)
            if vote is not None:
                asked, over = jax.device_get(vote)
                stop.heard, late = stop.heard or bool(asked), late or bool(over)

    try:
        while step < run.total and not done(config, writer.lines):
            count = run.next_chunk(step)
            state, metrics = run.dispatch(state, *run.feed(step, count))
            step += count
            if run.method.refreshes and step % run.epoch_steps == 0 and step < run.total:
                state = run.refresh(state)
            numbers = monitor(state) if run.is_border(step, config.monitor.every_epochs) else None
            budget = config.train.stop_after_steps and step - first >= config.train.stop_after_steps
            minutes = config.train.stop_after_minutes
            over = bool(minutes) and time.monotonic() - begun >= 60 * minutes
            border = run.is_border(step, config.checkpoint.every_epochs)
            # Several processes end where all of them read the same votes.
            vote = ballot(stop.asked, over) if ballot else None
            pending.append((step - count, count, metrics, numbers, vote))
            ending = budget or (vote is None and (stop.asked or over))
            settle(0 if ending or border else IN_FLIGHT)
            ending = ending or stop.heard or late or (step < run.total and done(config, writer.lines))
            if ending or border:
                settle(0)
                checkpoints.save(step, state, measured)
            if ending:
                break
        settle(0)
    finally:
        bar.close()
    return state, step, step >= run.total or done(config, writer.lines)


def done(config: ConfigDict, lines: list[dict[str, float]]) -> bool:
    """Whether early stopping ends the run, by the measurements so far."""
    return exhausted(lines, name=config.checkpoint.best, patience=config.monitor.patience)


def heed(lines: list[dict[str, float]], bar: Bar, *, stop: bool, warm: int, half: int) -> None:
    """Says when the alarm is raised and when it falls silent, and stops the run where the config asks for it."""
    measured = measurements(lines)[-2:]
    if not measured:
        return
    before, now = ([False] + [raised(line, warm=warm, half=half) for line in measured])[-2:]
    sentence = f'step {measured[-1]["step"]}: {verdict(measured[-1])}'
    if stop and collapsed(lines, warm=warm, half=half):
        raise UserError(f"{sentence} monitor.on_collapse='stop' ends the run; the last checkpoint is kept")
    if now != before:
        bar.say(sentence)

"""A run from config to report, top to bottom.

Order on start: the workdir's own newest readable checkpoint, else that of `branch_from`, else `init_from`, else from
scratch.
"""

import collections
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from ..config import to_json
from ..data.sampler import batch_indices
from ..errors import REQUEUE, UserError
from . import branch, multihost, preemption, report, speed, untrained, warm_start, workdir
from .alarm import collapsed, exhausted, measurements, raised, verdict
from .checkpoint import Checkpoints
from .encoder import Encoder
from .loggers import Loggers, check_installed
from .monitor import scalars
from .run import Run, banner
from .step import TrainState
from .writer import Bar, Memory, Writer

IN_FLIGHT = 2  # dispatches that may be under way before the host waits for the oldest


def check_finite(run: Run, root: Path, steps: np.ndarray, metrics: dict[str, np.ndarray]) -> None:
    """Stops at the first step whose loss or gradient was not finite, naming the terms and the images it saw."""
    bad = np.flatnonzero(metrics['finite'] == 0)
    if not len(bad) or run.config.train.on_nonfinite == 'skip':
        return
    step = int(steps[bad[0]])
    names = [k for k, v in metrics.items() if k != 'finite' and not np.isfinite(v[bad[0]])]
    seen = batch_indices(run.config.seed, step, 1, len(run.data.train), run.config.data.batch_size)[0].tolist()
    file = root / 'nonfinite.json'
    if multihost.is_first():
        file.write_text(json.dumps({'step': step, 'terms': names, 'indices': seen}) + '\n')
    raise UserError(
        f"step {step}: not finite: {', '.join(names)}; the last checkpoint is kept, and the numbers of its batch's "
        f'images are in {file}. Lower the learning rate, or set train.on_nonfinite=skip to leave such steps out'
    )


def train(config: ConfigDict, path: str, *, devices: int | None = None, until: float = 0.0) -> int:
    """Trains (or goes on training) in a workdir, then evaluates and writes the report.

    Args:
      config: resolved and validated.
      path: the workdir.
      devices: use only the first so many.
      until: epochs after which this session ends, as by `train.stop_after_steps`; 0 is the end of the run.

    Returns:
      The exit code: 0 when finished, 75 when stopped by a signal or a budget after saving.
    """
    workdir.check_apart(path, config.data.source)
    root, lock = workdir.hold(path)
    stop = preemption.Stop()
    try:
        with stop.outlasting_readers():
            return _train(config, root, stop, devices, until)
    finally:
        stop.restore()
        if lock is not None:
            lock.release()


def about_run(run: Run) -> dict[str, Any]:
    """What config.json says of a run besides its config."""
    return {
        'fingerprint': run.data.fingerprint,
        'image_shape': list(run.image_shape),
        'classes': run.classes,
        'steps_per_epoch': run.epoch_steps,
        'total_steps': run.total,
        'data_size': len(run.data.train),
    }


def _train(config: ConfigDict, root: Path, stop: preemption.Stop, devices: int | None, until: float) -> int:
    check_installed(config.log.to)
    run = Run(config, devices=devices)
    multihost.check_same({'config': to_json(config), 'data': run.data.fingerprint})
    # Initial weights that do not fit are refused before the workdir belongs to this config.
    begun = None if multihost.from_first((root / 'config.json').exists) else _begin(run)
    multihost.from_first(lambda: workdir.claim(root, config, about_run(run)))
    checkpoints = Checkpoints(root, keep=config.checkpoint.keep, best=config.checkpoint.best)
    restored = checkpoints.restore(run.shapes)
    if restored is None and multihost.from_first((root / 'results.json').exists):
        raise UserError(
            f'{root} holds the results of a run whose checkpoints are gone, and training anew would replace them; use '
            f'another --workdir, or move results.json away'
        )
    step, state = restored or begun or _begin(run)
    checkpoints.delete_after(step)
    if step and not restored and multihost.is_first():
        branch.copy_metrics(run, root, step)
    written = Writer(root, step=step, loggers=Loggers(root, config)) if multihost.is_first() else None
    lines = multihost.from_first(lambda: written.lines if written else [])
    writer = written or Memory(lines)
    banner(run)
    note = report.label_note(run.data)
    if note:
        print(note, flush=True)
    if step:
        print(f'going on from step {step}{"" if restored else f" of {config.branch_from}"}', flush=True)
    pause = min(round(until * run.epoch_steps) or run.total, run.total)
    if step < pause:
        print('compiling the step; its first results take a while', flush=True)
    try:
        state, step, finished = _loop(run, root, state, step, writer, checkpoints, stop, pause)
        checkpoints.wait()
    finally:
        checkpoints.close()
        writer.close()
    if not finished or stop.heard or (stop.asked and not multihost.several()):
        print(f'stopped at step {step} of {run.total}; run the same command to go on', flush=True)
        return REQUEUE
    if step < run.total:
        print(
            f'ended at step {step} of {run.total}: {config.checkpoint.best} has not bettered in '
            f'{config.monitor.patience} measurements (monitor.patience)',
            flush=True,
        )
    return _report(run, root, state, step, writer, stop)


def _begin(run: Run) -> tuple[int, TrainState]:
    """Where a run without a checkpoint begins: its step and state."""
    return branch.begin(run) or (0, warm_start.begin(run))


def _report(run: Run, root: Path, state: TrainState, step: int, writer: Writer | Memory, stop: preemption.Stop) -> int:
    """The evaluation and the report, which process 0 makes: the exit code."""
    trained = Encoder(run.config, run.method, state.params, state.extra, step, rank=len(run.image_shape))
    if multihost.is_first():
        print('evaluating the encoder, its untrained state and the raw input', flush=True)
    trained, control = _alone(trained, run.mesh), _alone(untrained.of_run(run), run.mesh)

    def finish() -> None:
        report.finish(root, run.data, trained, control, writer.lines)

    preemption.first_works(lambda: stop.during(finish), stop, run.mesh)
    return REQUEUE if stop.asked or stop.heard else 0


def _alone(encoder: Encoder, mesh: Any) -> Encoder:
    """The encoder for one process of several, without what it keeps for each image, which is spread over them."""
    if not multihost.several():
        return encoder
    extra = {name: value for name, value in encoder.extra.items() if name != 'per_example'}
    params, extra = multihost.local((encoder.params, extra), mesh)
    return Encoder(encoder.config, encoder.method, params, extra, encoder.step, rank=encoder.rank)


class _Results:
    """Results of dispatches on their way from the devices; each is checked, written and shown when it is there.

    Attributes:
      measured: numbers of the last measurement.
      late: the clock of some process has run out.
    """

    def __init__(self, run: Run, root: Path, step: int, writer: Writer | Memory, stop: preemption.Stop):
        self._run, self._root, self._writer, self._stop = run, root, writer, stop
        self._pending: collections.deque = collections.deque()
        self._waited = run.feed.waited
        self.bar = Bar(run.total, step, run.config.data.batch_size, speed.peak_share(run))
        self.measured: dict[str, float] = {}
        self.late = False

    def add(self, start: int, count: int, metrics: Any, numbers: Any, vote: Any) -> None:
        """A dispatch of `count` steps from `start`: its metrics, the measurement after it and the vote, if any."""
        self._pending.append((start, count, metrics, numbers, vote))

    def settle(self, limit: int) -> None:
        """Writes what the devices have finished, until at most `limit` dispatches are outstanding."""
        while len(self._pending) > limit:
            start, count, metrics, numbers, vote = self._pending.popleft()
            metrics = jax.device_get(metrics)
            self._write(start, count, metrics)
            if numbers is not None:
                self._measure(start + count, jax.device_get(numbers))
            self._show(start, count, metrics)
            if vote is not None:
                asked, over = jax.device_get(vote)
                self._stop.heard, self.late = self._stop.heard or bool(asked), self.late or bool(over)

    def _write(self, start: int, count: int, metrics: dict[str, np.ndarray]) -> None:
        c = self._run.config.train
        steps = np.arange(start, start + count)
        check_finite(self._run, self._root, steps, metrics)
        # The last step too: a run shorter than that has no loss otherwise.
        for row in np.flatnonzero(((steps + 1) % c.log_every == 0) | (steps + 1 == self._run.total)):
            values = {k: float(v[row]) for k, v in metrics.items() if k != 'finite'}
            if c.on_nonfinite == 'skip' and not metrics['finite'][row]:
                values['skipped'] = 1.0
            self._writer.write(int(steps[row]) + 1, values)

    def _measure(self, step: int, numbers: dict[str, Any]) -> None:
        config = self._run.config
        self.measured = scalars(numbers)
        self._writer.write(step, self.measured)
        warm = round(config.optimizer.warmup_epochs * self._run.epoch_steps)
        stop = config.monitor.on_collapse == 'stop'
        heed(self._writer.lines, self.bar, stop=stop, warm=warm, half=self._run.total // 2)

    def _show(self, start: int, count: int, metrics: dict[str, np.ndarray]) -> None:
        step, waited = start + count, self._run.feed.waited
        if step % self._run.config.train.log_every < count or step == self._run.total:
            timing = self.bar.update(step, float(metrics['loss'][-1]), waited - self._waited)
            self._waited = waited
            self._writer.time(step, **timing)


def _loop(
    run: Run,
    root: Path,
    state: TrainState,
    step: int,
    writer: Writer | Memory,
    checkpoints: Checkpoints,
    stop: preemption.Stop,
    pause: int,
) -> tuple[TrainState, int, bool]:
    """Dispatches until the run, or this session of it, ends: the state, its step, and whether the run has ended."""
    config, begun, first = run.config, time.monotonic(), step
    monitor = run.monitor()
    results = _Results(run, root, step, writer, stop)
    ballot = multihost.Ballot(run.mesh, 2) if multihost.several() else None
    try:
        if step == 0 and run.method.refresh and run.method.refresh.needs_features:
            state = run.refresh(state, run.training_features(state))
        while step < pause and not done(config, writer.lines):
            count = run.next_chunk(step)
            state, metrics = run.dispatch(state, *run.feed(step, count))
            step += count
            if run.refresh_steps and step % run.refresh_steps == 0 and step < run.total:
                state = run.refresh(state, run.training_features(state))
            numbers = monitor(state) if run.is_border(step, config.monitor.every_epochs) else None
            spent = config.train.stop_after_steps and step - first >= config.train.stop_after_steps
            budget = spent or pause <= step < run.total
            minutes = config.train.stop_after_minutes
            over = bool(minutes) and time.monotonic() - begun >= 60 * minutes
            border = run.is_border(step, config.checkpoint.every_epochs)
            # Several processes end where all of them read the same votes.
            vote = ballot(stop.asked, over) if ballot else None
            results.add(step - count, count, metrics, numbers, vote)
            ending = budget or (vote is None and (stop.asked or over))
            results.settle(0 if ending or border else IN_FLIGHT)
            ending = ending or stop.heard or results.late or (step < run.total and done(config, writer.lines))
            if ending or border:
                results.settle(0)
                checkpoints.save(step, state, results.measured)
            if ending:
                break
        results.settle(0)
    finally:
        results.bar.close()
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

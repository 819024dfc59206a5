"""Metrics to `metrics.jsonl` and the loggers; timings to `timing.jsonl`; a progress bar."""

import collections
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ..files import by_session, json_line, placed, read_jsonl, timings
from .loggers import Loggers


class Writer:
    """Appends lines of metrics, which are functions of config, seed and step alone; times go elsewhere.

    Args:
      workdir: folder of the run.
      step: the step resumed from; lines of later steps are cut off, because the run writes them again.
      loggers: get every line too.

    Attributes:
      lines: of metrics so far.
      session: the number of this session of the run, from 1; timings carry it.
    """

    def __init__(self, workdir: Path, *, step: int, loggers: Loggers | None = None):
        file = workdir / 'metrics.jsonl'
        kept = [line for line in read_jsonl(file) if line['step'] <= step]
        with placed(file) as temporary:
            temporary.write_text(''.join(map(json_line, kept)))
        self.lines = kept
        self._metrics = file.open('a')
        times = workdir / 'timing.jsonl'
        self.session = len(by_session(timings(times))) + 1
        _end_line(times)
        self._timing = times.open('a')
        self._loggers = loggers

    def write(self, step: int, values: dict[str, float]) -> None:
        """One line; every value a number, null in the file where it is not finite."""
        line = {'step': step, **values}
        self.lines.append(line)
        self._metrics.write(json_line(line))
        self._metrics.flush()
        if self._loggers:
            self._loggers.log(step, values)

    def time(self, step: int, **values: float) -> None:
        """One line of timings, which also gets `session`."""
        self._timing.write(
            json_line({'step': step, 'session': self.session, **{k: round(v, 4) for k, v in values.items()}})
        )
        self._timing.flush()

    def close(self) -> None:
        self._metrics.close()
        self._timing.close()
        if self._loggers:
            self._loggers.close()


def _end_line(file: Path) -> None:
    """Cuts off a last line that a killed session did not finish: the next one would be written behind it."""
    if file.exists():
        content = file.read_bytes()
        whole = content[: content.rfind(b'\n') + 1]
        if len(whole) < len(content):
            with placed(file) as temporary:
                temporary.write_bytes(whole)


class Memory:
    """In the place of a :class:`Writer` where another process writes: the lines alone, which decide when a run ends."""

    def __init__(self, lines: list[dict[str, Any]]):
        self.lines = lines

    def write(self, step: int, values: dict[str, float]) -> None:
        self.lines.append({'step': step, **values})

    def time(self, step: int, **values: float) -> None:
        """Nothing is timed twice."""

    def close(self) -> None:
        """There is no file."""


SPAN = 1.0  # seconds over which a rate is measured, at least


class Bar:
    """Step, loss, images/s, time left and the share of time waiting for data, on one line.

    On a terminal it is a live bar; elsewhere a line is printed about every tenth of the run. `peak_share` is the
    share of the chips' peak FLOP/s for one image a second, 0 where it is not known (:mod:`.speed`).
    """

    def __init__(self, total: int, start: int, batch_size: int, peak_share: float = 0.0):
        self.total, self.batch_size, self.start, self.peak_share = total, batch_size, start, peak_share
        self._console = Console()
        self._live = self._console.is_terminal
        self._begun, self._printed = time.perf_counter(), start
        # (time, step, seconds waited so far) of recent calls, the oldest of which rates are measured from.
        self._recent = collections.deque([(self._begun, start, 0.0)])
        if self._live:
            columns = (
                TextColumn('{task.completed:.0f}/{task.total:.0f}'),
                BarColumn(bar_width=30),
                TextColumn('{task.description}'),
                TimeRemainingColumn(),
            )
            self._progress = Progress(*columns, console=self._console, transient=False)
            self._task = self._progress.add_task('', total=total, completed=start)
            self._progress.start()

    def update(self, step: int, loss: float, waited: float) -> dict[str, float]:
        """Shows the state of the run; returns the timings since the last call that is at least `SPAN` old.

        Results of several dispatches can arrive at once, so that the time between two calls alone says nothing.

        Args:
          step: steps done.
          loss: of the last one.
          waited: seconds that the run waited for data since the last call.
        """
        now = time.perf_counter()
        total = self._recent[-1][2] + waited
        while len(self._recent) > 1 and now - self._recent[1][0] >= SPAN:
            self._recent.popleft()
        then, before, had = self._recent[0]
        self._recent.append((now, step, total))
        elapsed = max(now - then, 1e-9)
        rate = (step - before) * self.batch_size / elapsed
        share = min((total - had) / elapsed, 1.0)
        timing = {'images_per_second': rate, 'waiting_share': share, 'seconds': now - self._begun}
        text = f'loss {loss:.4f}  {rate:,.0f} images/s  waiting {timing["waiting_share"]:.0%}'
        if self.peak_share:
            timing['peak_share'] = rate * self.peak_share
            text += f'  {timing["peak_share"]:.1%} of peak'
        if self._live:
            self._progress.update(self._task, completed=step, description=text)
        elif step - self._printed >= self.total / 10 or step >= self.total:
            left = (now - self._begun) / max(step - self.start, 1) * (self.total - step)
            print(f'step {step}/{self.total}  {text}  {left:.0f} s left', flush=True)
            self._printed = step
        return timing

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        if self._live:
            self._progress.console.print(text, markup=False, highlight=False)
        else:
            print(text, flush=True)

    def close(self) -> None:
        if self._live:
            self._progress.stop()

"""The speed-run: seconds to a linear probe of 97 % on digits with ten labels per class; rules in docs/speedrun.md.

    python -m experiments.tables.speedrun --workdir=runs/speedrun [speedrun/digits] [--seeds=20] [--by=NAME]

Trains a config so many times, each seed's seconds from the first step to the last, compilation told apart, and probes
it at its end. Seeds that are done are kept. Writes WORKDIR/<config>.json: scores, times, the config resolved and the
text of its file; docs/speedrun.json holds such entries.
"""

import datetime
import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from selfsup import cli, config, errors
from selfsup.config import shipped

USAGE = 'usage: python -m experiments.tables.speedrun --workdir=FOLDER [CONFIG] [--seeds=20] [--by=NAME] [--config.x=y]'
TARGET = 97.0  # per cent, the mean over seeds
LABELS = 10  # per class
LEAST_SEEDS = 20  # of a record
SCORE = f'linear_{LABELS}'
Entry = dict[str, Any]


def counts(run: Any) -> set[int]:
    """The numbers of steps of a run's dispatches, each of which is a program of its own."""
    found, step = set(), 0
    while step < run.total:
        found.add(run.next_chunk(step))
        step += run.next_chunk(step)
    return found


def timed(resolved: ConfigDict) -> dict[str, Any]:
    """One seed: seconds of compilation and of training, by the clock and the processor, and the scores at its end.

    The programs run once on a state that is thrown away before the clock starts, so that neither compilation nor the
    first placement of the data is in the seconds. Nothing is measured, drawn or written while they run.
    """
    from selfsup import evals
    from selfsup.engine.encoder import Encoder
    from selfsup.engine.run import Run

    begun = time.perf_counter()
    run = Run(resolved)
    if run.method.refresh:
        raise errors.UserError(f'{resolved.method.name} is refreshed between epochs, which a speed-run does not do')
    for count in sorted(counts(run)):
        jax.block_until_ready(run.dispatch(run.start(), *run.feed(0, count))[0])
    state, step = jax.block_until_ready(run.start()), 0
    compiled = time.perf_counter() - begun
    clock, processor = time.perf_counter(), time.process_time()
    while step < run.total:
        count = run.next_chunk(step)
        state, _ = run.dispatch(state, *run.feed(step, count))
        step += count
    jax.block_until_ready(state)
    seconds, processor = time.perf_counter() - clock, time.process_time() - processor
    encoder = Encoder(resolved, run.method, state.params, state.extra, step, rank=len(run.image_shape))
    train, test = (evals.Features(encoder(part.images()), part.labels) for part in (run.data.labelled, run.data.test))
    scores = evals.linear_probe(train, test, label_counts=(LABELS,))
    return {
        'compilation': round(compiled, 2),
        'seconds': round(seconds, 3),
        'processor': round(processor, 3),
        'images': step * resolved.data.batch_size,
        **{name: round(float(value), 5) for name, value in scores.items()},
    }


def conditions() -> dict[str, str]:
    """What the times were measured on."""
    from selfsup.engine.workdir import git_commit

    device = jax.devices()[0]
    kind = f'{len(os.sched_getaffinity(0))} cores, {platform.machine()}' if device.platform == 'cpu' else ''
    return {
        'device': f'{device.device_kind} ({kind})' if kind else f'{jax.device_count()} x {device.device_kind}',
        'jax': jax.__version__,
        'git': git_commit(),
        'date': datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def run_all(file: str, overrides: list[str], seeds: int, folder: Path) -> Entry:
    """The entry of a config after all its seeds, those that are there already included."""
    source = shipped.find(file).read_text(encoding='utf-8')
    resolved = config.load(file, overrides)
    entry: Entry = {'source': source, 'overrides': overrides, 'config': json.loads(config.to_json(resolved))}
    entry['config'].pop('seed')
    path = folder / f'{Path(file).stem}.json'
    if path.exists():
        before = json.loads(path.read_text())
        if before['config'] != entry['config']:
            raise errors.UserError(f'{path} is of another config; give another --workdir')
        entry = {**entry, **{name: before[name] for name in ('conditions', 'seeds')}}
    entry = {'conditions': conditions(), 'seeds': {}, **entry}
    for seed in range(1, seeds + 1):
        if str(seed) not in entry['seeds']:
            entry['seeds'][str(seed)] = timed(config.load(file, [*overrides, f'seed={seed}']))
            path.write_text(json.dumps(entry, indent=1) + '\n')
            print(f'seed {seed}: {json.dumps(entry["seeds"][str(seed)])}', flush=True)
    return entry


def scores(entry: Entry) -> np.ndarray:
    """The score of every seed, in per cent."""
    return 100 * np.array([seed[SCORE] for seed in entry['seeds'].values()])


def holds(entry: Entry) -> bool:
    """Whether an entry is a record by the rules: enough seeds, and their mean reaches the target."""
    return len(entry['seeds']) >= LEAST_SEEDS and bool(scores(entry).mean() >= TARGET)


def median(entry: Entry, name: str) -> float:
    return float(statistics.median(seed[name] for seed in entry['seeds'].values()))


def row(name: str, entry: Entry) -> str:
    """One line of the table of records."""
    found = scores(entry)
    error = f' ± {found.std(ddof=1) / np.sqrt(len(found)):.2f}' if len(found) > 1 else ''
    cells = (
        name,
        entry.get('by', ''),
        entry['conditions']['date'],
        entry['conditions']['device'],
        f'{median(entry, "seconds"):.1f}',
        f'{median(entry, "processor"):.1f}',
        f'{median(entry, "compilation"):.1f}',
        f'{median(entry, "images"):,.0f}',
        f'{found.mean():.2f}{error}',
        f'{100 * np.mean(found >= TARGET):.0f} %',
        str(len(found)),
        'yes' if holds(entry) else 'no',
    )
    return '| ' + ' | '.join(cells) + ' |'


COLUMNS = (
    'config', 'by', 'date', 'device', 'seconds', 'processor seconds', 'compilation', 'images seen',
    'linear, 10 labels/class', 'seeds that reach it', 'seeds', 'a record',
)  # fmt: skip


def markdown(entries: dict[str, Entry]) -> str:
    """The table: records first, then what fell short; the fewest processor seconds first."""
    if not entries:
        return 'No entry yet.\n'
    order = sorted(entries.items(), key=lambda item: (not holds(item[1]), median(item[1], 'processor')))
    head = [f'| {" | ".join(COLUMNS)} |', '| --- ' * len(COLUMNS) + '|']
    return '\n'.join([*head, *(row(name, entry) for name, entry in order)]) + '\n'


def main(arguments: list[str]) -> int:
    values, overrides = cli.parse(arguments, {'': [], 'workdir': None, 'seeds': str(LEAST_SEEDS), 'by': ''}, USAGE)
    names = values[''] or ['speedrun/digits']
    if len(names) > 1:
        raise errors.UserError(f'one config at a time, not {" and ".join(names)}')
    seeds = cli.integer('seeds', values['seeds'])
    cli.prepare()
    folder = Path(values['workdir'])
    folder.mkdir(parents=True, exist_ok=True)
    entry = run_all(names[0], overrides, seeds, folder)
    if values['by']:
        entry['by'] = values['by']
        (folder / f'{Path(names[0]).stem}.json').write_text(json.dumps(entry, indent=1) + '\n')
    print(markdown({Path(names[0]).stem: entry}))
    return 0


if __name__ == '__main__':
    errors.command(main)()

"""Runs killed (SIGKILL) at random moments and started again: are their results those of runs left alone?

    python stress/kill.py --kills=50
    python stress/kill.py --kills=50 --signal=TERM      # asked to leave, as a scheduler does: how soon do they?

Small networks on digits, one run after another over methods with every kind of state (queue, momentum network,
prototypes, memory of clusters) and both ways of feeding data, with augmentation on and a checkpoint at every
fourth step. Each attempt is killed after a time drawn uniformly from the length of an uninterrupted attempt,
so kills fall into start, compilation, training, writing of checkpoints, evaluation and report. A run is equal if
every number of its last checkpoint and every byte of `metrics.jsonl` and `results.json` is that of the run left alone.
A run asked to leave must do so with exit code 75 (or as the signal itself has it, before the run began to listen).
"""

import argparse
import collections
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
COMMON = (
    'model.widths=(8, 16)', 'projector.widths=(32, 16)', 'train.epochs=12', 'data.batch_size=320',
    'optimizer.warmup_epochs=1', 'train.log_every=1', 'monitor.every_epochs=1', 'monitor.max_samples=64',
    'checkpoint.every_epochs=1', 'evaluate.label_draws=1', 'evaluate.label_counts=()',
)  # fmt: skip
RUNS = (
    ('vicreg', ()),
    ('moco_v2', ('method.queue=640', 'method.groups=4')),
    ('byol', ('predictor.widths=(32, 16)', 'data.feed=streaming')),
    ('swav', ('method.queue=640',)),
    ('deepcluster_v2', ()),
    ('dino', ('data.feed=streaming', 'data.workers=1')),
    ('nnclr', ('method.queue=640', 'predictor.widths=(32, 16)')),
    ('tico', ()),
)

EXTRA: list[str] = []  # options of every command


def command(method: str, overrides: tuple[str, ...], workdir: Path) -> list[str]:
    config = ROOT / 'experiments' / 'digits' / f'{method}.py'
    fields = [f'--config.{field}' for field in (*COMMON, *overrides)] + EXTRA
    return [sys.executable, '-m', 'selfsup.train', f'--config={config}', f'--workdir={workdir}', *fields]


def attempt(arguments: list[str], delay: float | None, what: int = signal.SIGKILL) -> tuple[bool, str, float]:
    """One process, sent a signal after `delay` seconds: whether it ended by itself, its output, how soon it left."""
    left = 0.0
    with tempfile.TemporaryFile('w+') as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = process.wait(delay)
        except subprocess.TimeoutExpired:
            started = time.monotonic()
            os.killpg(process.pid, what)
            code, left = process.wait(), time.monotonic() - started
            code = None if code in (75, -what) else code
        log.seek(0)
        text = log.read()
    if code:
        raise SystemExit(f'a run ended with code {code}:\n{text}')
    return code == 0, text, left


def phase(text: str, workdir: Path) -> str:
    """Where a killed attempt was, from its output and its folder."""
    if any('.orbax-checkpoint-tmp' in p.name for p in (workdir / 'checkpoints').glob('*')):
        return 'writing a checkpoint'
    if 'step 48/48' in text:
        return 'evaluation'
    return 'training' if 'parameters' in text else 'start'


def contents(workdir: Path) -> dict[str, Any]:
    """Every number of the newest checkpoint, and the files that are functions of config and seed."""
    import jax
    import numpy as np
    from selfsup.engine import encoder
    from selfsup.engine.checkpoint import Checkpoints
    from selfsup.engine.run import Run

    run = Run(encoder.read_config(workdir), devices=1)
    checkpoints = Checkpoints(workdir)
    found = checkpoints.restore(run.shapes)
    checkpoints.close()
    assert found is not None
    leaves = jax.tree_util.tree_leaves_with_path(found[1])
    state = {jax.tree_util.keystr(path): np.asarray(leaf).tobytes() for path, leaf in leaves}
    return {'step': found[0], **state, **{f: (workdir / f).read_bytes() for f in ('metrics.jsonl', 'results.json')}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=50)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--signal', choices=('KILL', 'TERM', 'INT'), default='KILL')
    parser.add_argument('--deterministic', action='store_true', help='deterministic kernels, for GPUs')
    options = parser.parse_args()
    EXTRA.extend(['--deterministic'] * options.deterministic)
    what = getattr(signal, f'SIG{options.signal}')
    dice, killed, phases = random.Random(options.seed), 0, collections.Counter()
    equal, harmless, lines, times = 0, 0, [], collections.defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        whole: dict[str, tuple[float, dict[str, Any]]] = {}
        while killed < options.kills:
            number = len(lines)
            method, overrides = RUNS[number % len(RUNS)]
            if method not in whole:
                alone = Path(folder) / method / 'alone'
                attempt(command(method, overrides, alone), None)  # compiles; the next attempts find its programs
                started = time.monotonic()
                again = Path(folder) / method / 'again'
                attempt(command(method, overrides, again), None)
                whole[method] = time.monotonic() - started, contents(alone)
                if contents(again) != whole[method][1]:
                    raise SystemExit(f'{method}: two runs left alone differ')
            length, wanted = whole[method]
            workdir, kills = Path(folder) / method / f'killed{number}', 0
            while True:
                delay = dice.uniform(0, length) if killed + kills < options.kills else None
                ended, text, left = attempt(command(method, overrides, workdir), delay, what)
                if ended:
                    break
                kills += 1
                phases[phase(text, workdir)] += 1
                times[phase(text, workdir)].append(left)
            found = contents(workdir)
            different = [name for name in wanted if found.get(name) != wanted[name]]
            killed += kills
            equal, harmless = equal + (not different), harmless + (0 if different else kills)
            lines.append(f'{method}, {kills} kills: {"equal" if not different else f"differs in {different[:3]}"}')
            print(lines[-1], flush=True)
    print('kills during: ' + ', '.join(f'{name} {count}' for name, count in phases.most_common()))
    if options.signal != 'KILL':
        for name, seconds in times.items():
            print(
                f'left during {name} after {statistics.median(seconds):.1f} s (median), {max(seconds):.1f} s (longest)'
            )
    print(f'{harmless} of {killed} kills left no trace; {equal} of {len(lines)} runs equal to the bit')
    return 0 if harmless == killed else 1


if __name__ == '__main__':
    sys.exit(main())

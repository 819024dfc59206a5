"""Turns time on a GPU into numbers: slices that each stand alone and end within nine minutes by default.

    python benchmarks/gpu_hour.py check speed --out=runs/gpu       # some 5 minutes
    python benchmarks/gpu_hour.py kill --out=runs/gpu
    python benchmarks/gpu_hour.py train --out=runs/gpu             # again and again: it goes on where it stopped
    python benchmarks/gpu_hour.py check speed kill train --out=/tmp/toy --toy    # on any machine, small

check: golden values of losses, diagnostics and augmentations, computed on the device (the tests' own files). speed:
images/s of steps, ours beside PyTorch's eager and compiled, and of whole runs with augmentation; shares of the
kernels' time by scope. All programs compile side by side; then each is timed alone. kill: runs killed by SIGKILL whose
ends must be those of runs left alone, to the bit. train: CIFAR-10 by SimCLR, with online probe, and with k-NN and
offline probe when it ends.
Every slice leaves `OUT/<slice>.json`; the exit code is 1 where one fails.
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Views are cut on the device, from uint8 images that are there already.
_224 = ['data.image_size=256', 'data.crop=device', 'data.feed=resident', 'data.workers=0']
# Network -> config, methods, overrides, side of the stored images, how many of them.
RUNS: dict[str, tuple[str, tuple[str, ...], list[str], int, int]] = {
    'resnet18': ('cifar10/{}.py', ('simclr', 'byol', 'vicreg', 'dino'), [], 32, 10_240),
    'resnet50': ('imagenet/{}.py', ('simclr', 'moco_v2', 'vicreg', 'barlow_twins'), _224, 256, 2_048),
    'vit_s': ('imagenet/{}.py', ('simclr', 'mae'), [*_224, 'model.name=vit_s'], 256, 2_048),
}
GOLDEN = ('test_losses.py', 'test_losses_each.py', 'test_augment_golden.py', 'test_diagnostics.py')
READY = 0.7  # share of the time after which what has not compiled is left out
TOY_GOLDEN = 'test_losses.py::test_golden_value'


def environment(**more: str) -> dict[str, str]:
    """This one's, with the package on the path; processes that share a GPU take its memory as they need it."""
    path = os.pathsep.join(filter(None, [str(ROOT / 'ssl'), os.environ.get('PYTHONPATH', '')]))
    return {**os.environ, 'PYTHONPATH': path, 'XLA_PYTHON_CLIENT_PREALLOCATE': 'false', **more}


def check(options: argparse.Namespace) -> dict[str, Any]:
    """Golden values on the device."""
    files = [f'tests/{TOY_GOLDEN}'] if options.toy else [f'tests/{name}' for name in GOLDEN]
    workers = ['-n', str(min(os.cpu_count() or 1, 8))] if not options.toy else []
    command = [sys.executable, '-m', 'pytest', '-p', 'no:cacheprovider', '-p', 'no:benchmark', *workers, *files]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(SELFSUP_TEST_PLATFORM=options.platform), capture_output=True, text=True,
        timeout=options.seconds,
    )  # fmt: skip
    (options.out / 'check.log').write_text(done.stdout + done.stderr)
    lines = done.stdout.strip().splitlines() or ['pytest printed nothing']
    return {'files': files, 'summary': lines[-1], 'failed': [x for x in lines if x.startswith(('FAILED', 'ERROR'))],
            'ok': done.returncode == 0}  # fmt: skip


def rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    """What `speed` times."""
    seconds = 0.2 if options.toy else 2.5
    batch, networks = (8, ['convnet']) if options.toy else (options.batch, options.networks)
    found: list[dict[str, Any]] = []
    for network in networks:
        for precision in options.precisions:
            step = {'network': network, 'batch': batch, 'precision': precision, 'seconds': seconds}
            found.append({'what': 'ours', **step})
            if network.startswith('vit') and precision == 'bfloat16':
                found.append({'what': 'ours', 'attention': 'xla', **step})
            found += [{'what': 'torch', 'kind': kind, **step} for kind in options.kinds]
    if options.toy:
        step = {'batch': 16, 'precision': 'float32', 'seconds': seconds, 'side': 8, 'count': 64}
        small = ['data.channels=1', 'model.widths=(4,8)', 'projector.widths=(8,4)', 'data.holdout=0.2']
        return [*found, {'what': 'run', 'config': 'digits/simclr.py', 'method': 'simclr', 'overrides': small, **step}]
    for network in networks:
        config, methods, overrides, side, count = RUNS[network]
        for method in options.methods or methods:
            step = {'network': network, 'batch': batch, 'precision': options.precisions[0], 'seconds': seconds}
            found.append(
                {'what': 'run', 'config': config.format(method), 'method': method, 'overrides': overrides, **step,
                 'side': side, 'count': count}
            )  # fmt: skip
    return found


def name_of(row: dict[str, Any]) -> str:
    ours = f'ours, attention {row["attention"]}' if 'attention' in row else 'ours'
    what = {'ours': ours, 'torch': f'PyTorch {row.get("kind")}', 'run': f'run of {row.get("method")}'}[row['what']]
    return f'{row.get("network", row.get("config"))}, {row["precision"]}, {what}'


def speed(options: argparse.Namespace) -> dict[str, Any]:
    """All compile side by side, then each is timed alone."""
    with tempfile.TemporaryDirectory() as folder:
        return _speed(options, Path(folder))


def _speed(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    begun, waiting = time.monotonic(), []
    for number, row in enumerate(rows(options)):
        if row['what'] == 'run':
            row |= {'images': str(folder / f'{number}.npz'), 'scopes': str(folder / f'profile{number}')}
        log = (folder / f'{number}.log').open('w+')
        # Command buffers hide the kernels' names from a profile, so a profiled run goes without.
        flags = (
            {'XLA_FLAGS': f'{os.environ.get("XLA_FLAGS", "")} {options.run_flags}'.strip()}
            if row['what'] == 'run'
            else {}
        )
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / 'gpu_step.py'), json.dumps(row)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=log, text=True, env=environment(**flags),
        )  # fmt: skip
        waiting.append((row, process, log))
    print('| step | ms | images/s | ready after, s |\n| --- | ---: | ---: | ---: |', flush=True)
    found = []
    for row, process, log, line in ready(waiting, begun + READY * options.seconds):
        answer = ''
        if line and time.monotonic() - begun < options.seconds:
            with contextlib.suppress(subprocess.TimeoutExpired):
                answer = process.communicate('go\n', timeout=options.seconds)[0]
        process.kill()
        log.seek(0)
        result = {'row': row, 'name': name_of(row)}
        if answer.strip():
            result |= json.loads(line) | json.loads(answer.strip().splitlines()[-1])
            numbers = f'{result["ms"]:.2f} | {result["images_per_second"]:,.0f} | {result["ready"]:.0f}'
            print(f'| {result["name"]} | {numbers} |', flush=True)
            if 'scopes' in result:
                print('  ' + ', '.join(f'{k} {v:.3g}' for k, v in result['scopes'].items()), flush=True)
        else:
            told = [x for x in log.read().splitlines() if x.strip() and not x.startswith(('W', 'I'))] or [
                'it was not ready in time'
            ]
            result['error'] = told[-1][:300]
            (options.out / 'speed.log').open('a').write('\n'.join([result['name'], *told, '']))
            print(f'| {result["name"]} | did not run: {result["error"]} | | |', flush=True)
        found.append(result)
    return {'rows': found, 'ok': any('ms' in row for row in found)}


def ready(waiting: list[Any], deadline: float) -> list[Any]:
    """`(row, process, log, line)` of each process, with the line that says it is ready, or '' at the deadline."""
    with concurrent.futures.ThreadPoolExecutor(len(waiting)) as pool:
        lines = [pool.submit(process.stdout.readline) for _, process, _ in waiting]
        concurrent.futures.wait(lines, max(deadline - time.monotonic(), 0))
        for (_, process, _), line in zip(waiting, lines, strict=True):
            if not line.done():
                process.kill()  # ends its line too
    return [(*each, line.result()) for each, line in zip(waiting, lines, strict=True)]


def kill(options: argparse.Namespace) -> dict[str, Any]:
    """Runs killed at random moments."""
    kills = 1 if options.toy else options.kills
    command = [sys.executable, 'stress/kill.py', f'--kills={kills}', '--deterministic']
    with (options.out / 'kill.log').open('w') as log:
        try:
            code = subprocess.run(
                command, cwd=ROOT, env=environment(), stdout=log, stderr=subprocess.STDOUT, timeout=options.seconds
            ).returncode
        except subprocess.TimeoutExpired:
            code = None
    lines = (options.out / 'kill.log').read_text().strip().splitlines()
    return {'kills': kills, 'lines': lines[-12:], 'ok': code == 0, 'ended': code is not None}


def train(options: argparse.Namespace) -> dict[str, Any]:
    """A run that goes on from slice to slice; its evaluation follows when the epochs are over."""
    minutes = options.seconds / 60
    config = 'digits/simclr.py' if options.toy else 'cifar10/simclr.py'
    toy = ['model.widths=(8,16)', 'projector.widths=(32,16)', 'train.epochs=1', 'evaluate.label_draws=1']
    overrides = toy if options.toy else [f'data.source={options.data}', f'train.epochs={options.epochs}']
    overrides += [f'train.stop_after_minutes={minutes}', 'checkpoint.every_epochs=5', *options.override]
    command = [sys.executable, '-m', 'selfsup.train', f'--config=experiments/{config}']
    command += [f'--workdir={options.out / "train"}', *(f'--config.{field}' for field in overrides)]
    begun = time.monotonic()
    with (options.out / 'train.log').open('a') as log:
        code = subprocess.run(
            command, cwd=ROOT, env=environment(), stdout=log,
            stderr=subprocess.STDOUT,
        ).returncode  # fmt: skip
    found: dict[str, Any] = {'seconds': time.monotonic() - begun, 'ok': code in (0, 75), 'finished': code == 0}
    results = options.out / 'train' / 'results.json'
    if code == 0:
        found['results'] = json.loads(results.read_text())
    for name in ('metrics', 'timing'):
        file = options.out / 'train' / f'{name}.jsonl'
        found[name] = json.loads(file.read_text().splitlines()[-1]) if file.exists() else {}
    return found


SLICES = {'check': check, 'speed': speed, 'kill': kill, 'train': train}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('slices', nargs='+', choices=SLICES)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--seconds', type=float, default=540, help='for each slice')
    parser.add_argument('--toy', action='store_true', help='small shapes, on any machine')
    parser.add_argument('--platform', default='cuda,cpu', help='of the golden values')
    parser.add_argument('--networks', nargs='+', default=list(RUNS), choices=RUNS)
    parser.add_argument('--methods', nargs='+', help='of the runs; all that a network has by default')
    parser.add_argument('--precisions', nargs='+', default=['bfloat16', 'float32'])
    parser.add_argument('--kinds', nargs='*', default=['eager', 'compiled'], help='what PyTorch runs')
    parser.add_argument('--run-flags', default='--xla_gpu_enable_command_buffer=', help='XLA_FLAGS of profiled runs')
    parser.add_argument('--batch', type=int, default=256)
    parser.add_argument('--kills', type=int, default=20)
    parser.add_argument('--data', default='tfds:cifar10')
    parser.add_argument('--epochs', type=int, default=1000)
    parser.add_argument(
        '--override', nargs='*', default=[], help="fields of the training's config, train.log_every=100"
    )
    options = parser.parse_args()
    options.out = options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in options.slices:
        begun = time.monotonic()
        try:
            found = SLICES[name](options)
        except subprocess.TimeoutExpired:
            found = {'ok': False, 'ended': False}
        found['slice_seconds'] = time.monotonic() - begun
        (options.out / f'{name}.json').write_text(json.dumps(found, indent=1) + '\n')
        failed += not found['ok']
        shown = {k: v for k, v in found.items() if k not in ('rows', 'files')}
        print(f'{name}: {json.dumps(shown)}', flush=True)
    return int(bool(failed))


if __name__ == '__main__':
    sys.exit(main())

"""The same training by lightly and by ours: accuracy of both by one evaluator, time, memory.

    python benchmarks/peers.py --reference=PYTHON --workdir=runs/peers --data-dir=FOLDER     # 15 runs of both, hours
    python benchmarks/peers.py --reference=PYTHON --workdir=runs/peers --data-dir=FOLDER --agreement=10
    python benchmarks/peers.py --workdir=runs/peers --record=docs/peers.json && python docs/generate.py

SimCLR, Barlow Twins, VICReg, BYOL and MoCo v2 on 5,000 images of CIFAR-10, one small convolutional network, one recipe
(`peers_recipe.py`), three seeds. PYTHON has torch and lightly; its half (`peers_lightly.py`) is lightly's losses,
heads, transforms and collate in a plain loop. The halves are processes of their own with one thread that computes, and
train in turns, an epoch of one and then of the other, so that a busy machine slows both alike: a ratio of times holds
there, seconds do not. Each run leaves WORKDIR/<method>/seed<n>.json, and the same command goes on with what is missing.
Features of both are measured by `selfsup.evals`. Without --reference our half runs alone. --agreement takes the first
steps of both from the same weights with the same views, which tells a difference of the arithmetic from one of the
draws. --record adds the finished runs of WORKDIR to those of its file; a half of a run that is in both is the new one.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from peers_recipe import METHODS, RECIPES, Job
from selfsup import files
from selfsup.errors import UserError, command

HERE = Path(__file__).parent
HALVES = {'ours': 'peers_ours.py', 'lightly': 'peers_lightly.py'}
NEIGHBOURS = {'knn': (20, 0.07), 'knn_200': (200, 0.1)}  # name -> (neighbours, temperature)
SETTINGS = ('epochs', 'batch', 'source', 'per_class', 'threads')  # of the command, that all runs of a folder share


def prepare(job: Job) -> None:
    """Writes the images and labels of a job as our half reads them: `train`, `labelled` and `test`.

    A file of the same source is kept, and one of another is written anew.
    """
    from peers_ours import config_of
    from selfsup.engine import build

    of = f'{job.per_class} per class of {job.source}'
    if Path(job.data).exists():
        with np.load(job.data) as data:
            if 'of' in data and data['of'] == of:
                return
    data = build.open_data(config_of(job))
    arrays = {'of': np.array(of), 'train': data.train.arrays()[0]}
    for name, part in (('labelled', data.labelled), ('test', data.test)):
        arrays[name], arrays[f'{name}_labels'] = part.arrays()[:2]
    np.savez(job.data, **arrays)


class Peer:
    """The process of a half; `begun` is what it told when it was ready."""

    def __init__(self, python: str, half: str, job: Job):
        # A compilation that an earlier run had paid for would not be in the time to the end.
        environment = {**os.environ, 'JAX_ENABLE_COMPILATION_CACHE': 'false'}
        words = [python, '-W', 'ignore', str(HERE / HALVES[half]), json.dumps(job._asdict())]
        self.half = half
        begun = time.perf_counter()
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        # On the clock of the command: imports come before a half can look at its own.
        self.begun = {**self._answer(), 'seconds': time.perf_counter() - begun}

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise SystemExit(f'{self.half}: the process ended with {self.process.wait()}; what it said is above')
        return json.loads(line)

    def ask(self, line: str) -> dict[str, Any]:
        """The answer to a command."""
        self.process.stdin.write(line + '\n')  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]
        return self._answer()

    def close(self) -> None:
        self.process.stdin.close()  # type: ignore[union-attr]
        self.process.wait()


def scores(peer: Peer, job: Job, folder: Path) -> dict[str, float]:
    """k-NN and linear probes of what a half has learned so far, in [0, 1]."""
    from selfsup import evals

    file = folder / f'{peer.half}.npz'
    peer.ask(f'features {file}')
    with np.load(file) as found, np.load(job.data) as data:
        train, test = (evals.Features(found[p], data[f'{p}_labels'].astype(np.int32)) for p in ('labelled', 'test'))
    file.unlink()
    measured = {
        name: evals.knn(train, test, k=k, temperature=temperature)['knn']
        for name, (k, temperature) in NEIGHBOURS.items()
    }
    measured |= evals.linear_probe(train, test, label_counts=(10,))
    measured['rankme'] = float(evals.ranks(train, test)['rankme'])
    return {name: round(float(value), 5) for name, value in measured.items()}


def one_run(job: Job, pythons: dict[str, str], folder: Path) -> dict[str, Any]:
    """Trains the halves in turns; what is recorded of each."""
    peers = {half: Peer(python, half, job) for half, python in pythons.items()}
    records: dict[str, Any] = {}
    for half, peer in peers.items():
        start = {name: round(peer.begun[name], 2) for name in ('seconds', 'processor')}
        records[half] = {'about': peer.begun['about'], 'start': start, 'epochs': []}
        records[half]['scores'] = {'untrained': scores(peer, job, folder)}
    for epoch in range(job.epochs):
        order = list(peers.items())
        for half, peer in order if epoch % 2 == 0 else order[::-1]:
            told = peer.ask('epoch')
            if not np.isfinite(told['loss']):
                raise SystemExit(f'{job.method}, seed {job.seed}: the loss of {half} is {told["loss"]}')
            numbers = [round(told['seconds'], 3), round(told['processor'], 3), round(told['loss'], 5)]
            records[half]['epochs'].append(numbers)
            records[half]['memory'] = round(told['memory'])
    for half, peer in peers.items():
        records[half]['scores']['trained'] = scores(peer, job, folder)
        peer.close()
    return records


def trained(job: Job, pythons: dict[str, str], file: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Writes the record of one run; what each half has learned."""
    with np.load(job.data) as data:
        images = len(data['train']) // job.batch * job.batch
    run = {'settings': {**settings, 'images': images}, **one_run(job, pythons, file.parent)}  # images of an epoch
    file.write_text(json.dumps(run) + '\n')
    return {half: {'loss': run[half]['epochs'][-1][2], **run[half]['scores']['trained']} for half in pythons}


def agreement(job: Job, pythons: dict[str, str], folder: Path, *, count: int) -> dict[str, Any]:
    """How far apart the halves are after `count` steps from the same weights, with the same views.

    `each` is the difference of every step's loss relative to ours, `loss` the largest, and `features`
    ‖theirs − ours‖/‖ours‖ over the test images after the last step.
    """
    peers = {half: Peer(python, half, job) for half, python in pythons.items()}
    file = folder / 'steps.npz'
    losses = {half: np.array(peer.ask(f'steps {file} {count}')['losses']) for half, peer in peers.items()}
    if job.method.startswith(
        'byol'
    ):  # lightly has the mean of −cosine over both directions, ours the sum of 2 − 2·cosine
        losses['lightly'] = 4 + 4 * losses['lightly']
    file.unlink()
    features = {}
    for half, peer in peers.items():
        peer.ask(f'features {folder / half}.npz')
        with np.load(folder / f'{half}.npz') as found:
            features[half] = found['test']
        (folder / f'{half}.npz').unlink()
        peer.close()
    ours, theirs = (features[half] for half in HALVES)
    apart = np.abs(losses['lightly'] / losses['ours'] - 1)
    return {
        'steps': count,
        'loss': float(apart.max()),
        'each': [float(f'{value:.1e}') for value in apart],
        'features': float(np.linalg.norm(theirs - ours) / np.linalg.norm(ours)),
    }


def recorded(workdir: Path) -> dict[str, Any]:
    """All finished runs of a folder: the settings that they share, `agreement` by method, and `runs`.

    `runs` is method -> 'seed1' -> half -> its record.

    Raises:
      UserError: for runs of other settings.
    """
    found: dict[str, Any] = {}
    shared: dict[str, Any] = {}
    for file in sorted(workdir.glob('*/seed*.json')):
        run = json.loads(file.read_text())
        shared = shared or run['settings']
        if run['settings'] != shared:
            raise UserError(f'{file} was made with {run["settings"]}, others of {workdir} with {shared}')
        found.setdefault(file.parent.name, {})[file.stem] = {half: run[half] for half in HALVES if half in run}
    alike = {file.parent.name: json.loads(file.read_text()) for file in sorted(workdir.glob('*/agreement.json'))}
    return {'settings': shared, 'agreement': alike, 'runs': found}


def merged(earlier: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """What two recordings hold, as :func:`recorded` gives them; a half of a run that is in both is the later one's.

    A seed whose halves are of different recordings was not trained in turns, and gets `apart`.

    Raises:
      UserError: for recordings of other settings.
    """
    if not (earlier['runs'] and later['runs']):
        shared = (later if later['runs'] else earlier)['settings']
    elif (shared := earlier['settings']) != later['settings']:
        unlike = {name for name in {*shared, *later['settings']} if shared.get(name) != later['settings'].get(name)}
        told = (f'{name} {shared.get(name)} there and {later["settings"].get(name)} here' for name in sorted(unlike))
        raise UserError(f'the recorded runs have other settings than those of --workdir: {", ".join(told)}')
    runs = {method: dict(seeds) for method, seeds in earlier['runs'].items()}
    for method, seeds in later['runs'].items():
        for seed, halves in seeds.items():
            old = runs.setdefault(method, {}).get(seed, {})
            kept = {name: value for name, value in old.items() if name not in halves}
            split = {'apart': True} if set(HALVES) & kept.keys() else {}
            runs[method][seed] = {**{name: value for name, value in kept.items() if name != 'apart'}, **halves, **split}
    runs = {
        method: dict(sorted(runs[method].items(), key=lambda run: (len(run[0]), run[0]))) for method in sorted(runs)
    }
    return {'settings': shared, 'agreement': {**earlier['agreement'], **later['agreement']}, 'runs': runs}


def record(workdir: Path, file: Path) -> None:
    """Adds the finished runs of a folder to those in a file.

    Raises:
      UserError: for a folder without finished runs, a file that is no recording, other settings.
    """
    found = recorded(workdir)
    if not (found['runs'] or found['agreement']):
        raise UserError(f'--workdir={workdir} holds no finished run to record')
    if file.exists():
        earlier = files.read_json(file)
        if not all(isinstance(earlier.get(name), dict) for name in found):
            raise UserError(f'--record={file} is no recording: it must hold {", ".join(found)}')
        found = merged(earlier, found)
    with files.placed(file) as temporary:
        temporary.write_text(as_json(found))


def as_json(recording: dict[str, Any]) -> str:
    """One line a run."""
    methods = []
    for method, runs in recording['runs'].items():
        lines = ',\n'.join(f'  {json.dumps(seed)}: {json.dumps(run)}' for seed, run in runs.items())
        methods.append(f' {json.dumps(method)}: {{\n{lines}\n }}')
    shared = f'"settings": {json.dumps(recording["settings"])},\n"agreement": {json.dumps(recording["agreement"])}'
    return f'{{{shared},\n"runs": {{\n' + ',\n'.join(methods) + '\n}}\n'


def read_arguments(words: list[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """The command's arguments, checked, and the settings that all runs of the folder share."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--reference', default='', help='interpreter of an environment with torch and lightly')
    parser.add_argument('--workdir', type=Path, required=True)
    parser.add_argument('--methods', nargs='+', default=list(METHODS), choices=list(RECIPES))
    parser.add_argument('--seeds', nargs='+', type=int, default=[1, 2, 3])
    parser.add_argument('--epochs', type=int, default=20)
    parser.add_argument('--batch', type=int, default=128)
    parser.add_argument('--source', default='tfds:cifar10', help='images of 32 x 32 with three channels')
    parser.add_argument('--data-dir', default='', help="where TFDS keeps its data; '' is its own default")
    parser.add_argument('--per-class', type=int, default=500, help='images of each class; 0 for all')
    parser.add_argument('--threads', type=int, default=1, help='that compute in each half')
    parser.add_argument(
        '--agreement', type=int, default=0, metavar='STEPS', help='compare so many steps, and train nothing'
    )
    parser.add_argument('--record', type=Path, help='collect the finished runs in this file, and train nothing')
    arguments = parser.parse_args(words)
    if arguments.reference and not shutil.which(arguments.reference):
        parser.error(f'--reference={arguments.reference} is no program; give the python that has torch and lightly')
    if arguments.agreement and not arguments.reference:
        parser.error('--agreement compares with the half of --reference, which is missing')
    settings = {name: getattr(arguments, name) for name in SETTINGS}
    before = {name: number for name, number in recorded(arguments.workdir)['settings'].items() if name != 'images'}
    if before and before != settings and not arguments.record:
        parser.error(f'{arguments.workdir} holds runs of {before}, not of {settings}; give another --workdir')
    return arguments, settings


def main(words: list[str]) -> None:
    arguments, settings = read_arguments(words)
    if arguments.record:
        record(arguments.workdir, arguments.record)
        return
    pythons = {'ours': sys.executable} | ({'lightly': arguments.reference} if arguments.reference else {})
    for seed in arguments.seeds[: 1 if arguments.agreement else None]:
        for method in arguments.methods:
            folder = arguments.workdir / method
            file = folder / ('agreement.json' if arguments.agreement else f'seed{seed}.json')
            if file.exists() and not arguments.agreement and pythons.keys() <= json.loads(file.read_text()).keys():
                continue
            folder.mkdir(parents=True, exist_ok=True)
            job = Job(
                method, seed, arguments.epochs, arguments.batch, str(arguments.workdir.resolve() / 'data.npz'),
                arguments.source, arguments.data_dir, arguments.per_class, arguments.threads,
            )  # fmt: skip
            prepare(job)
            if arguments.agreement:
                told = agreement(job, pythons, folder, count=arguments.agreement)
                file.write_text(json.dumps(told) + '\n')
            else:
                told = trained(job, pythons, file, settings)
            print(f'{method}, seed {seed}: {json.dumps(told)}', flush=True)


if __name__ == '__main__':
    command(main)()

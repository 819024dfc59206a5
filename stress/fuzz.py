"""Random faults in configs, command lines and files: each run of a command must work or end in one clear sentence.

    python stress/fuzz.py --configs=1000 --files=200 --inputs=300 --seed=0
    python stress/fuzz.py --only=files:17            # one trial again

A trial mutates a valid config or command line (configs), damages a file that a command reads (files), or makes an input
of which it is known what is right (inputs), and runs the command; some of the first kind in a process of their own.
Configs that are accepted are built and one dispatch is traced; a few are trained. Prints a table and every failure with
what repeats it; the exit code is 1 if there is any: a traceback, a sentence that names no field, option or file, a good
file that was lost or changed, or other data read than are right.
"""

import argparse
import collections
import functools
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MEMORY = 16 * 2**30  # of a worker: what asks for more must fail, not fill the machine
LONGEST = 900.0  # seconds of a trial, on a busy core


def work(pipe: Any, seed: int, material: Path, cheap: bool) -> None:
    """What a worker process does: trials by number, until its pipe closes."""
    os.environ['JAX_PLATFORMS'] = 'cpu'
    os.environ['XLA_FLAGS'] = '--xla_force_host_platform_device_count=2'  # for configs that spread the state
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    import fuzz_cases
    import fuzz_files
    import fuzz_inputs

    trials = {'inputs': functools.partial(fuzz_inputs.trial, cheap=cheap)}
    undamaged = {}
    if cheap:
        fuzz_cases.READERS[:] = ['pack']
    else:
        import fuzz_configs
        from selfsup.engine import loop

        loop.train = functools.partial(loop.train, devices=1)
        trials |= {'configs': fuzz_configs.trial, 'files': fuzz_files.trial}
        undamaged = {'bases of configs': fuzz_configs.every_base, 'cases of files': fuzz_files.every_case}
    if not (material / 'made').exists():
        (fuzz_files.make_data if cheap else fuzz_files.make_material)(material)
        (material / 'made').touch()
    pipe.send('ready')
    for count, (what, number) in enumerate(iter(pipe.recv, None)):
        if what in undamaged:
            with tempfile.TemporaryDirectory(dir=material, ignore_cleanup_errors=True) as folder:
                pipe.send(undamaged[what](material, Path(folder)))
            continue
        with tempfile.TemporaryDirectory(dir=material, prefix=f'{what}{number}_', ignore_cleanup_errors=True) as folder:
            os.chdir(folder)  # a mutated option may name any relative path
            outcome = trials[what](seed, number, material, Path(folder))
            os.chdir(material)
            pipe.send(outcome)
        if count % 250 == 249 and not cheap:
            sys.modules['jax'].clear_caches()


class Worker:
    """A process that runs trials, replaced where a trial ends it."""

    def __init__(self, seed: int, material: Path, cheap: bool):
        self._arguments = seed, material, cheap
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context('spawn')
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=work, args=(theirs, *self._arguments), daemon=False)
        self._process.start()
        theirs.close()
        if self._answer(900.0) != 'ready':
            raise RuntimeError('a worker did not start')

    def _answer(self, seconds: float) -> Any:
        if not self._pipe.poll(seconds):
            self._process.kill()
            return f'no end after {seconds:.0f} seconds'
        try:
            return self._pipe.recv()
        except EOFError:
            self._process.join()
            return f'the process ended with code {self._process.exitcode}'

    def __call__(self, what: str, number: int, seconds: float = LONGEST) -> Any:
        """A trial's outcome, or a text that says how the worker ended."""
        self._pipe.send((what, number))
        answer = self._answer(seconds)
        if isinstance(answer, str):
            self._process.join()
            self._start()
        return answer

    def close(self) -> None:
        self._pipe.send(None)
        self._process.join()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--configs', type=int, default=1000, help='mutations of configs and command lines')
    parser.add_argument('--files', type=int, default=200, help='damaged files')
    parser.add_argument('--inputs', type=int, default=300, help='inputs of which it is known what is right')
    parser.add_argument('--cheap', action='store_true', help='inputs alone, and only those that `pack` reads: no jax')
    parser.add_argument('--start', type=int, default=0, help='leave out so many trials of each, and the undamaged')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--only', default='', help='one trial, as configs:17, files:3 or inputs:5')
    parser.add_argument('--material', default='', help='keep what is whole in this folder, and use it again')
    parser.add_argument('--show', default='', help='also print the sentences of this kind, or of all')
    options = parser.parse_args(arguments)
    import fuzz_table

    counts = {'configs': options.configs, 'files': options.files, 'inputs': options.inputs}
    counts = {'inputs': options.inputs} if options.cheap else counts
    numbers = [(what, n) for what, count in counts.items() for n in range(options.start, count)]
    if options.only:
        what, _, number = options.only.partition(':')
        numbers = [(what, int(number))]
    begun = time.monotonic()
    outcomes: list[fuzz_table.Outcome] = []
    failures: list[str] = []
    seconds: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        material = Path(options.material or temporary).absolute()
        material.mkdir(parents=True, exist_ok=True)
        worker = Worker(options.seed, material, options.cheap)
        for what, count in (('bases of configs', options.configs), ('cases of files', options.files)):
            if count and not (options.only or options.start or options.cheap):
                bad = worker(what, 0, 3600.0)
                failures += [f'- undamaged {what}: {line}' for line in ([bad] if isinstance(bad, str) else bad)]
                print('\n'.join(failures), file=sys.stderr, flush=True)
        for what, number in numbers:
            started = time.monotonic()
            answer = worker(what, number)
            if isinstance(answer, str):
                answer = fuzz_table.Outcome(what, 'traceback', answer, '')
            seconds[answer.kind] += time.monotonic() - started
            outcomes.append(answer)
            if options.show in (answer.kind, 'all'):
                print(f'{answer.kind} {number}: {answer.verdict}: {answer.sentence}', flush=True)
                print(f'    {answer.reproduce}', flush=True)
            if answer.verdict not in fuzz_table.GOOD:
                failures.append(
                    f'- {answer.kind}, {answer.verdict}: {answer.sentence}\n  '
                    f'`python stress/fuzz.py --seed={options.seed} --only={what}:{number}`: {answer.reproduce}'
                )
                print(failures[-1], file=sys.stderr, flush=True)
        worker.close()
    print(fuzz_table.table(outcomes))
    print(f'\n{len(outcomes)} trials in {time.monotonic() - begun:.0f} s; {len(failures)} failures')
    print('seconds: ' + ', '.join(f'{k} {v:.0f}' for k, v in seconds.most_common()))
    print('\n'.join(failures))
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))

"""Every sparse autoencoder of experiments/dictionaries over seeds: error, sparsity, stability, probes, controls.

    python -m experiments.tables.dictionaries [--methods=topk,gated] [--seeds=0,1,2] [--workdir=FOLDER]

Digits as vectors of 64 numbers, 256 atoms; weights of penalties were chosen on seed 0 so that about 8 units of a test
row are on. Two CPU cores: about half a minute a run. A method's stability is the mean cosine of matched atoms over
pairs of seeds.
"""

import itertools
import json
import statistics
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from selfsup import cli, config, dictionaries, errors, evals

FOLDER = Path(__file__).parent.parent / 'dictionaries'
COLUMNS = {
    'explained_variance': 'R² of test',
    'l0': 'L0',
    'dead': 'dead',
    'dense': 'dense',
    'probe_codes': 'probe of codes',
    'probe_reconstructions': 'of reconstructions',
}
CONTROLS = ('pca', 'nmf', 'random')


def names() -> list[str]:
    """Configs of the table: all that train on the same vectors."""
    return sorted(f.stem for f in FOLDER.glob('*.py') if f.stem != 'common' and 'images' not in f.stem)


def measure(resolved: Any, *, controls: bool = False) -> tuple[dict[str, float], np.ndarray]:
    """The numbers of :func:`selfsup.evals.dictionary` after training by a resolved config, and the atoms."""
    from selfsup.engine.dictionary_evals import coded
    from selfsup.engine.encoder import Encoder
    from selfsup.engine.run import Run

    run = Run(resolved, devices=1)
    state, step = run.start(), 0
    while step < run.total:
        count = run.next_chunk(step)
        state, _ = run.dispatch(state, *run.feed(step, count))
        step += count
        if run.refresh_steps and step % run.refresh_steps == 0 and step < run.total:
            state = run.refresh(state)
    encoder = Encoder(resolved, run.method, state.params, state.extra, step, rank=len(run.image_shape))
    train, test = (coded(encoder, part) for part in (run.data.labelled, run.data.test))
    assert run.method.decode is not None
    one_hot = jnp.eye(test.codes.shape[1])
    atoms = run.method.decode(encoder.evaluated, one_hot) - run.method.decode(encoder.evaluated, 0 * one_hot[:1])
    return evals.dictionary(train, test, controls=controls), np.asarray(atoms)


def row(name: str, seen: list[dict[str, float]], stable: float | None) -> str:
    """One line: means over seeds, and the deviation of R²."""
    values = {key: [numbers[f'dictionary_{key}'] for numbers in seen] for key in COLUMNS}
    cells = [f'{statistics.fmean(v):.3f}' if key != 'l0' else f'{statistics.fmean(v):.1f}' for key, v in values.items()]
    if len(seen) > 1:
        cells[0] += f' ± {statistics.stdev(values["explained_variance"]):.3f}'
    return f'| {name} | ' + ' | '.join(cells) + (f' | {stable:.2f} |' if stable is not None else ' | – |')


HEAD = f'| method | {" | ".join(COLUMNS.values())} | stability |\n| --- |{" ---: |" * (len(COLUMNS) + 1)}'


def main(arguments: list[str]) -> int:
    usage = (
        'usage: python -m experiments.tables.dictionaries [--methods=a,b] [--seeds=0,1,2] [--workdir=FOLDER] '
        '[--config.field=value]'
    )
    options = {'methods': ','.join(names()), 'seeds': '0,1,2', 'workdir': ''}
    values, overrides = cli.parse(arguments, options, usage)
    seeds = [cli.integer('seeds', seed) for seed in values['seeds'].split(',')]
    cli.prepare()
    recorded: dict[str, Any] = {}
    print(HEAD, flush=True)
    for name in values['methods'].split(','):
        if name not in names():
            raise errors.UserError(f'--methods: {name!r} is unknown{errors.nearest(name, names())}')
        seen, atoms = [], []
        for seed in seeds:
            resolved = config.load(str(FOLDER / f'{name}.py'), [*overrides, f'seed={seed}'])
            numbers, found = measure(resolved, controls=not recorded and seed == seeds[0])
            seen.append(numbers), atoms.append(found)
        signed = name not in ('abs_topk', 'matching_pursuit')
        pairs = [dictionaries.stability(a, b, signed=signed) for a, b in itertools.combinations(atoms, 2)]
        stable = statistics.fmean(pairs) if pairs else None
        recorded[name] = {'seeds': {str(s): n for s, n in zip(seeds, seen, strict=True)}, 'stability': stable}
        print(row(name, seen, stable), flush=True)
    first = next(iter(recorded.values()))['seeds'][str(seeds[0])]
    for name in CONTROLS:
        print(f'{name}: R² {first[f"dictionary_explained_variance_{name}"]:.3f}')
    print(f'inputs: probe {first["dictionary_probe_inputs"]:.3f}')
    if values['workdir']:
        workdir = Path(values['workdir'])
        workdir.mkdir(parents=True, exist_ok=True)
        (workdir / 'table.json').write_text(json.dumps(recorded, indent=1) + '\n')
    return 0


if __name__ == '__main__':
    errors.command(main)()

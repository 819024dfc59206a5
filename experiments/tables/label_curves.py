"""docs/label_curves.md: accuracy over labels per class, with pre-training (frozen or fine-tuned) and from scratch.

    python -m experiments.tables.label_curves --workdir=runs/label_curves [--seeds=1] [--labels=1,2,5,10,0]

SimCLR on digits and the same network as initialised, fine-tuned alike; 0 labels stands for all of them. Every number
leaves its line in label_curves.json of the workdir, and the command goes on with what is missing. Two shared CPU
cores: some five minutes of processor time a seed.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from selfsup import cli, errors, evals
from selfsup.evals.features import draw_per_class

from . import table, trained

USAGE = __doc__.split('\n\n')[1]
EPOCHS, STEPS, LEAST, BATCH, DRAWS, RATE = 30, 150, 40, 128, 2, 1e-3
WAYS = {
    'linear': 'linear probe of the pre-trained encoder',
    'linear_untrained': 'linear probe of the untrained encoder',
    'fine_tuned': 'pre-trained and fine-tuned',
    'scratch': 'from scratch',
}
Recorded = dict[str, dict[str, dict[str, float]]]  # seed -> labels per class -> way -> accuracy


def tuned(run: Any, encoder: Any, train: evals.Features, test: evals.Features, seed: int) -> float:
    """Accuracy after :data:`STEPS` steps, or :data:`LEAST` epochs, of labelled images in the views of pre-training."""
    size = min(BATCH, len(train.labels))
    found = evals.fine_tune(
        train,
        test,
        encode=encoder.encode,
        params=encoder.evaluated['params'],
        augment=run.views,
        prepare=run.prepare,
        learning_rates=(RATE,),
        epochs=max(round(STEPS / (len(train.labels) // size)), LEAST),
        batch_size=size,
        seed=seed,
    )
    return found['fine_tuned']


def one_seed(seed: int, counts: list[int], file: Path, recorded: Recorded) -> None:
    """Fills in what is missing of a seed, and writes it after every number of labels."""
    from selfsup.engine import untrained

    mine = recorded.setdefault(str(seed), {})
    missing = [count for count in counts if str(count) not in mine]
    if not missing:
        return
    fields = [f'seed={seed}', f'train.epochs={EPOCHS}', f'optimizer.warmup_epochs={EPOCHS // 10}']
    run = trained.train(table.load('digits', 'simclr', fields))
    encoders = {'': run.encoder, '_untrained': untrained.of_run(run.run)}
    train, test = (evals.Features(p.images(), p.labels) for p in (run.run.data.labelled, run.run.data.test))
    seen = {
        end: [evals.Features(encoder(part.features), part.labels) for part in (train, test)]
        for end, encoder in encoders.items()
    }
    for count in missing:
        found: dict[str, list[float]] = {way: [] for way in WAYS}
        for end, both in seen.items():
            probe = evals.linear_probe(*both, label_counts=(count,) if count else (), draws=DRAWS)
            found[f'linear{end}'] = [probe[f'linear_{count}' if count else 'linear']]
        for draw in range(DRAWS if count else 1):
            rows = draw_per_class(train.labels, count, seed=draw) if count else np.arange(len(train.labels))
            part = evals.Features(train.features[rows], train.labels[rows])
            for way, end in (('fine_tuned', ''), ('scratch', '_untrained')):
                found[way].append(tuned(run.run, encoders[end], part, test, draw))
        mine[str(count)] = {way: round(float(np.mean(values)), 5) for way, values in found.items()}
        file.write_text(json.dumps(recorded, indent=1) + '\n')
        print(f'seed {seed}, {count or "all"} labels: {mine[str(count)]}', flush=True)


def markdown(recorded: Recorded) -> str:
    """Accuracy in per cent over labels per class, mean ± standard deviation over seeds."""
    counts = sorted({int(c) for of in recorded.values() for c in of}, key=lambda c: c or np.inf)
    heads = ['labels per class', *(str(count) if count else 'all' for count in counts)]
    lines = [f'| {" | ".join(heads)} |', '| --- ' + '| ---: ' * len(counts) + '|']

    def scores(way: str, count: int) -> np.ndarray:
        return 100 * np.array([of[str(count)][way] for of in recorded.values() if str(count) in of])

    for way, what in WAYS.items():
        lines.append(f'| {what} | {" | ".join(table.cell(scores(way, count)) for count in counts)} |')
    gains = [table.lead(scores('fine_tuned', count), scores('scratch', count)) for count in counts]
    lines.append(f'| utility: fine-tuned over scratch | {" | ".join(gains)} |')
    return '\n'.join([*lines, '', f'Seeds {", ".join(recorded)}.', ''])


def main(arguments: list[str]) -> int:
    values, _ = cli.parse(arguments, {'workdir': None, 'seeds': '1', 'labels': '1,2,5,10,0'}, USAGE)
    seeds, counts = ([cli.integer(name, text) for text in values[name].split(',')] for name in ('seeds', 'labels'))
    cli.prepare()
    file = Path(values['workdir']) / 'label_curves.json'
    table.seed_by_seed(file, seeds, lambda seed, recorded: one_seed(seed, counts, file, recorded), markdown)
    return 0


if __name__ == '__main__':
    errors.command(main)()

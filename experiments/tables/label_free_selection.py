"""Which label-free number should I trust? Runs of VICReg, SimCLR and BYOL, good and broken, ranked by each measure.

    python -m experiments.tables.label_free_selection --workdir=runs/selection [--config.data.dir=...]

Every run is measured on held-out images as during training, and judged by a linear probe on the test split.
Finished groups of runs are kept, so the command can be stopped and repeated. On 5,000 images of CIFAR-10 with
a small network; on the whole set, with `--config.data.per_class=0 --config.train.epochs=100` and more.
"""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from selfsup import cli, errors
from selfsup.evals.model_selection import Candidate, kendall, merit, ranked, regret
from selfsup.methods import Method

from . import table
from .collapse import only_alike, without_predictor

MEASURES = ('rankme', 'lidar', 'alpha_req', 'nesum', 'alignment', 'uniformity', 'loss')
SIZES = (
    'augment.size=24', 'augment.evaluation_resize=24', 'model.widths=(16,32,64,128)', 'projector.widths=(256,128)',
    'data.batch_size=128', 'data.holdout=0.2', 'train.epochs=6', 'optimizer.warmup_epochs=1.0',
    "monitor.measures=('rankme','lidar','alpha_req','nesum','uniformity')",
)  # fmt: skip
RATE, DECAY, BETA = 'optimizer.learning_rate', 'optimizer.weight_decay', 'optimizer.momentum'
INVARIANCE, VARIANCE, COVARIANCE = (f'method.{part}_weight' for part in ('invariance', 'variance', 'covariance'))
WEIGHTS = (INVARIANCE, VARIANCE, COVARIANCE)
RATES = [{RATE: v} for v in (2e-4, 6e-4, 2e-3, 6e-3, 2e-2)]
DECAYS = [{DECAY: v} for v in (1e-2, 1e-1, 1.0)]
BETAS = [{BETA: v} for v in (0.5, 0.98)]


def target(momentum: float) -> dict[str, float]:
    """A constant momentum of BYOL's target."""
    return {'method.momentum': momentum, 'method.momentum_final': momentum}


class Group(NamedTuple):
    """Runs of one program: a method, what is broken about all of them, and their hyper-parameters."""

    method: str
    members: list[dict[str, float]]
    overrides: tuple[str, ...] = ()
    change: Callable[[Method], Method] = lambda method: method
    fault: str = ''


FAULTS = ('a term missing', 'shuffled pairs', 'no negatives', 'no predictor')
BYOL = ('predictor.widths=(256,128)', 'method.momentum=0.99', 'method.momentum_final=0.99')
SHUFFLED = ('control=shuffled_pairs',)
GROUPS = {
    'vicreg': Group(
        'vicreg',
        [
            *RATES, *DECAYS, *BETAS,
            *({COVARIANCE: v} for v in (0.1, 10.0, 100.0)),
            *({INVARIANCE: v} for v in (1.0, 5.0, 100.0)),
            *({VARIANCE: v} for v in (1.0, 5.0, 100.0)),
            {VARIANCE: 0.0}, {INVARIANCE: 0.0}, {COVARIANCE: 0.0}, {VARIANCE: 0.0, COVARIANCE: 0.0},
        ],
    ),
    'vicreg_shuffled': Group('vicreg', [{}, {RATE: 6e-3}], SHUFFLED, fault='shuffled pairs'),
    'simclr': Group(
        'simclr',
        [*RATES, *DECAYS, *BETAS, *({'method.temperature': v} for v in (0.03, 0.1, 0.5, 1.0, 5.0, 50.0))],
    ),
    'simclr_terms': Group('simclr', [{}, {RATE: 6e-3}], change=only_alike, fault='no negatives'),
    'simclr_shuffled': Group('simclr', [{}, {RATE: 6e-3}], SHUFFLED, fault='shuffled pairs'),
    'byol': Group('byol', [*RATES, *DECAYS, *BETAS, *(target(m) for m in (0.0, 0.5, 0.9, 0.999, 1.0))], BYOL),
    'byol_terms': Group(
        'byol', [target(m) for m in (0.0, 0.9, 0.99)], BYOL, change=without_predictor, fault='no predictor'
    ),
    'byol_shuffled': Group('byol', [{}, {RATE: 6e-3}], (*BYOL, *SHUFFLED), fault='shuffled pairs'),
}  # fmt: skip


def probed(out: Any, state: Any) -> list[Any]:
    """Features of the labelled and of the test images by one member of a swept program."""
    import jax
    from selfsup import evals

    prepare = jax.jit(out.run.prepare)
    return [
        evals.Features(
            evals.extract(lambda rows: out.encode(state, prepare(rows))['features'], part.images()), part.labels
        )
        for part in (out.run.data.labelled, out.run.data.test)
    ]


def run_group(name: str, overrides: list[str]) -> dict[str, Any]:
    """Trains, measures and probes the runs of a group."""
    import jax
    from selfsup import evals
    from selfsup.engine import sweep
    from selfsup.engine.monitor import scalars

    group, began = GROUPS[name], time.process_time()
    fields = [f'method.name={group.method}', *SIZES, *group.overrides, *overrides]
    out = sweep.train(table.load('cifar5k', 'simclr', fields), group.members, change=group.change)
    monitor = out.run.monitor()
    runs = []
    for number, (given, state) in enumerate(zip(group.members, out.states, strict=True)):
        measured = scalars(jax.device_get(monitor(state)))
        features = probed(out, state)
        finite = all(np.isfinite(f.features).all() for f in features)
        scores = {**evals.knn(*features), **evals.linear_probe(*features, label_counts=())} if finite else {}
        runs.append(
            {
                'given': given,
                'measures': {**measured, 'loss': float(out.metrics['loss'][number, -1])},
                # An encoder that is not a number predicts one class, whichever.
                'scores': scores or {'knn': 1 / out.run.classes, 'linear': 1 / out.run.classes},
            }
        )
        print(f'{name} {given}: linear {runs[-1]["scores"]["linear"]:.3f}', flush=True)
    data = out.run.data
    setting = (
        f'{len(data.train)} images of {out.run.config.data.source} to train on, {len(data.holdout)} held out, '
        f'{out.run.config.train.epochs} epochs, jax {jax.__version__}'
    )
    spent = time.process_time() - began
    return {'runs': runs, 'cpu_seconds': spent, 'device': jax.devices()[0].platform, 'setting': setting}


def named(field: str) -> str:
    """What a run's label calls a field; both the optimiser and BYOL's target have a momentum."""
    return 'target momentum' if field == 'method.momentum' else field.split('.')[1]


def candidates(results: dict[str, Any]) -> list[Candidate]:
    """All runs, with the fault in the name of the broken ones."""
    found = []
    for name, result in results.items():
        group = GROUPS[name]
        for run in result['runs']:
            fault = group.fault or ('a term missing' if 0.0 in map(run['given'].get, WEIGHTS) else '')
            setting = ', '.join(f'{named(k)} {v:g}' for k, v in run['given'].items() if 'final' not in k)
            label = ', '.join(part for part in (group.method, fault, setting) if part)
            flagged = bool(run['measures']['alarm/collapsed'])
            found.append(Candidate(label, group.method, run['measures'], flagged, run['scores']['linear']))
    return found


def percent(value: float) -> str:
    return '' if math.isnan(value) else f'{100 * value:.1f}'


def interval(tau: float, low: float, high: float) -> str:
    return '' if math.isnan(tau) else f'{tau:+.2f} [{low:+.2f}, {high:+.2f}]'


def tables(runs: list[Candidate]) -> str:
    """Kendall's τ and regret of every measure, within methods and across, without and with the alarm."""
    methods = sorted({run.method for run in runs})
    sets = {**{m: [r for r in runs if r.method == m] for m in methods}, 'all': runs}
    text = []
    for alarm in (False, True):
        kept = 'Runs that the alarm flagged left out' if alarm else 'All runs'
        text += [f'## {kept}\n', "Kendall's τ with accuracy (95 % bootstrap interval) and regret in points.\n"]
        heads = [f'{m} ({sum(not (alarm and r.collapsed) for r in s)} runs)' for m, s in sets.items()]
        text.append('| by | ' + ' | '.join(f'{h}: τ | regret' for h in heads) + ' |')
        text.append('| --- |' + ' ---: | ---: |' * len(heads))
        for by in MEASURES:
            cells = [by]
            for chosen in sets.values():
                cells += [interval(*kendall(chosen, by, alarm=alarm)), percent(regret(chosen, by, alarm=alarm))]
            text.append('| ' + ' | '.join(cells) + ' |')
        text.append('')
    return '\n'.join(text)


def listing(runs: list[Candidate]) -> str:
    """Every run by accuracy."""
    head = '| run | linear | alarm | ' + ' | '.join(MEASURES) + ' |'
    lines = [head, '| --- | ---: | --- |' + ' ---: |' * len(MEASURES)]
    for run in sorted(runs, key=lambda r: -r.accuracy):
        flags = [f for f in ('shrunk', 'narrow', 'unaligned', 'flat') if run.measures[f'alarm/{f}']]
        values = ' | '.join(f'{run.measures[m]:.3g}' for m in MEASURES)
        lines.append(f'| {run.name} | {percent(run.accuracy)} | {", ".join(flags)} | {values} |')
    return '\n'.join(lines)


def page(runs: list[Candidate], results: dict[str, Any]) -> str:
    """The page in Markdown, as in docs/."""
    minutes = sum(result['cpu_seconds'] for result in results.values()) / 60
    devices = ', '.join(sorted({result['device'] for result in results.values()}))
    broken = [r for r in runs if any(fault in r.name for fault in FAULTS)]
    flagged = [r for r in runs if r.collapsed]
    caught = [r for r in broken if r.collapsed]
    whole = [r for r in flagged if r not in broken]
    best = max((r.accuracy for r in whole), default=math.nan)
    accuracies = [r.accuracy for r in runs]
    others = f', the best of which reaches {percent(best)} %' if whole else ''
    return f"""# Which label-free number should I trust?

{len(runs)} runs of VICReg, SimCLR and BYOL over loss weights, temperature, learning rate, weight decay and momentum,
{len(broken)} of them broken on purpose (shuffled pairs, a term missing, no negatives, no predictor). Each is measured
as during training on held-out images and judged by logistic regression on frozen features of the test split.

`python -m experiments.tables.label_free_selection --workdir=runs/selection --config.data.dir=...` repeats this page:
{results[next(iter(results))]['setting']}, {minutes:.0f} minutes of processor time ({devices}), one seed.

![accuracy over each measure](label_free_selection.png)

The alarm flagged {len(flagged)} runs: {len(caught)} of the {len(broken)} broken ones, and {len(whole)} of the
{len(runs) - len(broken)} others{others}. The best run of all reaches {percent(max(accuracies))} %, the worst
{percent(min(accuracies))} %. Merit is the value of a measure, negated for alignment, uniformity and the loss, and
−|α − 1| for α-ReQ. Regret is what choosing by the measure costs against the best run of the column, flagged or not.
Losses of different methods have different units, so across methods they mean nothing.

{tables(runs)}
## The runs

{listing(runs)}
"""


def plot(runs: list[Candidate], file: Path) -> None:
    """Accuracy over each measure; flagged runs are crosses."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 4, figsize=(16, 7.4), layout='constrained', sharey=True)
    colours = {m: f'C{i}' for i, m in enumerate(sorted({r.method for r in runs}))}
    for axis, by in zip(axes.flat, MEASURES, strict=False):
        for method, colour in colours.items():
            for flagged, marker in ((False, 'o'), (True, 'x')):
                shown = [r for r in runs if (r.method, r.collapsed) == (method, flagged) and merit(r, by) > -math.inf]
                axis.scatter(
                    [r.measures[by] for r in shown],
                    [100 * r.accuracy for r in shown],
                    c=colour,
                    marker=marker,
                    s=34,
                    alpha=0.75,
                    label=f'{method}{", flagged" if flagged else ""} ({len(shown)})',
                )
        if by == 'loss':  # of very different sizes, and not always positive
            axis.set_xscale('symlog', linthresh=1.0)
        axis.set_title(f'{by}: τ = {interval(*kendall(runs, by))} over all runs', fontsize=10)
        axis.grid(alpha=0.3)
        best = ranked(runs, by, alarm=False)[0]
        axis.scatter(best.measures[by], 100 * best.accuracy, s=150, facecolors='none', edgecolors='k')
    for axis in axes[:, 0]:
        axis.set_ylabel('linear probe, test accuracy in per cent')
    handles, labels = axes.flat[0].get_legend_handles_labels()
    axes.flat[-1].axis('off')
    axes.flat[-1].legend(handles, labels, loc='center', title='ring: the choice of the measure')
    figure.savefig(file, dpi=90)
    plt.close(figure)


def main(arguments: list[str]) -> int:
    usage = (
        'usage: python -m experiments.tables.label_free_selection --workdir=FOLDER [--groups=a,b] '
        '[--config.field=value]'
    )
    values, overrides = cli.parse(arguments, {'workdir': None, 'groups': ','.join(GROUPS)}, usage)
    names = values['groups'].split(',')
    for name in names:
        if name not in GROUPS:
            raise errors.UserError(f'--groups: {name!r} is unknown{errors.nearest(name, GROUPS)}')
    cli.prepare()
    workdir = Path(values['workdir'])
    workdir.mkdir(parents=True, exist_ok=True)
    results = {}
    for name in names:
        file = workdir / f'{name}.json'
        if not file.exists():
            file.write_text(json.dumps(run_group(name, overrides), indent=1) + '\n')
        results[name] = json.loads(file.read_text())
    runs = candidates(results)
    plot(runs, workdir / 'label_free_selection.png')
    text = page(runs, results)
    (workdir / 'label_free_selection.md').write_text(text)
    print(text)
    return 0


if __name__ == '__main__':
    errors.command(main)()

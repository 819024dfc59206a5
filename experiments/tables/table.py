"""Runs every config of a folder over seeds, with and without its control, and prints the table.

`Recorded` scores are those of every run: method -> control -> 'seed1' -> representation -> score -> value in [0, 1].
A run may lack a representation: raw pixels of large images, and features that were not finite, have no probes.
A table's command writes them to `table.json`; docs/digits.json is such a file.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from selfsup import cli, errors
from selfsup.config import shipped

from . import recipes

EXPERIMENTS = Path(__file__).parent.parent
REPRESENTATIONS = ('trained', 'untrained', 'pixels')
Recorded = dict[str, dict[str, dict[str, dict[str, dict[str, float]]]]]
# Names in tables, by config.
NAMES = {
    'all4one': 'All4One', 'amdim': 'AMDIM', 'exemplar': 'Exemplar', 'relational': 'relational reasoning',
    'barlow_twins': 'Barlow Twins', 'beclr': 'BECLR', 'bootmae': 'BootMAE', 'byol': 'BYOL', 'capi': 'CAPI',
    'cmae': 'CMAE',
    'crossmae': 'CrossMAE', 'data2vec': 'data2vec', 'debiased': 'debiased contrastive', 'decoupled': 'DCL',
    'deepcluster': 'DeepCluster', 'deepcluster_v2': 'DeepCluster v2', 'deepercluster': 'DeeperCluster',
    'dino': 'DINO', 'dinosr': 'DinoSR',
    'dinov2': 'DINOv2', 'gmml': 'GMML',
    'ibot': 'iBOT', 'ijepa': 'I-JEPA', 'intl': 'INTL', 'intl_m': 'INTL (EMA)', 'lejepa': 'LeJEPA',
    'mae': 'MAE', 'maskfeat': 'MaskFeat', 'mmcr': 'MMCR',
    'icon': 'I-Con', 'esimcse': 'ESimCSE', 'unsee': 'UNSEE', 'whitened_contrastive': 'WhitenedCSE',
    'moco_v1': 'MoCo v1', 'moco_v2': 'MoCo v2', 'moco_v3': 'MoCo v3', 'msn': 'MSN', 'nnclr': 'NNCLR', 'ressl': 'ReSSL',
    'simclr': 'SimCLR', 'simclr_ldreg': 'SimCLR with LDReg', 'simmim': 'SimMIM', 'simsiam': 'SimSiam',
    'supcon': 'SupCon (labels)', 'swav': 'SwAV',
    'tico': 'TiCo', 'vibcreg': 'VIbCReg', 'vicreg': 'VICReg', 'vicregl': 'VICRegL',
    'visreg': 'VISReg', 'w_mse': 'W-MSE',
    'detcon': 'DetCon', 'diet': 'DIET', 'instdisc': 'InstDisc', 'invprop': 'Invariance Propagation', 'pirl': 'PIRL',
    'cluster_ns': 'ClusterNS', 'clusternet': 'ClusterNet (2 % of labels)', 'jigclu': 'JigClu',
    'jule': 'JULE', 'metric': 'Metrix (labels)',
    'care': 'CARE', 'filmr': 'FiLMR', 'sie': 'SIE', 'co2': 'CO2', 'directclr': 'DirectCLR', 'emp_ssl': 'EMP-SSL',
    'frossl': 'FroSSL', 'macl': 'MACL', 'mochi': 'MoCHi',
    'hypersphere': 'alignment and uniformity', 'moco_hard': 'MoCo, hard negatives', 'nnbyol': 'NNBYOL',
    'colourisation': 'Colourisation', 'cpc': 'CPC', 'jigsaw': 'Jigsaw', 'relative_patch': 'Relative patch',
    'rotation': 'Rotation', 'supcon_lorot': 'SupCon with LoRot (labels)',
    'nnsiam': 'NNSiam', 'pcl': 'PCL', 'sela': 'SeLa', 'unisiam': 'UniSiam',
}  # fmt: skip


def configs(folder: str) -> list[str]:
    """The names of a folder's configs."""
    return sorted(f.stem for f in (EXPERIMENTS / folder).glob('[!_]*.py') if f.stem != 'common')


def named(method: str) -> str:
    """The name of a config in tables; its file's name where it has none."""
    return NAMES.get(method, method)


def chosen(text: str, known: list[str]) -> list[str]:
    """The methods of --methods."""
    for method in text.split(','):
        if method not in known:
            raise errors.UserError(f'--methods: {method!r} is unknown{errors.nearest(method, known)}')
    return text.split(',')


def load(folder: str, name: str, fields: Sequence[str] = ()) -> Any:
    """A config of a folder of experiments, resolved with overrides."""
    from selfsup import config

    return config.load(str(EXPERIMENTS / folder / f'{name}.py'), [*fields])


def seed_by_seed(
    file: Path, seeds: list[int], one_seed: Callable[[int, dict], None], markdown: Callable[[dict], str]
) -> None:
    """Fills in what a file of recorded numbers lacks, seed after seed, and prints the table and the processor time.

    Args:
      file: JSON of seed -> what was recorded; it may be missing, and so may its folder.
      seeds: of the runs.
      one_seed: called with a seed and all that is recorded, which it adds to and writes.
      markdown: the table of what is recorded.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    recorded = json.loads(file.read_text()) if file.exists() else {}
    begun = time.process_time()
    for seed in seeds:
        one_seed(seed, recorded)
    print(f'{markdown(recorded)}{time.process_time() - begun:.0f} s of processor time')


def control_of(file: str) -> str:
    """The control that the method of a config names."""
    from selfsup import config
    from selfsup.engine import build

    return build.build_method(config.load(file), steps=1, data_size=build.ANY_SIZE).control


def run_all(
    folder: str,
    workdir: Path,
    methods: list[str],
    seeds: list[int],
    overrides: list[str],
    *,
    controls: tuple[str, ...] = (),
    finish: Callable[[Path], None] = lambda place: None,
) -> None:
    """Trains what is not there yet; a finished run has results.json.

    Args:
      folder: of experiments.
      workdir: a run is in `<method>/<control>/seed<n>`.
      methods, seeds, overrides: of the runs.
      controls: of every method; by default none and the method's own.
      finish: called with the folder of each finished run, also of one that was there.
    """
    from selfsup.engine import loop

    for seed in seeds:
        for method in methods:
            file = str(EXPERIMENTS / folder / f'{method}.py')
            for control in controls or ('none', control_of(file)):
                place = workdir / method / control / f'seed{seed}'
                if not (place / 'results.json').exists():
                    resolved = load(folder, method, [*overrides, f'seed={seed}', f'control={control}'])
                    code = loop.train(resolved, str(place))
                    if code:
                        raise SystemExit(code)
                finish(place)


def collect(workdir: Path, methods: list[str]) -> Recorded:
    """The scores of all finished runs: those of the report, and those that a table wrote to `measured.json`."""
    found: Recorded = {}
    for method in methods:
        for file in sorted((workdir / method).glob('*/seed*/results.json')):
            scores = json.loads(file.read_text())['scores']
            more = file.with_name('measured.json')
            for name, numbers in (json.loads(more.read_text())['scores'] if more.exists() else {}).items():
                scores[name] = scores.get(name, {}) | numbers
            kept = {
                k: {name: round(float(v), 5) for name, v in scores[k].items()} for k in REPRESENTATIONS if k in scores
            }
            found.setdefault(method, {}).setdefault(file.parts[-3], {})[file.parts[-2]] = kept
    return found


def rows(recorded: Recorded) -> dict[str, list[dict[str, float]]]:
    """Name of a row -> one dict of scores a seed."""
    found: dict[str, list[dict[str, float]]] = {}
    pixels: list[dict[str, float]] = []

    def of(runs: dict[str, dict[str, dict[str, float]]], name: str) -> list[dict[str, float]]:
        return [run[name] for run in runs.values() if name in run]

    for method, controls in recorded.items():
        runs = controls['none']
        found[named(method)] = of(runs, 'trained')
        found[f'{named(method)}, untrained encoder'] = of(runs, 'untrained')
        for control in controls.keys() - {'none'}:
            found[f'{named(method)}, {control.replace("_", " ")}'] = of(controls[control], 'trained')
        # The same in every run; some tables measure more of them in one run alone.
        pixels = [*of(runs, 'pixels')[::-1], *pixels]
    pixels = [max(pixels, key=len)] if pixels else []
    return {name: scored for name, scored in (*found.items(), ('raw pixels', pixels)) if scored}


def as_json(recorded: Recorded) -> str:
    """One line a method."""
    lines = [f'{json.dumps(method)}: {json.dumps(controls)}' for method, controls in recorded.items()]
    return '{\n' + ',\n'.join(lines) + '\n}\n'


def markdown(rows: dict[str, list[dict[str, float]]]) -> str:
    """Mean ± standard deviation (ddof 1) over seeds, in per cent."""
    from selfsup.engine.report import heading

    columns = list(next(iter(rows.values()))[0])
    lines = ['| | ' + ' | '.join(heading(c) for c in columns) + ' | seeds |', '| --- ' * (len(columns) + 2) + '|']
    for name, runs in rows.items():
        cells = []
        for column in columns:
            cells.append(cell(values(runs, column)))
        lines.append(f'| {name} | ' + ' | '.join(cells) + f' | {len(runs)} |')
    return '\n'.join(lines)


def values(runs: list[dict[str, float]], column: str) -> np.ndarray:
    """A score of the runs that have it, in per cent."""
    return 100 * np.array([run[column] for run in runs if column in run])


def cell(values: np.ndarray) -> str:
    """Mean ± standard deviation (ddof 1); the mean alone for one run, a dash for none."""
    if not len(values):
        return '–'
    return f'{values.mean():.1f}' + (f' ± {values.std(ddof=1):.1f}' if len(values) > 1 else '')


def lead(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Difference of means ± its standard error, from the runs of both; a dash where either has none."""
    if not (len(ours) and len(theirs)):
        return '–'
    error = np.sqrt(sum(x.var(ddof=1) / len(x) for x in (ours, theirs) if len(x) > 1))
    return f'{ours.mean() - theirs.mean():+.1f}' + (f' ± {error:.1f}' if error else '')


def scores(runs: dict[str, dict[str, dict[str, float]]], of: str, column: str) -> np.ndarray:
    """A score of every run that has it, in per cent; `of` is 'trained', 'untrained' or 'pixels'."""
    return 100 * np.array([run[of][column] for run in runs.values() if column in run.get(of, ())])


def summary(recorded: Recorded, column: str) -> str:
    """One line a method: its score, those of its controls, and its lead over each with the standard error."""
    kinds = sorted({c for controls in recorded.values() for c in controls} - {'none'})
    control_name = ' or '.join(kind.replace('_', ' ') for kind in kinds)
    opponents = ['untrained', control_name]
    heads = ['method', 'trained', *opponents, *(f'over {name}' for name in (*opponents, 'raw pixels')), 'seeds']
    lines = ['| ' + ' | '.join(heads) + ' |', '| --- ' * len(heads) + '|']
    for method, controls in recorded.items():
        theirs = next((runs for name, runs in controls.items() if name != 'none'), {})
        runs = controls['none']
        ours, pixels = scores(runs, 'trained', column), scores(runs, 'pixels', column)[-1:]
        against = [scores(runs, 'untrained', column), scores(theirs, 'trained', column)]
        cells = [cell(x) for x in (ours, *against)] + [lead(ours, x) for x in (*against, pixels)]
        lines.append(f'| {named(method)} | ' + ' | '.join(cells) + f' | {len(ours)} |')
    return '\n'.join(lines)


def compared(recorded: Recorded, here: Recorded, column: str) -> str:
    """One line a method that both have: its score here and as recorded, and whether they differ by chance.

    Two standard errors of the difference are taken for chance; a single run of either has no error, and no answer.
    """
    lines = ['| method | here | recorded | difference | within two standard errors |', '| --- ' * 5 + '|']
    for method in here.keys() & recorded.keys():
        pair = [scores(of[method]['none'], 'trained', column) for of in (here, recorded)]
        difference, _, error = lead(*pair).partition(' ± ')
        single = not all(len(x) > 1 for x in pair) or not error
        answer = '–' if single else 'yes' if abs(float(difference)) <= 2 * float(error) else 'no'
        lines.append(f'| {named(method)} | {cell(pair[0])} | {cell(pair[1])} | {difference} | {answer} |')
    return '\n'.join([*lines[:2], *sorted(lines[2:])])


def leads_and_scores(recorded: Recorded, column: str) -> str:
    """The leads of one score over the controls, and every score, in Markdown."""
    return f'{summary(recorded, column)}\n\n{markdown(rows(recorded))}\n'


def command(folder: str) -> Callable[[list[str]], int]:
    """The `main` of one table."""

    def main(arguments: list[str]) -> int:
        usage = f'usage: python -m experiments.tables.{folder} --workdir=FOLDER [--methods=a,b] [--seeds=1,2,3]'
        known = configs(folder)
        options = {'workdir': None, 'methods': ','.join(known), 'seeds': '1,2,3'}
        given, overrides = cli.parse(arguments, options, usage)
        methods = chosen(given['methods'], known)
        seeds = [cli.integer('seeds', s) for s in given['seeds'].split(',')]
        cli.prepare()
        workdir = Path(given['workdir'])
        run_all(folder, workdir, methods, seeds, overrides)
        recorded = collect(workdir, methods)
        table = rows(recorded)
        if not table:
            raise errors.UserError(f'no run in {workdir} has scores: its results.json says none, for want of labels')
        column = next((c for c in ('linear_10', 'linear') if c in next(iter(table.values()))[0]), 'knn')
        text = leads_and_scores(recorded, column)
        (workdir / 'table.json').write_text(as_json(recorded))
        (workdir / 'recipes.json').write_text(recipes.updated(workdir / 'recipes.json', folder, methods, overrides))
        (workdir / 'table.md').write_text(text)
        print(text)
        known = shipped.recorded(f'{folder}.json')
        if known:
            print(compared(json.loads(known.read_text()), recorded, column))
        return 0

    return main

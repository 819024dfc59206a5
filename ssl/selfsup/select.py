"""Ranks runs by one number, without those that the collapse alarm flagged, and prints what the choice costs."""

import dataclasses
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import cli
from .errors import UserError, command, nearest
from .files import printable, read_jsonl, read_results
from .runs.listing import find, read

USAGE = """usage: selfsup select RUN RUN ... --by=rankme[,lidar,...] [--judge=linear] [--alarm=on|off]

  RUN ...          workdirs, or folders with workdirs at any depth; runs that have not ended are left out
  --by=a,b         rankme, rankme_features, lidar, alpha_req, nesum, stable_rank, uniformity, correlation, alignment,
                   deviation, rank, loss, probe_accuracy, or a score of results.json such as knn. What a run has not
                   recorded is measured on its held-out images from its newest checkpoint
  --judge=linear   the score of results.json by which the cost of a choice is measured
  --alarm=off      ranks flagged runs too"""


def _is_trained(folder: Path) -> bool:
    """Whether a run has come to its last step; one that has not is told of, since its numbers do not compare."""
    row = read(folder, folder)
    if row is None:  # an exported encoder
        return False
    step, total = row.get('step', 0), row.get('total')
    if row['state'] == 'damaged' or total is None or step >= total or row['done']:
        return True
    print(f'left out: {printable(str(folder))} is at step {step} of {total}', file=sys.stderr)
    return False


def read_run(folder: Path, judge: str) -> Any:
    """One run as a candidate; its measures are those of its last measurement, its last loss and its scores."""
    from .engine import alarm as alarms
    from .engine import encoder
    from .evals import Candidate

    config = encoder.read_config(folder)
    measures: dict[str, float] = {}
    last = -1
    for line in read_jsonl(folder / 'metrics.jsonl'):
        last = int(line['step'])
        measures |= {name: value for name, value in line.items() if name != 'step'}
    scores: dict[str, float] = {}
    if (folder / 'results.json').is_file():
        step, found = read_results(folder / 'results.json')
        scores = found.get('trained', {}) if step == last else {}  # scores of another step say nothing of the last
    alarm = alarms.alarm_of(measures)
    collapsed = bool(alarm is not None and alarm['collapsed'])
    return Candidate(str(folder), config.method.name, {**measures, **scores}, collapsed, scores.get(judge, math.nan))


def measured(candidate: Any, by: str) -> Any:
    """The candidate with a measure that its run did not record, from its newest checkpoint."""
    from .engine import encoder
    from .engine.run import Run
    from .evals.measures import MEASURES

    if by not in MEASURES:
        raise UserError(f'{candidate.name} has not recorded {by!r}{nearest(by, {*MEASURES, *candidate.measures})}')
    trained = encoder.load(candidate.name)
    config = trained.config.copy_and_resolve_references()
    with config.unlocked():
        config.monitor.measures = (by,)
    run = Run(config, devices=1)  # where the encoder was loaded
    state = dataclasses.replace(run.start(), params=trained.params, extra=trained.extra)
    value = float(run.monitor()(state)[by])
    return candidate._replace(measures={**candidate.measures, by: value})


def evidence(candidate: Any) -> str:
    """The alarm's sentence on the last measurement of a run."""
    from .engine import alarm

    return alarm.verdict(candidate.measures) or 'Its metrics hold no alarm.'


def show_ranking(candidates: Sequence[Any], by: str, *, alarm: bool, judge: str) -> None:
    """The ranked runs, best first, and the excluded ones with the evidence."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    from .evals import ranked

    order = ranked(candidates, by, alarm=alarm)
    table = Table(title=f'by {by}, best first')
    for name in ('run', 'method'):
        table.add_column(name, overflow='fold')
    for name in (by, judge):
        table.add_column(escape(name), justify='right')
    for run in order:
        known = '' if math.isnan(run.accuracy) else f'{run.accuracy:.3f}'
        table.add_row(Text(printable(run.name), overflow='fold'), run.method, f'{run.measures[by]:.4g}', known)
    Console().print(table)
    for run in candidates:
        if run not in order:
            print(f'left out: {printable(run.name)} ({by} {run.measures[by]:.4g}). {evidence(run)}')
    if order:
        print(f'choice: {printable(order[0].name)}', flush=True)


def costs(candidates: Sequence[Any], by: str, judge: str) -> str:
    """What choosing by the measure costs, within each method and across all, without and with the alarm."""
    from .evals import regret

    judged = [c for c in candidates if not math.isnan(c.accuracy)]
    if len(judged) < len(candidates):
        unknown = len(candidates) - len(judged)
        return f'{unknown} of {len(candidates)} runs have no score {judge!r}, so the cost of the choice is unknown'
    methods = sorted({c.method for c in candidates})
    sets = {m: [c for c in judged if c.method == m] for m in methods}
    if len(methods) > 1:
        sets['across methods'] = judged
    lines = [f'cost of choosing by {by}, in points of {judge} below the best of all runs:']
    for name, runs in sets.items():
        values = (100 * regret(runs, by, alarm=alarm) for alarm in (False, True))
        without, with_alarm = ('no run is left' if math.isnan(v) else f'{v:.1f}' for v in values)
        lines.append(f'  {name} ({len(runs)} runs): {without} without the alarm, {with_alarm} with it')
    if by == 'loss' and len(methods) > 1:
        lines.append('  losses of different methods have different units: across methods this ranking has no meaning')
    return '\n'.join(lines)


def main(arguments: list[str]) -> int:
    values, overrides = cli.parse(arguments, {'': [], 'by': None, 'judge': 'linear', 'alarm': 'on'}, USAGE)
    folders = values['']
    if overrides:
        raise UserError('select reads the config of each run; --config fields have no effect here')
    if values['alarm'] not in ('on', 'off'):
        raise UserError(f'--alarm must be on or off, not {values["alarm"]!r}')
    below = {folder: [run for run in find(Path(folder)) if _is_trained(run)] for folder in folders}
    runs = list(dict.fromkeys(run for found in below.values() for run in found))
    if len(runs) < 2:
        others = [folder for folder, found in below.items() if not found]
        hint = f', and {others[0]} holds no trained run' if others else ''
        raise UserError(
            f'a choice needs at least two runs; the {len(folders)} folders given hold {len(runs)}{hint}; '
            f'{USAGE.splitlines()[0]}'
        )
    cli.prepare()
    alarm = values['alarm'] == 'on'
    candidates = [read_run(folder, values['judge']) for folder in runs]
    for by in values['by'].split(','):
        candidates = [c if by in c.measures else measured(c, by) for c in candidates]
        show_ranking(candidates, by, alarm=alarm, judge=values['judge'])
        if alarm and all(c.collapsed for c in candidates):
            print('the alarm flagged every run, so none is chosen; --alarm=off ranks them too')
        print(costs(candidates, by, values['judge']), flush=True)
    return 0


if __name__ == '__main__':
    command(main)()

"""Runs side by side: `selfsup runs compare`; their curves, and means over runs that differ in some fields alone."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError, nearest
from ..files import expanded, is_number, plain, printable, read_jsonl
from .listing import collect, shown
from .tables import table

PLOTTED = ('loss', 'rankme', 'alignment', 'probe_accuracy')
Rows = list[dict[str, Any]]


def compare(values: dict[str, Any]) -> int:
    """`selfsup runs compare A B`."""
    rows = [row for name in values[''][1:] for row in collect(expanded(name))]
    if len(rows) < 2:
        raise UserError('compare needs at least two runs')
    for row in rows:
        if row['state'] == 'damaged':
            raise UserError(f'{row["folder"]}: {row["problem"]}')
    over = [name for name in values['over'].split(',') if name]
    fields = {name for row in rows for name in row['_config']}
    for name in over:
        if name not in fields:
            raise UserError(f'--over: {name!r} is unknown{nearest(name, fields)}')
    groups = grouped(rows, over)
    differing = [f for f in sorted(fields - {*over}) if len({json.dumps(of[0]['_config'].get(f)) for of in groups}) > 1]
    labels = _labels([os.path.commonpath([os.path.abspath(row['folder']) for row in of]) for of in groups])
    measures = {m for row in rows for m in row if m not in row['_config'] and is_number(row[m]) and '/' not in m}
    measured = sorted(measures - {'total'})
    if values['json'] == 'true':
        content = {
            label: {name: [row.get(name) for row in of] for name in ('folder', *over, *differing, 'state', *measured)}
            if over
            else {name: of[0].get(name) for name in (*differing, 'state', *measured)}
            for label, of in zip(labels, groups, strict=True)
        }
        print(json.dumps(plain(content), indent=1))
    else:
        lines = [['runs', *(str(len(of)) for of in groups)]] if over else []
        lines += [
            [name, *(summary([row.get(name) for row in of]) for of in groups)]
            for name in ('state', *differing, *measured)
        ]
        table(['', *labels], lines)
    if values['plot']:
        plot(groups, labels, expanded(values['plot']))
    return 0


def grouped(rows: Rows, over: list[str]) -> list[Rows]:
    """Runs whose configs differ in the fields `over` alone, in the order of their first; without fields, each alone."""
    if not over:
        return [[row] for row in rows]
    found: dict[str, Rows] = {}
    for row in rows:
        rest = {name: value for name, value in row['_config'].items() if name not in over}
        found.setdefault(json.dumps(rest, sort_keys=True), []).append(row)
    return list(found.values())


def summary(values: list[Any]) -> str:
    """A cell: the value of one run; of several, mean ± standard deviation (ddof 1), or the different words.

    Where some of the runs lack it, how many have it stands behind.
    """
    known = [value for value in values if value is not None]
    if len(values) == 1 or not known:
        return shown(values[0])
    if not all(is_number(value) for value in known):
        return ', '.join(dict.fromkeys(map(shown, known)))
    same = len(set(known)) == 1
    cell = shown(known[0]) if same else f'{np.mean(known):.4g} ± {np.std(known, ddof=1):.2g}'
    return cell if len(known) == len(values) else f'{cell} ({len(known)} of {len(values)})'


def _labels(folders: list[str]) -> list[str]:
    """The shortest ends of paths that tell them apart."""
    parts = [Path(folder).absolute().parts for folder in folders]
    for count in range(1, max(map(len, parts)) + 1):
        names = ['/'.join(part[-count:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [f'{folder} ({number})' for number, folder in enumerate(folders, 1)]


def _in_legend(label: str) -> str:
    """A name as matplotlib shows it: no formula, and not hidden for the underscore it begins with."""
    text = printable(label).replace('$', r'\$')
    return f' {text}' if text.startswith('_') else text


def curve(runs: list[list[dict[str, float]]], name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A measure over training: steps [n] that all runs with it have, its mean [n] and its standard deviation [n].

    The deviation has ddof 1, and is 0 for one run.
    """
    points = [{int(line['step']): line[name] for line in run if line.get(name) is not None} for run in runs]
    points = [of for of in points if of]
    if not points:
        return np.zeros(0, int), np.zeros(0), np.zeros(0)
    steps = sorted(set.intersection(*map(set, points)))
    values = np.array([[of[step] for step in steps] for of in points], np.float64)
    deviation = values.std(axis=0, ddof=1) if len(points) > 1 else np.zeros(len(steps))
    return np.array(steps, int), values.mean(axis=0), deviation


def plot(groups: list[Rows], labels: list[str], file: Path) -> None:
    """Curves: a panel for each of loss, RankMe, alignment and probe accuracy that the runs have.

    Of several runs the mean is drawn, within a band of one standard deviation.
    """
    from matplotlib.figure import Figure

    lines = [[read_jsonl(Path(row['folder']) / 'metrics.jsonl') for row in of] for of in groups]
    names = [name for name in PLOTTED if any(name in line for of in lines for run in of for line in run)]
    figure = Figure(figsize=(4.2 * max(len(names), 1), 3.4))
    panels = figure.subplots(1, max(len(names), 1), squeeze=False)
    for name, panel in zip(names, panels[0], strict=False):
        for label, runs in zip(labels, lines, strict=True):
            steps, mean, deviation = curve(runs, name)
            if len(steps):
                (drawn,) = panel.plot(steps, mean, label=_in_legend(label))
                if len(runs) > 1:
                    low, high = mean - deviation, mean + deviation
                    panel.fill_between(steps, low, high, color=drawn.get_color(), alpha=0.2, linewidth=0)
        panel.set_title(name.replace('_', ' '))
        panel.set_xlabel('step')
        panel.grid(alpha=0.3)
    panels[0][0].legend(fontsize=8)
    figure.tight_layout()
    try:
        figure.savefig(file, dpi=130)
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise UserError(f'--plot={file} cannot be written: {reason}') from error
    print(f'curves: {file}')

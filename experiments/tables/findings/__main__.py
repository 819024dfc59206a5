"""Repeats findings and writes their numbers, figure and page.

python -m experiments.tables.findings cosine stepwise --seeds=0,1,2
"""

import json
import math
import time
from pathlib import Path

from selfsup import cli, errors
from selfsup.config import shipped

from . import FINDINGS
from .finding import arrays, held, page

USAGE = """usage: python -m experiments.tables.findings [NAME ...] [--seeds=0,1,2] [--workdir=docs/findings]

  NAME              findings, by default all
  --seeds=a,b       by default those of each finding
  --workdir=FOLDER  gets NAME.json, NAME.png and NAME.md"""
CLOSE = 0.02  # relative or absolute: networks and searches amplify rounding, closed forms agree to more digits
PAGES = Path(__file__).parents[3] / 'docs' / 'findings'


def draw(name: str, recorded: dict, file: Path) -> None:
    """The figure of a finding from its numbers."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout='constrained')
    axis = figure.subplots()
    FINDINGS[name].draw(arrays(recorded['numbers']), axis)
    axis.grid(alpha=0.3)
    figure.savefig(file, dpi=100)


def measured(name: str, seeds: tuple[int, ...]) -> dict:
    """The numbers of a finding over seeds, and the processor seconds that they took."""
    start = time.process_time()
    found = [FINDINGS[name].measure(seed) for seed in seeds]
    numbers = {key: [round(float(one[key]), 8) for one in found] for key in found[0]}
    return {'seeds': list(seeds), 'seconds': round(time.process_time() - start, 1), 'numbers': numbers}


def beside(name: str, found: dict) -> str:
    """How far numbers are from the recorded ones of the same seeds; '' where there are none."""
    file = shipped.recorded(f'findings/{name}.json')
    old = json.loads(file.read_text(encoding='utf-8')) if file else {}
    pairs = [
        (a, b)
        for key, values in old.get('numbers', {}).items()
        for seed, a in zip(old['seeds'], values, strict=True)
        for other, b in zip(found['seeds'], found['numbers'].get(key, []), strict=False)
        if seed == other
    ]
    if not pairs:
        return ''
    close = sum(math.isclose(a, b, rel_tol=CLOSE, abs_tol=CLOSE) for a, b in pairs)
    return f'{name}: {close} of {len(pairs)} numbers are within {CLOSE} of the recorded ones of the same seeds'


def main(arguments: list[str]) -> int:
    values, _ = cli.parse(arguments, {'': [], 'seeds': '', 'workdir': str(PAGES)}, USAGE)
    names = values[''] or list(FINDINGS)
    for name in names:
        if name not in FINDINGS:
            raise errors.UserError(f'{name!r} is no finding{errors.nearest(name, FINDINGS)}')
    seeds = tuple(cli.integer('seeds', text) for text in values['seeds'].split(',')) if values['seeds'] else ()
    out = Path(values['workdir'])
    if out.exists() and not out.is_dir():
        raise errors.UserError(f'--workdir={out} is no folder')
    cli.prepare()
    out.mkdir(parents=True, exist_ok=True)
    for name in names:
        recorded = measured(name, seeds or FINDINGS[name].seeds)
        told = beside(name, recorded)
        (out / f'{name}.json').write_text(json.dumps(recorded, indent=1) + '\n')
        (out / f'{name}.md').write_text(page(name, FINDINGS[name], recorded))
        draw(name, recorded, out / f'{name}.png')
        for sentence, good in held(FINDINGS[name], recorded['numbers']).items():
            print(f'{name}: {"holds" if good else "DOES NOT HOLD"}: {sentence}', flush=True)
        if told:
            print(told, flush=True)
    return 0


if __name__ == '__main__':
    errors.command(main)()

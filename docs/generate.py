"""Writes what is derived from other files: `python docs/generate.py`; a test fails where one of them is out of date.

- docs/losses.md from the docstrings of `selfsup.losses`
- docs/diagnostics.md from those of `selfsup.diagnostics`, and from who calls them (docs/reached.py)
- the table of docs/regularisers.md from the signatures of `selfsup.methods.REGULARISERS`
- docs/findings/*.md from the numbers beside them (`python -m experiments.tables.findings NAME`)
- the tables of docs/masked.md from docs/cifar5k_vit.json (`python -m experiments.tables.cifar5k_vit`)
- the tables of docs/peers.md, speedrun.md, ablations.md, cifar10.md, concatenation.md, subsets.md, vectors.md,
  e2mc.md and label_curves.md from the JSON files of those names, that of docs/equivariance.md from docs/shapes.json,
  those of docs/pretext.md from docs/cifar5k_pretext.json, and of docs/clusters.md from docs/digits.json
  (`python benchmarks/peers.py`, `python -m experiments.tables.NAME`)
- docs/digits.md, docs/methods.md, the README's table of methods and the result in the docstring of each config of
  experiments/digits from the recorded scores in docs/digits.json (`python -m experiments.tables.digits` writes such
  a file as WORKDIR/table.json)
"""

import inspect
import json
import re
import sys
import textwrap
from pathlib import Path

from selfsup import catalogue, losses, methods, signature

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'docs'), str(ROOT / 'benchmarks')]
import peers_page  # noqa: E402
import reached  # noqa: E402

from experiments.tables import (  # noqa: E402
    ablations,
    cifar10,
    concatenation,
    e2mc,
    label_curves,
    shapes,
    speedrun,
    subsets,
    table,
    vectors,
)
from experiments.tables.findings import FINDINGS, finding  # noqa: E402

WIDTH = 120
COLUMN = 'linear_10'
# Of docs/clusters.md.
CLUSTERING = ('deepcluster', 'deepcluster_v2', 'pcl', 'sela', 'swav', 'beclr', 'jule', 'clusternet')
MARKS = '<!-- {0}, written by docs/generate.py -->\n', '<!-- end of {0} -->\n'
RESULT = re.compile(r'^Result with ten labels per class: .*?\.$', re.M | re.S)
DIGITS = """# Digits, every method

Scikit-learn's 8x8 digits (1,438 to train, 359 to test), a three-layer convolutional network, 100 epochs (50 of
BECLR, DeepCluster, PCL and SeLa), one to two minutes on two cores. Frozen backbone, features standardised on train,
logistic regression with C = 1, low-label columns the mean of 5 label draws. Accuracy in per cent, mean ± standard
deviation over seeds (of 1, 2, 3, as the last column says); a row without deviation is seed 1 alone.
*Shuffled pairs* is the same run with positives drawn from other images; the untrained encoder has its batch-norm
statistics adapted on train. Hyper-parameters were tried on seed 0 with the same split.

SupCon's control has shuffled labels too, DeepCluster's takes the clusters of other images, and DeepCluster v2's has
shuffled places in its memory. `python -m experiments.tables.digits --workdir=runs/digits` repeats the table, and goes
on where it was stopped (jax 0.10.2, Python 3.11, CPU, one thread a run). The numbers run by run are in
[digits.json](digits.json), from which `python docs/generate.py` writes this page.

"""


METHODS = """# Methods

Every method with its name in configs, its paper, its losses, one of its configs and its score on digits: accuracy in
per cent of a linear probe with ten labels per class, mean of two or three seeds, with an asterisk of one; untrained
encoders give 86, raw pixels 89.5 ([digits.md](digits.md) has all columns, deviations and controls). Without a score it
was not measured there. `selfsup methods NAME` prints one with its hyper-parameters, and [losses.md](losses.md) lists
the losses. Where the authors' code and others differ, the docstring says which reading was taken, and
[parity.md](parity.md) how the agreement was measured.

Written by `python docs/generate.py`.
"""
FINDINGS_HEAD = """# Findings

Claims of papers, repeated in seconds to minutes on a CPU: each page has the claim, what was asserted of our numbers
before they were seen, what is only reported, the numbers over seeds, a figure and the command. An assertion that does
not hold is shown as such.
"""


def paragraph(doc: str, start: str) -> str:
    """The paragraph of a docstring that begins with `start`, on one line; '' without one."""
    found = re.search(rf'^{start}:?\s*(.*?)(?:\n\s*\n|\Z)', doc, re.S | re.M)
    return ' '.join(found.group(1).split()) if found else ''


def row(name: str) -> str:
    """One line of the table of losses."""
    doc = inspect.getdoc(getattr(losses, name)) or ''
    arguments = ', '.join(inspect.signature(getattr(losses, name)).parameters)
    links = ', '.join(f'[{n}]({url})' for n, url in enumerate(re.findall(r'https://\S+?(?=[,\s]|$)', doc), 1))
    cells = (f'`{name}({arguments})`', doc.split('\n')[0], paragraph(doc, 'Cost').rstrip('.'), links)
    return '| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |'


def losses_page() -> str:
    """docs/losses.md."""
    names = [n for n in losses.__all__ if not n.endswith('_terms')]
    head = (
        '# Losses\n\nGenerated by `python docs/generate.py` from the docstrings, which have the formula, ranges,\n'
        'values at collapse and the conventions on which implementations differ: `help(losses.vicreg)`.\n\n'
        '| call | what it is | cost and state | reference |\n| --- | --- | --- | --- |\n'
    )
    return head + '\n'.join(row(name) for name in names) + '\n'


def listed(items: list[str]) -> str:
    return ' and '.join([', '.join(items[:-1]), items[-1]] if len(items) > 1 else items)


def of_control(controls: dict) -> tuple[str, dict]:
    """The name and the runs of a method's control."""
    return next((name.replace('_', ' '), runs) for name, runs in controls.items() if name != 'none')


def result(controls: dict) -> str:
    """The sentence of a config's docstring."""
    runs = controls['none']
    name, shuffled = of_control(controls)
    seeds = [seed.removeprefix('seed') for seed in runs]
    spread = f'mean and deviation of seeds {listed(seeds)}' if len(seeds) > 1 else f'seed {seeds[0]}'
    means = [f'{table.scores(r, of, COLUMN).mean():.1f}' for r, of in ((runs, 'untrained'), (shuffled, 'trained'))]
    text = (
        f'Result with ten labels per class: {table.cell(table.scores(runs, "trained", COLUMN))} % (untrained encoder '
        f'{means[0]}, {name} {means[1]}), {spread}.'
    )
    return textwrap.fill(text, WIDTH)


def docstring(text: str, controls: dict) -> str:
    """The text of a config with its result."""
    if len(RESULT.findall(text)) != 1:
        raise ValueError('the docstring needs one line that begins with "Result with ten labels per class: "')
    return RESULT.sub(lambda _: result(controls), text)


def smallest(recorded: table.Recorded) -> str:
    """The smallest lead over each control, and the leads that are within two standard errors."""
    parts, within = [], []
    for which in ('the untrained encoder', 'the control'):
        leads = []
        for method, controls in recorded.items():
            runs, shuffled = controls['none'], of_control(controls)[1]
            theirs = (runs, 'untrained') if which == 'the untrained encoder' else (shuffled, 'trained')
            text = table.lead(table.scores(runs, 'trained', COLUMN), table.scores(*theirs, COLUMN))
            difference, _, error = text.partition(' ± ')
            if not error:  # of one run, whose spread is not known
                continue
            leads.append((float(difference), text, table.named(method)))
            if float(difference) <= 2 * float(error):
                within.append(f"{table.named(method)}'s over {which}")
        parts.append(f'{min(leads)[1]} over {which} ({min(leads)[2]})')
    clear = f'all but {listed(within)} exceed' if within else 'all exceed'
    return f'The smallest leads of several seeds are {listed(parts)}; {clear} two standard errors.'


def not_better(recorded: table.Recorded) -> str:
    """Which methods do not beat their untrained encoder by k-NN."""
    found = []
    for method, controls in recorded.items():
        ours, untrained = (table.scores(controls['none'], of, 'knn') for of in ('trained', 'untrained'))
        if ours.mean() <= untrained.mean():
            found.append(f'{table.named(method)} ({table.cell(ours)}, untrained {untrained.mean():.1f})')
    return f'By k-NN, which sees all labels, {listed(found)} do not beat the untrained encoder.' if found else ''


def digits_part(recorded: table.Recorded) -> str:
    """The table of leads, with what it says."""
    first = recorded['vicreg']['none']
    pixels = {c: table.scores(first, 'pixels', c)[0] for c in (COLUMN, 'linear_1')}
    trained, untrained = (table.cell(table.scores(first, of, 'linear_1')) for of in ('trained', 'untrained'))
    before = (
        'Linear probe with ten labels per class, and the lead over each control with its standard error, in points; '
        f'raw pixels give {pixels[COLUMN]:.1f}. {smallest(recorded)} {not_better(recorded)}'
    )
    after = (
        f'With one label per class VICReg gives {trained}, its untrained encoder {untrained} and raw pixels '
        f'{pixels["linear_1"]:.1f}.'
    )
    fill = [textwrap.fill(text.strip(), WIDTH) for text in (before, after)]
    return f'{fill[0]}\n\n{table.summary(recorded, COLUMN)}\n\n{fill[1]}\n'


def families_table(recorded: table.Recorded) -> str:
    """The README's table: the methods of each family, with a link to the paper and the digits score."""
    families: dict[str, dict[str, str]] = {}
    for one in catalogue.rows(recorded):
        named = f'[{one.title}]({one.link}) {catalogue.scored(one)}'.strip()
        families.setdefault(one.family, {}).setdefault(one.title, named)
    lines = ['| family | methods, and digits where they were measured |', '| --- | --- |']
    lines += [f'| {family} | {", ".join(cells.values())} |' for family, cells in families.items()]
    return '\n'.join(lines) + '\n'


def methods_page(recorded: table.Recorded) -> str:
    """docs/methods.md: every method with its paper, a config and its digits score."""
    lines = [
        METHODS,
        '| method | paper | family | losses | config | digits |',
        '| --- | --- | --- | --- | --- | ---: |',
    ]
    for one in catalogue.rows(recorded):
        config = min(one.configs, key=lambda name: (not name.startswith('digits/'), name)) if one.configs else ''
        losses_ = ', '.join(f'`{loss}`' for loss in one.losses)
        named, paper = f'{one.title}, `{one.name}`', f'[{one.paper}]({one.link})'
        cells = (named, paper, one.family, losses_, f'`{config}`' if config else '', catalogue.scored(one))
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n'


def between(file: Path, name: str, part: str) -> str:
    """The text of a file with another part between the marks of `name`."""
    text = file.read_text()
    first, last = (mark.format(name) for mark in MARKS)
    start, end = text.index(first), text.index(last)
    return text[: start + len(first)] + part + text[end:]


def regularisers_table() -> str:
    """The table of docs/regularisers.md: every row with its fields."""
    lines = ['| name | what it does | fields and defaults |', '| --- | --- | --- |']
    for name, constructor in sorted(methods.REGULARISERS.items()):
        what = re.sub(r':\w+:`~?selfsup\.(\w+\.\w+)`', r'`\1`', (inspect.getdoc(constructor) or '').split('\n')[0])
        needed = [f'`{field}` ({domain.describe()})' for field, domain in signature.required(constructor).items()]
        known = [f'`{field}={value!r}`' for field, value in signature.keywords(constructor).items()]
        lines.append(f'| `{name}` | {what} | {", ".join([*needed, *known])} |')
    return '\n'.join(lines) + '\n'


def linear_tables(recorded: table.Recorded) -> str:
    """The leads of the linear probe with all labels, and every score."""
    return table.leads_and_scores(recorded, 'linear')


def clustering_tables(recorded: table.Recorded) -> str:
    """The leads of the methods of docs/clusters.md on digits, with ten labels per class and by k-NN."""
    chosen = {name: recorded[name] for name in CLUSTERING}
    return f'{table.summary(chosen, COLUMN)}\n\nBy k-NN:\n\n{table.summary(chosen, "knn")}\n'


# Page of docs/ -> the JSON file that its part is written from, and what writes it.
PARTS = {
    'ablations': ('ablations', ablations.markdown),
    'cifar10': ('cifar10', cifar10.markdown),
    'clusters': ('digits', clustering_tables),
    'concatenation': ('concatenation', concatenation.markdown),
    'e2mc': ('e2mc', e2mc.markdown),
    'equivariance': ('shapes', shapes.markdown),
    'label_curves': ('label_curves', label_curves.markdown),
    'masked': ('cifar5k_vit', linear_tables),
    'peers': ('peers', peers_page.part),
    'pretext': ('cifar5k_pretext', linear_tables),
    'speedrun': ('speedrun', speedrun.markdown),
    'subsets': ('subsets', subsets.markdown),
    'vectors': ('vectors', vectors.markdown),
}


def part_page(name: str) -> str:
    """docs/<name>.md with its part as its JSON file has it."""
    file, write = PARTS[name]
    recorded = json.loads((ROOT / 'docs' / f'{file}.json').read_text())
    return between(ROOT / 'docs' / f'{name}.md', name, write(recorded))


def findings_pages() -> dict[Path, str]:
    """The page of every recorded finding, and the page that lists them."""
    folder, found = ROOT / 'docs' / 'findings', {}
    lines = ['| finding | paper | asserted beforehand | holds |', '| --- | --- | ---: | ---: |']
    names = [name for name in sorted(FINDINGS) if (folder / f'{name}.json').exists()]
    for name in names:
        row, recorded = FINDINGS[name], json.loads((folder / f'{name}.json').read_text())
        found[folder / f'{name}.md'] = finding.page(name, row, recorded)
        verdicts = finding.held(row, recorded['numbers']).values()
        lines.append(f'| [{row.title}]({name}.md) | {row.paper} | {len(verdicts)} | {sum(verdicts)} |')
    tree = ['```{toctree}', ':hidden:', ':maxdepth: 1', '', *names, '```']
    found[folder / 'index.md'] = '\n'.join([FINDINGS_HEAD, *lines, '', *tree, ''])
    return found


def pages(recorded: table.Recorded) -> dict[Path, str]:
    """Every file that is written here, with its text."""
    readme = ROOT / 'README.md'
    regularisers = ROOT / 'docs' / 'regularisers.md'
    configs = {m: ROOT / 'experiments' / 'digits' / f'{m}.py' for m in recorded}
    return {
        ROOT / 'docs' / 'losses.md': losses_page(),
        ROOT / 'docs' / 'diagnostics.md': reached.page(),
        **findings_pages(),
        ROOT / 'docs' / 'digits.md': f'{DIGITS}{digits_part(recorded)}\n{table.markdown(table.rows(recorded))}\n',
        ROOT / 'docs' / 'methods.md': methods_page(recorded),
        readme: between(readme, 'methods', families_table(recorded)),
        regularisers: between(regularisers, 'regularisers', regularisers_table()),
        **{ROOT / 'docs' / f'{name}.md': part_page(name) for name in PARTS},
        **{file: docstring(file.read_text(), recorded[method]) for method, file in configs.items()},
    }


def scores_recorded() -> table.Recorded:
    """The scores of docs/digits.json."""
    return json.loads((ROOT / 'docs' / 'digits.json').read_text())


if __name__ == '__main__':
    for path, content in pages(scores_recorded()).items():
        path.write_text(content)

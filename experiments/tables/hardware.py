"""The table of docs/hardware.md: every method's step planned for hardware that is not there.

    python -m experiments.tables.hardware [--recorded=FILE] [--workdir=FOLDER] [--folder=digits] [--methods=a,b]
        [--on=h100:1,h100:8,tpu-v5e:4x4,tpu-v5e:16x16]

Needs requirements-plan.txt. Each row is written as soon as it is there, and rows that the file (by default
hardware.json of the workdir) holds are kept, so that the command can be stopped and repeated; of what does not compile
the row says why. A row takes a quarter of a minute (digits) to some minutes (CIFAR-10) of a core.
"""

import json
import sys
import textwrap
from pathlib import Path

from selfsup import cli, errors

from . import table

USAGE = __doc__.split('\n\n')[1]
PLACES = 'h100:1,h100:8,tpu-v5e:4x4,tpu-v5e:16x16'
# Images of a step on one device: those of the digits' and CIFAR-10's recipes on one GPU, fewer on each of 256 chips.
EACH = {'cuda': 256, 'tpu': 16}
MARKS = ('<!-- plans, written by experiments.tables.hardware -->\n', '<!-- end of plans -->\n')
PAGE = table.EXPERIMENTS.parent / 'docs' / 'hardware.md'
Recorded = dict[str, dict]


def row(folder: str, method: str, on: str) -> dict:
    """One method on one place."""
    from selfsup.engine import planning
    from selfsup.engine.run import Run
    from selfsup.hardware import place

    where = place(on)
    batch = EACH[where.target.platform] * where.chips
    source = 'blank:60000x8x8x1/10' if folder == 'digits' else 'tfds:cifar10'
    overrides = [f'data.batch_size={batch}', f'data.source={source}', 'train.steps_per_call=1']
    resolved = planning.with_data(table.load(folder, method, overrides))
    return planning.plan(Run(resolved, mesh=planning.mesh_of(where)), where).as_dict()


def alone(recorded: Recorded, on: str) -> str:
    """A place of one device: a line a method."""
    lines = [
        '| method | images | peak, MiB | GFLOP | MB moved | kernels | bound, ms | images/s, at most |',
        '| --- ' + '| ---: ' * 7 + '|',
    ]
    for name, found in of_place(recorded, on).items():
        if 'refused' in found:
            cells = [f'not compiled: {reason(found)}'] + 6 * ['']
        else:
            cells = [
                f'{found["batch"]:,}', mebibytes(found), f'{found["flops"] / 1e9:,.2f}',
                f'{found["bytes"] / 1e6:,.0f}', f'{found["kernels"]:,.0f}', f'{1e3 * found["bound"]["total"]:,.3f}',
                f'{found["images_per_second"]:,.0f}',
            ]  # fmt: skip
        lines.append(f'| {table.named(name)} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n'


def together(recorded: Recorded, places: list[str]) -> str:
    """Places of several devices beside one another: memory, what a device sends, and the bound of a step."""
    heads = [f'{on}: peak, MiB | MB sent | bound, ms' for on in places]
    lines = ['| method | ' + ' | '.join(heads) + ' |', '| --- ' + '| ---: ' * 3 * len(places) + '|']
    by_place = {on: of_place(recorded, on) for on in places}
    for name in sorted({name for found in by_place.values() for name in found}):
        cells = []
        for on in places:
            found = by_place[on].get(name)
            if found is None:
                cells += ['', '', '']
            elif 'refused' in found:
                cells += [f'not compiled: {reason(found)}', '', '']
            else:
                sent = f'{found["sent"] / 1e6:,.2f}'
                cells += [mebibytes(found), sent, f'{1e3 * found["bound"]["total"]:,.3f}']
        lines.append(f'| {table.named(name)} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n'


def growth(recorded: Recorded, few: str, many: str) -> str:
    """What grows with the number of devices, at as many images on each: a line."""
    fewer, more = of_place(recorded, few), of_place(recorded, many)
    both = [name for name in fewer if name in more and not {'refused'} & (fewer[name].keys() | more[name].keys())]
    if not both:
        return ''
    chips = {on: chips_of(on) for on in (few, many)}
    ring = (1 - 1 / chips[many]) / (1 - 1 / chips[few])  # a ring of n devices sends 2(n-1)/n of what it reduces
    ratios = {
        what: {name: value(more[name]) / max(value(fewer[name]), 1) for name in both}
        for what, value in (('sent', lambda found: found['sent']), ('peak', lambda found: found['memory']['peak']))
    }

    def told(what: str, least: float) -> str:
        grown = sorted((ratio, name) for name, ratio in ratios[what].items() if ratio > least)[::-1]
        return ', '.join(f'{table.named(name)} {ratio:.1f}' for ratio, name in grown) or 'none'

    return (
        f'What grows from {few} to {many}, with as many images on each chip ({len(both)} methods compiled for both). '
        f'Bytes that a chip sends, by 5 % more than the {ring:.3f} of a ring: {told("sent", 1.05 * ring)}. '
        f'Peak of memory, by more than 5 %: {told("peak", 1.05)}.\n'
    )


def chips_of(on: str) -> int:
    """Devices of a place."""
    from selfsup.hardware import place

    return place(on).chips


def of_place(recorded: Recorded, on: str) -> Recorded:
    """The rows of one place, by method."""
    return {key.split(' on ')[0]: recorded[key] for key in sorted(recorded) if key.endswith(f' on {on}')}


def reason(found: dict) -> str:
    """Why a program was not compiled, short."""
    return textwrap.shorten(found['refused'].split('[')[0], 90, placeholder=' …').replace('|', '/')


def mebibytes(found: dict) -> str:
    return f'{found["memory"]["peak"] / 2**20:,.0f}'


def markdown(recorded: Recorded, places: list[str]) -> str:
    """All tables of plans: places of one device one by one, the others beside one another, and what grows."""
    ones = [on for on in places if chips_of(on) == 1]
    others = [on for on in places if on not in ones]
    text = ''.join(f'One device, {on}:\n\n{alone(recorded, on)}\n' for on in ones if of_place(recorded, on))
    if any(of_place(recorded, on) for on in others):
        text += f'Several devices:\n\n{together(recorded, others)}'
    tpus = sorted((on for on in others if on.startswith('tpu')), key=chips_of)
    grown = growth(recorded, tpus[0], tpus[-1]) if len(tpus) > 1 else ''
    return text + (f'\n{grown}' if grown else '')


def shares(recorded: Recorded, on: str) -> str:
    """Shares of bytes by part of a step, one line a method."""
    from selfsup.hardware.program import SCOPES

    lines = ['| method | ' + ' | '.join(SCOPES) + ' |', '| --- ' + '| ---: ' * len(SCOPES) + '|']
    for key in sorted(k for k, found in recorded.items() if k.endswith(f' on {on}') and 'shares' in found):
        cells = [f'{100 * recorded[key]["shares"].get(scope, {}).get("bytes", 0):.1f}' for scope in SCOPES]
        lines.append(f'| {table.named(key.split(" on ")[0])} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n'


def page(recorded: Recorded, places: list[str], text: str) -> str:
    """docs/hardware.md with the tables of the recorded plans."""
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    tables = f'{markdown(recorded, places)}\nShares of the bytes of a step on {places[0]}, in per cent:\n\n'
    return f'{before}{MARKS[0]}{tables}{shares(recorded, places[0])}{MARKS[1]}{after}'


def main(arguments: list[str]) -> int:
    options = {'recorded': '', 'workdir': 'runs/tables/hardware', 'folder': 'digits', 'methods': '', 'on': PLACES}
    values, _ = cli.parse(arguments, options, USAGE)
    import os

    os.environ['JAX_PLATFORMS'] = 'cpu'
    cli.prepare()
    from selfsup.engine import planning

    planning.keep_scopes()
    known = table.configs(values['folder'])
    methods = values['methods'].split(',') if values['methods'] else known
    for method in methods:
        if method not in known:
            raise errors.UserError(f'--methods: {method!r} is unknown{errors.nearest(method, known)}')
    file, places = Path(values['recorded'] or Path(values['workdir']) / 'hardware.json'), values['on'].split(',')
    file.parent.mkdir(parents=True, exist_ok=True)
    recorded: Recorded = json.loads(file.read_text()) if file.exists() else {}
    for on in places:
        for method in methods:
            name = f'{method} on {on}'
            if name in recorded:
                continue
            try:
                recorded[name] = row(values['folder'], method, on)
            except (errors.UserError, planning.DoesNotFit, RuntimeError) as error:  # jax's own errors are RuntimeErrors
                recorded[name] = {'on': on, 'refused': ' '.join(str(error).split())}
                print(f'{name}: {recorded[name]["refused"]}', file=sys.stderr)
            lines = [f'{json.dumps(key)}: {json.dumps(found)}' for key, found in recorded.items()]
            file.write_text('{\n' + ',\n'.join(lines) + '\n}\n')
            print(name, flush=True)
    if PAGE.exists() and recorded and file.resolve() == PAGE.with_suffix('.json'):
        PAGE.write_text(page(recorded, str(PLACES).split(','), PAGE.read_text()))
    print(markdown(recorded, places))
    return 0


if __name__ == '__main__':
    errors.command(main)()

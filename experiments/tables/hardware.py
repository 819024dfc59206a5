"""The table of docs/hardware.md: every method's step planned for hardware that is not there.

    python -m experiments.tables.hardware [--recorded=FILE] [--workdir=FOLDER] [--folder=digits] [--methods=a,b]
        [--on=h100:1,tpu-v5e:16x16,h100:8]

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
PLACES = 'h100:1,tpu-v5e:16x16,h100:8'
# Images of a step on one device: those of the digits' and CIFAR-10's recipes on one GPU, fewer on each of 256 chips.
EACH = {'cuda': 256, 'tpu': 16}
MARKS = ('<!-- plans, written by experiments.tables.hardware -->\n', '<!-- end of plans -->\n')
PAGE = table.EXPERIMENTS.parent / 'docs' / 'hardware.md'
Recorded = dict[str, dict]


def row(folder: str, method: str, on: str) -> dict:
    """One method on one place."""
    from selfsup import config
    from selfsup.engine import planning
    from selfsup.engine.run import Run
    from selfsup.hardware import place

    where = place(on)
    batch = EACH[where.target.platform] * where.chips
    source = 'blank:60000x8x8x1/10' if folder == 'digits' else 'tfds:cifar10'
    overrides = [f'data.batch_size={batch}', f'data.source={source}', 'train.steps_per_call=1']
    resolved = planning.with_data(config.load(str(table.EXPERIMENTS / folder / f'{method}.py'), overrides))
    return planning.plan(Run(resolved, mesh=planning.mesh_of(where)), where).as_dict()


def markdown(recorded: Recorded, places: list[str]) -> str:
    """One line a method and place."""
    lines = [
        '| method | on | images | peak, MiB | GFLOP | MB moved | kernels | MB sent | bound, ms | images/s, at most |',
        '| --- | --- ' + '| ---: ' * 8 + '|',
    ]
    for name in sorted({key.split(' on ')[0] for key in recorded}):
        for on in places:
            found = recorded.get(f'{name} on {on}')
            if found and 'refused' in found:
                reason = textwrap.shorten(found['refused'].split('[')[0], 90, placeholder=' …')
                lines.append(f'| {table.named(name)} | {on} | not compiled: {reason.replace("|", "/")}' + ' | ' * 8)
            elif found:
                cells = (
                    f'{found["batch"]:,}', f'{found["memory"]["peak"] / 2**20:,.0f}', f'{found["flops"] / 1e9:,.2f}',
                    f'{found["bytes"] / 1e6:,.0f}', f'{found["kernels"]:,.0f}', f'{found["sent"] / 1e6:,.2f}',
                    f'{1e3 * found["bound"]["total"]:,.3f}', f'{found["images_per_second"]:,.0f}',
                )  # fmt: skip
                lines.append(f'| {table.named(name)} | {on} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n'


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

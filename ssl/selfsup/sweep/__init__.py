"""One run for each combination of values, and their table: `selfsup sweep`."""

from pathlib import Path

from .. import cli
from ..errors import BAD_INPUT, REQUEUE, UserError
from ..files import expanded
from ..runs import tables
from .grid import folder_of, members, shard_of

USAGE = """usage: selfsup sweep CONFIG --grid FIELD=VALUES ... [--workdir=FOLDER] [--shard=I/N] [--together] [--table]

  CONFIG             as of selfsup train; field=value and --config.field=value hold for every run
  --grid F=V ...     fields and their values: --grid seed=0..4 method.temperature=0.1,0.2; a value that holds commas
                     stands in brackets, model.widths=(8,16),(16,32). Every combination is a run
  --workdir=FOLDER   gets a folder for each run; by default runs/sweeps/<folder>/<name> of the config
  --shard=I/N        only every N-th run from the I-th (from 0): one process each of a job array, in the same --workdir
  --together         runs that differ in learning rates, weights, temperatures and other numbers alone train as one
                     program: compiled once, with shared views. A program that is interrupted starts again
  --width=N          with --together, runs that train side by side; by default all, and on a CPU one after another
  --prune=MEASURE    successive halving by a label-free measure of the runs, such as rankme: after the epochs of
  --rungs=E,E,...    --rungs only the better --keep of the combinations go on, by default half. With --table nothing
  --keep=SHARE       is trained, and what it would cost is told of the runs that are finished
  --table            trains nothing and prints the table of what is there

Other runs are trained one after another; those that are finished are left as they are, and those that were stopped go
on. A run that fails is told of, and the others go on. The table has a row for each combination, its scores as mean ±
standard deviation over seeds."""


def main(arguments: list[str]) -> int:
    options: cli.Options = {
        '': [], 'config': '', 'workdir': '', 'grid': [], 'shard': '0/1', 'table': 'false', 'together': 'false',
        'width': '0', 'prune': '', 'rungs': '', 'keep': '0.5',
    }  # fmt: skip
    values, overrides = cli.parse(arguments, options, USAGE)
    path, more = cli.config_of(values, USAGE)
    overrides += more
    if not values['grid']:
        raise UserError(f'--grid is missing; {USAGE.splitlines()[0]}')
    combinations = members(values['grid'])
    which, of = shard_of(values['shard'])
    root = expanded(values['workdir'] or str(Path('runs') / 'sweeps' / cli.place_of(path)))
    cli.prepare()
    from .. import config
    from . import pruning, training
    from .summary import row_of, summary

    # All are resolved first, so that a mistake in the last does not show after days.
    resolved = {member: config.load(path, [*overrides, *member]) for member in combinations}
    width = cli.integer('width', values['width'])
    rule = pruning.rule_of(values, list(resolved.values()), whole=of == 1 and values['together'] == 'false')
    failed: list[tuple[str, ...]] = []
    if values['table'] == 'false':
        mine = {member: resolved[member] for member in combinations[which::of]}
        if values['together'] == 'true':
            failed += training.together(mine, root, width)
        code = pruning.train(mine, root, rule, failed) if rule else training.one_by_one(mine, root, failed)
        if code == REQUEUE:
            return code
    rows = {member: row_of(root / folder_of(member), resolved[member]) for member in combinations}
    tables.table(*summary(rows))
    if rule:
        pruning.tell(rows, root, rule)
    return BAD_INPUT if failed else 0

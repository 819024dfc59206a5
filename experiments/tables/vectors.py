"""docs/vectors.md: methods on vectors, the digits as tables of 64 numbers, with controls.

    python -m experiments.tables.vectors --workdir=runs/vectors [--methods=simclr,unsee] [--seeds=1,2,3]

Two CPU cores: half a minute to a minute a run, 30 runs for all methods and three seeds. Finished runs are kept.
"""

from selfsup import errors

from . import table

main = table.command('vectors')


def markdown(recorded: table.Recorded) -> str:
    """The leads of the linear probe with ten labels per class, and every score."""
    return table.leads_and_scores(recorded, 'linear_10').replace('raw pixels', 'the numbers')


if __name__ == '__main__':
    errors.command(main)()

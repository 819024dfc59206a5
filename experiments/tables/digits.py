"""The table on digits (docs/digits.md): every method, its shuffled-pairs control, untrained encoder and raw pixels.

    python -m experiments.tables.digits --workdir=runs/digits [--methods=simclr,vicreg] [--seeds=1,2,3]

Two CPU cores: about a minute a run, 24 runs for four methods and three seeds. Finished runs are kept, so
the command can be stopped and repeated. Seed 0 is the one that hyper-parameters were tried on.
"""

from selfsup import errors

from . import table

main = table.command('digits')

if __name__ == '__main__':
    errors.command(main)()

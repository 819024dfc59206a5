"""The table of docs/results.md on 5,000 images of CIFAR-10 (500 per class) with a small network.

python -m experiments.tables.cifar5k --workdir=runs/cifar5k [--methods=simclr] [--seeds=1,2,3]
"""

from selfsup import errors

from . import table

main = table.command('cifar5k')

if __name__ == '__main__':
    errors.command(main)()

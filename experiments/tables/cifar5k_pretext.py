"""Pretext tasks on 5,000 images of CIFAR-10 (500 per class) with a small network, each beside its control.

python -m experiments.tables.cifar5k_pretext --workdir=runs/cifar5k_pretext [--methods=rotation,jigsaw] [--seeds=1,2,3]
"""

from selfsup import errors

from . import table

main = table.command('cifar5k_pretext')

if __name__ == '__main__':
    errors.command(main)()

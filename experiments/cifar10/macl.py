"""MACL on CIFAR-10, on solo-learn's SimCLR recipe (its scripts/pretrain/cifar, 2026-04).

    python -m selfsup.train --config=experiments/cifar10/macl.py --workdir=runs/cifar10/macl

Hardware, time, result: not run yet. Published elsewhere: none with this recipe.
"""

from common import as_simclr


def get_config():
    c = as_simclr('macl')
    c.method.temperature = 0.2
    return c

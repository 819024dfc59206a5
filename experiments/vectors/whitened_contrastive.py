"""WhitenedCSE (Zhuo et al. 2023) on vectors: scikit-learn's digits as 64 numbers each, views without half of them.

    python -m selfsup.train --config=experiments/vectors/whitened_contrastive.py --workdir=runs/vectors/whitened

Two CPU cores, about a minute. Result: docs/vectors.md.
"""

from common import digits


def get_config():
    c = digits('whitened_contrastive', 'simcse')
    c.method.temperature = 0.2
    c.method.column_groups = 64
    c.projector.hidden_norm = False
    return c

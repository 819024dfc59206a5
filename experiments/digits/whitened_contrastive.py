"""WhitenedCSE, contrast between views whitened in shuffled groups, on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/whitened_contrastive.py --workdir=runs/digits/whitened

Two CPU cores, about a minute.
Result with ten labels per class: not measured yet.
"""

from common import digits


def get_config():
    c = digits('whitened_contrastive')
    c.method.temperature = 0.2
    c.method.column_groups = 32
    c.projector.widths = (256, 128)
    return c

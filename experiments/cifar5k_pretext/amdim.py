"""AMDIM on 5,000 images of CIFAR-10 (500 per class): places of 4x4 maps and of their 2x2 windows.

    python -m selfsup.train --config=experiments/cifar5k_pretext/amdim.py --workdir=runs/cifar5k_pretext/amdim

Minutes on one CPU core. Result of 20 epochs: docs/pretext.md.
"""

from common import pretext


def get_config():
    c = pretext('amdim')
    c.model.widths = (64, 128, 256)  # 16 pixels, 8, 4
    c.method.windows = (1, 2)
    c.method.local_widths = (512, 128)
    c.projector.widths = (512, 128)
    c.augment.recipe = 'solo_symmetric_weak'
    c.checkpoint.best = 'alignment'
    return c

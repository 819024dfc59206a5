"""CPC on 5,000 images of CIFAR-10 (500 per class): 7x7 patches of 8 pixels in steps of 4.

    python -m selfsup.train --config=experiments/cifar5k_pretext/cpc.py --workdir=runs/cifar5k_pretext/cpc

Hardware, time, result: not run yet. The network has batch-norm, which the papers avoid.
"""

from common import pretext


def get_config():
    c = pretext('cpc')
    c.method.patch = 8
    c.method.stride = 4
    c.method.width = 64
    c.method.context_width = 128
    c.method.depth = 3
    c.data.batch_size = 64  # 3,136 patches, each against all others
    c.augment.recipe = 'mae'
    return c

"""JigClu on 5,000 images of CIFAR-10 (500 per class): patches of 16x16 pixels, in montages of 32x32.

    python -m selfsup.train --config=experiments/cifar5k_pretext/jigclu.py --workdir=runs/cifar5k_pretext/jigclu

Hardware, time, result: not run yet.
"""

from common import pretext


def get_config():
    c = pretext('jigclu')
    c.projector.widths = (256, 128)
    c.projector.hidden_norm = False
    return c

"""Barlow Twins on ImageNet-100 with ResNet-18, solo-learn's recipe (its scripts/pretrain/imagenet-100).

    python -m selfsup.pack --data=tfds:imagenet2012 --classes=experiments/imagenet100/classes.txt --out=data/imagenet100
    python -m selfsup.train --config=experiments/imagenet100/barlow_twins.py --workdir=runs/imagenet100/barlow_twins

The 100 classes are those of CMC (github.com/HobbitLong/CMC, imagenet100.txt), as solo-learn's and most others'.
Hardware, time, result: not run yet. solo-learn publishes 80.38 (online linear probe, 400 epochs, one run).
The crops are taken from the packed images, shorter side 256; theirs from the full ones.
"""

from common import imagenet100


def get_config():
    c = imagenet100('barlow_twins', batch_size=256)  # theirs: 128 on each of two GPUs
    c.method.scale = 0.1
    c.projector.widths = (2048, 2048, 2048)
    c.augment.recipe = 'vicreg'
    c.optimizer.learning_rate = 0.3  # x batch / 256
    return c

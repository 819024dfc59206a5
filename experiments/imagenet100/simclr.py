"""SimCLR on ImageNet-100 with ResNet-18, solo-learn's recipe (its scripts/pretrain/imagenet-100).

    python -m selfsup.pack --data=tfds:imagenet2012 --classes=experiments/imagenet100/classes.txt --out=data/imagenet100
    python -m selfsup.train --config=experiments/imagenet100/simclr.py --workdir=runs/imagenet100/simclr

The 100 classes are those of CMC (github.com/HobbitLong/CMC, imagenet100.txt), as solo-learn's and most others'.
Hardware, time, result: not run yet. solo-learn publishes 77.64 (online linear probe, 400 epochs, one run).
The crops are taken from the packed images, shorter side 256; theirs from the full ones.
"""

from common import imagenet100


def get_config():
    c = imagenet100('simclr', batch_size=128)  # theirs: 64 on each of two GPUs
    c.method.temperature = 0.2
    c.method.fuse_views = False  # solo-learn runs the views one after the other
    c.projector.widths = (4096, 512)
    c.projector.hidden_norm = False
    c.augment.recipe = 'solo_symmetric'
    c.optimizer.learning_rate = 0.15  # 0.3 x batch / 256
    return c

"""InstDisc on CIFAR-10, the authors' recipe (lemniscate's cifar.py) but for the schedule.

    python -m selfsup.train --config=experiments/cifar10/instdisc.py --workdir=runs/cifar10/instdisc

Hardware, time, result: not run yet. Theirs divides the rate by ten at epoch 120 and every 40 after it; ours is a
cosine. The memory of 49,000 rows takes 25 MB, over all devices together.
"""

from common import SGD, cifar10


def get_config():
    c = cifar10('instdisc')
    c.method.temperature = 0.1
    c.method.negatives = 0  # the softmax over all examples
    c.projector.widths = (128,)
    c.data.batch_size = 128
    c.augment.views.only = dict(
        size=32,
        count=1,
        crop=dict(scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3), method='bilinear'),
        jitter=dict(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4, p=1.0),
        grey=0.2,
    )
    c.optimizer.update(SGD, learning_rate=0.03, weight_decay=5e-4)
    c.optimizer.warmup_epochs = 0.0
    c.train.epochs = 200
    c.checkpoint.best = 'rankme_features'  # one view has no pairs whose alignment could be measured
    return c

"""UniSiam on CIFAR-10, the authors' optimiser with solo-learn's augmentation.

    python -m selfsup.train --config=experiments/cifar10/unisiam.py --workdir=runs/cifar10/unisiam

Hardware, time, result: not run yet. The authors train on images for few-shot tasks.
"""

from common import SGD, solo_learn


def get_config():
    c = solo_learn('unisiam')
    c.projector.widths = (512, 512, 512)
    c.projector.last_norm = 'affine'
    c.predictor.widths = (128, 512)
    c.augment.recipe = 'solo_symmetric_weak'
    c.optimizer.update(SGD, learning_rate=0.3, weight_decay=1e-4)
    c.optimizer.warmup_epochs = 0.0
    c.optimizer.final_share = 1e-3
    c.train.epochs = 400
    return c

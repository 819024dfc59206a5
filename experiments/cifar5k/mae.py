"""MAE on 5,000 images of CIFAR-10 (500 per class) with a ViT-Ti of half the depth.

    python -m selfsup.train --config=experiments/cifar5k/mae.py --workdir=runs/cifar5k/mae

Hardware, time, result: not run yet.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'mae'
    c.method.ratio = 0.75  # 16 of 64 patches are seen
    c.method.normalize = True
    c.model.name = 'vit_ti'
    c.model.depth = 6
    c.model.patch = 4
    c.model.positions = 'sincos'
    c.model.pool = 'mean'
    c.model.init_kernels = 'xavier'
    c.decoder.kind = 'transformer'
    c.decoder.dim = 96
    c.decoder.depth = 2
    c.decoder.heads = 3

    c.data.source = 'tfds:cifar10'
    c.data.per_class = 500
    c.data.batch_size = 256

    c.checkpoint.best = 'rankme_features'  # one view has no pairs whose alignment could be measured
    c.augment.recipe = 'mae'
    c.augment.size = 32
    c.augment.mean = (0.4914, 0.4822, 0.4465)
    c.augment.std = (0.2470, 0.2435, 0.2616)

    c.optimizer.learning_rate = 1e-3
    c.optimizer.beta2 = 0.95
    c.optimizer.weight_decay = 0.05
    c.optimizer.warmup_epochs = 10.0
    c.train.epochs = 200
    return c

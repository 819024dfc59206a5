"""What the configs of this folder share: 5,000 images of CIFAR-10 (500 per class) and a ViT-Ti of half the depth."""

from ml_collections import ConfigDict
from selfsup.config import defaults


def small_vit(method: str) -> ConfigDict:
    """64 patches of 4x4, 6 blocks of width 192, whose mean patch is the feature; 200 epochs of 19 batches of 256."""
    c = defaults()
    c.method.name = method
    c.model.name = 'vit_ti'
    c.model.depth = 6
    c.model.patch = 4
    c.model.positions = 'sincos'
    c.model.pool = 'mean'
    c.model.init_kernels = 'xavier'

    c.data.source = 'tfds:cifar10'
    c.data.per_class = 500
    c.data.batch_size = 256
    c.data.holdout = 0.02  # 100 images, for the alarm

    c.augment.recipe = ''
    c.augment.size = 32
    c.augment.mean = (0.4914, 0.4822, 0.4465)
    c.augment.std = (0.2470, 0.2435, 0.2616)

    c.optimizer.learning_rate = 1e-3
    c.optimizer.beta2 = 0.95
    c.optimizer.weight_decay = 0.05
    c.optimizer.warmup_epochs = 10.0
    c.train.epochs = 200
    c.monitor.every_epochs = 20
    c.checkpoint.every_epochs = 100
    c.evaluate.batch_size = 500
    return c


def one_view(method: str) -> ConfigDict:
    """Of methods that hide patches of one view: crops and flips, no colours."""
    c = small_vit(method)
    c.checkpoint.best = 'rankme_features'  # one view has no pairs whose alignment could be measured
    c.augment.views.only = dict(
        size=32, count=1, crop=dict(scale=(0.3, 1.0), ratio=(3 / 4, 4 / 3), method='bicubic'), flip=0.5
    )
    return c


def two_views(method: str) -> ConfigDict:
    """Of methods that compare two views: those of the convolutional network in `experiments/cifar5k`."""
    c = small_vit(method)
    c.augment.recipe = 'solo_symmetric_weak'
    return c


def distilled(method: str) -> ConfigDict:
    """DINO and iBOT: head, temperatures and the EMA target of a short run."""
    c = two_views(method)
    c.method.prototypes = 1024
    c.method.first_temperature = 0.04
    c.method.teacher_temperature = 0.04
    c.method.momentum = 0.99
    c.method.momentum_final = 1.0
    c.projector.widths = (512, 512, 128)
    c.projector.hidden_norm = False
    c.projector.activation = 'gelu'
    c.optimizer.clip_norm = 3.0
    return c

"""What the configs of this folder share: the data and solo-learn's recipe (its scripts/pretrain/cifar, 2026-04)."""

from typing import Any

from ml_collections import ConfigDict
from selfsup.config import defaults

# Its optimisers, but for learning rate and weight decay: `c.optimizer.update(LARS, learning_rate=...)`.
LARS = dict(name='lars_clipped', trust=0.02)
SGD = dict(name='sgd', decay_vectors=True)
# MAE's optimiser, but for the warm-up, at batches of 1,024.
MAE_ADAMW = dict(learning_rate=6e-4, beta2=0.95, weight_decay=0.05)  # 1.5e-4 x 1024 / 256
STEPS = 191  # an epoch: 49,000 // 256


def cifar10(method: str) -> ConfigDict:
    """The data, a ResNet-18 with a stem for small images, and how often what is measured."""
    c = defaults()
    c.method.name = method
    c.model.name = 'resnet18'
    c.model.stem = 'cifar'  # 3x3 and no max-pool

    c.data.source = 'tfds:cifar10'
    c.data.batch_size = 256
    c.data.holdout = 0.02  # 1,000 images, for the diagnostics

    c.augment.size = 32
    c.augment.mean = (0.4914, 0.4822, 0.4465)
    c.augment.std = (0.2470, 0.2435, 0.2616)

    c.train.precision = 'bfloat16'
    c.train.log_every = 50
    c.monitor.every_epochs = 10
    c.checkpoint.every_epochs = 20
    c.evaluate.neighbours = 200
    c.evaluate.temperature = 0.1
    return c


def solo_learn(method: str) -> ConfigDict:
    """What its recipes have in common; theirs are trained in fp16-mixed."""
    c = cifar10(method)
    c.model.stem = 'cifar_pad2'  # 3x3 with padding 2 and no max-pool: 34x34 maps
    c.optimizer.warmup_epochs = 10.0
    c.optimizer.warmup_start = 3e-5
    c.train.epochs = 1000
    return c


def as_simclr(method: str) -> ConfigDict:
    """solo-learn's recipe of SimCLR; the temperature is the method's own."""
    c = solo_learn(method)
    c.method.fuse_views = False  # solo-learn runs the views one after the other
    c.projector.widths = (2048, 256)
    c.projector.hidden_norm = False
    c.augment.recipe = 'solo_symmetric'
    c.optimizer.update(LARS, learning_rate=0.4, weight_decay=1e-4)  # x batch / 256
    return c


def as_moco_v2(method: str) -> ConfigDict:
    """solo-learn's recipe of MoCo v2+: no shuffled batch-norm (groups = 1), as there."""
    c = solo_learn(method)
    c.method.temperature = 0.2
    c.method.queue = 32768
    c.method.momentum = 0.99
    c.method.momentum_final = 0.999
    c.method.groups = 1
    c.projector.widths = (2048, 256)
    c.projector.hidden_norm = False
    c.augment.recipe = 'solo_symmetric_weak'
    c.optimizer.update(SGD, learning_rate=0.3, weight_decay=1e-4)  # x batch / 256
    return c


def one_view(method: str) -> ConfigDict:
    """A ViT-Ti on patches of 4x4 of one view, for methods that hide patches: 800 epochs of batches of 1,024."""
    c = cifar10(method)
    del c.model.stem
    c.model.name = 'vit_ti'
    c.model.patch = 4
    c.model.pool = 'mean'
    c.model.init_kernels = 'xavier'
    c.data.batch_size = 1024
    c.checkpoint.best = 'rankme_features'  # one view has no pairs whose alignment could be measured
    c.train.epochs = 800
    return c


def crop_and_flip(least: float, size: int = 32) -> dict[str, Any]:
    """One view: a crop of at least that share of the image, and a flip."""
    crop = dict(scale=(least, 1.0), ratio=(3 / 4, 4 / 3), method='bicubic')
    return dict(size=size, count=1, crop=crop, flip=0.5)


def symmetric_views(count: int) -> dict[str, Any]:
    """So many views of one distribution, with the colours of solo-learn's symmetric recipe."""
    return dict(
        size=32,
        count=count,
        crop=dict(scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), method='bicubic'),
        flip=0.5,
        jitter=dict(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, p=0.8),
        grey=0.2,
        blur=dict(p=0.5, sigma=(0.1, 2.0)),
    )

"""What every config of this folder shares."""

from ml_collections import ConfigDict
from selfsup.config import defaults


def imagenet(method: str, *, batch_size: int, epochs: int) -> ConfigDict:
    """ImageNet-1k at 224 pixels, each view cropped from the full image as in the papers, and a ResNet-50."""
    c = defaults()
    c.method.name = method
    c.model.name = 'resnet50'

    c.data.source = 'tfds:imagenet2012'
    c.data.image_size = 256  # evaluation's, before its centre crop
    c.data.crop = 'reading'
    c.data.channels = 3
    c.data.batch_size = batch_size
    c.data.holdout = 0.01
    c.data.feed = 'streaming'
    c.data.workers = 16

    c.augment.size = 224
    c.augment.mean = (0.485, 0.456, 0.406)
    c.augment.std = (0.229, 0.224, 0.225)
    c.augment.evaluation_crop = 224

    c.train.epochs = epochs
    c.train.precision = 'bfloat16'
    c.train.log_every = 100
    c.monitor.every_epochs = 5
    c.checkpoint.every_epochs = 1
    c.evaluate.neighbours = 20
    return c


def mae(model: str) -> ConfigDict:
    """MAE's recipe of pre-training (800 epochs, batch 4096), for a vision transformer with patches of 16."""
    c = imagenet('mae', batch_size=4096, epochs=800)
    c.method.ratio = 0.75  # 49 of 196 patches are seen
    c.method.normalize = True
    c.model.name = model
    c.model.patch = 16
    c.model.positions = 'sincos'
    c.model.pool = 'mean'
    c.model.init_kernels = 'xavier'
    c.decoder.kind = 'transformer'
    c.decoder.dim = 512
    c.decoder.depth = 8
    c.decoder.heads = 16

    c.checkpoint.best = 'rankme_features'  # one view has no pairs whose alignment could be measured
    c.augment.recipe = 'mae'

    c.optimizer.learning_rate = 2.4e-3  # 1.5e-4 x 4096 / 256
    c.optimizer.beta2 = 0.95
    c.optimizer.weight_decay = 0.05
    c.optimizer.warmup_epochs = 40.0
    return c


def dinov2(model: str, *, batch_size: int, epochs: int) -> ConfigDict:
    """What DINOv2's two recipes share; an epoch of the authors has 1250 steps."""
    c = imagenet('dinov2', batch_size=batch_size, epochs=epochs)
    c.model.name = model
    c.model.layer_scale = 1e-5
    c.model.registers = 4
    c.method.koleo_groups = batch_size // 64
    c.method.first_temperature = 0.04
    c.method.teacher_temperature = 0.07
    c.method.warmup_steps = 30 * 1250
    c.method.momentum_final = 1.0
    c.projector.hidden_norm = False
    c.projector.activation = 'gelu'

    c.augment.recipe = 'dinov2'

    c.optimizer.weight_decay = 0.04
    c.optimizer.clip_norm = 3.0
    c.optimizer.groups.prototypes = dict(freeze_steps=1250)
    return c

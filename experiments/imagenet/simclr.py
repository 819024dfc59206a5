"""SimCLR on ImageNet with ResNet-50, the paper's recipe (100 epochs, batch 4096).

    python -m selfsup.train --config=experiments/imagenet/simclr.py --workdir=runs/imagenet/simclr

Hardware, time, result: not run yet;
4096 images of 224x224 need several devices. No published figure of this setting is quoted.
Every view's crop is taken from the full image, as in the paper; pack the set first (docs/data.md) if decoding is slow.
"""

from common import imagenet


def get_config():
    c = imagenet('simclr', batch_size=4096, epochs=100)
    c.method.temperature = 0.1
    c.method.scale = 2.0  # the authors add the two views' means
    c.projector.widths = (2048, 2048, 128)
    c.projector.hidden_bias = False
    c.projector.last_bias = False
    c.projector.last_norm = 'scale'
    c.model.zero_init_residual = False
    c.augment.recipe = 'simclr'
    c.optimizer.name = 'lars_classic'
    c.optimizer.learning_rate = 4.8  # 0.075 x sqrt(4096)
    c.optimizer.weight_decay = 1e-4
    c.optimizer.warmup_epochs = 10.0
    return c

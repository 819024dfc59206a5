"""VICReg on ImageNet with ResNet-50, the paper's recipe (1000 epochs, batch 2048).

    python -m selfsup.train --config=experiments/imagenet/vicreg.py --workdir=runs/imagenet/vicreg

Hardware, time, result: not run yet;
2048 images of 224x224 need several devices. The paper reports 73.2 (linear probe, top-1).
Every view's crop is taken from the full image, as in the paper; pack the set first (docs/data.md) if decoding is slow.
"""

from common import imagenet


def get_config():
    c = imagenet('vicreg', batch_size=2048, epochs=1000)
    c.projector.widths = (8192, 8192, 8192)
    c.projector.last_bias = False
    c.model.zero_init_residual = True
    c.augment.recipe = 'vicreg'
    c.optimizer.name = 'lars'
    c.optimizer.learning_rate = 1.6  # 0.2 x 2048 / 256
    c.optimizer.weight_decay = 1e-6
    c.optimizer.warmup_epochs = 10.0
    c.optimizer.final_share = 0.001
    return c

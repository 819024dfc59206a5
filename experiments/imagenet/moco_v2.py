"""MoCo v2 on ImageNet with ResNet-50, the paper's recipe (200 epochs, batch 256).

    python -m selfsup.train --config=experiments/imagenet/moco_v2.py --workdir=runs/imagenet/moco_v2

Hardware, time, result: not run yet;
the authors used 8 GPUs. The paper reports 67.5 (linear probe, top-1).
Every view's crop is taken from the full image, as in the paper; pack the set first (docs/data.md) if decoding is slow.
"""

from common import imagenet


def get_config():
    c = imagenet('moco_v2', batch_size=256, epochs=200)
    c.method.temperature = 0.2
    c.method.queue = 65536
    c.method.momentum = 0.999
    c.method.momentum_final = 0.999
    c.method.groups = 8
    c.projector.widths = (2048, 128)
    c.projector.hidden_norm = False
    c.model.zero_init_residual = False
    c.augment.recipe = 'moco_v2'
    c.optimizer.name = 'sgd'
    c.optimizer.learning_rate = 0.03  # for batch 256
    c.optimizer.weight_decay = 1e-4
    c.optimizer.decay_vectors = True
    c.optimizer.warmup_epochs = 0.0
    return c

"""BootMAE on CIFAR-10 with ViT-Ti and patches of 4x4: the authors' recipe at a small size.

    python -m selfsup.train --config=experiments/cifar10/bootmae.py --workdir=runs/cifar10/bootmae

Hardware, time, result: not run yet. No published linear probe of this setting is known to us. An epoch is
49,000 // 1024 = 47 steps.
"""

from common import MAE_ADAMW, one_view

STEPS = 47


def get_config():
    c = one_view('bootmae')
    c.method.ratio = 0.75  # 16 of 64 patches are seen
    c.method.warmup_steps = 200 * STEPS  # a quarter of the run
    c.method.momentum = 0.999
    c.method.momentum_final = 0.9999
    c.model.positions = 'sincos'
    c.decoder.kind = 'cross'
    c.decoder.dim = 96
    c.decoder.depth = 2
    c.decoder.heads = 3
    c.decoder.self_attention = True
    c.predictor.kind = 'cross'
    c.predictor.dim = 192
    c.predictor.depth = 2
    c.predictor.heads = 3
    c.predictor.self_attention = True

    c.augment.recipe = 'mae'

    c.optimizer.update(MAE_ADAMW, warmup_epochs=40.0)
    return c

"""MAE on CIFAR-10 with ViT-Ti and patches of 4x4: the paper's recipe at a small size.

    python -m selfsup.train --config=experiments/cifar10/mae.py --workdir=runs/cifar10/mae

Hardware, time, result: not run yet. No published linear probe of this setting is known to us.
"""

from common import MAE_ADAMW, one_view


def get_config():
    c = one_view('mae')
    c.method.ratio = 0.75  # 16 of 64 patches are seen
    c.method.normalize = True
    c.model.positions = 'sincos'
    c.decoder.kind = 'transformer'
    c.decoder.dim = 96
    c.decoder.depth = 2
    c.decoder.heads = 3

    c.augment.recipe = 'mae'

    c.optimizer.update(MAE_ADAMW, warmup_epochs=80.0)
    return c

"""DinoSR on CIFAR-10 with ViT-Ti and patches of 4x4: codes of the paper, masks and optimiser of data2vec's config.

    python -m selfsup.train --config=experiments/cifar10/dinosr.py --workdir=runs/cifar10/dinosr

Hardware, time, result: not run yet. The paper is about speech; no result on images is known to us. The targets of a
batch, 64 patches x 8 blocks x 192 features of 1,024 images, take 403 MB in float32.
"""

from common import crop_and_flip, one_view


def get_config():
    c = one_view('dinosr')
    c.method.ratio = 0.6
    c.method.layers = 8
    c.method.codes = 256
    c.method.momentum = 0.996
    c.method.momentum_final = 0.9999
    c.model.layer_scale = 0.1
    c.model.drop_path = 0.1
    c.decoder.kind = 'linear'

    c.augment.recipe = ''
    c.augment.views.only = crop_and_flip(0.2)

    c.optimizer.learning_rate = 1e-3
    c.optimizer.weight_decay = 0.05
    c.optimizer.clip_norm = 3.0
    c.optimizer.warmup_epochs = 40.0
    return c

"""SimCLR on Imagenette at 128 pixels with ResNet-18.

    python -m selfsup.train --config=experiments/imagenette/simclr.py --workdir=runs/imagenette/simclr

The setting of lightly's Imagenette benchmark (docs/source/getting_started/benchmarks), for comparison: images
of 160 pixels cropped to 128, batch 256, SGD, 800 epochs. It publishes a k-NN accuracy of .889 (k = 20, greatest over
the epochs, one run). The jitter is SimCLR's at half strength.
Hardware, time, result: not run yet.
"""

from common import imagenette


def get_config():
    c = imagenette('simclr', pixels=160, side=128)
    c.method.temperature = 0.5
    c.projector.widths = (512, 128)
    c.augment.recipe = 'solo_symmetric_weak'
    c.optimizer.name = 'sgd'
    c.optimizer.learning_rate = 6e-2  # x batch / 256
    c.optimizer.weight_decay = 5e-4
    c.optimizer.decay_vectors = True
    c.optimizer.warmup_epochs = 0.0
    c.train.epochs = 800
    return c

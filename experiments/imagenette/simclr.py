"""SimCLR on Imagenette at 128 pixels with ResNet-18.

    python -m selfsup.train --config=experiments/imagenette/simclr.py --workdir=runs/imagenette/simclr

The setting of lightly's Imagenette benchmark (docs/source/getting_started/benchmarks), to stand side by side: images
of 160 pixels cropped to 128, batch 256, SGD, 800 epochs. It publishes a k-NN accuracy of .889 (k = 20, greatest over
the epochs, one run). The jitter is SimCLR's at half strength.
Hardware, time, result: not run yet.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'simclr'
    c.method.temperature = 0.5
    c.projector.widths = (512, 128)
    c.model.name = 'resnet18'

    c.data.source = 'tfds:imagenette/160px-v2'
    c.data.image_size = 128  # evaluation's: shorter side and centre crop
    c.data.channels = 3
    c.data.crop = 'reading'  # views are cropped from the full image
    c.data.feed = 'streaming'
    c.data.workers = 8
    c.data.batch_size = 256
    c.data.holdout = 0.05

    c.augment.recipe = 'solo_symmetric_weak'
    c.augment.size = 128
    c.augment.mean = (0.485, 0.456, 0.406)
    c.augment.std = (0.229, 0.224, 0.225)

    c.optimizer.name = 'sgd'
    c.optimizer.learning_rate = 6e-2  # x batch / 256
    c.optimizer.weight_decay = 5e-4
    c.optimizer.decay_vectors = True
    c.optimizer.warmup_epochs = 0.0

    c.train.epochs = 800
    c.train.precision = 'bfloat16'
    c.train.log_every = 20
    c.monitor.every_epochs = 10
    c.checkpoint.every_epochs = 20
    c.evaluate.neighbours = 20
    return c

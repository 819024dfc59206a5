"""SimCLR on a folder of photographs of your own, with a small network that a CPU can train.

    python -m selfsup.train --config=experiments/photographs/simclr.py data.source=folder:my/images --workdir=runs/mine

Sub-folders, if there are any, are taken for classes. Images are cropped and resized to 64 pixels; one that cannot be
decoded is left out and named. With a GPU and some ten thousand images raise `data.image_size` and `augment.size` to
128, `data.batch_size` to 256 and set `model.name=resnet18`.
Hardware, time, result: two CPU cores, minutes for some hundred images; docs/photographs.md.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'simclr'
    c.method.temperature = 0.2
    c.model.name = 'convnet'
    c.model.widths = (32, 64, 128, 256)
    c.model.first_stride = 2
    c.projector.widths = (512, 128)

    c.data.source = 'folder:photographs'
    c.data.image_size = 64
    c.data.channels = 3
    c.data.on_corrupt = 'skip'
    c.data.batch_size = 64

    c.augment.recipe = 'solo_symmetric_weak'
    c.augment.size = 64
    c.augment.mean = (0.485, 0.456, 0.406)
    c.augment.std = (0.229, 0.224, 0.225)

    c.optimizer.learning_rate = 2e-3
    c.optimizer.warmup_epochs = 2.0
    c.train.epochs = 50
    return c

"""The speed-run on digits: VICReg to a linear probe of 97 % with ten labels per class (docs/speedrun.md).

    python -m experiments.tables.speedrun --workdir=runs/speedrun speedrun/digits

Result: docs/speedrun.md.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'vicreg'
    c.model.name = 'convnet'
    c.data.source = 'digits'
    c.data.pad = 2
    c.augment.recipe = 'digits'
    c.projector.widths = (512, 512, 256)
    c.optimizer.learning_rate = 2e-3
    c.train.epochs = 100
    return c

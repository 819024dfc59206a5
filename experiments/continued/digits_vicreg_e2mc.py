"""VICReg on digits, continued for ten epochs with E2MC (Chakraborty et al. 2025, https://arxiv.org/abs/2411.15931).

    python -m selfsup.train --config=experiments/digits/vicreg.py --workdir=runs/digits/vicreg
    python -m selfsup.train --config=experiments/continued/digits_vicreg_e2mc.py --workdir=runs/continued/vicreg_e2mc

Two CPU cores, seconds. Result: not run yet.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()  # digits/vicreg, but for what continues it
    c.method.name = 'vicreg'
    c.method.regularisers = {'e2mc': {'squash': 'sigmoid', 'entropy_weight': 10.0, 'covariance_weight': 1.0}}
    c.init_from = 'runs/digits/vicreg'
    c.init_networks = ('encoder', 'projector')
    c.model.name = 'convnet'
    c.projector.widths = (512, 512, 256)
    c.data.source = 'digits'
    c.data.pad = 2
    c.augment.recipe = 'digits'
    c.optimizer.learning_rate = 2e-4
    c.optimizer.schedule = 'constant'
    c.optimizer.warmup_epochs = 0.0
    c.train.epochs = 10
    return c

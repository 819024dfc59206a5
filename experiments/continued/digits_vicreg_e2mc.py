"""VICReg on digits, continued for ten epochs with E2MC (Chakraborty et al. 2025, https://arxiv.org/abs/2411.15931).

    python -m selfsup.train --config=experiments/digits/vicreg.py --workdir=runs/digits/vicreg
    python -m selfsup.train --config=experiments/continued/digits_vicreg_e2mc.py --workdir=runs/continued/vicreg_e2mc

Two CPU cores, half a minute. Result: docs/e2mc.md.
"""

from common import continued, digits


def get_config():
    c = digits(continued('vicreg', 'runs/digits/vicreg', 2e-4, 10))
    c.method.regularisers = {'e2mc': {'squash': 'sigmoid', 'entropy_weight': 10.0, 'covariance_weight': 1.0}}
    c.init_networks = ('encoder', 'projector')
    c.projector.widths = (512, 512, 256)
    c.augment.recipe = 'digits'
    return c

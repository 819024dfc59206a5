"""SimSiam on digits, continued for ten epochs with E2MC (Chakraborty et al. 2025, https://arxiv.org/abs/2411.15931).

    python -m selfsup.train --config=experiments/digits/simsiam.py --workdir=runs/digits/simsiam
    python -m selfsup.train --config=experiments/continued/digits_simsiam_e2mc.py --workdir=runs/continued/simsiam_e2mc

Two CPU cores, half a minute. Result: docs/e2mc.md.
"""

from common import continued, digits


def get_config():
    c = digits(continued('simsiam', 'runs/digits/simsiam', 2e-4, 10))
    c.method.regularisers = {'e2mc': {'entropy_weight': 1.0, 'covariance_weight': 25.0}}
    c.init_networks = ('encoder', 'projector', 'predictor')
    c.projector.widths = (256, 128)
    c.projector.last_norm = 'plain'
    c.predictor.widths = (64, 128)
    c.augment.recipe = 'digits'
    return c

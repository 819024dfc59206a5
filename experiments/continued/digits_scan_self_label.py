"""SCAN's self-labels on digits (Van Gansbeke et al. 2020, https://arxiv.org/abs/2005.12320), from its clusters.

    python -m selfsup.train --config=experiments/continued/digits_scan.py --workdir=runs/continued/digits_scan
    python -m selfsup.train --config=experiments/continued/digits_scan_self_label.py --workdir=runs/continued/labels
    python -m selfsup.evaluate --workdir=runs/continued/labels --only=clustering

Two CPU cores, a minute. Result: not run yet.
"""

from common import continued, digits


def get_config():
    c = digits(continued('scan_self_label', 'runs/continued/digits_scan', 2e-4, 50))
    c.method.clusters = 10
    c.method.threshold = 0.99
    c.init_networks = ('encoder', 'head')
    c.augment.views.weak = dict(affine=dict(degrees=0.0, translate=0.03, scale=(1.0, 1.0), shear=0.0))
    c.augment.views.strong = dict(
        order=1, affine=dict(degrees=20.0, translate=0.1, scale=(0.8, 1.2), shear=10.0), noise=dict(deviation=0.1)
    )
    return c

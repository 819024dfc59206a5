"""DeepCluster v2 on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/deepcluster_v2.py --workdir=runs/digits/deepcluster_v2

Two CPU cores, one to two minutes. Result with ten labels per class: 96.2 %
(untrained encoder 87.4, shuffled pairs 86.7; seed 1).
"""

from common import digits


def get_config():
    c = digits('deepcluster_v2')
    c.method.prototypes = 128
    c.method.clusterings = 3
    c.projector.widths = (256, 128)
    return c

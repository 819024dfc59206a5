"""ClusterNS, negatives from centroids of clusters, on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/cluster_ns.py --workdir=runs/digits/cluster_ns

One thread, a minute.
Result with ten labels per class: not measured yet.
"""

from common import digits


def get_config():
    c = digits('cluster_ns')
    c.method.temperature = 0.2
    c.method.clusters = 32
    c.method.weight = 1e-2
    c.projector.widths = (256, 128)
    return c

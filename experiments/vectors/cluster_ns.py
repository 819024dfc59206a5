"""ClusterNS (Deng et al. 2023) on vectors: scikit-learn's digits as tables of 64 numbers, views without a half of them.

    python -m selfsup.train --config=experiments/vectors/cluster_ns.py --workdir=runs/vectors/cluster_ns

Two CPU cores, about a minute. Result: docs/vectors.md.
"""

from common import digits


def get_config():
    c = digits('cluster_ns', 'simcse')
    c.method.temperature = 0.2
    c.method.clusters = 32
    c.method.weight = 1e-2
    c.projector.hidden_norm = False
    return c

"""DeepCluster v2 on CIFAR-10, solo-learn's recipe (its scripts/pretrain/cifar, 2026-04), for comparison.

    python -m selfsup.train --config=experiments/cifar10/deepcluster_v2.py --workdir=runs/cifar10/deepcluster_v2

Hardware, time, result: not run yet. solo-learn publishes 88.85 (online linear probe, one run).
"""

from common import LARS, solo_learn


def get_config():
    c = solo_learn('deepcluster_v2')
    c.method.prototypes = 3000
    c.method.clusterings = 3
    c.method.iterations = 10
    c.method.temperature = 0.1
    c.projector.widths = (2048, 128)
    c.augment.recipe = 'solo_symmetric'
    c.optimizer.update(LARS, learning_rate=0.6, weight_decay=1e-6)  # x batch / 256
    c.optimizer.warmup_epochs = 11.0
    c.optimizer.warmup_start = 0.0
    c.optimizer.final_share = 1e-3  # 0.0006
    return c

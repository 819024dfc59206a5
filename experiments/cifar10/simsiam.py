"""SimSiam on CIFAR-10, solo-learn's recipe (its scripts/pretrain/cifar, 2026-04), for comparison.

    python -m selfsup.train --config=experiments/cifar10/simsiam.py --workdir=runs/cifar10/simsiam

Hardware, time, result: not run yet. solo-learn publishes 90.51 (online linear probe, one run).
"""

from common import SGD, solo_learn


def get_config():
    c = solo_learn('simsiam')
    c.projector.widths = (2048, 2048, 2048)
    c.projector.hidden_bias = False
    c.projector.last_norm = 'plain'
    c.predictor.widths = (512, 2048)
    c.predictor.hidden_bias = False
    c.augment.recipe = 'solo_symmetric_weak'
    c.optimizer.update(SGD, learning_rate=0.5, weight_decay=1e-5)  # x batch / 256
    c.optimizer.groups = {'predictor': {'schedule': 'constant'}}  # its learning rate is not scheduled
    return c

"""NNSiam on CIFAR-10, solo-learn's recipe (its scripts/pretrain/cifar, 2026-04), for comparison.

    python -m selfsup.train --config=experiments/cifar10/nnsiam.py --workdir=runs/cifar10/nnsiam

Hardware, time, result: not run yet. solo-learn publishes no result for it in its table.
"""

from common import SGD, solo_learn


def get_config():
    c = solo_learn('nnsiam')
    c.method.queue = 65536
    c.projector.widths = (2048, 2048, 2048)
    c.projector.hidden_bias = False
    c.projector.last_norm = 'plain'
    c.predictor.widths = (4096, 2048)
    c.predictor.hidden_bias = False
    c.augment.recipe = 'solo_asymmetric'
    c.optimizer.update(SGD, learning_rate=0.5, weight_decay=1e-5)  # x batch / 256
    c.optimizer.groups = {'predictor': {'schedule': 'constant'}}  # its learning rate is not scheduled
    return c

"""SimSiam on scikit-learn's 8x8 digits.

    python -m selfsup.train --config=experiments/digits/simsiam.py --workdir=runs/digits/simsiam

Two CPU cores, one to two minutes. Result with ten labels per class: 93.7 % (untrained encoder 87.5;
one run of seed 0); more seeds and the shuffled-pairs control: not run yet.
"""

from selfsup.config import defaults


def get_config():
    c = defaults()
    c.method.name = 'simsiam'
    c.model.name = 'convnet'
    c.projector.widths = (256, 128)
    c.projector.last_norm = 'plain'
    c.predictor.widths = (64, 128)
    c.optimizer.groups = {'predictor': {'schedule': 'constant'}}
    c.data.source = 'digits'
    c.data.pad = 2
    c.augment.recipe = 'digits'
    c.optimizer.learning_rate = 2e-3
    c.train.epochs = 100
    return c

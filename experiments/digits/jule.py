"""JULE on scikit-learn's 8x8 digits: ten clusters, merged from some hundreds.

    python -m selfsup.train --config=experiments/digits/jule.py --workdir=runs/digits/jule
    python -m selfsup.evaluate --workdir=runs/digits/jule --only=clustering

Result with ten labels per class: 95.1 ± 1.2 % (untrained encoder 85.8, shuffled pairs 86.5), mean and deviation of
seeds 1, 2 and 3.
"""

from common import digits


def get_config():
    c = digits('jule')
    c.method.clusters = 10
    c.method.merged = 0.2
    c.method.every_epochs = 5  # the last merge comes after four fifths of the run
    c.projector.widths = (160,)
    c.augment.recipe = ''
    c.augment.views.only = dict(count=1)  # images as they are, as the authors
    c.checkpoint.best = 'rankme_features'  # one view has no pairs whose alignment could be measured
    return c

"""Evaluation: functions of features and labels to numbers; hyper-parameters never follow the test split.

Every evaluation is `name(train, test, *, …) -> dict[str, float]`. Keys that start with `chosen_` are
hyper-parameters, chosen on a held-out part of train.
"""

from .attentive import attentive
from .clustering import agreement, assigned, clustering, sizes
from .dense import Segmented, segmentation
from .dictionary import Coded, dictionary
from .features import Features, even_draw, extract, labelled, standardized
from .few_shot import few_shot
from .fine_tune import fine_tune
from .knn import knn, knn_grid
from .linear import label_noise, linear_logistic, linear_probe, low_label
from .logistic import logistic_path, logistic_regression
from .model_selection import Candidate, kendall, ranked, regret
from .retrieval import retrieval
from .sgd import linear_online, linear_sgd
from .suite import EVALUATIONS, evaluate, feet, ranks, transfer
from .tokens import summaries, tokens
from .widths import widths

__all__ = [
    'EVALUATIONS',
    'Candidate',
    'Coded',
    'Features',
    'Segmented',
    'agreement',
    'assigned',
    'attentive',
    'clustering',
    'dictionary',
    'evaluate',
    'even_draw',
    'extract',
    'feet',
    'few_shot',
    'fine_tune',
    'kendall',
    'knn',
    'labelled',
    'knn_grid',
    'label_noise',
    'linear_logistic',
    'linear_online',
    'linear_probe',
    'linear_sgd',
    'logistic_path',
    'logistic_regression',
    'low_label',
    'ranked',
    'ranks',
    'regret',
    'retrieval',
    'segmentation',
    'sizes',
    'standardized',
    'summaries',
    'tokens',
    'transfer',
    'widths',
]

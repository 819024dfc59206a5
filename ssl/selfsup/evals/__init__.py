"""Evaluation: functions of features and labels to numbers; hyper-parameters never follow the test split.

Every evaluation is `name(train, test, *, …) -> dict[str, float]`. Keys that start with `chosen_` are
hyper-parameters, chosen on a held-out part of train.
"""

from .absorption import absorption
from .attentive import attentive
from .bench import TASKS, bench, check_task, summary
from .clustering import agreement, assigned, clustering, sizes
from .composition import composition
from .concatenated import concatenated
from .dense import Segmented, segmentation
from .dictionary import Coded, dictionary
from .factors import Known, factors
from .features import Features, even_draw, extract, labelled, standardized
from .few_shot import few_shot
from .fine_tune import fine_tune
from .geometry import geometry
from .hubs import hubs
from .intrinsic_probe import intrinsic_probe
from .knn import knn, knn_grid
from .layers import layers
from .linear import label_noise, lens, linear_logistic, linear_probe, low_label
from .logistic import logistic_path, logistic_regression
from .model_selection import Candidate, kendall, ranked, regret
from .novel_classes import novel_classes
from .pair_rank import pair_rank
from .relative import relative
from .rescaling import rescaling
from .retrieval import retrieval
from .sgd import linear_online, linear_sgd
from .sparse_probe import sparse_probe
from .subsets import latent_classes, latent_tree, subset
from .suite import EVALUATIONS, evaluate, feet, ranks, transfer
from .tokens import summaries, tokens
from .widths import widths

__all__ = [
    'EVALUATIONS',
    'Candidate',
    'Coded',
    'Features',
    'Known',
    'TASKS',
    'Segmented',
    'absorption',
    'agreement',
    'assigned',
    'attentive',
    'bench',
    'check_task',
    'clustering',
    'composition',
    'concatenated',
    'dictionary',
    'evaluate',
    'even_draw',
    'extract',
    'factors',
    'feet',
    'few_shot',
    'fine_tune',
    'geometry',
    'hubs',
    'intrinsic_probe',
    'kendall',
    'knn',
    'labelled',
    'knn_grid',
    'label_noise',
    'latent_classes',
    'latent_tree',
    'layers',
    'lens',
    'linear_logistic',
    'linear_online',
    'linear_probe',
    'linear_sgd',
    'logistic_path',
    'logistic_regression',
    'low_label',
    'novel_classes',
    'pair_rank',
    'ranked',
    'ranks',
    'regret',
    'relative',
    'rescaling',
    'retrieval',
    'segmentation',
    'sizes',
    'sparse_probe',
    'standardized',
    'subset',
    'summaries',
    'summary',
    'tokens',
    'transfer',
    'widths',
]

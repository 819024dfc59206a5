"""Evaluation: functions of features and labels to numbers; hyper-parameters never follow the test split."""

from .features import Features, extract, standardized
from .knn import knn
from .linear import linear_probe, logistic_regression

__all__ = ['Features', 'extract', 'knn', 'linear_probe', 'logistic_regression', 'standardized']

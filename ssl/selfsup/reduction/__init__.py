"""Fewer dimensions for features that are there already: TLDR, PCA, whitened PCA; each is layers that a file holds."""

from .judge import judged
from .linear import pca
from .reducer import KINDS, Reducer, apply, read, save
from .tldr import tldr

__all__ = ['KINDS', 'Reducer', 'apply', 'judged', 'pca', 'read', 'save', 'tldr']

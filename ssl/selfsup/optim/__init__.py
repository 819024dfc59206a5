"""Optimisers in the flavours of the papers, schedules, and parameter groups."""

from .optimizers import Group, global_norm, optimizer
from .schedules import momentum_cosine, warmup_constant, warmup_cosine

__all__ = ['Group', 'global_norm', 'momentum_cosine', 'optimizer', 'warmup_constant', 'warmup_cosine']

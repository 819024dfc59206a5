"""Optimisers in the flavours of the papers, schedules, and parameter groups."""

from .optimizers import OPTIMIZERS, Group, Now, global_norm, optimizer
from .schedules import by_epoch, momentum_cosine, warmup_constant, warmup_cosine

__all__ = [
    'OPTIMIZERS',
    'Group',
    'Now',
    'by_epoch',
    'global_norm',
    'momentum_cosine',
    'optimizer',
    'warmup_constant',
    'warmup_cosine',
]

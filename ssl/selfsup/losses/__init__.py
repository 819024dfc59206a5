"""Self-supervised losses: pure functions from arrays to a scalar, written for the global batch.

They hold no parameters and no state, call no collectives, and compute in at least float32.
"""

from .barlow_twins import barlow_twins, barlow_twins_terms
from .contrastive import info_nce, ntxent
from .vicreg import vicreg, vicreg_terms

__all__ = ['barlow_twins', 'barlow_twins_terms', 'info_nce', 'ntxent', 'vicreg', 'vicreg_terms']

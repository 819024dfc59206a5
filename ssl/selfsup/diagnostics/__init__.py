"""Label-free diagnostics: pure functions from embeddings to numbers."""

from .geometry import alignment, feature_deviation, relative_alignment, uniformity
from .spectrum import effective_rank, rankme, singular_values

__all__ = [
    'alignment',
    'effective_rank',
    'feature_deviation',
    'rankme',
    'relative_alignment',
    'singular_values',
    'uniformity',
]

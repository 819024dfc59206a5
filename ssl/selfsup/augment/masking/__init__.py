"""Which patches of each image a network sees or predicts: masks drawn per example from its key.

Patches are numbered row by row on a grid of rows and columns. Every count that decides a shape is a Python integer, so
that all masks of a run share one compiled program; no sampler retries an unknown number of times. An example's mask
depends on its own key alone, so that neither the number of devices nor that of pieces of the batch changes it.
"""

from .blocks import block, inverse_block, torus_block
from .group import group
from .multi_block import MultiBlock, multi_block
from .places import chosen, places, rectangle
from .uniform import keep_smallest, random, units

__all__ = [
    'MultiBlock',
    'block',
    'chosen',
    'group',
    'inverse_block',
    'keep_smallest',
    'multi_block',
    'places',
    'random',
    'rectangle',
    'torus_block',
    'units',
]

"""Accelerators as rows of a table, and what a compiled program asks of one."""

from .profile import scope_times
from .program import Program, parse
from .roofline import Bound, bound, matrix_flops
from .targets import TARGETS, Place, Target, chip, place

__all__ = [
    'TARGETS', 'Bound', 'Place', 'Program', 'Target', 'bound', 'chip', 'matrix_flops', 'parse', 'place', 'scope_times',
]  # fmt: skip

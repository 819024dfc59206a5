"""Lower bounds of the time that a program takes on a chip, and the FLOPs of a function before it is compiled.

The roofline of Williams et al. 2009, "Roofline: an insightful visual performance model", by kernel: none ends before
its products have been computed at the peak of the matrix units, or before its bytes have passed at the bandwidth of the
memory. Kernels follow one another; collectives and copies may run beside them.
"""

import math
from typing import Any, NamedTuple

from .program import Program
from .targets import Place, Target


class Bound(NamedTuple):
    """Seconds; each is a lower bound by itself, and `total` one of the whole.

    Attributes:
      matrix: all products at the matrix units' peak.
      memory: all bytes at the memory's bandwidth.
      launches: all kernels, if each did nothing.
      links: all that a chip sends, at the bandwidth of its links.
      total: the largest of `memory`, `links` and the kernels one after another, each at the largest of its own bounds.
    """

    matrix: float
    memory: float
    launches: float
    links: float
    total: float

    def per(self, steps: int) -> 'Bound':
        """Of one of so many steps."""
        return Bound(*(seconds / steps for seconds in self))


def _seconds(target: Target, matrix: dict[str, float]) -> float:
    return sum(count / target.peaks.get(dtype, target.peaks['f32']) for dtype, count in matrix.items())


def bound(program: Program, where: Place) -> Bound:
    """The bounds of one run of a program on every chip of a place."""
    target = where.target
    alone = [k for k in program.kernels if not k.copies and not k.sends]
    kernels = sum(k.times * max(_seconds(target, k.matrix), k.bytes / target.bandwidth, target.launch) for k in alone)
    links = sum(c.times * c.sent / where.sending(c.devices) for c in program.collectives)
    memory = program.bytes / target.bandwidth
    return Bound(
        matrix=_seconds(target, program.matrix),
        memory=memory,
        launches=program.launches * target.launch,
        links=links,
        total=max(kernels, memory, links),
    )


def peak(target: Target, precision: str) -> float:
    """FLOP/s of a chip at the precision of a config, 'float32' or 'bfloat16'."""
    return target.peaks['bf16' if precision == 'bfloat16' else 'f32']


def matrix_flops(jaxpr: Any) -> float:
    """FLOPs of the products and convolutions of a jaxpr, loops as often as they run (loops of unknown length once).

    A multiplication and an addition count as two; what meets padding counts. Of a conditional the largest branch.
    """
    total = 0.0
    for equation in getattr(jaxpr, 'jaxpr', jaxpr).eqns:
        name, parameters = equation.primitive.name, equation.params
        if name == 'dot_general':
            (contracted, _), _ = parameters['dimension_numbers']
            shape = equation.invars[0].aval.shape
            total += 2.0 * equation.outvars[0].aval.size * math.prod(shape[axis] for axis in contracted)
        elif name == 'conv_general_dilated':
            total += _convolution(equation)
        elif name == 'cond':
            total += max(matrix_flops(branch) for branch in parameters['branches'])
        else:
            times = parameters.get('length', 1) if name == 'scan' else 1
            total += times * sum(matrix_flops(inner) for inner in _inner(parameters))
    return total


def _convolution(equation: Any) -> float:
    numbers, kernel = equation.params['dimension_numbers'], equation.invars[1].aval.shape
    out = equation.outvars[0].aval
    places = math.prod(kernel[axis] for axis in numbers.rhs_spec[2:])
    # A dilated input is zero between its elements: those products are not needed.
    spread = math.prod(equation.params['lhs_dilation'])
    return 2.0 * out.size * places * kernel[numbers.rhs_spec[1]] / spread


def _inner(parameters: dict[str, Any]) -> list[Any]:
    """The jaxprs that an equation runs."""
    return [
        value
        for value in parameters.values()
        if hasattr(value, 'eqns') or (hasattr(value, 'jaxpr') and hasattr(value.jaxpr, 'eqns'))
    ]

"""The text of a compiled program (HLO) as instructions: names, shapes, operands, what they call."""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

BITS = {
    'pred': 8, 's4': 4, 'u4': 4, 's8': 8, 'u8': 8, 's16': 16, 'u16': 16, 'bf16': 16, 'f16': 16, 's32': 32, 'u32': 32,
    'f32': 32, 's64': 64, 'u64': 64, 'f64': 64, 'c64': 64, 'c128': 128, 'f8e4m3fn': 8, 'f8e5m2': 8, 'token': 0,
}  # fmt: skip
_ARRAY = re.compile(r'(\w+)\[([\d,<=]*)\](?:\{([^{}]*)\})?')
_NAME = re.compile(r'%([\w.\-]+)')
_CALLED = re.compile(r'\b(?:body|calls|to_apply|true_computation|false_computation)=%?([\w.\-]+)')
_BRANCHES = re.compile(r'branch_computations=\{([^}]*)\}')
_TRIPS = re.compile(r'known_trip_count\W+n\W+(\d+)')
_SCOPE = re.compile(r'op_name="((?:[^"\\]|\\.)*)"')
_TARGET = re.compile(r'custom_call_target="([^"]*)"')
_HEADER = re.compile(r'(ENTRY )?%?([\w.\-]+) .*\{$')


class Array(NamedTuple):
    """One array of an instruction's result.

    Attributes:
      dtype: as HLO writes it, 'bf16'.
      dims: its shape.
      size: bytes it takes in the device's main memory: with the padding of its tiles, and 0 where it lies in a faster
        memory of the chip.
    """

    dtype: str
    dims: tuple[int, ...]
    size: int

    @property
    def elements(self) -> int:
        """Elements."""
        return math.prod(self.dims)


class Instruction(NamedTuple):
    """One line of a program.

    Attributes:
      name, op: as `fusion.3` and `fusion`.
      arrays: of its result; several where that is a tuple.
      operands: names.
      called: names of the computations that it runs.
      trips: how often a loop runs its body, 0 where its line does not say; 1 for everything else.
      scope: `op_name` of its metadata.
      target: of a custom call.
      text: the rest of the line; of parameters and constants with what stands in the brackets, '0)'.
      root: whether it is its computation's result.
    """

    name: str
    op: str
    arrays: tuple[Array, ...]
    operands: tuple[str, ...]
    called: tuple[str, ...]
    trips: int
    scope: str
    target: str
    text: str
    root: bool

    @property
    def size(self) -> int:
        """Bytes of the result."""
        return sum(array.size for array in self.arrays)


Computations = dict[str, dict[str, Instruction]]


def _close(text: str, start: int) -> int:
    """Where the bracket that opens at `start` is closed; text in quotes counts as nothing."""
    depth, quoted = 0, False
    for at in range(start, len(text)):
        letter = text[at]
        if letter == '"':
            quoted = not quoted
        elif not quoted and letter in '({[':
            depth += 1
        elif not quoted and letter in ')}]':
            depth -= 1
            if not depth:
                return at
    return len(text)


def arrays(text: str) -> tuple[Array, ...]:
    """The arrays of a shape, `f32[2,3]{1,0}` or a tuple of such."""
    found = []
    for dtype, dims, layout in _ARRAY.findall(text):
        if dtype in BITS:
            shape = tuple(int(d.lstrip('<=')) for d in dims.split(',') if d)
            found.append(Array(dtype, shape, _bytes(dtype, shape, layout)))
    return tuple(found)


def _bytes(dtype: str, dims: tuple[int, ...], layout: str) -> int:
    order, _, rest = layout.partition(':')
    space = re.search(r'S\((\d+)\)', rest)
    if space and space[1] != '0':
        return 0
    padded = list(dims)
    tile = re.match(r'T\(([\d,]*)\)', rest)
    if tile and order:
        # The tile's last axis lies along the axis that varies fastest, which the layout names first.
        for axis, side in zip(order.split(','), reversed(tile[1].split(',')), strict=False):
            padded[int(axis)] = -(-padded[int(axis)] // int(side)) * int(side)
    return -(-math.prod(padded) * BITS[dtype] // 8)


def _instruction(line: str) -> Instruction | None:
    text = line.strip()
    root = text.startswith('ROOT ')
    name, equals, rest = text.removeprefix('ROOT ').partition(' = ')
    if not equals or ' ' in name:
        return None
    end = _close(rest, 0) + 1 if rest.startswith('(') else rest.find(' ')
    shape, rest = rest[:end], rest[end:].lstrip()
    op, opened, _ = rest.partition('(')
    if not opened:
        return None
    stop = _close(rest, len(op))
    inside, tail = rest[len(op) + 1 : stop], rest[stop + 1 :]
    called = _CALLED.findall(tail)
    for group in _BRANCHES.findall(tail):
        called += [one.strip().lstrip('%') for one in group.split(',')]
    trips, scope, target = _TRIPS.search(tail), _SCOPE.search(tail), _TARGET.search(tail)
    return Instruction(
        name.lstrip('%'), op, arrays(shape), tuple(_NAME.findall(inside)) if op != 'constant' else (), tuple(called),
        (int(trips[1]) if trips else 0) if op == 'while' else 1, scope[1] if scope else '', target[1] if target else '',
        inside + ')' + tail if op in ('parameter', 'constant') else tail, root,
    )  # fmt: skip


def computations(text: str) -> tuple[Computations, str]:
    """All computations of a program's text, and the name of the one that it starts with."""
    found: Computations = {}
    entry = name = ''
    for line in text.splitlines():
        header = _HEADER.match(line)
        if header and not line.startswith(' ') and not line.startswith('HloModule'):
            name = header[2]
            entry = name if header[1] else entry
            found[name] = {}
        elif name and line.startswith(' '):
            one = _instruction(line)
            if one:
                found[name][one.name] = one
    return found, entry


def _counted(program: Computations, loop: Instruction) -> int:
    """How often a loop runs that counts from 0 up to a constant, as a scan does; 1 where its condition is another."""
    named = re.search(r'condition=%?([\w.\-]+)', loop.text)
    condition = program.get(named[1], {}) if named else {}
    root = next((one for one in condition.values() if one.root), None)
    if root is None or 'direction=LT' not in root.text or root.op != 'compare':
        return 1
    limits = [condition[name].text for name in root.operands if name in condition and condition[name].op == 'constant']
    return int(limits[0].split(')')[0]) if limits and re.match(r'\d+\)', limits[0]) else 1


def walk(program: Computations, name: str, times: int = 1) -> Iterator[tuple[str, Instruction, int]]:
    """What runs, in order: (its computation, the instruction, how often). Fusions are single instructions.

    Of a conditional the branch with the largest results runs.
    """
    for one in program[name].values():
        if one.op == 'while':
            body = re.search(r'\bbody=%?([\w.\-]+)', one.text)
            yield from walk(program, body[1] if body else one.called[0], times * (one.trips or _counted(program, one)))
        elif one.op in ('call', 'async-start'):
            for called in one.called:
                yield from walk(program, called, times)
        elif one.op == 'conditional':
            yield from walk(program, max(one.called, key=lambda c: sum(i.size for i in program[c].values())), times)
        else:
            yield name, one, times

"""What a compiled program does: kernels, bytes, FLOPs and collectives, in all and by named scope.

Read from the program's text alone, so that programs of any backend are read alike, with or without its device. Counts
are of one device and of one run of the program.

Bytes are those of operands and results of every kernel in the device's main memory: what passes between kernels. A
kernel that takes rows out of an array reads those rows, and one that writes into an array writes what it changes.
Workspaces of cuDNN and cuBLAS are not known and left out. FLOPs of products and convolutions count a multiplication and
an addition as two and leave out what meets padding; other arithmetic counts one an element.
"""

import collections
import math
import re
from typing import NamedTuple

from .flops import CONTRACTIONS, arithmetic, contraction
from .hlo import BITS, Computations, Instruction, computations, walk

# Scopes of the step, as `jax.named_scope` writes them (engine.step, engine.gradient), and what has none of them.
SCOPES = ('data', 'augmentation', 'forward', 'backward', 'loss', 'optimizer', 'probe', 'diagnostics', 'other')
_NAMED = re.compile(r'(?<![\w.])(data|augmentation|forward|loss|optimizer|probe|diagnostics)(?![\w.])')
COLLECTIVES = (
    'all-reduce', 'all-gather', 'reduce-scatter', 'all-to-all', 'ragged-all-to-all', 'collective-permute',
    'collective-broadcast',
)  # fmt: skip
# Launch nothing and move nothing.
FREE = {
    'parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast', 'after-all', 'opt-barrier', 'partition-id',
    'replica-id', 'add-dependency', 'async-update', 'async-done', 'domain', 'get-dimension-size',
}  # fmt: skip
_PARTIAL = {'dynamic-slice', 'slice', 'gather'}
_SEEN_THROUGH = {'bitcast', 'reshape', 'get-tuple-element'}
_COPIES = {'copy-start', 'slice-start', 'dynamic-slice-start', 'dynamic-update-slice-start'}
_LIBRARY = re.compile(r'__cudnn|__cublas')
# Custom calls that stand for a place or a layout and do nothing.
_MARKS = {'AllocateBuffer', 'Sharding', 'SPMDFullToShardShape', 'SPMDShardToFullShape', 'AssumeGatherIndicesInBound'}


class Kernel(NamedTuple):
    """One kernel of the program.

    Attributes:
      name: of its instruction.
      kind: its operation.
      times: how often it runs.
      bytes: that it moves in a run.
      matrix: FLOPs of its products and convolutions in a run, by the type that decides their speed.
      flops: all FLOPs of a run.
      scope: one of `SCOPES`.
    """

    name: str
    kind: str
    times: int
    bytes: int
    matrix: dict[str, float]
    flops: float
    scope: str

    @property
    def copies(self) -> bool:
        """Whether it is a copy that runs beside kernels."""
        return self.kind in _COPIES

    @property
    def sends(self) -> bool:
        """Whether it is a collective, which may run beside kernels."""
        return self.kind.removesuffix('-start') in COLLECTIVES


class Collective(NamedTuple):
    """One collective.

    Attributes:
      kind: one of `COLLECTIVES`.
      times: how often it runs.
      bytes: of its operands on one device.
      devices: that take part in a group.
      sent: bytes that a device sends in one run, in a ring.
      scope: one of `SCOPES`.
    """

    kind: str
    times: int
    bytes: int
    devices: int
    sent: float
    scope: str


class Program(NamedTuple):
    """Kernels and collectives of a program; see the module."""

    kernels: list[Kernel]
    collectives: list[Collective]

    @property
    def launches(self) -> int:
        """Kernels that run; copies beside them (TPU) are none."""
        return sum(k.times for k in self.kernels if not k.copies)

    @property
    def bytes(self) -> int:
        return sum(k.times * k.bytes for k in self.kernels)

    @property
    def flops(self) -> float:
        return sum(k.times * k.flops for k in self.kernels)

    @property
    def matrix(self) -> dict[str, float]:
        """FLOPs of products and convolutions, by type."""
        total: dict[str, float] = {}
        for kernel in self.kernels:
            for dtype, count in kernel.matrix.items():
                total[dtype] = total.get(dtype, 0.0) + kernel.times * count
        return total

    @property
    def sent(self) -> float:
        """Bytes that a device sends."""
        return sum(c.times * c.sent for c in self.collectives)

    def shares(self) -> dict[str, dict[str, float]]:
        """Scope -> its shares of `bytes`, `flops` and `kernels`; each adds up to 1 over the scopes."""
        totals = {'bytes': self.bytes, 'flops': self.flops, 'kernels': self.launches}
        found = {scope: dict.fromkeys(totals, 0.0) for scope in SCOPES}
        for k in self.kernels:
            for name, value in (('bytes', k.bytes), ('flops', k.flops), ('kernels', int(not k.copies))):
                found[k.scope][name] += k.times * value / totals[name] if totals[name] else 0.0
        return {scope: row for scope, row in found.items() if any(row.values())}


def scope_of(op_name: str) -> str:
    """The scope that an instruction's `op_name` names first; '' for none.

    The gradient of the loss counts as loss, that of the network as backward.
    """
    found = _NAMED.search(op_name)
    if not found:
        return ''
    backward = found[1] == 'forward' and 'transpose(' in op_name
    return 'backward' if backward else found[1]


def parse(text: str) -> Program:
    """The program of a compiled text, `compiled.as_text()`."""
    program, entry = computations(text)
    partitions = re.search(r'num_partitions=(\d+)', text[:10_000])
    devices = int(partitions[1]) if partitions else 1
    scopes = {name: _Scopes(program, body) for name, body in program.items()}
    kernels, collectives = [], []
    for place, one, times in walk(program, entry):
        scope = scopes[place].of(one)
        for body, inner in _within(program, place, one):
            found = _collective(body, inner, devices)
            if found:
                collectives.append(found._replace(times=times, scope=scope))
        if _launches(one):
            matrix, flops = _flops(program, program[place], one)
            moved = _moved(program, program[place], one)
            kernels.append(Kernel(one.name, one.target or one.op, times, moved, matrix, flops, scope))
    return Program(kernels, collectives)


def _launches(one: Instruction) -> bool:
    done = one.op.endswith('-done')
    return one.op not in FREE and not done and not (one.op == 'custom-call' and one.target in _MARKS)


class _Scopes:
    """Scopes of a computation's instructions; those without one take that of what they read, or of what reads them."""

    def __init__(self, program: Computations, body: dict[str, Instruction]):
        self._known: dict[str, str] = {}
        for one in body.values():
            own = scope_of(one.scope) or _majority(program, one)
            inherited = (self._known.get(name, '') for name in one.operands)
            self._known[one.name] = own or next(filter(None, inherited), '')
        for one in reversed(body.values()):
            for name in one.operands:
                if not self._known.get(name):
                    self._known[name] = self._known[one.name]

    def of(self, one: Instruction) -> str:
        return self._known[one.name] or 'other'


def _majority(program: Computations, one: Instruction) -> str:
    """The scope of most instructions that a fusion or loop holds; '' for none."""
    counts: collections.Counter = collections.Counter()
    for name in one.called:
        counts.update(filter(None, (scope_of(inner.scope) for inner in program.get(name, {}).values())))
    return counts.most_common(1)[0][0] if counts else ''


def _within(program: Computations, place: str, one: Instruction) -> list[tuple[dict[str, Instruction], Instruction]]:
    """An instruction and, of a fusion, all that it holds, each with the computation that it stands in."""
    found = [(program[place], one)]
    if one.op == 'fusion':
        for name in one.called:
            for inner in program[name].values():
                found += _within(program, name, inner)
    return found


def _flops(program: Computations, body: dict[str, Instruction], one: Instruction) -> tuple[dict[str, float], float]:
    """FLOPs of products and convolutions by type, and all FLOPs."""
    matrix: collections.Counter = collections.Counter()
    total = 0.0
    if one.op == 'fusion':
        for name in one.called:
            for inner in program[name].values():
                inside, more = _flops(program, program[name], inner)
                matrix.update(inside)
                total += more
        return dict(matrix), total
    if one.op in CONTRACTIONS or _LIBRARY.search(one.target):
        dtype, count = contraction(body, one)
        return {dtype: count}, count
    return {}, arithmetic(body, one)


def _moved(program: Computations, body: dict[str, Instruction], one: Instruction) -> int:
    """Bytes that a kernel reads and writes."""
    operands = [body[name] for name in one.operands if name in body]
    if one.op == 'fusion':
        inside = program[one.called[0]]
        parameters = {int(p.text.split(')')[0].split(',')[0]): p for p in inside.values() if p.op == 'parameter'}
        read = sum(
            min(_read(program, inside, parameters[at], operand.size), operand.size)
            for at, operand in enumerate(operands)
            if at in parameters
        )
        root = next(i for i in inside.values() if i.root)
        return read + sum(_written(inside, leaf) for leaf in _results(inside, root))
    if one.op in _PARTIAL:
        return one.size + min(one.size, operands[0].size) + sum(o.size for o in operands[1:])
    if one.op == 'dynamic-update-slice':
        return 2 * operands[1].size
    if one.op == 'scatter':
        return 3 * sum(o.size for o in operands[1:])
    read = sum(operand.size for operand in operands)
    if _LIBRARY.search(one.target) and len(one.arrays) > 1:
        return read + sum(array.size for array in one.arrays[:-1])  # the last is the workspace
    if one.op.endswith('-start') and one.op != 'all-reduce-start':
        # The result of a start names the operand too; what is written is the rest.
        return read + max(one.size - read, 0)
    return read + one.size


def _results(inside: dict[str, Instruction], root: Instruction) -> list[Instruction]:
    """The instructions whose results a fusion writes."""
    if root.op == 'tuple':
        return [leaf for name in root.operands for leaf in _results(inside, inside[name])]
    return [root]


def _written(inside: dict[str, Instruction], leaf: Instruction) -> int:
    """Bytes that a fusion writes of a result: of an array that is updated in place the part alone."""
    seen = leaf
    while seen.op in _SEEN_THROUGH and seen.operands:
        seen = inside[seen.operands[0]]
    if seen.op == 'dynamic-update-slice':
        return min(inside[seen.operands[1]].size or leaf.size, leaf.size)
    return leaf.size


def _read(program: Computations, inside: dict[str, Instruction], parameter: Instruction, whole: int) -> int:
    """Bytes that a fusion reads of a parameter: rows that are taken out of it, or all of it."""
    total = 0
    for user in inside.values():
        if parameter.name not in user.operands:
            continue
        first = user.operands[0] == parameter.name
        if user.op in _PARTIAL and first:
            total += sum(_plain(array.dtype, array.elements) for array in user.arrays)
        elif user.op == 'dynamic-update-slice' and first:
            continue
        elif user.op in _SEEN_THROUGH:
            total += _read(program, inside, user, whole)
        elif user.op == 'fusion':
            held = program[user.called[0]]
            at = user.operands.index(parameter.name)
            inner = next((p for p in held.values() if p.op == 'parameter' and p.text.startswith(f'{at})')), None)
            total += _read(program, held, inner, whole) if inner else whole
        else:
            return whole
        if total >= whole:
            return whole
    return total


def _plain(dtype: str, count: int) -> int:
    """Bytes without padding, wherever they lie."""
    return count * BITS[dtype] // 8


def _collective(body: dict[str, Instruction], one: Instruction, devices: int) -> Collective | None:
    kind = one.op.removesuffix('-start')
    if kind not in COLLECTIVES:
        return None
    size = sum(
        _plain(array.dtype, array.elements) for name in one.operands if name in body for array in body[name].arrays
    )
    group = _group(one.text, devices) if kind != 'collective-permute' else 2
    rest = (group - 1) / group
    factor = {'all-reduce': 2 * rest, 'all-gather': group - 1.0, 'collective-permute': 1.0, 'collective-broadcast': 1.0}
    return Collective(kind, 1, size, group, size * factor.get(kind, rest), '')


def _group(text: str, devices: int) -> int:
    """Devices of a group of `replica_groups`."""
    iota = re.search(r'replica_groups=\[([\d,]+)\]<=', text)
    if iota:
        return int(iota[1].split(',')[-1]) if ',' in iota[1] else math.prod(map(int, iota[1].split(',')))
    named = re.search(r'replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}', text)
    if named:
        sides = dict(re.findall(r"'([^']*)'=(\d+)", named[1]))
        return math.prod(int(sides[axis]) for axis in re.findall(r"'([^']*)'", named[2]))
    listed = re.search(r'replica_groups=\{\{([\d,]*)\}', text)
    return len(listed[1].split(',')) if listed and listed[1] else devices

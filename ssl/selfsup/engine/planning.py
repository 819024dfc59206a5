"""A run planned for hardware that is not there: `--dry-run --on=h100:8`.

The whole dispatch is compiled by XLA's compiler for the target; memory is the compiler's, bytes, FLOPs, kernels and
collectives are read from the compiled text (:mod:`selfsup.hardware.program`), and times are lower bounds by roofline.
Nothing is tuned without a device (cuDNN's and cuBLAS's algorithms, tiles), which changes workspaces and times.
"""

import re
import sys
import time
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh
from ml_collections import ConfigDict

from ..config import with_overrides
from ..data.sources import blank
from ..hardware import targets
from ..hardware.program import Program, parse
from ..hardware.roofline import Bound, bound
from ..parallel import DATA_AXIS
from .run import Run

GIB = 2**30


class Memory(NamedTuple):
    """Bytes on each device, by the compiler.

    Attributes:
      arguments: state, data and indices.
      temporaries: everything else that is alive at once.
      peak: arguments, temporaries, and results that do not take an argument's place.
    """

    arguments: int
    temporaries: int
    peak: int


class Plan(NamedTuple):
    """What one dispatch of a run would cost on each device of a place.

    Attributes:
      where: the place.
      steps: of the dispatch.
      memory: see :class:`Memory`.
      program: of the whole dispatch.
      bound: seconds of a step.
      batch: images of a step, over all devices.
      total: steps of the run.
      seconds: that compiling took.
    """

    where: targets.Place
    steps: int
    memory: Memory
    program: Program
    bound: Bound
    batch: int
    total: int
    seconds: float

    @property
    def images_per_second(self) -> float:
        """At most: by the lower bound of a step's time, over all devices."""
        return self.batch / self.bound.total

    @property
    def days(self) -> float:
        """At least, for all epochs."""
        return self.total * self.bound.total / 86400

    def as_dict(self) -> dict[str, Any]:
        """Numbers of a step on one device, for JSON."""
        program, steps = self.program, self.steps
        return {
            'on': self.where.text,
            'batch': self.batch,
            'steps': steps,
            'memory': self.memory._asdict(),
            'bytes': program.bytes / steps,
            'flops': program.flops / steps,
            'kernels': program.launches / steps,
            'sent': program.sent / steps,
            'collectives': sent_by_kind(program, steps),
            'shares': program.shares(),
            'bound': self.bound._asdict(),
            'images_per_second': self.images_per_second,
            'days': self.days,
        }


class DoesNotFit(Exception):
    """The compiler's refusal of a program that takes more memory than a device has; `used` bytes, or None."""

    def __init__(self, used: float | None):
        super().__init__(used)
        self.used = used


def mesh_of(where: targets.Place) -> Mesh:
    """The mesh of a run on a place."""
    found = np.asarray(targets.devices(where))
    # In the order of their coordinates, so that neighbours in the mesh are neighbours on the wires.
    order = sorted(range(len(found)), key=lambda i: (found[i].process_index, found[i].id))
    return Mesh(found[order], (DATA_AXIS,), axis_types=(AxisType.Auto,))


def with_data(config: ConfigDict) -> ConfigDict:
    """The config, with black images of the published number and size in the place of a public set."""
    source = blank.published(config.data.source)
    if not source:
        return config
    print(f'data: planned with the published size of {config.data.source}, {source}', file=sys.stderr)
    return with_overrides(config, [f'data.source={source}', 'data.probe_source='])


def plan(run: Run, where: targets.Place) -> Plan:
    """Compiles the dispatch of a run that was made with the mesh of a place.

    Raises:
      DoesNotFit: where the compiler refuses the program for its memory.
    """
    started = time.monotonic()
    try:
        compiled = _compiled(run.dispatch.lower(run.shapes, *run.feed.shapes(run.chunk)))
    except Exception as error:
        if 'RESOURCE_EXHAUSTED' not in str(error) and 'Ran out of memory' not in str(error):
            raise
        raise DoesNotFit(_used(str(error))) from error
    took, found = time.monotonic() - started, compiled.memory_analysis()
    arguments, temporaries = found.argument_size_in_bytes, found.temp_size_in_bytes
    more = max(found.output_size_in_bytes - found.alias_size_in_bytes, 0)
    program = parse(compiled.as_text())
    return Plan(
        where, run.chunk, Memory(arguments, temporaries, arguments + temporaries + more), program,
        bound(program, where).per(run.chunk), run.config.data.batch_size, run.total, took,
    )  # fmt: skip


def _compiled(lowered: Any) -> Any:
    """The program; with the products left to cuBLAS where XLA's GPU compiler refuses to choose tiles for its own.

    It takes the tiles from trials on the device. Without one it takes the same for all, which do not suit some products
    that others are fused with.
    """
    try:
        return lowered.compile()
    except Exception as error:  # jax has no class of its own for what its plugins raise
        if "Couldn't find output tile sizes" not in str(error):
            raise
        return lowered.compile(compiler_options={'xla_gpu_enable_triton_gemm': False})


def _used(text: str) -> float | None:
    """The bytes that the compiler says a program takes: `Used 20.11G of 15.75G hbm`."""
    found = re.search(r'Used ([\d.]+)([KMGT]?) of', text)
    return float(found[1]) * 1024 ** ' KMGT'.index(found[2] or ' ') if found else None


def sent_by_kind(program: Program, steps: int) -> dict[str, dict[str, float]]:
    """Kind of collective -> how many, their bytes and what a device sends, of a step."""
    found: dict[str, dict[str, float]] = {}
    for c in program.collectives:
        row = found.setdefault(c.kind, {'count': 0.0, 'bytes': 0.0, 'sent': 0.0})
        for name, value in (('count', 1), ('bytes', c.bytes), ('sent', c.sent)):
            row[name] += c.times * value / steps
    return found


def verdict(used: float | None, where: targets.Place) -> str:
    """Whether so many bytes fit the memory of a device, and by how much not."""
    have = where.target.memory
    if used is None:
        return 'does not fit'
    if used > have:
        return f'does not fit, by {(used - have) / GIB:,.2f} GiB'
    if where.target.platform == 'cuda' and used > targets.PREALLOCATED * have:
        return f'fits with XLA_PYTHON_CLIENT_MEM_FRACTION={min(used / have + 0.02, 0.98):.2f}; the default is 0.75'
    return 'fits'


def fits(used: float | None, where: targets.Place) -> bool:
    """Whether so many bytes fit the memory of a device."""
    return used is not None and used <= where.target.memory


def keep_scopes() -> None:
    """Cached programs are told apart by their scopes too, without which a step cannot be accounted for."""
    jax.config.update('jax_compilation_cache_include_metadata_in_key', True)

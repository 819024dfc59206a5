"""What would make a run fit a device: each way is compiled, and none is guessed."""

from collections.abc import Iterator
from typing import NamedTuple

from jax.sharding import Mesh
from ml_collections import ConfigDict

from ..config import with_overrides
from ..errors import UserError
from ..hardware.targets import Place
from .planning import DoesNotFit, fits, plan
from .run import Run

PIECES = (2, 4, 8, 16, 32)


class Tried(NamedTuple):
    """One way.

    Attributes:
      overrides: fields of the config that it sets.
      peak: bytes of a device, or None where they are not known.
      refusal: why it cannot be taken; '' where it was compiled.
    """

    overrides: list[str]
    peak: float | None
    refusal: str = ''


def ways(config: ConfigDict, devices: int) -> list[list[str]]:
    """The ways that the config leaves open, cheapest first, as overrides; microbatches stand for all their numbers."""
    found = []
    if config.train.precision != 'bfloat16':
        found.append(['train.precision=bfloat16'])
    if not config.model.get('remat', True):
        found.append(['model.remat=true'])
    if devices > 1 and config.parallel.shard != 'fsdp':
        found.append(['parallel.shard=fsdp'])
    if config.train.microbatches == 1:
        found.append(['train.microbatches='])
    return found


def attempts(config: ConfigDict, where: Place, mesh: Mesh) -> Iterator[Tried]:
    """Each way alone, and where none suffices, those that can be taken together."""
    taken: list[str] = []
    enough = False
    for way in ways(config, where.chips):
        pieces = way == ['train.microbatches=']
        tried = _microbatches(config, where, mesh, []) if pieces else _try(config, where, mesh, way)
        yield tried
        if not tried.refusal:
            enough = enough or fits(tried.peak, where)
            taken += [] if pieces else tried.overrides
    if enough or not taken:
        return
    together = _try(config, where, mesh, taken)
    yield together
    if not fits(together.peak, where) and config.train.microbatches == 1:
        yield _microbatches(config, where, mesh, taken)


def _try(config: ConfigDict, where: Place, mesh: Mesh, overrides: list[str]) -> Tried:
    try:
        return Tried(overrides, plan(Run(with_overrides(config, overrides), mesh=mesh), where).memory.peak)
    except UserError as error:
        return Tried(overrides, None, ' '.join(str(error).split()))
    except DoesNotFit as error:
        return Tried(overrides, error.used)


def _microbatches(config: ConfigDict, where: Place, mesh: Mesh, others: list[str]) -> Tried:
    """The smallest number of microbatches that fits, or the last that can be taken, or why none can."""
    last: Tried | None = None
    for pieces in PIECES:
        tried = _try(config, where, mesh, [*others, f'train.microbatches={pieces}'])
        if tried.refusal:
            break
        last = tried
        if fits(tried.peak, where):
            break
    return last or tried

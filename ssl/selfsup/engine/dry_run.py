"""What a run would cost, before anything is spent: `--dry-run`, for the devices at hand or for others with `--on`."""

import sys
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table

from .. import parallel
from ..hardware import targets
from . import advice, build, images, planning
from .loggers import check_installed
from .planning import GIB, DoesNotFit, Plan
from .run import Run

SAMPLED = 64  # rows that are read of each part, besides the first batch


def costs(run: Run) -> dict[str, Any]:
    """Parameters, compiled FLOPs and memory of one dispatch, and the size of a checkpoint."""
    compiled = run.dispatch.lower(run.shapes, *run.feed.shapes(run.chunk)).compile()
    memory, analysis = compiled.memory_analysis(), compiled.cost_analysis() or {}
    return {
        **size(run),
        'FLOPs of a step (compiled)': f'{analysis.get("flops", float("nan")) / run.chunk:.3g}',
        'peak memory of a device': f'{(memory.argument_size_in_bytes + memory.temp_size_in_bytes) / 2**20:,.1f} MiB',
        'of which temporaries': f'{memory.temp_size_in_bytes / 2**20:,.1f} MiB',
    }


def size(run: Run) -> dict[str, str]:
    """What is known before compiling."""
    batch, unit = run.config.data.batch_size, run.data.train.spec.unit
    by_part = {k: sum(x.size for x in jax.tree.leaves(v)) for k, v in run.state_shapes.params.items()}
    return {
        **{f'parameters of {name}': f'{count:,}' for name, count in by_part.items()},
        'steps': f'{run.total:,} ({run.epoch_steps} an epoch, {run.chunk} a dispatch)',
        'global batch': f'{batch} {unit}, {batch // run.mesh.shape["data"]} a device',
        'checkpoint': f'{sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(run.state_shapes)) / 2**20:,.1f} MiB',
        'data': f'{len(run.data.train):,} {unit}, {"resident" if run.feed.resident else "streaming"}',
    }


def read_some(run: Run) -> str:
    """Reads the rows of the first batch, and up to `SAMPLED` drawn ones of each part: how many of each.

    Raises:
      UserError: naming a row that cannot be read, or is not like the others.
    """
    data = run.data
    skipped = build.read_first_batch(run.config, data.train)
    for why in skipped.values():
        print(f'skipped: {why}', file=sys.stderr)
    told = [f'{run.config.data.batch_size} of the first batch']
    parts = {'to train on': data.train, 'held out': data.holdout, 'to test': data.test}
    if data.probe_fingerprint:
        parts['to probe'] = data.labelled
    for name, part in parts.items():
        drawn = np.random.Generator(np.random.Philox(key=run.config.seed)).permutation(len(part))[:SAMPLED]
        good = sum(1 for _ in images.decoded(part, np.sort(drawn)))
        told.append(f'{good} of {len(drawn)} drawn {name}')
    return ', '.join(told)


def dry_run(config: ConfigDict, on: str = '') -> int:
    """Prints :func:`costs`, or with `on` what the run would cost there; nothing is written.

    Some of the data are read, so that a set that cannot be read is refused here as the run would refuse it; so are
    loggers whose package is missing.
    """
    if on:
        return _dry_run_on(config, targets.place(on))
    check_installed(config.log.to)
    run = Run(config, mesh=parallel.data_mesh())
    read = read_some(run)
    _print({**costs(run), 'read as a check': read})
    return 0


def _dry_run_on(config: ConfigDict, where: targets.Place) -> int:
    mesh = planning.mesh_of(where)
    planning.keep_scopes()
    config = planning.with_data(config)
    run = Run(config, mesh=mesh)
    read_some(run)
    print(f'compiling for {where.text}, which runs nothing and may take minutes ...', file=sys.stderr, flush=True)
    try:
        found = planning.plan(run, where)
    except DoesNotFit as error:
        _print({**size(run), 'memory of a device': planning.verdict(error.used, where)})
        _advise(config, where, mesh)
        return 0
    _print({**size(run), **rows(found)})
    _print_shares(found)
    if not planning.fits(found.memory.peak, where):
        _advise(config, where, mesh)
    return 0


def rows(found: Plan) -> dict[str, str]:
    """A plan for people to read."""
    program, steps, bound, where = found.program, found.steps, found.bound, found.where
    matrix = ', '.join(f'{count / steps:.3g} {dtype}' for dtype, count in sorted(program.matrix.items()))
    sent = {
        f'{kind} of a step': f'{row["count"]:g}, {row["bytes"] / 1e6:,.2f} MB, of which a device sends '
        f'{row["sent"] / 1e6:,.2f} MB'
        for kind, row in planning.sent_by_kind(program, steps).items()
    }
    times = {'matrix units': bound.matrix, 'memory': bound.memory, 'launches': bound.launches, 'links': bound.links}
    return {
        'device': f'{where.chips} x {where.name}, {where.target.memory / GIB:.1f} GiB each',
        'arguments': f'{found.memory.arguments / GIB:,.3f} GiB',
        'temporaries': f'{found.memory.temporaries / GIB:,.3f} GiB',
        'peak': f'{found.memory.peak / GIB:,.3f} GiB: {planning.verdict(found.memory.peak, where)}',
        'FLOPs of a step': f'{program.flops / steps:.3g}, in matrix units {matrix or "none"}',
        'bytes of a step': f'{program.bytes / steps / 1e9:,.3f} GB',
        'kernels of a step': f'{program.launches / steps:,.0f}',
        **sent,
        'time of a step, at least': f'{1e3 * bound.total:,.3f} ms ('
        + ', '.join(f'{name} {1e3 * seconds:,.3f}' for name, seconds in times.items())
        + ')',
        'images/s, at most': f'{found.images_per_second:,.0f}',
        'all epochs, at least': f'{found.days:,.3f} days',
    }


def _print(values: dict[str, Any]) -> None:
    table = Table(show_header=False)
    for name, value in values.items():
        table.add_row(name, value)
    Console().print(table)


def _print_shares(found: Plan) -> None:
    table = Table()
    for name in ('part of a step', 'bytes', 'FLOPs', 'kernels'):
        table.add_column(name, justify='left' if name.startswith('part') else 'right')
    for scope, row in found.program.shares().items():
        table.add_row(scope, *(f'{share:.1%}' for share in row.values()))
    Console().print(table)


def _advise(config: ConfigDict, where: targets.Place, mesh: Any) -> None:
    """Each way to fit, as soon as it is compiled."""
    for tried in advice.attempts(config, where, mesh):
        setting = ' '.join(f'--config.{field}' for field in tried.overrides)
        if tried.refusal:
            print(f'{setting}: cannot be taken: {tried.refusal}', flush=True)
        else:
            peak = f'{tried.peak / GIB:,.2f} GiB, ' if tried.peak is not None else ''
            print(f'{setting}: {peak}{planning.verdict(tried.peak, where)}', flush=True)

"""What a run would cost, before anything is spent: `--dry-run`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table

from .run import Run


def costs(run: Run) -> dict[str, Any]:
    """Parameters, compiled FLOPs and memory of one dispatch, and the size of a checkpoint."""
    from ..data.loader import place

    indices = np.zeros((run.chunk, run.config.data.batch_size), np.int32)
    rows = len(run.data.train) if run.feed.resident else None
    lead = (rows,) if rows is not None else indices.shape
    data = {
        'input': jax.ShapeDtypeStruct((*lead, *run.image_shape), run.data.train.spec.dtype),
        'label': jax.ShapeDtypeStruct(lead, jnp.int32),
    }
    compiled = run.dispatch.lower(run.shapes, data, place(run.mesh, indices)).compile()
    memory, analysis = compiled.memory_analysis(), compiled.cost_analysis() or {}
    size, unit = run.config.data.batch_size, run.data.train.spec.unit
    by_part = {k: sum(x.size for x in jax.tree.leaves(v)) for k, v in run.state_shapes.params.items()}
    return {
        **{f'parameters of {name}': f'{count:,}' for name, count in by_part.items()},
        'steps': f'{run.total:,} ({run.epoch_steps} an epoch, {run.chunk} a dispatch)',
        'global batch': f'{size} {unit}, {size // run.mesh.shape["data"]} a device',
        'FLOPs of a step (compiled)': f'{analysis.get("flops", float("nan")) / run.chunk:.3g}',
        'peak memory of a device': f'{(memory.argument_size_in_bytes + memory.temp_size_in_bytes) / 2**20:,.1f} MiB',
        'of which temporaries': f'{memory.temp_size_in_bytes / 2**20:,.1f} MiB',
        'checkpoint': f'{sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(run.state_shapes)) / 2**20:,.1f} MiB',
        'data': f'{len(run.data.train):,} {unit}, {"resident" if run.feed.resident else "streaming"}',
    }


def dry_run(config: ConfigDict) -> int:
    """Prints :func:`costs`; nothing is written."""
    run = Run(config)
    table = Table(show_header=False)
    for name, value in costs(run).items():
        table.add_row(name, value)
    Console().print(table)
    return 0

"""How fast a run trained: images/s, time waiting for data, and model FLOP/s over the chips' peak."""

import statistics
from pathlib import Path
from typing import Any

import jax

from ..errors import UserError
from ..files import by_session, read_jsonl
from ..hardware import chip, matrix_flops
from ..hardware.roofline import peak
from .build import build_feed
from .run import Run


def peak_share(run: Run) -> float:
    """The share of the chips' peak FLOP/s that one image a second takes; 0 where a chip is not in the table.

    Model FLOPs are those of the products and convolutions of a whole step as it is traced, in the matrix units' peak at
    `train.precision`; recomputation (`model.remat`, microbatches) counts.
    """
    devices = list(run.mesh.devices.flat)
    target = chip(devices[0].device_kind)
    if target is None:
        return 0.0
    shapes = build_feed(run.config, run.data.train, run.mesh, described=True).shapes(1)
    flops = matrix_flops(jax.make_jaxpr(run.dispatch)(run.state_shapes, *shapes))
    return flops / run.config.data.batch_size / (len(devices) * peak(target, run.config.train.precision))


def summary(lines: list[dict[str, Any]]) -> dict[str, float]:
    """Of the lines of `timing.jsonl`: median images/s, mean share of time waiting, median share of the peak.

    The first line of each session is left out where there are others: it holds the time of compiling.
    """
    steady = [line for session in by_session(lines) for line in session[1:]]
    chosen = steady or lines
    if not chosen:
        return {}
    found = {
        'images_per_second': statistics.median(line['images_per_second'] for line in chosen),
        'waiting_share': statistics.fmean(line['waiting_share'] for line in chosen),
    }
    shares = [line['peak_share'] for line in chosen if 'peak_share' in line]
    return found | ({'peak_share': statistics.median(shares)} if shares else {})


def sentence(workdir: Path) -> str:
    """One sentence for the report; '' for a folder without readable timings."""
    try:
        lines = read_jsonl(workdir / 'timing.jsonl')
    except UserError:  # damaged; the numbers of the report do not depend on it
        return ''
    found = summary([line for line in lines if set(line) >= {'images_per_second', 'waiting_share', 'seconds'}])
    if not found:
        return ''
    chips = ''
    if 'peak_share' in found:
        chips = f"; model FLOP/s {found['peak_share']:.1%} of the chips' peak"
    return (
        f'training: {found["images_per_second"]:,.0f} images/s, {found["waiting_share"]:.1%} of the time waiting for '
        f'data{chips}'
    )

"""One row of `gpu_hour.py speed`: a process that compiles a step, says so, waits for a line, and times the step.

    ROW='{"what": "ours", "network": "resnet18", "batch": 256, "precision": "bfloat16", "seconds": 4}'
    echo go | python benchmarks/gpu_step.py "$ROW"

`what` is 'ours' or 'torch' (`kind` eager or compiled), SimCLR on two views in memory (torch_step.py), or 'run': the
step of a config file with its augmentation, from uint8 images on the device. `scopes` names a folder for a profile of a
run. Until the line comes, a process takes little of the device's memory.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch_step import our_step, torch_step

ROOT = Path(__file__).resolve().parent.parent


class Dispatches:
    """Dispatches of a config's run, one a call; `steps` of each."""

    def __init__(self, row: dict[str, Any]):
        from selfsup import config
        from selfsup.engine.run import Run

        file = Path(row['images'])
        # Random images, since chips compute zeros faster.
        side, count = row['side'], row['count']
        images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)
        np.savez(file, train_images=images, train_labels=np.arange(count) % 10)
        overrides = [f'data.source=npz:{file}', f'data.batch_size={row["batch"]}', *row['overrides']]
        overrides += [f'train.precision={row["precision"]}', 'train.epochs=100000', 'optimizer.warmup_epochs=1']
        self.run = Run(config.load(str(ROOT / 'experiments' / row['config']), overrides))
        self.steps = self.run.chunk
        self._step, self._state = 0, self.run.start()
        arguments = self.run.feed(0, self.steps)
        self.compiled = self.run.dispatch.lower(self._state, *arguments).compile()

    def __call__(self) -> Any:
        self._state, metrics = self.compiled(
            self._state, *self.run.feed(self._step, self.steps), self.run.dispatch.seed
        )
        self._step += self.steps
        return metrics['loss'][-1]

    def scopes(self, folder: str, dispatches: int = 3) -> dict[str, float]:
        """Scope -> share of the kernels' time."""
        import jax
        from selfsup.hardware import parse, scope_times

        with jax.profiler.trace(folder):
            for _ in range(dispatches):
                loss = self()
            jax.block_until_ready(loss)
        times = scope_times(folder, parse(self.compiled.as_text()))
        total = sum(times.values())
        found = {scope: seconds / total for scope, seconds in times.items()}
        return found | {'ms a step': 1e3 * total / dispatches / self.steps}


def timed(step: Callable[[], Any], wait: Callable[[Any], Any], seconds: float) -> list[float]:
    """Seconds a call, of five blocks of calls that take `seconds` together."""
    wait(step())
    begun = time.perf_counter()
    wait(step())
    calls = max(round(seconds / 5 / max(time.perf_counter() - begun, 1e-6)), 1)
    found = []
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(calls):
            last = step()
        wait(last)
        found.append((time.perf_counter() - begun) / calls)
    return found


def main() -> None:
    row = json.loads(sys.argv[1])
    begun = time.perf_counter()
    steps, dispatches = 1, None
    if row['what'] == 'torch':
        import torch

        device = 'cuda' if torch.cuda.is_available() else 'cpu'
        step = torch_step(row['network'], row['kind'], row['batch'], device=device, precision=row['precision'])
        wait = float
    else:
        import jax

        wait = jax.block_until_ready
        if row['what'] == 'run':
            step = dispatches = Dispatches(row)
            steps = dispatches.steps
        else:
            kind = row.get('attention', '')
            step = our_step(row['network'], row['batch'], precision=row['precision'], attention=kind)
    if row.get('kind') == 'compiled':
        wait(step())
        torch.cuda.empty_cache()
    print(json.dumps({'ready': time.perf_counter() - begun}), flush=True)
    sys.stdin.readline()
    times = [each / steps for each in timed(step, wait, row['seconds'])]
    found = {'ms': 1e3 * float(np.median(times)), 'least_ms': 1e3 * min(times), 'most_ms': 1e3 * max(times)}
    found['images_per_second'] = 1e3 * row['batch'] / found['ms']
    if row['what'] == 'torch':
        found['device'] = torch.cuda.get_device_name() if device == 'cuda' else 'cpu'
    else:
        found['device'] = jax.devices()[0].device_kind
    if dispatches and row.get('scopes'):
        found['scopes'] = dispatches.scopes(row['scopes'])
    print(json.dumps(found), flush=True)


if __name__ == '__main__':
    main()

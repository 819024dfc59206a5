"""What the step's compiled program moves and launches on an H100 and a TPU v5e, against recorded numbers.

    python benchmarks/accelerator.py                 # small shapes, some two minutes of one core
    python benchmarks/accelerator.py --full          # 256 images, two views, ResNet-18, ResNet-50 and ViT-S/16; long
    python benchmarks/accelerator.py --record        # and keeps the numbers in accelerator.json
    python benchmarks/accelerator.py --full --rows=resnet18 --on=h100:1

Needs requirements-plan.txt and no device: XLA's compilers for both run anywhere. Per row and target: GB that pass
between kernels and the device's memory, kernels, temporaries, the share of the bytes and FLOPs that are augmentation,
and a lower bound of a step's time. The exit code is 1 where bytes, kernels or temporaries have grown by more than 5 %
over accelerator.json. `steps_per_call` is 1: a dispatch is one step.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).with_suffix('.json')
GROWTH = 1.05
COUNTED = ('bytes', 'kernels', 'temporaries')
ONE_STEP = ['train.steps_per_call=1']
# Row -> (config, overrides). The small ones have all that the large ones have: augmentation, strided and 1x1
# convolutions, batch-norm, attention, projector, loss, optimiser, probe. XLA's GPU compiler (jaxlib 0.10.2, no device)
# finds no tiles for the transformer's products of 8 or 16 images, so that row has 4.
_TINY = ['data.source=blank:1000x32x32x3/10', 'data.batch_size=16', 'projector.widths=(32,16)', *ONE_STEP]
SMALL = {
    'small resnet': ('cifar10/simclr', ['model.width=16', 'model.stages=(1,1)', *_TINY]),
    'small vit': (
        'cifar10/simclr',
        [
            'model.name=vit_ti',
            'model.patch=4',
            'model.dim=128',
            'model.depth=1',
            'model.heads=2',
            *_TINY,
            'data.batch_size=4',
        ],
    ),
}
_224 = ['data.batch_size=256', 'train.precision=bfloat16', *ONE_STEP]
FULL = {
    'resnet18': ('cifar10/simclr', ONE_STEP),
    'resnet50': ('imagenet/simclr', _224),
    'vit_s': ('imagenet/simclr', ['model.name=vit_s', *_224]),
}
PLACES = ('h100:1', 'tpu-v5e:1x1')


def measure(config: str, overrides: list[str], on: str) -> dict[str, float]:
    """One row on one target."""
    from selfsup import config as configuration
    from selfsup.engine import planning
    from selfsup.engine.run import Run
    from selfsup.hardware import place

    where = place(on)
    file = str(Path(__file__).parent.parent / 'experiments' / f'{config}.py')
    resolved = planning.with_data(configuration.load(file, overrides))
    found = planning.plan(Run(resolved, mesh=planning.mesh_of(where)), where)
    numbers = found.as_dict()
    augmentation = numbers['shares'].get('augmentation', {'bytes': 0.0, 'flops': 0.0})
    return {
        'bytes': numbers['bytes'],
        'kernels': numbers['kernels'],
        'temporaries': found.memory.temporaries,
        'flops': numbers['flops'],
        'augmentation_bytes': augmentation['bytes'],
        'augmentation_flops': augmentation['flops'],
        'bound_ms': 1e3 * found.bound.total,
        'compile_s': found.seconds,
    }


def grown(recorded: dict[str, Any], now: dict[str, float]) -> list[str]:
    """What has grown by more than 5 %, one sentence each."""
    return [
        f'{name}: {now[name]:,.0f}, recorded {recorded[name]:,.0f} ({now[name] / max(recorded[name], 1) - 1:+.1%})'
        for name in COUNTED
        if name in recorded and now[name] > GROWTH * recorded[name]
    ]


def line(name: str, on: str, now: dict[str, float]) -> str:
    """A row of the table."""
    cells = (
        f'{now["bytes"] / 1e9:,.4f}', f'{now["kernels"]:,.0f}', f'{now["temporaries"] / 2**20:,.1f}',
        f'{now["flops"] / 1e9:,.2f}', f'{now["augmentation_bytes"]:.1%}', f'{now["augmentation_flops"]:.1%}',
        f'{now["bound_ms"]:.3f}', f'{now["compile_s"]:.0f}',
    )  # fmt: skip
    return f'| {name} | {on} | ' + ' | '.join(cells) + ' |'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--full', action='store_true')
    parser.add_argument('--rows', default='')
    parser.add_argument('--on', default=','.join(PLACES))
    parser.add_argument('--record', action='store_true')
    options = parser.parse_args()
    os.environ['JAX_PLATFORMS'] = 'cpu'
    from selfsup.engine import planning
    from selfsup.errors import UserError

    planning.keep_scopes()
    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    chosen = FULL if options.full else SMALL
    names = options.rows.split(',') if options.rows else list(chosen)
    unknown = [name for name in names if name not in chosen]
    if unknown:
        print(f'error: --rows: {unknown[0]!r} is unknown; known are {", ".join(chosen)}', file=sys.stderr)
        return 2
    print('| step | on | GB | kernels | temporaries, MiB | GFLOP | augmentation: B | FLOPs | bound, ms | compiled, s |')
    print('| --- | --- ' + '| ---: ' * 8 + '|')
    worse = []
    for name in names:
        for on in options.on.split(','):
            try:
                now = measure(*chosen[name], on)
            except UserError as error:
                print(f'error: {error}', file=sys.stderr)
                return 2
            print(line(name, on, now), flush=True)
            worse += [f'{name} on {on}: {what}' for what in grown(recorded.get(f'{name} on {on}', {}), now)]
            if options.record:
                recorded[f'{name} on {on}'] = now
                RECORDED.write_text(json.dumps(recorded, indent=1, sort_keys=True) + '\n')
    for what in worse:
        print(what)
    return int(bool(worse) and not options.record)


if __name__ == '__main__':
    sys.exit(main())

"""Memory of one training step as XLA compiles it: whole batch, rematerialised blocks, microbatches. No data are needed.

    python benchmarks/memory.py                    # SimCLR, ResNet-50, 224 pixels, a batch of 4,096; minutes
    python benchmarks/memory.py --batch-size=64 --size=64 --pieces=4

Only shapes are compiled, for the device at hand, and nothing is run. `state` is parameters, optimiser and batch
statistics; `kept` is what the network's forward pass keeps for the backward pass (of one microbatch), by its shapes;
`temporaries` is everything that the compiled step needs besides state and images. XLA's compiler for CPUs undoes
rematerialisation, those for accelerators do not: on a CPU read its effect from `kept`.
"""

import argparse
from typing import Any

import jax
import jax.numpy as jnp
from selfsup import config
from selfsup.engine import build
from selfsup.engine.step import count_views, init_state, make_dispatch, make_step

SIMCLR = 'experiments/imagenet/simclr.py'


def compiled(fields: list[str], size: int) -> dict[str, float]:
    """GiB of state, images, kept activations and temporaries of a step of the config with these fields."""
    resolved = config.load(SIMCLR, [*fields, 'data.crop=device', f'augment.size={size}'])
    batch = resolved.data.batch_size
    method = build.build_method(resolved, steps=1000)
    optimizer, rate = build.build_optimizer(resolved, epoch_steps=100)
    views = build.build_views(resolved)
    step = make_step(
        method, optimizer, rate, views, probe_rate=1e-3, view_count=count_views(resolved.augment.views),
        microbatches=resolved.train.microbatches,
    )  # fmt: skip
    two = (jnp.zeros((2, size, size, 3)),) * 2
    state = jax.eval_shape(lambda: init_state(method, optimizer, {'views': two}, seed=0, classes=1000))
    image = jax.ShapeDtypeStruct((1, batch, size, size, 3), jnp.uint8)
    rows: dict[str, Any] = {'input': image, 'label': jax.ShapeDtypeStruct((1, batch), jnp.int32)}
    piece = batch // resolved.train.microbatches
    seen = jax.ShapeDtypeStruct((piece, size, size, 3), jnp.float32)
    few = {'views': (seen, seen), 'view_params': ({}, {}), 'index': jax.ShapeDtypeStruct((piece,), jnp.int32)}

    def backward(params: Any, extra: Any, batch: Any) -> Any:
        return jax.vjp(lambda p: method.embed(p, extra, batch, jax.random.key(0))[0], params)[1]

    kept = jax.tree.leaves(jax.eval_shape(backward, state.params, state.extra, few))
    dispatch = make_dispatch(step, resident=False)
    memory = dispatch.lower(state, rows, jax.ShapeDtypeStruct((1, batch), jnp.int32), 0).compile().memory_analysis()
    held = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
    given = memory.argument_size_in_bytes - held
    kept_bytes = sum(x.size * x.dtype.itemsize for x in kept)
    found = {'state': held, 'images': given, 'kept': kept_bytes, 'temporaries': memory.temp_size_in_bytes}
    return {name: count / 2**30 for name, count in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--batch-size', type=int, default=4096)
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--pieces', type=int, default=32)
    parser.add_argument('--precision', default='float32')
    options = parser.parse_args()
    common = [f'data.batch_size={options.batch_size}', f'train.precision={options.precision}']
    cut = [f'train.microbatches={options.pieces}', f'train.batch_norm_groups={options.pieces}']
    rows = {
        'whole batch': [],
        'whole batch, model.remat': ['model.remat=true'],
        f'{options.pieces} microbatches': cut,
        f'{options.pieces} microbatches, model.remat': [*cut, 'model.remat=true'],
    }
    print(f'jax {jax.__version__}, {jax.devices()[0].device_kind}; ResNet-50, {options.size} pixels, two views, '
          f'batch {options.batch_size}, {options.precision}; GiB on one device\n')  # fmt: skip
    print('| step | state | images | kept | temporaries |\n| --- | ---: | ---: | ---: | ---: |')
    for name, fields in rows.items():
        found = compiled([*common, *fields], options.size)
        print(f'| {name} | ' + ' | '.join(f'{value:.2f}' for value in found.values()) + ' |', flush=True)


if __name__ == '__main__':
    main()

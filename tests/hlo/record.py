"""Records the compiled texts of this folder; needs requirements-plan.txt.

    PYTHONPATH=ssl python tests/hlo/record.py

Five steps of gradient descent on a strided 3x3 convolution (32 to 64 channels, 32x32 maps, 256 examples) and a product,
in bfloat16, for two H100s and four chips of a TPU v5e. What a reader of programs does not look at is cut out.
"""

import os
import re
from pathlib import Path

os.environ['JAX_PLATFORMS'] = 'cpu'

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from selfsup.hardware import targets

PLACES = {'h100': 'h100:2', 'tpu-v5e': 'tpu-v5e:2x2'}
STEPS = 5
SHAPES = ((64, 128), (3, 3, 32, 64), (256, 32, 32, 32))  # product, kernel, images


def loss(product, kernel, images):
    with jax.named_scope('forward'):
        numbers = ('NHWC', 'HWIO', 'NHWC')
        out = jax.lax.conv_general_dilated(images, kernel, (2, 2), 'SAME', dimension_numbers=numbers)
        out = jnp.matmul(jnp.tanh(out).mean((1, 2)), product)
    with jax.named_scope('loss'):
        return (out.astype(jnp.float32) ** 2).mean()


def steps(product, kernel, images):
    def step(state, _):
        with jax.named_scope('augmentation'):
            views = images * 1.5 + 1
        gradients = jax.grad(loss, (0, 1))(*state, views)
        with jax.named_scope('optimizer'):
            return jax.tree.map(lambda p, g: p - 0.1 * g, state, gradients), None

    return jax.lax.scan(step, (product, kernel), None, length=STEPS)[0]


def trimmed(text: str) -> str:
    """Without tables of source lines, layouts of the entry and settings of the backend."""
    lines, kept = [], False
    for line in text.splitlines():
        if line.startswith('HloModule'):
            lines += [f'HloModule jit_steps, {re.search(r"num_partitions=[0-9]+", line)[0]}', '']
        kept = kept or bool(re.match(r'%|ENTRY', line))
        if not kept:
            continue
        trips = re.search(r'"known_trip_count":\{"n":"\d+"\}', line)
        line = line.partition(', backend_config=')[0] + (f', backend_config={{{trips[0]}}}' if trips else '')
        line = re.sub(r' (scheduling_name="[^"]*"|stack_frame_id=\d+)', '', line)
        line = re.sub(r', sharding=\{(?:[^{}]|\{[^{}]*\})*\}', '', line)
        lines.append(re.sub(r', metadata=\{(scheduling_name="[^"]*"|stack_frame_id=\d+)? ?\}', '', line))
    return '\n'.join(lines) + '\n'


def main() -> None:
    for name, text in PLACES.items():
        mesh = Mesh(np.asarray(targets.devices(targets.place(text))), ('data',), axis_types=(AxisType.Auto,))
        specs = (PartitionSpec(), PartitionSpec(), PartitionSpec('data'))
        shapes = [
            jax.ShapeDtypeStruct(shape, jnp.bfloat16, sharding=NamedSharding(mesh, spec))
            for shape, spec in zip(SHAPES, specs, strict=True)
        ]
        compiled = jax.jit(steps).lower(*shapes).compile()
        (Path(__file__).parent / f'{name}.txt').write_text(trimmed(compiled.as_text()))


if __name__ == '__main__':
    main()

"""Value and gradient of the covariance losses: time and temporaries, beside the plain form and beside PyTorch.

    python benchmarks/losses.py             # (256, 2048), (256, 8192), (2048, 8192): minutes on two cores
    python benchmarks/losses.py --small     # a quick try

The plain form is the one in the papers: the whole dim x dim matrix. Times are medians of `--repeats` runs
after one that is not counted; temporaries are what XLA reports for the compiled gradient. PyTorch is measured
where it is installed. The runs of one row are taken in turn, so that a noisy machine blurs all alike.
"""

import argparse
import importlib.util
import platform
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
from selfsup import losses

SHAPES = ((256, 2048), (256, 8192), (2048, 8192))


def plain_barlow_twins(z1: jax.Array, z2: jax.Array) -> jax.Array:
    """Barlow Twins by its whole cross-correlation matrix."""
    z1, z2 = ((z - z.mean(0)) * jax.lax.rsqrt(z.var(0) + 1e-5) for z in (z1, z2))
    c = jnp.matmul(z1.T, z2, precision='highest') / len(z1)
    diagonal = jnp.diagonal(c)
    return jnp.sum((diagonal - 1) ** 2) + 5.1e-3 * (jnp.sum(c**2) - jnp.sum(diagonal**2))


def plain_vicreg(z1: jax.Array, z2: jax.Array) -> jax.Array:
    """VICReg by its whole covariance matrices."""
    total = 25 * jnp.mean((z1 - z2) ** 2)
    for z in (z1, z2):
        z = z - z.mean(0)
        c = jnp.matmul(z.T, z, precision='highest') / (len(z) - 1)
        diagonal = jnp.diagonal(c)
        total += 12.5 * jnp.mean(jax.nn.relu(1 - jnp.sqrt(diagonal + 1e-4)))
        total += (jnp.sum(c**2) - jnp.sum(diagonal**2)) / z.shape[1]
    return total


def torch_forms() -> dict[str, Callable]:
    """The same two in PyTorch, as the authors write them."""
    import torch

    def barlow(z1, z2):
        z1, z2 = ((z - z.mean(0)) / (z.var(0, unbiased=False) + 1e-5).sqrt() for z in (z1, z2))
        c = z1.T @ z2 / len(z1)
        on = (c.diagonal() - 1).pow(2).sum()
        return on + 5.1e-3 * (c.pow(2).sum() - c.diagonal().pow(2).sum())

    def vicreg(z1, z2):
        total = 25 * torch.nn.functional.mse_loss(z1, z2)
        for z in (z1, z2):
            z = z - z.mean(0)
            c = z.T @ z / (len(z) - 1)
            total = total + 12.5 * torch.relu(1 - (c.diagonal() + 1e-4).sqrt()).mean()
            total = total + (c.pow(2).sum() - c.diagonal().pow(2).sum()) / z.shape[1]
        return total

    def timed(loss):
        def run(z1, z2):
            a, b = (torch.tensor(z, requires_grad=True) for z in (z1, z2))
            value = loss(a, b)
            value.backward()
            return float(value)

        return run

    return {'barlow_twins': timed(barlow), 'vicreg': timed(vicreg)}


PLAIN = {'barlow_twins': plain_barlow_twins, 'vicreg': plain_vicreg}


def measure(shape: tuple[int, int], repeats: int) -> None:
    """One table row a loss and form."""
    import numpy as np

    z1, z2 = (np.asarray(jax.random.normal(jax.random.key(i), shape)) for i in range(2))
    outside = torch_forms() if importlib.util.find_spec('torch') else {}
    for name, plain in PLAIN.items():
        forms = {
            'ours': jax.jit(jax.value_and_grad(getattr(losses, name), argnums=(0, 1))),
            'plain': jax.jit(jax.value_and_grad(plain, argnums=(0, 1))),
        }
        compiled = {k: f.lower(z1, z2).compile().memory_analysis() for k, f in forms.items()}
        memory = {k: m.temp_size_in_bytes / 2**20 for k, m in compiled.items()}
        runs: dict[str, Callable] = {k: (lambda f=f: jax.block_until_ready(f(z1, z2))) for k, f in forms.items()}
        if name in outside:
            runs['torch'] = lambda name=name: outside[name](z1, z2)
        times: dict[str, list[float]] = {k: [] for k in runs}
        for number in range(repeats + 1):
            for key, run in runs.items():
                start = time.perf_counter()
                run()
                if number:
                    times[key].append(time.perf_counter() - start)
        median = {k: statistics.median(t) for k, t in times.items()}
        for key in runs:
            ratio, size = median[key] / median['ours'], memory.get(key)
            note = f'{size:10.1f} MiB {size / memory["ours"]:7.1f}x' if size is not None else ''
            print(f'{shape!s:14}{name:14}{key:7}{1e3 * median[key]:10.1f} ms {ratio:7.1f}x {note}')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--small', action='store_true')
    parser.add_argument('--repeats', type=int, default=5)
    options = parser.parse_args()
    print(
        f'jax {jax.__version__} on {jax.devices()[0].device_kind}, Python {platform.python_version()}; x is over ours'
    )
    for shape in ((64, 256), (64, 1024)) if options.small else SHAPES:
        measure(shape, options.repeats)


if __name__ == '__main__':
    main()

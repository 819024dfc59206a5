"""Value and gradient of every loss: time and temporaries, beside the plain form and beside PyTorch.

    python benchmarks/losses.py             # (256, 2048), (256, 8192), (2048, 8192): a quarter of an hour on two cores
    python benchmarks/losses.py --small     # a quick try
    python benchmarks/losses.py --shapes 2048x8192
    python benchmarks/losses.py --only=barlow_twins,vicreg

The plain form is the formula as the paper writes it: the whole dim x dim matrix, or every pair of rows with its
difference. Times are medians of `--repeats` runs after one that is not counted; temporaries are what XLA reports
for the compiled gradient. PyTorch is measured where it is installed. The runs of one row are taken in turn, so
that a noisy machine blurs all alike; read the ratios.
"""

import argparse
import importlib.util
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from selfsup import losses

SHAPES = ((256, 2048), (256, 8192), (2048, 8192))
QUEUE, PROTOTYPES, DIRECTIONS = 4096, 3000, 1024


def unit(z: Any) -> Any:
    return z / jnp.linalg.norm(z, axis=1, keepdims=True)


def product(a: Any, b: Any) -> Any:
    return jnp.matmul(a, b, precision='highest')


def off_diagonal(c: Any) -> Any:
    return jnp.sum(jnp.where(jnp.eye(len(c), dtype=bool), 0.0, c) ** 2)


def plain_barlow_twins(z1: Any, z2: Any, rest: dict) -> Any:
    """The whole cross-correlation matrix."""
    z1, z2 = ((z - z.mean(0)) * jax.lax.rsqrt(z.var(0) + 1e-5) for z in (z1, z2))
    c = product(z1.T, z2) / len(z1)
    return jnp.sum((jnp.diagonal(c) - 1) ** 2) + 5.1e-3 * off_diagonal(c)


def plain_vicreg(z1: Any, z2: Any, rest: dict) -> Any:
    """The whole covariance matrices."""
    total = 25 * jnp.mean((z1 - z2) ** 2)
    for z in (z1, z2):
        c = product((z - z.mean(0)).T, z - z.mean(0)) / (len(z) - 1)
        total += 12.5 * jnp.mean(jax.nn.relu(1 - jnp.sqrt(jnp.diagonal(c) + 1e-4)))
        total += off_diagonal(c) / z.shape[1]
    return total


def plain_vibcreg(z1: Any, z2: Any, rest: dict) -> Any:
    """The whole correlation matrices."""
    total = 25 * jnp.mean((z1 - z2) ** 2)
    for z in (z1, z2):
        z = z - z.mean(0)
        total += 25 * jnp.mean(jax.nn.relu(1 - jnp.sqrt(jnp.sum(z * z, 0) / (len(z) - 1) + 1e-4)))
        z = z / jnp.linalg.norm(z, axis=0)
        total += 200 * off_diagonal(product(z.T, z)) / z.shape[1] ** 2
    return total


def plain_tico(z1: Any, z2: Any, rest: dict) -> Any:
    """The new covariance matrix, then the quadratic form, both differentiated."""
    z1, z2 = unit(z1), unit(z2)
    c = 0.9 * rest['covariance'] + 0.1 * product(z1.T, z1) / len(z1)
    return 1 - jnp.mean(jnp.sum(z1 * z2, 1)) + 20 * jnp.mean(jnp.sum(product(z1, c) * z1, 1))


def plain_ntxent(z1: Any, z2: Any, rest: dict) -> Any:
    """Cosines by broadcasting, as optax has it."""
    z = unit(jnp.concatenate([z1, z2]))
    n = len(z)
    cosines = jax.lax.map(lambda row: jnp.sum(row[None] * z, axis=1), z)
    logits = jnp.where(jnp.eye(n, dtype=bool), -jnp.inf, cosines / 0.1)
    return jnp.mean(jax.nn.logsumexp(logits, 1) - logits[jnp.arange(n), jnp.roll(jnp.arange(n), n // 2)])


def plain_mmcr(z1: Any, z2: Any, rest: dict) -> Any:
    """The nuclear norm by a differentiated SVD."""
    centroids = (unit(z1) + unit(z2)) / 2
    return -jnp.sum(jnp.linalg.svd(centroids, full_matrices=False)[1])


# Loss -> (ours, plain form or None), functions of two matrices and the other arrays.
LOSSES: dict[str, tuple[Callable, Callable | None]] = {
    'barlow_twins': (lambda a, b, r: losses.barlow_twins(a, b), plain_barlow_twins),
    'vicreg': (lambda a, b, r: losses.vicreg(a, b), plain_vicreg),
    'vibcreg': (lambda a, b, r: losses.vibcreg(a, b), plain_vibcreg),
    'tico': (lambda a, b, r: losses.tico(a, b, r['covariance'])[0], plain_tico),
    'mmcr': (lambda a, b, r: losses.mmcr(a, b), plain_mmcr),
    'ntxent': (lambda a, b, r: losses.ntxent(a, b), plain_ntxent),
    'decoupled': (lambda a, b, r: losses.decoupled(a, b), None),
    'debiased': (lambda a, b, r: losses.debiased(a, b), None),
    'supcon': (lambda a, b, r: losses.supcon(a, b, r['labels']), None),
    'info_nce': (lambda a, b, r: losses.info_nce(a, b, r['queue']), None),
    'moco_v3': (lambda a, b, r: losses.moco_v3(a, b), None),
    'nnclr': (lambda a, b, r: losses.nnclr(a, b, r['queue']), None),
    'ressl': (lambda a, b, r: losses.ressl(a, b, r['queue']), None),
    'byol': (lambda a, b, r: losses.byol(a, b, b, a), None),
    'simsiam': (lambda a, b, r: losses.simsiam(a, b), None),
    'swav': (lambda a, b, r: losses.swav(a, b, prototypes=r['prototypes']), None),
    'dino': (lambda a, b, r: losses.dino((a, b), (b, a), jnp.zeros(a.shape[1])), None),
    'deepcluster': (
        lambda a, b, r: losses.deepcluster(a, b, prototypes=r['prototypes'][None], assignments=r['labels'][:, None]),
        None,
    ),
    'lejepa': (lambda a, b, r: losses.lejepa(a, b, directions=r['directions']), None),
    'visreg': (lambda a, b, r: losses.visreg(a, b, directions=r['directions']), None),
    # It whitens fewer dims than it has rows, whatever the width.
    'w_mse': (lambda a, b, r: losses.w_mse(a[:, : len(a) // 2], b[:, : len(b) // 2]), None),
}


def torch_forms() -> dict[str, Callable]:
    """Some of them in PyTorch, as their authors write them."""
    import torch
    import torch.nn.functional as F

    def off(c):
        return c.pow(2).sum() - c.diagonal().pow(2).sum()

    def barlow_twins(a, b, r):
        a, b = ((z - z.mean(0)) / (z.var(0, unbiased=False) + 1e-5).sqrt() for z in (a, b))
        c = a.T @ b / len(a)
        return (c.diagonal() - 1).pow(2).sum() + 5.1e-3 * off(c)

    def vicreg(a, b, r):
        total = 25 * F.mse_loss(a, b)
        for z in (a, b):
            c = (z - z.mean(0)).T @ (z - z.mean(0)) / (len(z) - 1)
            total = total + 12.5 * torch.relu(1 - (c.diagonal() + 1e-4).sqrt()).mean() + off(c) / z.shape[1]
        return total

    def tico(a, b, r):
        a, b = F.normalize(a), F.normalize(b)
        c = 0.9 * r['covariance'] + 0.1 * a.T @ a / len(a)
        return 1 - (a * b).sum(1).mean() + 20 * ((a @ c.detach()) * a).sum(1).mean()

    def ntxent(a, b, r):
        z = F.normalize(torch.cat([a, b]))
        logits = (z @ z.T / 0.1).fill_diagonal_(-torch.inf)
        return F.cross_entropy(logits, torch.arange(len(z)).roll(len(a)))

    def info_nce(a, b, r):
        a, b, queue = F.normalize(a), F.normalize(b), F.normalize(r['queue'])
        logits = torch.cat([(a * b).sum(1, keepdim=True), a @ queue.T], 1) / 0.2
        return F.cross_entropy(logits, torch.zeros(len(a), dtype=torch.long))

    def moco_v3(a, b, r):
        return F.cross_entropy(F.normalize(a) @ F.normalize(b.detach()).T, torch.arange(len(a))) * 2

    def simsiam(a, b, r):
        return -F.cosine_similarity(a, b.detach()).mean()

    def mmcr(a, b, r):
        return -torch.linalg.svdvals((F.normalize(a) + F.normalize(b)) / 2).sum()

    def timed(loss):
        def prepare(z1, z2, rest):
            a, b = (torch.tensor(z, requires_grad=True) for z in (z1, z2))
            others = {name: torch.tensor(x) for name, x in rest.items()}

            def run():
                a.grad = b.grad = None
                loss(a, b, others).backward()

            return run

        return prepare

    forms = (barlow_twins, vicreg, tico, ntxent, info_nce, moco_v3, simsiam, mmcr)
    return {form.__name__: timed(form) for form in forms}


def arrays(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Two views that agree in part, and the other arrays that losses take."""
    rng, (batch, dim) = np.random.default_rng(0), shape
    rows = {'z1': batch, 'noise': batch, 'queue': QUEUE, 'prototypes': PROTOTYPES, 'directions': DIRECTIONS}
    drawn: dict[str, Any] = {name: rng.normal(size=(n, dim)).astype(np.float32) for name, n in rows.items()}
    z1, noise = drawn.pop('z1'), drawn.pop('noise')
    drawn['labels'] = rng.integers(0, 10, size=batch).astype(np.int32)
    drawn['covariance'] = np.eye(dim, dtype=np.float32) / dim
    return z1, z1 + 0.5 * noise, drawn


def measure(shape: tuple[int, int], names: list[str], repeats: int) -> None:
    """One table row a loss and form."""
    z1, z2, rest = arrays(shape)
    outside = torch_forms() if importlib.util.find_spec('torch') else {}
    for name in names:
        chosen = {'ours': LOSSES[name][0], 'plain': LOSSES[name][1]}
        forms = {k: jax.jit(jax.value_and_grad(f, argnums=(0, 1))) for k, f in chosen.items() if f}
        compiled = {k: f.lower(z1, z2, rest).compile() for k, f in forms.items()}
        memory = {k: f.memory_analysis().temp_size_in_bytes / 2**20 for k, f in compiled.items()}
        placed = jax.device_put((z1, z2, rest))
        runs: dict[str, Callable] = {
            k: (lambda f=f, x=placed: jax.block_until_ready(f(*x))) for k, f in compiled.items()
        }
        if name in outside:
            runs['torch'] = outside[name](z1, z2, rest)
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
            print(f'{shape!s:14}{name:14}{key:7}{1e3 * median[key]:10.1f} ms {ratio:7.1f}x {note}', flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--small', action='store_true')
    parser.add_argument('--shapes', nargs='+', default=[f'{n}x{d}' for n, d in SHAPES], help='batch x dim')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--only', default=','.join(LOSSES))
    options = parser.parse_args()
    names = options.only.split(',')
    if not set(names) <= set(LOSSES):
        parser.error(f'--only: known are {", ".join(LOSSES)}')
    print(
        f'jax {jax.__version__} on {jax.devices()[0].device_kind}, Python {platform.python_version()}; x is over ours'
    )
    for text in ('64x256', '64x1024') if options.small else options.shapes:
        batch, dim = map(int, text.split('x'))
        measure((batch, dim), names, options.repeats)


if __name__ == '__main__':
    main()

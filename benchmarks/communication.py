"""What each method's step sends between devices, read from the compiled program, and a model of it for other sizes.

    python benchmarks/communication.py                    # all methods, some fifteen minutes on one core
    python benchmarks/communication.py --methods=simclr

The step (loss, gradient, moving averages) of a small network is compiled on 2, 4 and 8 devices and the bytes
of every collective are added up, those in loops as often as the loop runs. Two models are fitted:

- over devices, at one global batch: a + b/n for each kind of collective, from 4 and 8. What it predicts for
  16 and 32 devices is set beside what is compiled for them.
- over sizes, on 8 devices: a sum of non-negative multiples of P (parameters), S (numbers of batch
  statistics), B·D (embeddings of a view), D² and B² (D: width of an embedding, B: global batch), B and 1.

The second gives a ResNet-50's step, with the heads of `experiments/cifar10`. Nothing is run. The exit code is 1
where a prediction for 16 or 32 devices is off by more than `--worst`.
"""

import argparse
import collections
import math
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
KINDS = ('all-reduce', 'all-gather', 'reduce-scatter', 'collective-permute', 'all-to-all')
BYTES = {'f64': 8, 's64': 8, 'u64': 8, 'f32': 4, 's32': 4, 'u32': 4, 'bf16': 2, 'f16': 2, 'pred': 1, 's8': 1, 'u8': 1}
# On two devices XLA exchanges some halves with fewer copies, so the model is of four and more.
SMALLEST, FITTED, CHECKED = 2, (4, 8), (16, 32)
# (encoder widths, hidden width of the heads, embedding, global batch); the first is the one of all device counts.
# The batch is at least the square of the number of devices, and embeddings and prototypes are as many as the devices:
# where these do not divide them, XLA gathers what it else exchanges.
SIZES = (
    ((8, 16), 32, 32, 1024),
    ((8, 16), 32, 32, 2048),
    ((8, 16), 32, 32, 4096),
    ((8, 16), 32, 64, 1024),
    ((8, 16), 32, 128, 1024),
    ((16, 32), 32, 32, 1024),
    ((64, 128), 64, 32, 1024),
    ((8, 16), 128, 256, 1024),
)
QUEUE = 4096  # also the size of the memory of DeepCluster
KEYWORDS = {name: {'queue': QUEUE} for name in ('moco_v1', 'moco_v2', 'nnclr', 'ressl')}
KEYWORDS |= {'w_mse': {'block': 512}, 'deepcluster_v2': {'data_size': QUEUE, 'prototypes': 32}}
# SwAV without the queue for small batches: how XLA joins it to the batch changes with the number of devices.
KEYWORDS |= {'swav': {'queue': 0, 'prototypes': 32}, 'dino': {'prototypes': 32}}
BATCH = 1024  # of the ResNet-50
TERMS = ('P', 'S', 'B·D', 'D²', 'B²', 'B', '1')


def collectives(text: str) -> collections.Counter:
    """Bytes of each kind of collective in a compiled program's text, as one device receives or reduces them."""
    own: dict[str, collections.Counter] = {}
    calls: dict[str, list[tuple[str, int]]] = {}
    entry = name = ''
    for line in text.splitlines():
        header = re.match(r'(ENTRY )?%?([\w.\-]+) \(.*\{$', line)
        if header:
            name = header[2]
            entry = name if header[1] else entry
            own[name], calls[name] = collections.Counter(), []
            continue
        found = re.search(r'= (\(?.*?\)?) (' + '|'.join(KINDS) + r')(-start)?\(', line)
        if found:
            shapes = re.findall(r'(\w+)\[([\d,]*)\]', found[1])
            sizes = [BYTES.get(kind, 4) * math.prod(int(d) for d in dims.split(',') if d) for kind, dims in shapes]
            if found[3] and len(sizes) > 1:
                sizes = sizes[len(sizes) // 2 :]  # a started one names its operands beside its results
            own[name][found[2]] += sum(sizes)
        trips = re.search(r'known_trip_count":\{"n":"(\d+)"', line)
        for callee in re.findall(r'(?:body|calls|to_apply|true_computation|false_computation)=%?([\w.\-]+)', line):
            calls[name].append((callee, int(trips[1]) if trips else 1))
        for group in re.findall(r'branch_computations=\{([^}]*)\}', line):
            calls[name] += [(callee.strip().lstrip('%'), 1) for callee in group.split(',')]

    def total(name: str) -> collections.Counter:
        out = collections.Counter(own.get(name, {}))
        for callee, trips in calls.get(name, ()):
            for kind, size in total(callee).items():
                out[kind] += trips * size
        return out

    return total(entry)


class Step:
    """A method's step at one size, to be compiled for several numbers of devices."""

    def __init__(self, name: str, size: tuple):
        import jax
        import jax.numpy as jnp
        import small
        from selfsup import config, methods, models

        widths, hidden, self.dim, self.batch = size
        head = models.MLP(widths=(hidden, self.dim))
        constructor = methods.METHODS[name]
        networks = [models.ConvNet(widths=widths), head] + [head] * config.takes(constructor, 'predictor')
        keywords = {**small.KEYWORDS[name], **KEYWORDS.get(name, {})}
        self.method = constructor(*networks, **keywords)
        self.rows = jax.eval_shape(lambda: small.batch(16))
        grow = lambda x: jax.ShapeDtypeStruct((self.batch, *x.shape[1:]), x.dtype)  # noqa: E731
        self.rows = jax.tree.map(grow, self.rows)
        first = {**self.rows, 'views': tuple(jnp.zeros((2, *v.shape[1:])) for v in self.rows['views'])}
        self.state = jax.eval_shape(lambda: self.method.init(jax.random.key(0), first))

    def terms(self) -> list[float]:
        """The sizes that the model is a sum of, in the order of `TERMS`."""
        params, extra = self.state
        statistics = extra['batch_stats'], extra.get('target', {}).get('batch_stats', {})
        return terms(count(params), count(statistics), self.batch, self.dim)

    def compiled(self, devices: int) -> Any:
        """The program for so many devices."""
        import jax
        import small
        from selfsup import parallel

        mesh = parallel.data_mesh(devices)
        shardings = parallel.state_sharding(mesh, self.state)
        place = lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s)  # noqa: E731
        state = jax.tree.map(place, self.state, shardings)
        rows = jax.tree.map(lambda x: place(x, parallel.sharded(mesh)), self.rows)

        def step(state: Any, rows: Any, number: Any) -> Any:
            key = jax.random.fold_in(jax.random.key(5), number)
            (value, (extra, _)), gradient = small.loss_and_gradient(self.method, *state, rows, key)
            params = jax.tree.map(lambda p, g: p - 0.1 * g, state[0], gradient)
            return self.method.after(params, extra, number), value

        whole = (shardings, parallel.replicated(mesh))
        number = jax.ShapeDtypeStruct((), 'int32')
        return jax.jit(step, out_shardings=whole, donate_argnums=0).lower(state, rows, number).compile()


def count(tree: Any) -> int:
    """Numbers in a tree of arrays."""
    import jax

    return sum(math.prod(x.shape) for x in jax.tree.leaves(tree))


def terms(params: int, statistics: int, batch: int, dim: int) -> list[float]:
    """In the order of `TERMS`."""
    return [params, statistics, batch * dim, dim**2, batch**2, batch, 1.0]


def fit(rows: Any, values: Any) -> Any:
    """Non-negative multiples of the columns of `rows` that give `values`, by least squares of relative errors."""
    import numpy as np
    from scipy.optimize import nnls

    rows, values = np.asarray(rows, float), np.asarray(values, float)
    weights = 1 / np.maximum(values, 1.0)
    scale = np.abs(rows).max(axis=0)
    return nnls(rows / scale * weights[:, None], values * weights, maxiter=1000)[0] / scale


def resnet50(name: str) -> tuple[list[float], float]:
    """The terms of a ResNet-50 with the heads of `experiments/cifar10`, and the bytes of its state on each device."""
    import jax
    import jax.numpy as jnp
    from selfsup import config
    from selfsup.engine import build
    from selfsup.methods import METHODS

    changes = [f'data.batch_size={BATCH}', 'model.name=resnet50', 'model.stem=imagenet']
    file = str(ROOT / 'experiments' / 'cifar10' / f'{name}.py')
    if config.takes(METHODS[name], 'queue'):  # whole batches of it
        queue = config.load(file, []).method.queue
        changes.append(f'method.queue={max(queue // BATCH, 1) * BATCH}')
    resolved = config.load(file, changes)
    method = build.build_method(resolved, steps=1000, data_size=50_000)
    optimizer, _ = build.build_optimizer(resolved, epoch_steps=10)
    images = tuple(jnp.zeros((2, 32, 32, 3)) for _ in range(2))
    params, extra = jax.eval_shape(lambda: method.init(jax.random.key(0), {'views': images}))
    moments = jax.eval_shape(optimizer.init, params)
    statistics = extra['batch_stats'], extra.get('target', {}).get('batch_stats', {})
    dim = resolved.projector.widths[-1]
    kept = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves((params, extra, moments)))
    return terms(count(params), count(statistics), BATCH, dim), kept


def wire(reduced: float, gathered: float, devices: int) -> float:
    """Bytes that a device sends in ring collectives: 2(n−1)/n of what is reduced, (n−1)/n of what is gathered."""
    return (devices - 1) / devices * (2 * reduced + gathered)


def show(bytes_: float) -> str:
    return f'{bytes_ / 1e6:,.1f}' if bytes_ >= 1e5 else f'{bytes_ / 1e6:.3f}'


def formula(multiples: Any, values: Any) -> str:
    """The terms that make more than a thousandth of anything fitted."""
    import numpy as np

    parts = np.asarray(values) * multiples
    shares = (parts / np.maximum(parts.sum(axis=1, keepdims=True), 1)).max(axis=0)
    kept = [
        f'{m:.3g}{" " + t if t != "1" else ""}'
        for m, t, share in zip(multiples, TERMS, shares, strict=True)
        if share > 1e-3
    ]
    return ' + '.join(kept) or '0'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--methods', default='', help='names, by commas; all by default')
    parser.add_argument('--worst', type=float, default=0.05, help='largest relative error of a prediction that passes')
    options = parser.parse_args()
    flags = f'--xla_force_host_platform_device_count={CHECKED[-1]} --xla_backend_optimization_level=0'
    os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {flags}'
    sys.path.insert(0, str(ROOT / 'tests'))
    import jax
    import jaxlib
    import numpy as np
    from selfsup.methods import METHODS

    names = options.methods.split(',') if options.methods else sorted(METHODS)
    measured, models, worst = [], [], 0.0
    for name in names:
        steps = [Step(name, size) for size in SIZES]
        seen = {n: collectives(steps[0].compiled(n).as_text()) for n in (SMALLEST, *FITTED, *CHECKED)}
        kinds = [kind for kind in KINDS if any(seen[n][kind] for n in seen)]
        inverse = lambda n: [1.0, 1.0 / n]  # noqa: E731
        predicted: dict[int, float] = dict.fromkeys((*CHECKED, 1024), 0.0)
        for kind in kinds:
            multiples = fit([inverse(n) for n in FITTED], [seen[n][kind] for n in FITTED])
            for n in predicted:
                predicted[n] += float(np.dot(inverse(n), multiples))
        errors = [predicted[n] / sum(seen[n].values()) - 1 for n in CHECKED]
        worst = max(worst, *map(abs, errors))
        sizes = ' | '.join(f'{sum(seen[n].values()) / 1e3:.1f}' for n in (SMALLEST, *FITTED, *CHECKED))
        parts = ', '.join(f'{kind} {seen[8][kind] / sum(seen[8].values()):.0%}' for kind in kinds)
        off = ' | '.join(f'{100 * e:+.1f}' for e in errors)
        measured.append(f'| {name} | {parts} | {sizes} | {off} | {predicted[1024] / 1e3:.1f} |')

        counted = [seen[8], *(collectives(step.compiled(8).as_text()) for step in steps[1:])]
        values = [step.terms() for step in steps]
        real, kept = resnet50(name)
        reduced = fit(values, [c['all-reduce'] for c in counted])
        rest = fit(values, [sum(c.values()) - c['all-reduce'] for c in counted])
        total = np.array([sum(c.values()) for c in counted])
        residual = float(np.max(np.abs(np.asarray(values) @ (reduced + rest) / total - 1)))
        sent = [wire(float(np.dot(real, reduced)), float(np.dot(real, rest)), n) for n in (2, 8, 64, 1024)]
        models.append(
            f'| {name} | {formula(reduced, values)} | {formula(rest, values)} | {100 * residual:.1f} | '
            f'{real[0] / 1e6:.1f} | {kept / 1e6:,.0f} | ' + ' | '.join(show(s) for s in sent) + ' |'
        )
        print(measured[-1], models[-1], sep='\n', file=sys.stderr, flush=True)
        jax.clear_caches()
    devices = ' | '.join(f'n={n}, kB' for n in (SMALLEST, *FITTED, *CHECKED))
    heads = f'| method | on 8 devices | {devices} | predicted 16, % off | 32, % off | predicted 1024, kB |'
    print('\n'.join([heads, '| --- ' * (heads.count('|') - 1) + '|', *measured]), end='\n\n')
    heads = (
        '| method | all-reduce, bytes | other collectives, bytes | worst residual, % | P, millions | state, MB | '
        'sent, MB: n=2 | 8 | 64 | 1024 |'
    )
    print('\n'.join([heads, '| --- ' * (heads.count('|') - 1) + '|', *models]), end='\n\n')
    print(f'worst prediction {100 * worst:.1f} % off; jax {jax.__version__}, jaxlib {jaxlib.__version__}, '
          f'Python {platform.python_version()}, CPU ({platform.machine()})')  # fmt: skip
    return int(worst > options.worst)


if __name__ == '__main__':
    sys.exit(main())

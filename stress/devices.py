"""Every method on every layout of processes and devices against one device, in float64, with different data everywhere.

    python stress/devices.py                          # all methods, some twenty minutes on one core
    python stress/devices.py --methods=swav,moco_v2   # some of them

One set of processes is started for each layout, and passes through all methods. For each method it takes
two steps of gradient descent with a small network: loss and gradient of both, and the state after them
(parameters, batch statistics, target networks, queues, memories). The last row is of diagnostics and k-NN
on features spread over all devices. Prints a Markdown table; the exit code is 1 where a relative
difference is above `--worst`.
"""

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Processes x devices each. One process of eight devices measures the smaller meshes as well.
LAYOUTS = {'1x8': (1, 8), '2x4': (2, 4), '4x2': (4, 2)}
MESHES = (1, 2, 4, 8)
REFERENCE = '1x1'
SHOWN = ('1x2', '1x4', '1x8', '2x4', '4x2')
NUMBERS = ('loss', 'gradient', 'state')
RATE = 0.05
MEASURES = 'diagnostics, k-NN'


def measure(methods: list[str], file: str) -> None:
    """Numbers of this process's meshes, written by process 0.

    Args:
      methods: names of `selfsup.methods.METHODS`.
      file: an npz file: '<layout>/<method>/<number>' -> flat array.
    """
    sys.path.insert(0, str(ROOT / 'tests'))
    import jax
    import jax.numpy as jnp
    import numpy as np
    import small
    from selfsup import parallel
    from selfsup.data.loader import place
    from selfsup.engine import multihost

    jax.config.update('jax_enable_x64', True)
    found = {}

    def double(tree):
        wide = lambda x: np.asarray(x, np.float64 if jnp.issubdtype(x.dtype, jnp.floating) else x.dtype)  # noqa: E731
        return jax.tree.map(wide, tree)

    def put(tree, mesh, shardings):
        return jax.tree.map(lambda x, s: place(mesh, x, s.spec), tree, shardings)

    def flat(tree, mesh):
        leaves = jax.tree.leaves(multihost.local(tree, mesh))
        return np.concatenate([np.asarray(x, np.float64).ravel() for x in leaves])

    def steps(name, start, rows, mesh):
        """Loss, gradient and state of two steps; `start` and `rows` on the host."""
        method = small.make(name)
        shardings = parallel.state_sharding(mesh, start)

        @jax.jit
        def step(state, rows, number):
            params, extra = state
            key = jax.random.fold_in(jax.random.key(5), number)
            (value, (extra, _)), gradient = small.loss_and_gradient(method, params, extra, rows, key)
            params = jax.tree.map(lambda p, g: p - RATE * g, params, gradient)
            new = jax.lax.with_sharding_constraint(method.after(params, extra, number), shardings)
            return new, value, gradient

        state = put(start, mesh, shardings)
        spread = jax.tree.map(lambda x: parallel.sharded(mesh), rows)
        values, gradients = [], []
        for number in range(2):
            state, value, gradient = step(state, put(rows, mesh, spread), np.int32(number))
            values.append(flat(value, mesh)), gradients.append(flat(gradient, mesh))
        return np.concatenate(values), np.concatenate(gradients), flat(state, mesh)

    def measured(mesh):
        """Diagnostics of features that are spread over the mesh, and k-NN."""
        from selfsup import diagnostics
        from selfsup.evals.knn import _search

        rng = np.random.default_rng(0)
        z1 = rng.normal(size=(64, 12)) @ rng.normal(size=(12, 12))
        z2 = z1 + 0.3 * rng.normal(size=z1.shape)
        unit = z1 / np.linalg.norm(z1, axis=1, keepdims=True)
        spec = parallel.sharded(mesh).spec
        a, b, queries = (place(mesh, z, spec) for z in (z1, z2, unit))

        @jax.jit
        def numbers(a, b, queries, bank):
            alarm = diagnostics.collapse_alarm(a, b)
            cosines, _ = _search(queries, bank, k=5)
            ranks = (
                diagnostics.rankme(a),
                diagnostics.alpha_req(a),
                diagnostics.uniformity(a),
                diagnostics.lidar(jnp.stack([a, b], 1)),
            )
            return *ranks, alarm, cosines

        return flat(numbers(a, b, queries, place(mesh, unit[::-1].copy())), mesh)

    processes = jax.process_count()
    meshes = [parallel.data_mesh(n) for n in (MESHES if processes == 1 else (jax.device_count(),))]
    names = [f'{processes}x{mesh.size // processes}' for mesh in meshes]
    for method in methods:
        rows = small.batch()
        start = double(small.started(small.make(method), rows))
        for layout, mesh in zip(names, meshes, strict=True):
            parts = steps(method, start, double(rows), mesh)
            found |= {f'{layout}/{method}/{label}': part for label, part in zip(NUMBERS, parts, strict=True)}
        print(method, flush=True)
        jax.clear_caches()
    for layout, mesh in zip(names, meshes, strict=True):
        found[f'{layout}/{MEASURES}/state'] = measured(mesh)
    if multihost.is_first():
        np.savez(file, **found)


def table(found: dict, methods: list[str]) -> tuple[str, float]:
    """The Markdown table of relative differences to one device, and the worst of them."""
    import numpy as np

    worst = 0.0
    lines = ['| method | ' + ' | '.join(SHOWN) + ' |', '| --- ' * (len(SHOWN) + 1) + '|']
    for method in [*methods, MEASURES]:
        cells = []
        for layout in SHOWN:
            differences = []
            for label in NUMBERS:
                ours, theirs = (found.get(f'{where}/{method}/{label}') for where in (layout, REFERENCE))
                if ours is not None:
                    differences.append(float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)))
            worst = max(worst, *differences)
            cells.append(f'{max(differences):.0e}')
        lines.append(f'| {method} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines), worst


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--methods', default='', help='names, by commas; all by default')
    parser.add_argument('--worst', type=float, default=1e-10, help='largest relative difference that passes')
    parser.add_argument('--layout', default='', help='what one of the started processes is of')
    parser.add_argument('--out', default='', help='where it writes')
    for name in ('coordinator', 'process-id', 'process-count'):
        parser.add_argument(f'--{name}', default='')
    options = parser.parse_args()
    from selfsup import launch

    if options.layout:
        # A process is asked to compile quickly: hardly anything is computed.
        devices = LAYOUTS[options.layout][1]
        flags = f'--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0'
        os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {flags} --xla_cpu_multi_thread_eigen=false'
        place = {
            name: getattr(options, name.replace('-', '_')) for name in ('coordinator', 'process-id', 'process-count')
        }
        launch.join({**place, 'distributed': 'false'})
        measure(options.methods.split(','), options.out)
        return 0

    import importlib.metadata

    import numpy as np
    from selfsup.methods import METHODS

    methods = options.methods.split(',') if options.methods else sorted(METHODS)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for layout, (processes, _) in LAYOUTS.items():
            file = f'{folder}/{layout}.npz'
            command = [
                sys.executable,
                __file__,
                f'--layout={layout}',
                f'--methods={",".join(methods)}',
                f'--out={file}',
            ]
            code = launch.start(command, processes)
            if code:
                return code
            found |= dict(np.load(file))
    text, worst = table(found, methods)
    versions = ', '.join(f'{name} {importlib.metadata.version(name)}' for name in ('jax', 'jaxlib', 'numpy'))
    print(f'\n{text}\n\nworst {worst:.1e}; {versions}, Python {platform.python_version()}, CPU ({platform.machine()})')
    return int(not worst <= options.worst)


if __name__ == '__main__':
    sys.exit(main())

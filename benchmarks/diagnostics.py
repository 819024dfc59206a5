"""Time and agreement of RankMe and of k-NN beside what one would run instead.

    python benchmarks/diagnostics.py            # 25,600 x 2048, and 50,000 x 512 against 10,000: minutes on two cores
    python benchmarks/diagnostics.py --small    # a quick try

Features have a spectrum that falls as 1/j, as those of trained encoders do. Every time is the median of
`--repeats` runs after one that is not counted (compilation), features already on the device. faiss is
measured where it is installed (`pip install faiss-cpu`).
"""

import argparse
import importlib.util
import platform
import statistics
import time
from collections.abc import Callable

import jax
import numpy as np
from selfsup import diagnostics
from selfsup.evals import Features
from selfsup.evals.knn import predict


def seconds(run: Callable[[], object], repeats: int) -> tuple[float, object]:
    """Median seconds of `run`, and what it returned."""
    result = jax.block_until_ready(run())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = jax.block_until_ready(run())
        times.append(time.perf_counter() - start)
    return statistics.median(times), result


def features(rng: np.random.Generator, samples: int, dim: int) -> np.ndarray:
    """Gaussian rows with standard deviations 1/j in a random basis."""
    basis, _ = np.linalg.qr(rng.normal(size=(dim, dim)))
    return (rng.normal(size=(samples, dim)) / np.arange(1, dim + 1) @ basis.T).astype(np.float32)


def clumps(rng: np.random.Generator, samples: int, dim: int, classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping Gaussian classes around fixed centres."""
    centres = np.random.default_rng(7).normal(size=(classes, dim))
    labels = rng.integers(0, classes, size=samples)
    return (0.3 * centres[labels] + rng.normal(size=(samples, dim))).astype(np.float32), labels.astype(np.int32)


def numpy_rankme(z: np.ndarray) -> float:
    """RankMe by NumPy's SVD."""
    sigma = np.linalg.svd(z, compute_uv=False)
    p = sigma / sigma.sum() + 1e-7
    return float(np.exp(-np.sum(p * np.log(p))))


def show(title: str, rows: list[tuple[str, float, str]]) -> None:
    """One table: seconds, the ratio to ours (above 1: ours is faster), and a note."""
    print(f'\n{title}\n{"":34}{"seconds":>10}{"x ours":>9}  note')
    for name, median, note in rows:
        print(f'{name:34}{median:10.3f}{median / rows[0][1]:9.2f}  {note}')


def rank_table(samples: int, dim: int, repeats: int) -> None:
    z = features(np.random.default_rng(0), samples, dim)
    exact = numpy_rankme(z.astype(np.float64))
    on_device = jax.device_put(z)
    blocks = max(b for b in (1, 2, 4, 8) if samples % b == 0 and samples // b >= dim)
    candidates: dict[str, Callable[[], object]] = {
        'rankme (QR, then SVD)': lambda: jitted(on_device),
        f'rankme, blocks={blocks} (tall-skinny QR)': lambda: blocked(on_device),
        'numpy.linalg.svd, float32': lambda: numpy_rankme(z),
    }
    jitted = jax.jit(diagnostics.rankme)
    blocked = jax.jit(lambda z: diagnostics.rankme(z, blocks=blocks))
    rows = []
    for name, run in candidates.items():
        median, value = seconds(run, repeats)
        rows.append((name, median, f'relative error {abs(float(value) - exact) / exact:.1e}'))
    show(f'RankMe of {samples:,} x {dim}', rows)


def knn_table(bank: int, queries: int, dim: int, k: int, repeats: int) -> None:
    train, labels = clumps(np.random.default_rng(1), bank, dim)
    test, test_labels = clumps(np.random.default_rng(2), queries, dim)
    temperature = 0.07
    unit, unit_test = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (train, test))

    def vote(similarity: np.ndarray, index: np.ndarray) -> np.ndarray:
        weights = np.exp((similarity - similarity.max(axis=1, keepdims=True)) / temperature)
        votes = np.zeros((len(index), labels.max() + 1))
        np.add.at(votes, (np.arange(len(index))[:, None], labels[index]), weights)
        return votes.argmax(axis=1)

    def with_numpy() -> np.ndarray:
        out = []
        for rows in np.array_split(unit_test, max(1, queries // 1024)):
            similarity = rows @ unit.T
            index = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
            out.append(vote(np.take_along_axis(similarity, index, axis=1), index))
        return np.concatenate(out)

    def with_sklearn() -> np.ndarray:
        from sklearn.neighbors import NearestNeighbors

        search = NearestNeighbors(n_neighbors=k, algorithm='brute', metric='cosine').fit(train)
        distance, index = search.kneighbors(test)
        return vote(1 - distance, index)

    candidates: dict[str, Callable[[], object]] = {
        'selfsup.evals.knn.predict': lambda: predict(Features(train, labels), test, k=k, temperature=temperature),
        'NumPy product and argpartition': with_numpy,
        'scikit-learn brute force': with_sklearn,
    }
    if importlib.util.find_spec('faiss'):
        import faiss

        def with_faiss() -> np.ndarray:
            index = faiss.IndexFlatIP(dim)
            index.add(unit)
            return vote(*index.search(unit_test, k))

        candidates['faiss IndexFlatIP'] = with_faiss
    rows, ours = [], None
    for name, run in candidates.items():
        median, predicted = seconds(run, repeats)
        ours = predicted if ours is None else ours
        accuracy, same = np.mean(predicted == test_labels), np.mean(predicted == ours)
        rows.append((name, median, f'accuracy {accuracy:.4f}, {same:.2%} as ours'))
    show(f'k-NN, k={k}: {queries:,} queries against {bank:,} x {dim}', rows)
    if 'faiss IndexFlatIP' not in candidates:
        print('faiss is not installed and was left out')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--small', action='store_true', help='small sizes, for a quick try')
    parser.add_argument('--repeats', type=int, default=3, help='runs of which the median is shown')
    arguments = parser.parse_args()
    device = jax.devices()[0]
    print(f'{len(jax.devices())} x {device.device_kind} ({device.platform}), {platform.machine()}')
    versions = [f'{name} {__import__(name).__version__}' for name in ('jax', 'jaxlib', 'numpy', 'scipy', 'sklearn')]
    if importlib.util.find_spec('faiss'):
        versions.append(f'faiss {__import__("faiss").__version__}')
    print(f'Python {platform.python_version()}, {", ".join(versions)}')
    if arguments.small:
        rank_table(2560, 256, arguments.repeats)
        knn_table(5000, 1000, 64, 20, arguments.repeats)
    else:
        rank_table(25_600, 2048, arguments.repeats)
        knn_table(50_000, 10_000, 512, 200, arguments.repeats)


if __name__ == '__main__':
    main()

"""Time and agreement of RankMe and of k-NN beside what one would run instead, and the time of a whole evaluation.

    python benchmarks/diagnostics.py            # 25,600 x 2048, and 50,000 x 512 against 10,000: minutes on two cores
    python benchmarks/diagnostics.py --small    # a quick try
    python benchmarks/diagnostics.py --only=evaluation

Features have a spectrum that falls as 1/j, as those of trained encoders do. Candidates take turns, so that what else
the machine does falls on all of them; each time is the median of `--repeats` rounds after one that is not counted
(compilation), beside the processor time of all threads, which a busy machine stretches less. faiss is measured where
it is installed (`pip install faiss-cpu`). The whole evaluation is run once, compilation included, as a user meets it.
"""

import argparse
import importlib.util
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from selfsup import diagnostics
from selfsup.evals import Features
from selfsup.evals.knn import predict
from selfsup.evals.suite import DEFAULT, EVALUATIONS


class Timed(NamedTuple):
    """Median wall-clock and processor seconds, and the last result."""

    wall: float
    processor: float
    result: object


def in_turns(candidates: dict[str, Callable[[], object]], repeats: int) -> dict[str, Timed]:
    """Every candidate `repeats` times, one after the other in each round."""
    results = {name: jax.block_until_ready(run()) for name, run in candidates.items()}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, run in candidates.items():
            start = time.perf_counter(), time.process_time()
            results[name] = jax.block_until_ready(run())
            times[name].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    medians = {name: [statistics.median(column) for column in zip(*t, strict=True)] for name, t in times.items()}
    return {name: Timed(wall, processor, results[name]) for name, (wall, processor) in medians.items()}


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


def show(title: str, timed: dict[str, Timed], notes: list[str]) -> None:
    """One table: seconds, processor seconds, the ratio of each to ours (above 1: ours is faster), and a note."""
    first = next(iter(timed.values()))
    print(f'\n{title}\n{"":40}{"seconds":>9}{"x ours":>8}{"processor":>11}{"x ours":>8}  note')
    for (name, t), note in zip(timed.items(), notes, strict=True):
        ratios = t.wall / first.wall, t.processor / first.processor
        print(f'{name:40}{t.wall:9.3f}{ratios[0]:8.2f}{t.processor:11.3f}{ratios[1]:8.2f}  {note}')


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
    timed = in_turns(candidates, repeats)
    notes = [f'relative error {abs(float(t.result) - exact) / exact:.1e}' for t in timed.values()]
    show(f'RankMe of {samples:,} x {dim}', timed, notes)


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
    timed = in_turns(candidates, repeats)
    ours = next(iter(timed.values())).result
    notes = [
        f'accuracy {np.mean(t.result == test_labels):.4f}, {np.mean(t.result == ours):.2%} as ours'
        for t in timed.values()
    ]
    show(f'k-NN, k={k}: {queries:,} queries against {bank:,} x {dim}', timed, notes)
    if 'faiss IndexFlatIP' not in candidates:
        print('faiss is not installed and was left out')


def evaluation(samples: int, queries: int, dim: int) -> None:
    """The default evaluation of features of CIFAR-10's size: k-NN grid, probe grid, clustering, RankMe."""
    rng = np.random.default_rng(3)
    mixing = features(rng, dim, dim)  # a spectrum that falls, so that the probe's problem is as stiff as a real one
    train, test = (
        Features(rows @ mixing, labels) for rows, labels in (clumps(rng, samples, dim), clumps(rng, queries, dim))
    )
    print(f'\nEvaluation of {samples:,} and {queries:,} features of {dim}, compilation included')
    print(f'{"":40}{"seconds":>9}{"processor":>11}')
    total = [0.0, 0.0]
    for name in DEFAULT:
        start = time.perf_counter(), time.process_time()
        found = EVALUATIONS[name](train, test)
        spent = time.perf_counter() - start[0], time.process_time() - start[1]
        total = [a + b for a, b in zip(total, spent, strict=True)]
        key, value = next(iter(found.items()))
        print(f'{name:40}{spent[0]:9.1f}{spent[1]:11.1f}  {key} {value:.4f}', flush=True)
    print(f'{"together":40}{total[0]:9.1f}{total[1]:11.1f}')


TABLES = ('rank', 'knn', 'evaluation')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--small', action='store_true', help='small sizes, for a quick try')
    parser.add_argument('--repeats', type=int, default=3, help='rounds of which the median is shown')
    parser.add_argument('--only', default=','.join(TABLES), help='tables to make, of ' + ', '.join(TABLES))
    arguments = parser.parse_args()
    device = jax.devices()[0]
    print(f'{len(jax.devices())} x {device.device_kind} ({device.platform}), {platform.machine()}')
    versions = [f'{name} {__import__(name).__version__}' for name in ('jax', 'jaxlib', 'numpy', 'scipy', 'sklearn')]
    if importlib.util.find_spec('faiss'):
        versions.append(f'faiss {__import__("faiss").__version__}')
    print(f'Python {platform.python_version()}, {", ".join(versions)}')
    load = ', '.join(f'{x:.1f}' for x in os.getloadavg())
    print(f'load average {load} on {os.cpu_count()} cores before the start')
    small, wanted = arguments.small, arguments.only.split(',')
    if set(wanted) - set(TABLES):
        parser.error(f'--only takes {", ".join(TABLES)}, not {arguments.only}')
    if 'rank' in wanted:
        rank_table(*((2560, 256) if small else (25_600, 2048)), arguments.repeats)
    if 'knn' in wanted:
        knn_table(*((5000, 1000, 64, 20) if small else (50_000, 10_000, 512, 200)), arguments.repeats)
    if 'evaluation' in wanted:
        evaluation(*((5000, 1000, 64) if small else (50_000, 10_000, 512)))


if __name__ == '__main__':
    main()

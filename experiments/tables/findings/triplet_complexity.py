"""How many labelled triplets a representation of n points in d dimensions needs: in proportion to n·d."""

import numpy as np

from .finding import Finding, lines

POINTS, DIMS, PER_PARAMETER = (24, 48, 96), (2, 4, 8), (0.5, 1, 2, 4, 8, 16)
TESTS, STEPS, RATE, SHARPNESS = 20_000, 600, 0.05, 4.0
SIZES = {'triplets': lambda n, d: 1, 'points': lambda n, d: n, 'parameters': lambda n, d: n * d}  # what divides them
SETTINGS = tuple((n, d) for n in POINTS for d in DIMS)


def distances(x: np.ndarray) -> np.ndarray:
    """Squared distances `[n, n]`."""
    square = np.sum(x**2, axis=1)
    return square[:, None] + square[None] - 2.0 * x @ x.T


def triplets(rng: np.random.Generator, truth: np.ndarray, count: int) -> np.ndarray:
    """`[count, 3]`: an anchor, the nearer and the farther of two others, all drawn evenly."""
    n = len(truth)
    anchor, other = rng.integers(0, n, count), rng.integers(1, n, count)
    third = rng.integers(1, n - 1, count)
    first, second = (anchor + other) % n, (anchor + third + (third >= other)) % n
    far = distances(truth)
    swap = far[anchor, first] > far[anchor, second]
    return np.stack([anchor, np.where(swap, second, first), np.where(swap, first, second)], axis=1)


def learned(rng: np.random.Generator, rows: np.ndarray, n: int, d: int) -> np.ndarray:
    """Points `[n, d]` of least logistic loss on the differences of squared distances of the triplets, by Adam."""
    x = rng.normal(size=(n, d)) / np.sqrt(d)
    mean, square = np.zeros_like(x), np.zeros_like(x)
    near, far = rows[:, 0] * n + rows[:, 1], rows[:, 0] * n + rows[:, 2]
    for step in range(1, STEPS + 1):
        flat = distances(x).ravel()
        pull = SHARPNESS / (1.0 + np.exp(SHARPNESS * (flat[far] - flat[near]))) / len(rows)
        weights = (np.bincount(near, pull, n * n) - np.bincount(far, pull, n * n)).reshape(n, n)
        weights = weights + weights.T
        slope = 2.0 * (weights.sum(axis=1, keepdims=True) * x - weights @ x)
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
        rate = RATE * (1.0 - step / STEPS)
        x = x - rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-12)
    return x


def measure(seed: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for n, d in SETTINGS:
        rng = np.random.default_rng((seed, n, d))
        truth = rng.normal(size=(n, d)) / np.sqrt(d)
        tests = triplets(rng, truth, TESTS)
        for share in PER_PARAMETER:
            x = distances(learned(rng, triplets(rng, truth, int(share * n * d)), n, d))
            error = np.mean(x[tests[:, 0], tests[:, 1]] >= x[tests[:, 0], tests[:, 2]])
            found[f'error_{n}_{d}_{share:g}'] = float(error)
    values = {name: np.array([value]) for name, value in found.items()}
    return found | {f'apart_{size}': spread(values, size) for size in SIZES}


def curve(found: dict[str, np.ndarray], n: int, d: int) -> np.ndarray:
    """Mean errors over the seeds, one a number of triplets."""
    return lines(found, f'error_{n}_{d}_', [f'{share:g}' for share in PER_PARAMETER])


def spread(found: dict[str, np.ndarray], size: str) -> float:
    """How far the curves lie apart where the number of triplets over a size is what the horizontal axis shows.

    The mean, over pairs of curves, of the mean absolute difference of the logarithms of their errors at the values that
    both reach; values lie on one grid of powers of two.
    """
    curves = [
        dict(
            zip([share * n * d / SIZES[size](n, d) for share in PER_PARAMETER], np.log(curve(found, n, d)), strict=True)
        )
        for n, d in SETTINGS
    ]
    apart = []
    for number, one in enumerate(curves):
        for other in curves[:number]:
            both = one.keys() & other.keys()
            apart += [np.mean([abs(one[x] - other[x]) for x in both])] if both else []
    return float(np.mean(apart))


def draw(found: dict[str, np.ndarray], axis) -> None:
    for n, d in SETTINGS:
        style = {'color': f'C{POINTS.index(n)}', 'linestyle': ('-', '--', ':')[DIMS.index(d)]}
        axis.plot(PER_PARAMETER, 100 * curve(found, n, d), marker='o', label=f'n = {n}, d = {d}', **style)
    axis.set(xscale='log', yscale='log', xlabel='triplets / (n · d)', ylabel='error on new triplets, %')
    axis.set_xticks(PER_PARAMETER, [f'{share:g}' for share in PER_PARAMETER])
    axis.set_yticks([2, 5, 10, 20, 40], ['2', '5', '10', '20', '40'])
    axis.minorticks_off()
    axis.legend(fontsize=8)


finding = Finding(
    title='Triplets are needed in proportion to points times dimensions',
    paper='Alon et al. 2023, *Optimal sample complexity of contrastive learning*, https://arxiv.org/abs/2312.00379, '
    'abstract',
    claim='To learn a representation of n points in d dimensions from labelled triplets (which of two points is nearer '
    'to a third), a number of them in proportion to min(nd, n²), up to logarithms, is needed and is enough; the bounds '
    'predict the errors of experiments.',
    setup=f'n points of a Gaussian in d dimensions, n of {POINTS} and d of {DIMS}; random triplets with true labels, '
    f'{PER_PARAMETER[0]:g} to {PER_PARAMETER[-1]} for each of the n·d coordinates; n free points in d dimensions of '
    f'least logistic loss, {STEPS} steps of Adam; the share of {TESTS:,} new triplets that they get wrong. `apart`: '
    'how far the nine curves lie apart, as the mean absolute difference of the logarithm of the error of two, over '
    '`triplets`, over triplets / n (`points`), and over triplets / (n·d) (`parameters`).',
    measure=measure,
    asserted={
        'every curve falls with every doubling of the triplets': lambda n: all(
            np.all(np.diff(curve(n, *setting)) < 0) for setting in SETTINGS
        ),
        'the curves lie nearer to one another over triplets / (n·d) than over triplets / n': lambda n: bool(
            n['apart_parameters'].mean() < n['apart_points'].mean()
        ),
        'and over triplets / n nearer than over triplets': lambda n: bool(
            n['apart_points'].mean() < n['apart_triplets'].mean()
        ),
        'over triplets / (n·d) the errors of two curves differ on average by less than a factor of 1.5': lambda n: bool(
            n['apart_parameters'].mean() < np.log(1.5)
        ),
    },
    reported='the errors themselves. At 16 triplets a coordinate all nine are 1.9 to 3.1 %; with fewer, wide '
    'representations of few points have lower errors than narrow ones of many.',
    draw=draw,
)

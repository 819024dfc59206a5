"""Whitened vectors of classes: whether what tells a class from its super-class is orthogonal to the super-class."""

import numpy as np
from selfsup import diagnostics
from selfsup.evals import Features
from sklearn.covariance import ledoit_wolf

from .. import table, trained
from .finding import Finding, bars

EPOCHS, REGROUPED, SHRINKAGE = 20, 10, 1e-3
SUPER = ((0, 6, 8, 9), (1, 2, 3, 4, 5, 7))  # digits with a closed loop, and without
METHODS = ('simclr', 'supcon')
KINDS = {'simclr': 'SimCLR', 'supcon': 'SupCon (labels)', 'untrained': 'untrained', 'pixels': 'pixels'}
GROUPS = {'super': 'by loops', 'regrouped': 'ten random groupings', 'other': 'the super-class it is not of'}
NEAR = 0.2


def vector(rows: np.ndarray) -> np.ndarray:
    """The vector of a set: its mean projected on Σ⁻¹·mean, the direction on which its rows agree best."""
    mean = rows.mean(axis=0)
    direction = np.linalg.solve(ledoit_wolf(rows)[0], mean)
    direction /= np.linalg.norm(direction)
    return (mean @ direction) * direction


def whitened(features: Features) -> Features:
    """Rows with the mean and covariance of all of them taken out."""
    map_ = diagnostics.fit_whitening(features.features, shrinkage=SHRINKAGE)
    return Features(np.asarray(diagnostics.whiten(map_, features.features), np.float64), features.labels)


def cosines(white: Features, groups: tuple[tuple[int, ...], ...], *, own: bool = True) -> float:
    """Mean |cos| of a super-class and the difference of a class from it, over the classes of it, or of the others."""
    rows, labels = white
    found = []
    for group in groups:
        parent = vector(rows[np.isin(labels, group)])
        for digit in (d for members in groups for d in members if (d in group) == own):
            difference = vector(rows[labels == digit]) - parent
            found.append(parent @ difference / np.linalg.norm(parent) / np.linalg.norm(difference))
    return float(np.mean(np.abs(found)))


def regrouped(rng: np.random.Generator) -> tuple[tuple[int, ...], ...]:
    """The ten digits in super-classes of the same sizes at random."""
    order = rng.permutation(10).tolist()
    return tuple(order[: len(SUPER[0])]), tuple(order[len(SUPER[0]) :])


def measure(seed: int) -> dict[str, float]:
    from selfsup.engine import untrained

    seen: dict[str, Features] = {}
    for method in METHODS:
        resolved = table.load('digits', method, [f'train.epochs={EPOCHS}', f'seed={seed}'])
        run = trained.train(resolved)
        seen[method] = trained.outputs(run)[0]
        if method == 'simclr':
            seen['untrained'] = trained.outputs(run._replace(encoder=untrained.of_run(run.run)))[0]
            data = run.run.data.labelled
            seen['pixels'] = Features(data.images().reshape(len(data.labels), -1).astype(np.float32), data.labels)
    found = {}
    for kind, features in seen.items():
        white, rng = whitened(features), np.random.default_rng(seed)
        found[f'{kind}_super'] = cosines(white, SUPER)
        found[f'{kind}_regrouped'] = float(np.mean([cosines(white, regrouped(rng)) for _ in range(REGROUPED)]))
        found[f'{kind}_other'] = cosines(white, SUPER, own=False)
    return found


def draw(found: dict[str, np.ndarray], axis) -> None:
    for number, (group, label) in enumerate(GROUPS.items()):
        values = [found[f'{kind}_{group}'] for kind in KINDS]
        bars(axis, values, width=0.27, offset=0.27 * (number - 1), label=label)
    axis.set_xticks(range(len(KINDS)), KINDS.values())
    axis.set(ylabel='mean |cos| of super-class and class − super-class', ylim=(0, 1))
    axis.legend(fontsize=8, ncols=3, loc='upper left')


finding = Finding(
    title='What tells a class from its super-class is orthogonal to the super-class',
    paper='Park et al. 2024, *The geometry of categorical and hierarchical concepts in large language models*, '
    'https://arxiv.org/abs/2406.01506, abstract; the estimator is that of the published code',
    claim='In the whitened space of a language model the vector of a super-class is orthogonal to the difference of '
    'the vector of a class from it. That this holds for trained encoders of images and not for shuffled super-classes '
    "is a third party's reading of the paper.",
    setup=f'Digits with a closed loop {SUPER[0]} and without {SUPER[1]} as super-classes. Features of the training '
    f'images by SimCLR and SupCon ({EPOCHS} epochs), by the untrained encoder, and pixels; whitened by their '
    f'covariance (shrinkage {SHRINKAGE:g}); the vector of a set of images is its mean projected on Σ⁻¹·mean, Σ its own '
    'covariance with the shrinkage of Ledoit and Wolf. The mean |cos| over the ten classes, for the super-classes by '
    f'loops, for {REGROUPED} random groupings of the same sizes, and of a class with the super-class it is not of.',
    measure=measure,
    asserted={
        f'the mean |cos| is below {NEAR} for SimCLR and for SupCon': lambda n: bool(
            max(n[f'{method}_super'].mean() for method in METHODS) < NEAR
        ),
        'it is larger for random groupings, for SimCLR and for SupCon': lambda n: all(
            n[f'{method}_regrouped'].mean() > n[f'{method}_super'].mean() for method in METHODS
        ),
        f'it is above {NEAR} with the super-class that a class is not of, for SimCLR and for SupCon': lambda n: bool(
            min(n[f'{method}_other'].mean() for method in METHODS) > NEAR
        ),
    },
    reported='the same for the untrained encoder and for pixels, where it is small as well (0.05 and 0.12). With '
    'these ten classes a small cosine is thus a sign neither of training nor of the right super-classes: any set '
    'of classes has it with its members, and only a class outside of the set has not.',
    draw=draw,
)

"""Which dimensions hold the classes: Gaussian classes, and dimensions added one by one to the best likelihood."""

import copy
from collections.abc import Sequence

import numpy as np

from ..errors import UserError
from .features import Features, check_both, draw_per_class, even_draw, held_out, standardized

DIMENSIONS = (1, 2, 5, 10, 20, 50)
JUDGES = 1000  # held-out rows on which dimensions are chosen
HELD_VALUES = 2**25  # of classes x judges x dimensions, 256 MiB; with many classes fewer rows judge
PRIOR_COUNT = 0.01  # κ₀


class GaussianClasses:
    """Gaussian classes with the mode of a normal-inverse-Wishart posterior; any part of the dimensions is a sub-matrix.

    Attributes:
      means: `[classes, dim]`.
      covariances: `[classes, dim, dim]`.
      log_priors: log of the classes' shares.
    """

    def __init__(self, features: np.ndarray, labels: np.ndarray, classes: int):
        count, dim = features.shape
        centre = features.mean(axis=0)
        scale = np.diag(((features - centre) ** 2).mean(axis=0))
        counts = np.bincount(labels, minlength=classes)
        self.means, self.covariances = np.zeros((classes, dim)), np.zeros((classes, dim, dim))
        for c in range(classes):
            rows = features[labels == c]
            mean, own = rows.mean(axis=0), len(rows)
            scatter = (rows - mean).T @ (rows - mean)
            shift = mean - centre
            scatter += PRIOR_COUNT * own / (PRIOR_COUNT + own) * np.outer(shift, shift)
            self.means[c] = (PRIOR_COUNT * centre + own * mean) / (PRIOR_COUNT + own)
            self.covariances[c] = (scale + scatter) / ((dim + 2) + own + dim + 2)
        self.log_priors = np.log(counts / count)

    def part(self, dimensions: Sequence[int]) -> 'GaussianClasses':
        """The classes of some dimensions alone, in that order."""
        other = copy.copy(self)
        other.means = self.means[:, dimensions]
        other.covariances = self.covariances[:, dimensions][:, :, dimensions]
        return other


class _Growing:
    """Log densities of rows in every class over the chosen dimensions, and over those with one more.

    The density of one more dimension is conditional on the chosen ones; its mean and variance for every candidate are
    kept and moved by one elimination step, as in a Cholesky factorisation, when a dimension is chosen.
    """

    def __init__(self, model: GaussianClasses, features: np.ndarray):
        self.residual = features[None] - model.means[:, None]  # [classes, rows, dim], less the conditional mean
        self.covariance = model.covariances.copy()  # of what the chosen ones leave
        self.density = np.repeat(model.log_priors[:, None], len(features), axis=1)

    def candidates(self) -> np.ndarray:
        """Log densities `[classes, rows, dim]` with each dimension added."""
        variance = np.maximum(np.einsum('cdd->cd', self.covariance), 1e-12)[:, None]
        return self.density[:, :, None] - 0.5 * (self.residual**2 / variance + np.log(2 * np.pi * variance))

    def add(self, index: int) -> None:
        variance = np.maximum(self.covariance[:, index, index], 1e-12)
        own = self.residual[:, :, index]
        self.density -= 0.5 * (own**2 / variance[:, None] + np.log(2 * np.pi * variance)[:, None])
        slope = self.covariance[:, index] / variance[:, None]  # [classes, dim]
        self.residual = self.residual - own[:, :, None] * slope[:, None]
        self.covariance = self.covariance - variance[:, None, None] * slope[:, :, None] * slope[:, None]


def log_posterior(density: np.ndarray) -> np.ndarray:
    """Log probabilities of the classes, first axis, from their log densities."""
    most = density.max(axis=0, keepdims=True)
    return density - most - np.log(np.exp(density - most).sum(axis=0, keepdims=True))


def chosen_dimensions(model: GaussianClasses, features: np.ndarray, labels: np.ndarray, count: int) -> list[int]:
    """`count` dimensions, each the one that raises the mean log probability of the rows' own classes most."""
    growing, chosen, rows = _Growing(model, features), [], np.arange(len(labels))
    for _ in range(count):
        score = log_posterior(growing.candidates())[labels, rows].mean(axis=0)
        score[chosen] = -np.inf
        chosen.append(int(np.argmax(score)))
        growing.add(chosen[-1])
    return chosen


def intrinsic_probe(
    train: Features, test: Features, *, dimensions: Sequence[int] = DIMENSIONS, most_width: int = 512, seed: int = 0
) -> dict[str, float]:
    """How much of the classes' entropy the best k dimensions of a representation hold, by Gaussian classes.

    Dimensions are chosen one by one on a held-out tenth of train, by classes fitted to the rest, and the classes are
    fitted again to all of train for the numbers on test.

    Args:
      train, test: features and labels, standardised by train here.
      dimensions: the numbers k; larger ones than the width are left out.
      most_width: of wider features as many dimensions of largest variance are read, a plain limit of memory.
      seed: of the held-out part, see :func:`held_out`.

    Returns:
      For each k `intrinsic_mi_<k>`, (H(C) − H(C | x)) / H(C) in nats over nats: 1 says the class for certain, 0
      nothing, and below 0 a probe that is surer than right; `intrinsic_accuracy_<k>`; and `intrinsic_half`, the least
      number of dimensions that hold half of what the best number does.

    Raises:
      UserError: a class of train with fewer than two samples.

    References:
      Torroba Hennigen et al. 2020, https://arxiv.org/abs/2010.02812, sections 4 and 5.
    """
    train, test, classes = check_both(train, test)
    known = test.labels < classes
    draw_per_class(train.labels, 2, seed=0)  # names a class that is too small
    if not known.any():
        raise UserError('no sample of test is of a class that train has')
    x, x_test = (rows.astype(np.float64) for rows in standardized(train, test))
    if x.shape[1] > most_width:
        kept = np.sort(np.argsort(-train.features.var(axis=0), kind='stable')[:most_width])
        x, x_test = x[:, kept], x_test[:, kept]
    mask = held_out(train.labels, seed=seed)
    judges = np.flatnonzero(mask)
    most = max(min(JUDGES, HELD_VALUES // (classes * x.shape[1])), 1)
    judges = judges[even_draw(train.labels[judges], most, seed=seed)]
    few = [k for k in dimensions if k <= x.shape[1]] or [x.shape[1]]
    first = GaussianClasses(x[~mask], train.labels[~mask], classes)
    order = chosen_dimensions(first, x[judges], train.labels[judges], max(few))
    labels, rows = test.labels[known], np.arange(int(known.sum()))
    whole = GaussianClasses(x, train.labels, classes).part(order)
    growing = _Growing(whole, x_test[known][:, order])
    shares = np.bincount(labels, minlength=classes) / len(labels)
    entropy = -np.sum(shares[shares > 0] * np.log(shares[shares > 0]))
    information, results = [], {}
    for number in range(len(order)):
        growing.add(number)
        posterior = log_posterior(growing.density)
        information.append(1.0 + posterior[labels, rows].mean() / max(entropy, 1e-12))
        if number + 1 in few:
            results[f'intrinsic_mi_{number + 1}'] = float(information[-1])
            results[f'intrinsic_accuracy_{number + 1}'] = float(np.mean(posterior.argmax(axis=0) == labels))
    best = max(information)
    enough = np.array(information) >= (0.5 * best if best > 0 else best)
    return {**results, 'intrinsic_half': float(np.argmax(enough) + 1)}

"""What a representation holds of known factors of its inputs: R², variance shares, DCI, MIG."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from .. import diagnostics
from ..errors import UserError
from .clustering import contingency
from .features import Features, check

RIDGE = 1e-3  # of the linear readers, in units of the mean variance of a feature
BINS = 20  # of a code in MIG, as in disentanglement_lib
TREES = 10
KINDS = ('class', 'number', 'angle')


class Known(NamedTuple):
    """One factor of train and test.

    Attributes:
      train, test: `[n]` whole numbers from 0.
      count: of possible values.
      kind: 'class', 'number' (ordered) or 'angle' (ordered, `count` values are a full turn).
    """

    train: np.ndarray
    test: np.ndarray
    count: int
    kind: str


def targets(values: np.ndarray, count: int, kind: str) -> np.ndarray:
    """Columns that a linear reader is to predict: one-hot, the number in [0, 1], or cosine and sine; float32."""
    if kind == 'class':
        return np.eye(count, dtype=np.float32)[values]
    if kind == 'angle':
        turn = 2 * np.pi * values / count
        return np.stack([np.cos(turn), np.sin(turn)], axis=1).astype(np.float32)
    return (values / max(count - 1, 1)).astype(np.float32)[:, None]


def check_factors(train: Features, test: Features, factors: Mapping[str, Known]) -> None:
    """Refuses factors that do not belong to the rows, or that do not vary in train or in test.

    Raises:
      UserError: naming the factor.
    """
    if not factors:
        raise UserError('there are no factors to evaluate')
    for name, known in factors.items():
        if known.kind not in KINDS:
            raise UserError(f'factor {name}: kind {known.kind!r} must be one of {", ".join(KINDS)}')
        for part, rows, values in (('train', train, known.train), ('test', test, known.test)):
            if len(values) != len(rows.labels):
                raise UserError(f'factor {name} has {len(values)} values, and {part} {len(rows.labels)} samples')
            if values.min() < 0 or values.max() >= known.count:
                raise UserError(
                    f'factor {name}: {part} reaches from {values.min()} to {values.max()}, of {known.count}'
                )
            if (values == values[0]).all():
                raise UserError(f'factor {name} is constant in {part} (value {values[0]}): leave it out')


def linear_r2(train: np.ndarray, test: np.ndarray, factors: Mapping[str, Known]) -> dict[str, float]:
    """R² on test of a ridge regression of each factor, over all of its columns (:func:`targets`)."""
    return {
        name: float(
            diagnostics.stitching_score(
                train,
                targets(known.train, known.count, known.kind),
                test,
                targets(known.test, known.count, known.kind),
                ridge=RIDGE,
            )
        )
        for name, known in factors.items()
    }


def importances(
    train: np.ndarray, test: np.ndarray, factors: Mapping[str, Known], *, seed: int = 0
) -> tuple[np.ndarray, dict[str, float]]:
    """How much each code matters for each factor, `[codes, factors]`, and how well a forest predicts it on test.

    A random forest for each factor: of classes, and of numbers and angles (which take its columns together). The second
    is accuracy for classes and R² for the others.
    """
    columns, scores = [], {}
    for name, known in factors.items():
        if known.kind == 'class':
            model = RandomForestClassifier(TREES, random_state=seed, n_jobs=1).fit(train, known.train)
            truth = known.test
        else:
            ours, truth = (np.squeeze(targets(v, known.count, known.kind)) for v in (known.train, known.test))
            model = RandomForestRegressor(TREES, random_state=seed, max_features='sqrt', n_jobs=1).fit(train, ours)
        columns.append(np.abs(model.feature_importances_))
        scores[name] = float(model.score(test, truth))
    return np.stack(columns, axis=1), scores


def _evenness(rows: np.ndarray) -> np.ndarray:
    """Entropy of each row as shares, over that of equal ones; rows of zeros count as even."""
    total = rows.sum(axis=1, keepdims=True)
    shares = np.where(total > 0, rows / np.where(total > 0, total, 1.0), 1.0 / rows.shape[1])
    logs = np.log(np.where(shares > 0, shares, 1.0))
    return -(shares * logs).sum(axis=1) / np.log(max(rows.shape[1], 2))


def disentanglement(importance: np.ndarray) -> tuple[float, float]:
    """D and C of a matrix of importances `[codes, factors]`, both in [0, 1]: 1 where each code serves one factor alone.

    D is 1 − the entropy of a code's shares over factors, codes weighted by their share of all importance; C is 1 − the
    entropy of a factor's shares over codes, factors weighted likewise. With one factor D is 1, with one code C.

    References:
      Eastwood and Williams 2018, https://openreview.net/forum?id=By-7dz-AZ, section 2.
    """
    total = importance.sum()
    if total <= 0:
        return 0.0, 0.0
    by_code = (1 - _evenness(importance)) if importance.shape[1] > 1 else np.ones(len(importance))
    by_factor = (1 - _evenness(importance.T)) if len(importance) > 1 else np.ones(importance.shape[1])
    return float(by_code @ importance.sum(axis=1) / total), float(by_factor @ importance.sum(axis=0) / total)


def mutual_information(first: np.ndarray, second: np.ndarray) -> float:
    """Of two discrete variables, in nats."""
    p = contingency(first, second) / len(first)
    product = p.sum(axis=1, keepdims=True) * p.sum(axis=0, keepdims=True)
    return float(np.sum(p[p > 0] * np.log(p[p > 0] / product[p > 0])))


def binned(codes: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Each code `[n, codes]` cut into bins of equal width between its least and its largest value, from 0."""
    low, high = codes.min(axis=0), codes.max(axis=0)
    width = np.where(high > low, high - low, 1.0)
    return np.minimum((codes - low) / width * bins, bins - 1).astype(np.int64)


def mutual_information_gap(codes: np.ndarray, factors: Mapping[str, np.ndarray]) -> dict[str, float]:
    """MIG of each factor: (largest − second largest I(code; factor)) / H(factor) over codes in 20 bins, in [0, 1].

    1 where one code says the factor and no other says anything; 0 where two say it equally well. With a single code the
    second is 0.

    References:
      Chen et al. 2018, https://arxiv.org/abs/1802.04942, eq. 6; bins as Locatello et al. 2019,
      https://arxiv.org/abs/1811.12359.
    """
    cut, found = binned(codes), {}
    for name, values in factors.items():
        each = sorted((mutual_information(column, values) for column in cut.T), reverse=True)
        entropy = mutual_information(values, values)
        found[name] = (each[0] - (each[1] if len(each) > 1 else 0.0)) / entropy
    return found


def factors(train: Features, test: Features, known: Mapping[str, Known], *, seed: int = 0) -> dict[str, float]:
    """What features hold of known factors, read on train and scored on test.

    Args:
      train, test: features; labels are not read.
      known: name -> values of both.
      seed: of the forests behind DCI.

    Returns:
      For each factor `factor_r2_<name>`, by a ridge regression (a class as one-hot columns, an angle as cosine and
      sine), `factor_forest_<name>`, accuracy (class) or R² of a random forest, and for numbers `factor_share_<name>`,
      the share of the features' variance that the factor alone explains; their means `factor_r2` and `factor_forest`;
      `dci_d`, `dci_c` (disentanglement and completeness of the forests' importances), `mig`, over all factors, and
      `mig_<name>`. A rotation of the features leaves R² and the shares, and not the other three.

    Raises:
      UserError: a factor that is constant, or of other rows.
    """
    check(train, 'train'), check(test, 'test')
    check_factors(train, test, known)
    x, x_test = (np.asarray(part.features, np.float32) for part in (train, test))
    found = {f'factor_r2_{name}': value for name, value in linear_r2(x, x_test, known).items()}
    numbers = [name for name, factor in known.items() if factor.kind == 'number']
    if numbers:
        columns = (
            np.concatenate([targets(v, known[n].count, 'number') for n, v in pairs], axis=1)
            for pairs in ([(n, known[n].train) for n in numbers], [(n, known[n].test) for n in numbers])
        )
        ours, theirs = columns
        shares = diagnostics.feature_variance_share(x, ours, x_test, theirs)
        found |= {f'factor_share_{name}': float(share) for name, share in zip(numbers, shares, strict=True)}
    importance, scores = importances(x, x_test, known, seed=seed)
    gaps = mutual_information_gap(x, {name: factor.train for name, factor in known.items()})
    d, c = disentanglement(importance)
    means = {
        'factor_r2': float(np.mean([found[f'factor_r2_{name}'] for name in known])),
        'factor_forest': float(np.mean(list(scores.values()))),
        'dci_d': d,
        'dci_c': c,
        'mig': float(np.mean(list(gaps.values()))),
    }
    found |= {f'factor_forest_{name}': value for name, value in scores.items()}
    return {**means, **found, **{f'mig_{name}': value for name, value in gaps.items()}}

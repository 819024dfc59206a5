"""How few features say a class: probes of the k features that tell it from the others best."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..errors import UserError
from .features import Features, check_both, standardized
from .logistic import Classifier, logistic_regression, scores

FEATURES = (1, 2, 5, 16)
MOST_CLASSES = 20
# A softmax of two classes penalises half as much as one weight vector does: this is C = 1 of the latter.
TWO_CLASS_C = 0.5


def balanced(features: Array, positive: Array) -> Classifier:
    """A logistic regression of one class (1) against the others (0), C = 1, that weighs both sides alike."""
    share = jnp.mean(positive)
    weights = jnp.where(positive == 1, 0.5 / share, 0.5 / (1.0 - share))
    return logistic_regression(features, positive, classes=2, inverse_regularization=TWO_CLASS_C, weights=weights)


@jax.jit
def _probe(train: Array, labels: Array, test: Array) -> Array:
    """Whether each test row is of the class, by a balanced probe; one probe for each first axis."""

    def one(x: Array, y: Array, query: Array) -> Array:
        return jnp.argmax(scores(balanced(x, y), query), axis=1) == 1

    return jax.vmap(one)(train, labels, test)


def ranked_features(features: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Indices of features, the largest |E[x | class] − E[x | others]| first; of equals the smaller index."""
    difference = np.abs(features[positive].mean(axis=0) - features[~positive].mean(axis=0))
    return np.argsort(-difference, kind='stable')


def rated(truth: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """Balanced accuracy and F1 of one class; 0 where they are not defined."""
    hit = np.sum(truth & predicted)
    recall, specificity = hit / max(truth.sum(), 1), np.sum(~truth & ~predicted) / max((~truth).sum(), 1)
    return float(recall + specificity) / 2, float(2 * hit / max(truth.sum() + predicted.sum(), 1))


def sparse_probe(
    train: Features, test: Features, *, features: Sequence[int] = FEATURES, seed: int = 0
) -> dict[str, float]:
    """Each class against the others by a logistic regression of the k features that differ most between them.

    Features are standardised by train and chosen on it by the difference of their means; the probe has C = 1 and
    weighs both sides alike (:func:`sklearn.linear_model.LogisticRegression` with `class_weight='balanced'`).

    Args:
      train, test: features and labels; of more than 20 classes the 20 with the smallest numbers.
      features: the numbers k; larger ones than the width are left out.
      seed: of the control, k features drawn for each class.

    Returns:
      For each k `sparse_probe_<k>`, the mean balanced accuracy over the classes (½ by chance), `sparse_probe_f1_<k>`,
      and `sparse_probe_random_<k>`, the balanced accuracy of as many random features; `sparse_probe_all` of all.

    References:
      Gurnee et al. 2023, https://arxiv.org/abs/2305.01610, section 3; Karvonen et al. 2025,
      https://arxiv.org/abs/2503.09532 (top k by the difference of means).
    """
    train, test, classes = check_both(train, test)
    if not features or min(features) < 1:
        raise UserError(f'sparse probes need positive numbers of features, not {tuple(features)}')
    x, x_test = standardized(train, test)
    names = range(min(classes, MOST_CLASSES))
    truth = np.stack([test.labels == name for name in names])
    labels = np.stack([train.labels == name for name in names])
    orders = {'': [ranked_features(x, positive) for positive in labels]}
    generator = np.random.Generator(np.random.Philox(key=[seed, 7]))
    orders['random_'] = [generator.permutation(x.shape[1]) for _ in names]
    results: dict[str, float] = {}
    width = x.shape[1]
    for count in [*[k for k in features if k < width], width]:
        for kind, order in orders.items():
            if kind and count == width:
                continue
            chosen = [x[:, rows[:count]] for rows in order], [x_test[:, rows[:count]] for rows in order]
            predicted = np.asarray(_probe(np.stack(chosen[0]), labels.astype(np.int32), np.stack(chosen[1])))
            accuracy, f1 = np.mean([rated(*pair) for pair in zip(truth, predicted, strict=True)], axis=0)
            results[f'sparse_probe_{kind}{"all" if count == width else count}'] = float(accuracy)
            if not kind:
                results[f'sparse_probe_f1_{"all" if count == width else count}'] = float(f1)
    return results

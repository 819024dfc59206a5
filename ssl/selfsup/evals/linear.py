"""Linear probes by logistic regression on standardised features: with all labels, with few, with wrong ones."""

import functools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from ..errors import UserError
from .features import Features, check_both, draw_per_class, first_best, held_out, labelled, spread, standardized
from .logistic import logistic_path, logistic_regression, scores

INVERSE_REGULARIZATIONS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


@functools.partial(jax.jit, static_argnames=('classes',))
def _accuracies(train: Array, labels: Array, test: Array, test_labels: Array, strength: Array, *, classes: int):
    """Test accuracy of a classifier for each row of draws `train [draws, n, dim]`."""

    def one(x: Array, y: Array) -> Array:
        model = logistic_regression(x, y, classes=classes, inverse_regularization=strength)
        return jnp.mean(jnp.argmax(scores(model, test), axis=1) == test_labels)

    return jax.vmap(one)(train, labels)


@functools.partial(jax.jit, static_argnames=('classes',))
def _path_predictions(
    train: Array, labels: Array, weights: Array, query: Array, strengths: Array, *, classes: int
) -> Array:
    """Predicted class `[strengths, queries]`, one classifier for each C (and row of labels and weights, if many)."""
    model = logistic_path(train, labels, strengths, classes=classes, weights=weights)
    return jax.vmap(lambda m: jnp.argmax(scores(m, query), axis=1))(model)


def linear_probe(
    train: Features,
    test: Features,
    *,
    label_counts: tuple[int, ...] = (1, 10),
    draws: int = 5,
    inverse_regularization: float = 1.0,
    width: int = 0,
) -> dict[str, float]:
    """Accuracy of logistic regression with one fixed C on features standardised by train's statistics.

    Args:
      train, test: features and labels.
      label_counts: labels per class of the low-label probes, each the mean over `draws` random draws.
      draws: number of draws; draw d is the same for every representation of one data set.
      inverse_regularization: C, in scikit-learn's convention; fixed, so nothing is chosen on test.
      width: features are padded with zeros to this width (which changes no solution), so that
        representations of different widths share one compilation.

    Returns:
      `linear_<k>` for each k of `label_counts`, and `linear` with all labels.
    """
    train, test, classes = check_both(train, test)
    x, x_test = standardized(train, test)
    pad = max(width - x.shape[1], 0)
    x, x_test = (np.pad(a, ((0, 0), (0, pad))) for a in (x, x_test))
    results = {}
    smallest = int(np.bincount(train.labels).min())
    for count in [*[c for c in label_counts if c <= smallest], 0]:
        sets = [
            draw_per_class(train.labels, count, seed=d) if count else np.arange(len(x))
            for d in range(draws if count else 1)
        ]
        found = _draw_accuracies(x, train.labels, sets, x_test, test.labels, inverse_regularization, classes)
        results[f'linear_{count}' if count else 'linear'] = float(np.mean(found))
    return results


def lens(train: Features, tests: Mapping[str, Features], *, inverse_regularization: float = 1.0) -> dict[str, float]:
    """Accuracy of one probe on several representations of the same images: what the end reads from earlier layers.

    The probe is that of :func:`linear_probe` with all labels, learned on `train` and applied as it is.

    Args:
      train: features of the end of a network.
      tests: name -> features of the same width, as that end makes them of an earlier layer (the logit lens).
      inverse_regularization: C.

    Returns:
      name -> accuracy, over the rows with a label.

    References:
      nostalgebraist 2020 (the logit lens); Vilas et al. 2023, https://arxiv.org/abs/2310.18969 (of class tokens and
      patches of vision transformers).
    """
    every = Features(*(np.concatenate(parts) for parts in zip(*tests.values(), strict=True)))
    places = np.repeat(np.arange(len(tests)), [len(test.labels) for test in tests.values()])[every.labels >= 0]
    ours, theirs, classes = check_both(labelled(train), labelled(every))
    x, x_test = (jnp.asarray(rows) for rows in standardized(ours, theirs))
    model = logistic_regression(
        x, jnp.asarray(ours.labels), classes=classes, inverse_regularization=inverse_regularization
    )
    right = np.asarray(jnp.argmax(scores(model, x_test), axis=1)) == theirs.labels
    return {name: float(np.mean(right[places == number])) for number, name in enumerate(tests)}


def _draw_accuracies(
    x: np.ndarray, y: np.ndarray, sets: list[np.ndarray], x_test: np.ndarray, y_test: np.ndarray, c: float, classes: int
) -> np.ndarray:
    """Test accuracy with each of the index sets, which are of one size, as training data."""
    rows, labels = np.stack([x[s] for s in sets]), np.stack([y[s] for s in sets])
    return np.asarray(_accuracies(rows, labels, x_test, y_test, jnp.float32(c), classes=classes))


def linear_logistic(
    train: Features,
    test: Features,
    *,
    inverse_regularizations: Sequence[float] = INVERSE_REGULARIZATIONS,
    share: float = 0.1,
    seed: int = 0,
    mesh: Mesh | None = None,
) -> dict[str, float]:
    """Logistic regression on standardised features, C chosen on a held-out part of train.

    All C are fitted at once on the rest of train, the best (the smallest of equals) is fitted again on all of it.

    Args:
      train, test: features and labels.
      inverse_regularizations: the values of C, in scikit-learn's convention.
      share, seed: of the held-out part, see :func:`held_out`.
      mesh: samples are spread over it.

    Returns:
      `linear_logistic`, the test accuracy, `chosen_C`, and `held_out_accuracy` on the part that chose it.
    """
    train, test, classes = check_both(train, test)
    strengths = np.sort(np.asarray(inverse_regularizations, np.float32))
    if not len(strengths) or strengths[0] <= 0:
        raise UserError(f'inverse regularisations must be positive, not {tuple(inverse_regularizations)}')
    mask = held_out(train.labels, share=share, seed=seed)
    # Statistics of all of train: they hold no labels.
    x, x_test = standardized(train, test)
    rows, labels, weights = spread(mesh, x[~mask], train.labels[~mask])
    inner = _path_predictions(rows, labels, weights, x[mask], strengths, classes=classes)
    hits = (np.asarray(inner) == train.labels[mask]).mean(axis=1)
    best = first_best(hits)[0]
    rows, labels, weights = spread(mesh, x, train.labels)
    predicted = _path_predictions(rows, labels, weights, x_test, strengths[best : best + 1], classes=classes)[0]
    return {
        'linear_logistic': float(np.mean(np.asarray(predicted) == test.labels)),
        'chosen_C': float(f'{strengths[best]:.6g}'),
        'held_out_accuracy': float(hits[best]),
    }


def low_label(
    train: Features,
    test: Features,
    *,
    label_counts: Sequence[int] = (1, 10),
    shares: Sequence[float] = (0.01, 0.1),
    draws: int = 5,
    inverse_regularization: float = 1.0,
    seed: int = 0,
) -> dict[str, float]:
    """Logistic regression on few labels, repeated over random draws.

    Args:
      train, test: features and labels; standardised by the statistics of all of train, which need no labels.
      label_counts: labels per class.
      shares: shares of train, drawn evenly from the classes: round(share·samples / classes) of each.
      draws: number of draws, with seeds `seed`, `seed` + 1, …
      inverse_regularization: C, fixed: with a label or two per class there is nothing to choose it on.
      seed: of the first draw.

    Returns:
      `low_label_<k>` and `low_label_<share>%`, means over draws, each with `…_std` (ddof 1; 0 for one draw).

    Raises:
      UserError: where a class has fewer labels than are to be drawn.
    """
    names = train.labels
    train, test, classes = check_both(train, test)
    x, x_test = standardized(train, test)
    wanted = {f'low_label_{count}': count for count in label_counts}
    wanted |= {f'low_label_{100 * share:g}%': max(round(share * len(x) / classes), 1) for share in shares}
    results = {}
    for name, count in wanted.items():
        sets = [draw_per_class(names, count, seed=seed + d) for d in range(draws)]
        hits = _draw_accuracies(x, train.labels, sets, x_test, test.labels, inverse_regularization, classes)
        results[name] = float(hits.mean())
        results[f'{name}_std'] = float(hits.std(ddof=1)) if draws > 1 else 0.0
    return results


def wrong_labels(labels: np.ndarray, rate: float, *, seed: int) -> np.ndarray:
    """Labels of which a random share `rate` has been replaced by another class, uniformly."""
    generator = np.random.Generator(np.random.Philox(key=[seed, 2]))
    names = np.unique(labels)
    place = np.searchsorted(names, labels)
    moved = (place + 1 + np.floor(generator.random(len(labels)) * (len(names) - 1)).astype(int)) % len(names)
    chosen = np.argsort(generator.random(len(labels)), kind='stable')[: round(rate * len(labels))]
    out = labels.copy()
    out[chosen] = names[moved[chosen]]
    return out


def label_noise(
    train: Features,
    test: Features,
    *,
    rates: Sequence[float] = (0.0, 0.2, 0.4, 0.6),
    draws: int = 3,
    inverse_regularization: float = 1e-2,
    seed: int = 0,
) -> dict[str, float]:
    """Robustness of the probe: its accuracy when a share of the training labels is wrong.

    Args:
      train, test: features and labels; only train's labels are changed.
      rates: shares of wrong labels, each a uniformly random other class.
      draws: random draws for each rate.
      inverse_regularization: C, fixed and small, since an unregularised probe fits the wrong labels.
      seed: of the first draw.

    Returns:
      `label_noise_<rate>`, the mean over draws, and `label_noise_kept`, the accuracy at the highest rate as
      a share of that at the lowest.
    """
    train, test, classes = check_both(train, test)
    if not rates or min(rates) < 0 or max(rates) > 1:
        raise UserError(f'rates of wrong labels must lie in [0, 1], not {tuple(rates)}')
    x, x_test = standardized(train, test)
    results = {}
    everything = jnp.asarray(x)
    for rate in sorted(rates):
        noisy = [wrong_labels(train.labels, rate, seed=seed + d) for d in range(draws if rate else 1)]
        hits = [_fixed(everything, y, x_test, test.labels, inverse_regularization, classes) for y in noisy]
        results[f'label_noise_{rate:g}'] = float(np.mean(hits))
    low, high = (results[f'label_noise_{r:g}'] for r in (min(rates), max(rates)))
    return {**results, 'label_noise_kept': high / low if low else 0.0}


def _fixed(x: Array, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray, c: float, classes: int) -> float:
    strengths = np.asarray([c], np.float32)
    predicted = _path_predictions(x, y, np.ones(len(y), np.float32), x_test, strengths, classes=classes)[0]
    return float(np.mean(np.asarray(predicted) == y_test))

"""The shape of a cloud of features: spread, ranks, dimension, hubs, and how near its classes are to points."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .. import diagnostics
from .features import Features, check, even_draw, labelled

SAMPLES = 2000
NEIGHBOURS = 10


@functools.partial(jax.jit, static_argnames=('k', 'clusters'))
def _cloud(z: Array, *, k: int, clusters: int) -> dict[str, Array]:
    """The measures without labels."""
    spectrum = diagnostics.covariance_spectrum(z)
    found = {
        'first_share': spectrum[0] / jnp.maximum(jnp.sum(spectrum), 1e-30),
        'uniformity': diagnostics.uniformity(z),
        'deviation': diagnostics.feature_deviation(z),
        'deviation_normalized': diagnostics.feature_deviation(z, normalized=True),
        'correlation': diagnostics.feature_correlation(z),
        'effective_rank': diagnostics.effective_rank(z - z.mean(0, keepdims=True)),
        'stable_rank': diagnostics.stable_rank(z),
        'nesum': diagnostics.nesum(z),
        'lid_mle': diagnostics.lid_mle(z, k=2 * k),
        'lid_moments': diagnostics.lid_moments(z, k=2 * k),
        **{f'clid_{n}': v for n, v in diagnostics.clid(jax.random.key(0), z, clusters=clusters, k=k).items()},
    }
    for metric in ('euclidean', 'cosine'):
        hubs = diagnostics.hubness(z, k=k, metric=metric)
        found |= {f'hub_{name}_{metric}': value for name, value in hubs.items()}
    return found


@functools.partial(jax.jit, static_argnames=('classes',))
def _classes(z: Array, labels: Array, *, classes: int) -> dict[str, Array]:
    """The measures with labels."""
    return {
        'tolerance': diagnostics.tolerance(z, labels, classes=classes),
        **diagnostics.neural_collapse(z, labels, classes=classes),
    }


def geometry(train: Features, test: Features, *, samples: int = SAMPLES) -> dict[str, float]:
    """Measures of the cloud of at most `samples` rows of train, drawn evenly from the classes (:func:`even_draw`).

    Args:
      train: features as they are, at least 25 rows; labels may be missing.
      test: not read.
      samples: rows of train. Hubness and TwoNN grow with them: compare at one number.

    Returns:
      Without labels `geometry_…`: `first_share` (of the variance, along the first principal axis), `uniformity`,
      `deviation` and `deviation_normalized`, `correlation` (mean absolute, between dimensions), `effective_rank`
      (centred, exp of the entropy of singular values), `stable_rank`, `nesum`,
      `lid_mle` and `lid_moments` (k = 20), `clid_learnability` and `clid_dimension` (TwoNN),
      `hub_skewness_<metric>`, `hub_robin_hood_…`, `hub_antihubs_…`, `hub_hubs_…` (k = 10, Euclidean and cosine). With
      labels of two classes or more, each of them twice, on the labelled rows: `tolerance`, the mean cosine within a
      class, and of neural collapse `nc1` (spread within over between classes), `nc2_norm` and `nc2_angle`. Each is the
      function of that name in :mod:`selfsup.diagnostics`, which says its range and its value at collapse.
    """
    check(train, 'train')
    drawn = even_draw(train.labels, samples, seed=0)
    some = Features(np.asarray(train.features[drawn], np.float32), train.labels[drawn])
    k = min(NEIGHBOURS, max((len(drawn) - 1) // 4, 1))
    found = dict(_cloud(some.features, k=k, clusters=min(10, len(drawn))))
    known = labelled(some)
    names, places = np.unique(known.labels, return_inverse=True)
    if len(names) > 1:
        found |= _classes(known.features, places.astype(np.int32), classes=len(names))
    return {f'geometry_{name}': float(value) for name, value in jax.device_get(found).items()}

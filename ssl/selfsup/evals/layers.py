"""One row of numbers for each layer of an encoder: what can be read from it, and the shape of its cloud."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .. import diagnostics
from ..errors import UserError
from .features import Features, check, even_draw, labelled
from .knn import knn
from .linear import linear_probe

SAMPLES = 2000  # rows of train for the measures without a test set
LEAST_SAMPLES = 40
ROWS_A_COMPONENT = 20  # of canonical correlations: fewer rows correlate by chance
NEIGHBOURS = 10  # of hubness


def leading(z: Array, count: int) -> Array:
    """The scores of centred rows on their first `count` principal axes, `[n, at most count]`."""
    centred = z - jnp.mean(z, axis=0, keepdims=True)
    left, sigma, _ = jnp.linalg.svd(centred, full_matrices=False)
    return left[:, :count] * sigma[None, :count]


@functools.partial(jax.jit, static_argnames=('classes',))
def _cloud(z: Array, last: Array, pixels: Array, labels: Array, order: Array, *, classes: int) -> dict[str, Array]:
    """The measures of :func:`layers` that read one set of rows; those of labels only where there are `classes`."""
    components = z.shape[0] // ROWS_A_COMPONENT
    own, seen = leading(z, components), leading(pixels, components)
    hubs = diagnostics.hubness(z, k=NEIGHBOURS, metric='cosine')
    found = {
        'cka_last': diagnostics.cka(z, last, debiased=True),
        'cca_pixels': diagnostics.svcca(own, seen, variance=1.0),
        'cca_pixels_chance': diagnostics.svcca(own, seen[order], variance=1.0),
        'two_nn': diagnostics.two_nn(z),
        'lid_mle': diagnostics.lid_mle(z),
        'rankme': diagnostics.rankme(z),
        'learnability': diagnostics.cluster_learnability(jax.random.key(0), z),
        'hub_skewness': hubs['skewness'],
        'antihubs': hubs['antihubs'],
    }
    if classes > 1:
        sides = jax.nn.one_hot(labels, classes, dtype=z.dtype)
        for name, side in (('cca_labels', sides), ('cca_labels_chance', sides[order])):
            # The columns of one-hot labels sum to one, so their last correlation is none.
            found[name] = jnp.mean(diagnostics.canonical_correlations(own, side)[: classes - 1])
    return found


def layers(
    sets: Iterable[tuple[str, Features, Features]], *, last: np.ndarray, pixels: np.ndarray, samples: int = SAMPLES
) -> list[dict[str, Any]]:
    """A row for each layer, in the order of `sets`, of which one is held at a time.

    The probe is :func:`linear_probe` with all labels (C = 1, features standardised by train's statistics), k-NN is
    :func:`knn` (k = 20, τ = 0.07); both learn from train and are scored on test, over the rows with a label, and are
    left out where train has fewer than two classes. Everything else reads at most `samples` rows of train, drawn
    evenly from the classes (:func:`even_draw`), as they are.

    Canonical correlations are the mean over the pairs of directions, between the first samples/20 principal components
    of either side, so that they do not correlate by the number of directions; `…_chance` is the same where the rows of
    one side are shuffled.

    Args:
      sets: name, train and test of each layer, features `[n, dim]`.
      last: features of train at the end of the encoder, `[n, dim]`, that CKA compares with.
      pixels: the inputs of train as vectors, `[n, values]`.
      samples: rows of train for the measures of the cloud.

    Returns:
      For each layer `layer`, `dim`, `linear`, `knn`, `cka_last` (linear, debiased), `cca_pixels`, `cca_labels`,
      `cca_pixels_chance`, `cca_labels_chance`, `two_nn`, `lid_mle` (intrinsic dimension), `rankme`, `learnability` (of
      10 k-means clusters) and `clid`, its sum with `two_nn`, each standardised over these layers, `hub_skewness` and
      `antihubs` (k = 10, cosine), `samples`.

    Raises:
      UserError: fewer than 40 rows; features that are not finite, with the layer.

    References:
      Kornblith et al. 2019, https://arxiv.org/abs/1905.00414 (CKA between layers); Raghu et al. 2017,
      https://arxiv.org/abs/1706.05806 (CCA to labels); Ansuini et al. 2019, https://arxiv.org/abs/1905.12784
      (dimension over depth); Lu et al. 2022, https://arxiv.org/abs/2206.01251 (CLID).
    """
    if len(last) < LEAST_SAMPLES:
        raise UserError(f'layers are measured on {LEAST_SAMPLES} images of train or more, not {len(last)}')
    rows = [
        {'layer': name, **layer(check(train, name), check(test, name), last=last, pixels=pixels, samples=samples)}
        for name, train, test in sets
    ]
    halves = (np.array([row[name] for row in rows], np.float32) for name in ('learnability', 'two_nn'))
    for row, score in zip(rows, np.asarray(diagnostics.clid_scores(*halves)), strict=True):
        row['clid'] = float(score)
    return rows


def layer(
    train: Features, test: Features, *, last: np.ndarray, pixels: np.ndarray, samples: int = SAMPLES
) -> Mapping[str, Any]:
    """The row of one layer; see :func:`layers`."""
    drawn = even_draw(train.labels, samples, seed=0)
    known = drawn[train.labels[drawn] >= 0]
    names = np.unique(train.labels[known])
    # Labels are compared where every row has one; a part of the rows would be another cloud.
    classes = len(names) if len(known) == len(drawn) else 0
    labels = np.searchsorted(names, train.labels[drawn]) if classes else np.zeros(len(drawn), np.int32)
    rows = (np.asarray(x[drawn], np.float32) for x in (train.features, last, pixels))
    order = np.random.Generator(np.random.Philox(key=[0, 5])).permutation(len(drawn))
    cloud = jax.device_get(_cloud(*rows, labels.astype(np.int32), order, classes=classes))
    found: dict[str, Any] = {'dim': train.features.shape[1]}
    ours, theirs = labelled(train), labelled(test)
    if len(np.unique(ours.labels)) > 1 and len(theirs.labels):
        found |= {'linear': linear_probe(ours, theirs, label_counts=())['linear'], 'knn': knn(ours, theirs)['knn']}
    return {**found, **{name: float(value) for name, value in cloud.items()}, 'samples': len(drawn)}

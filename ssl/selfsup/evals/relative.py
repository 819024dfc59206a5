"""Two encoders on the same images: how alike their spaces are, and whether a classifier of one reads the other."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .. import diagnostics
from ..errors import UserError
from .features import Features, check_both, even_draw
from .logistic import logistic_regression, scores

ANCHORS = 500
SAMPLES = 2000
NEIGHBOURS = 10
BATCH = 256  # of CKA over all of train


@jax.jit
def _alike(x: Array, y: Array) -> dict[str, Array]:
    """Similarities of two representations of the same rows."""
    return {
        'cka': diagnostics.cka(x, y, debiased=True),
        'svcca': diagnostics.svcca(x, y),
        'pwcca': diagnostics.pwcca(x, y),
        'procrustes': diagnostics.procrustes(x, y),
    }


@functools.partial(jax.jit, static_argnames=('k',))
def _latent(x: Array, y: Array, *, k: int) -> dict[str, Array]:
    return {
        **{f'latent_{name}': value for name, value in diagnostics.latent_similarity(x, y, k=k).items()},
        'neighbour_recall': diagnostics.neighbour_recall(x, y, k=k, metric='cosine'),
    }


@functools.partial(jax.jit, static_argnames=('classes',))
def _accuracies(train: Array, labels: Array, queries: tuple[Array, ...], answers: Array, *, classes: int) -> Array:
    """Accuracy of one classifier, learned on `train`, on several versions of the test rows."""
    model = logistic_regression(train, labels, classes=classes, inverse_regularization=1.0)
    return jnp.stack([jnp.mean(jnp.argmax(scores(model, rows), axis=1) == answers) for rows in queries])


def check_same(first: Features, second: Features, name: str) -> None:
    """Refuses two representations that are not of the same samples, as far as their number and labels tell."""
    if len(first.labels) != len(second.labels):
        raise UserError(
            f'{name}: {len(first.labels)} and {len(second.labels)} samples; both encoders must have seen the same'
        )
    if not np.array_equal(first.labels, second.labels):
        where = int(np.argmax(first.labels != second.labels))
        raise UserError(
            f'{name}: sample {where} has label {first.labels[where]} and {second.labels[where]}; both encoders must '
            f'have seen the same samples in the same order'
        )


def _standard(rows: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Rows less the mean of `by`, over its mean deviation: one scale for all, so that no direction is stretched."""
    return ((rows - by.mean(axis=0)) / max(float(by.std(axis=0).mean()), 1e-12)).astype(np.float32)


def relative(
    train: Features,
    test: Features,
    other_train: Features,
    other_test: Features,
    *,
    anchors: int = ANCHORS,
    samples: int = SAMPLES,
    ridge: float = 1e-3,
) -> dict[str, float]:
    """An encoder beside another one on the same train and test samples.

    Three ways to read the other one's features with a classifier (logistic regression, C = 1) of the first one's:
    `relative`, both as cosines with the same anchors (:func:`relative_representation`); `stitched`, the other's carried
    over by a linear map fitted on train without labels (:func:`fit_stitch`); `absolute`, as they are, the control,
    where the widths are equal. `own` is the first one's own accuracy in the same form, which they can reach at best.

    Args:
      train, test: of the encoder.
      other_train, other_test: of the other one, the same samples in the same order.
      anchors: samples of train, drawn evenly from the classes; at most half of it.
      samples: rows of test for the similarities.
      ridge: of the linear map.

    Returns:
      `relative_…`: `own` and `other` (classifiers on relative representations, each on its own encoder), `zero_shot`
      (the first's on the other's), `own_absolute`, `absolute`, `stitched`; `stitch_r2` and `stitch_r2_back`, the shares
      of variance that linear maps other → this and back explain on test (:func:`stitching_score`); on test `cka`
      (debiased), `svcca`, `pwcca`, `procrustes`, and `cka_train` from batches of 256 of all of train (where it
      has 512); of relative representations `latent_cosine`, `latent_mrr`, `latent_jaccard`,
      `neighbour_recall` (k = 10).

    Raises:
      UserError: samples that do not match, by their number or labels.

    References:
      Moschella et al. 2023, https://arxiv.org/abs/2209.15430; Bansal et al. 2021, https://arxiv.org/abs/2106.07682.
    """
    for name, pair in (('train', (train, other_train)), ('test', (test, other_test))):
        check_same(*pair, name)
    (train, test, classes), (other_train, other_test, _) = check_both(train, test), check_both(other_train, other_test)
    chosen = even_draw(train.labels, min(anchors, len(train.labels) // 2), seed=0)
    spaces = [
        [
            np.asarray(diagnostics.relative_representation(part.features, ours.features[chosen]))
            for part in (ours, theirs)
        ]
        for ours, theirs in ((train, test), (other_train, other_test))
    ]
    learn = functools.partial(_accuracies, labels=train.labels, answers=test.labels, classes=classes)
    (own_train, own_test), (foreign_train, foreign_test) = (
        [_standard(rows, ours[0]) for rows in ours] for ours in spaces
    )
    # Each side is scaled by its own train rows, which holds no label and undoes what anchors leave of the scale.
    found: dict[str, Any] = {}
    found['own'], found['zero_shot'] = learn(own_train, queries=(own_test, foreign_test))
    found['other'] = learn(foreign_train, queries=(foreign_test,))[0]
    stitch = diagnostics.fit_stitch(other_train.features, train.features, ridge=ridge)
    carried = np.asarray(diagnostics.apply_stitch(stitch, other_test.features))
    queries = [test.features, carried]
    if other_test.features.shape[1] == test.features.shape[1]:
        queries.append(other_test.features)
    absolute = learn(
        _standard(train.features, train.features),
        queries=tuple(_standard(rows, train.features) for rows in queries),
    )
    found |= dict(zip(('own_absolute', 'stitched', 'absolute'), absolute, strict=False))
    both = (train.features, test.features), (other_train.features, other_test.features)
    for name, (x, y) in (('stitch_r2', both[::-1]), ('stitch_r2_back', both)):
        found[name] = diagnostics.stitching_score(x[0], y[0], x[1], y[1], ridge=ridge)
    if len(train.labels) >= 2 * BATCH:
        order = np.random.Generator(np.random.Philox(key=[0, 6])).permutation(len(train.labels))
        found['cka_train'] = diagnostics.minibatch_cka(train.features[order], other_train.features[order], batch=BATCH)
    rows = even_draw(test.labels, samples, seed=0)
    found |= _alike(test.features[rows], other_test.features[rows])
    found |= _latent(*(space[1][rows] for space in spaces), k=min(NEIGHBOURS, len(rows) - 1))
    return {f'relative_{name}': float(value) for name, value in found.items()}

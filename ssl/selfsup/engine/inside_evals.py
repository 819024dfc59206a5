"""Evaluations that look inside an encoder: where its attention goes, and which factors its classes depend on."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from sklearn.metrics import roc_auc_score

from .. import augment, diagnostics, evals
from ..data.rendered import render
from ..data.sources import Source
from ..data.sprites import Factor
from ..errors import UserError
from ..evals import concepts, even_draw
from ..evals.logistic import logistic_regression, scores
from ..models import taps
from . import images, layers
from .encoder import Encoder
from .factor_evals import with_factors
from .patch_evals import RENDERED, seen_shape, untrained_backbone
from .patches import variables, with_tokens

POOL = 400  # images of train that concepts and random sets are drawn from, for each value of a factor
LEVEL = 0.05  # of the test, over all pairs of a class and a value of a factor


def attention_maps(encoder: Encoder) -> Callable[[Any], dict[str, Array]]:
    """Images, normalised only, -> what the features take of each patch, `[n, rows·columns]`, compiled.

    `rollout` is :func:`selfsup.diagnostics.attention_rollout` through all blocks, `last` the mean of the last block's
    heads; both the row of the class token, or the mean of the patches' rows where the features are the mean patch.
    """
    module = with_tokens(encoder, 'rollout')
    normalise = augment.make_evaluation(mean=encoder.config.augment.mean, std=encoder.config.augment.std)
    names = [f'block{index}/attn/qkv' for index in range(module.depth)]

    @jax.jit
    def found(given: Any, rows: Any) -> dict[str, Array]:
        qkv = taps.activations(module, given, normalise(rows), names)
        weights = jnp.stack([diagnostics.attention_weights(qkv[name], heads=module.heads) for name in names])
        kinds = {'rollout': diagnostics.attention_rollout(weights), 'last': jnp.mean(weights[-1], axis=1)}
        first = module.prefix

        def of_patches(map_: Array) -> Array:
            queries = map_[:, 0] if module.pool == 'token' else jnp.mean(map_[:, first:], axis=1)
            return queries[:, first:]

        return {name: of_patches(map_) for name, map_ in kinds.items()}

    given = variables(encoder)
    return lambda rows: found(given, rows)


def of_rollout(encoder: Encoder, data: Mapping[str, Source]) -> dict[str, float]:
    """How much of the attention falls on the objects of rendered images, beside the untrained encoder and chance.

    Args:
      encoder: a vision transformer.
      data: the sources `train` and `test`; only the size and the channels of their images are read.

    Returns:
      Of both maps of :func:`attention_maps`, `<map>_inside`, the share of the attention to patches that falls on
      pixels of objects (each patch counted by its share of such pixels), and `<map>_auc`, the area under the ROC curve
      of patches that are object by half or more; the same of the untrained encoder, `<map>_untrained_…`;
      `rollout_inside_chance`, even attention. The AUC of chance is ½.

    Raises:
      UserError: an encoder without tokens, images of a size that its patches do not tile.
    """
    module, train = with_tokens(encoder, 'rollout'), data['train']
    if not train.spec.is_image:
        raise UserError(f'--only=rollout needs images, and {train.name} holds {train.spec.unit}')
    height, width, channels = seen_shape(encoder, train)
    encoder.check(np.zeros((1, height, width, channels), np.uint8), attention_maps(encoder))
    count, seed = RENDERED['test']
    rows, masks = render(count, (height, width), channels=channels, seed=seed)
    patch = module.patch
    cells = (masks > 0).reshape(count, height // patch, patch, width // patch, patch).mean(axis=(2, 4))
    share = cells.reshape(count, -1)
    results = {'rollout_inside_chance': float(share.mean())}
    for label, one in (('', encoder), ('untrained_', untrained_backbone(encoder, train))):
        size = encoder.config.evaluate.batch_size
        found = evals.extract(attention_maps(one), rows, batch_size=size)
        for name, maps in found.items():
            inside = (maps * share).sum(axis=1) / np.maximum(maps.sum(axis=1), 1e-30)
            results[f'{name}_{label}inside'] = float(inside.mean())
            mixed = [(of, s >= 0.5) for of, s in zip(maps, share, strict=True) if 0 < (s >= 0.5).mean() < 1]
            results[f'{name}_{label}auc'] = float(np.mean([roc_auc_score(truth, of) for of, truth in mixed]))
    return results


def _values(factor: Factor, rows: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Concepts of a factor: each value of a class, the lowest and the highest quarter of a number."""
    values = factor.values[rows]
    if factor.kind == 'class':
        yield from ((str(value), values == value) for value in range(factor.count))
    elif factor.kind == 'number':
        low, high = np.quantile(values, [0.25, 0.75])
        yield from (('low', values <= low), ('high', values >= high))


def of_concepts(encoder: Encoder, data: Mapping[str, Source], tap: str = '') -> dict[str, float]:
    """TCAV of every factor of rendered images for every class, by a linear probe of the features.

    A concept is a value of a class-like factor, or the lowest or highest quarter of a number; angles are left out. Its
    vectors are those of :func:`selfsup.evals.concepts.directions`, the derivatives those of the class's logit by the
    activation, for images of test. Random sets against random sets are the control of every class.

    Args:
      encoder: any encoder of images.
      data: the sources `train` and `test`, whose factors are known.
      tap: the place; '' is the middle one of the network's layers.

    Returns:
      For each factor `concept_<factor>`, the mean of |2·score − 1| over classes and values (0: the class score rises
      along the concept for half of the images, 1: for all or for none); `…_significant`, the share of these pairs that
      differ from the random sets at 5 % (Welch's t-test, Bonferroni over all pairs); `…_told`, the accuracy of the
      vectors on held-out rows. `concept_random` is the mean of |2·score − 1| of random sets.

    Raises:
      UserError: a source without factors or with fewer than two classes, an unknown tap, too few images of a value.
    """
    train, test = with_factors(data, 'concepts')
    first = next(images.batches(train, 1))[1]
    known = layers.known_taps(encoder, first)
    names = taps.layers(layers.network(encoder)[0], list(known))
    tap = tap or names[len(names) // 2]
    taps.check([tap], known)
    activation = layers.activations(encoder, [tap])
    rest = layers.rest(encoder, tap, first)
    size = encoder.config.evaluate.batch_size

    drawn = even_draw(train.labels, 10 * POOL, seed=0)
    features, kept = images.encoded(encoder, train, batch_size=size)
    mean = features.mean(axis=0, keepdims=True)
    deviation = np.maximum(features.std(axis=0, keepdims=True), 1e-6)
    classes = np.unique(train.labels)
    if len(classes) < 2:
        raise UserError(f'--only=concepts explains classes, and {train.name} has {len(classes)}')
    labels = np.searchsorted(classes, train.labels[kept]).astype(np.int32)
    probe = logistic_regression((features - mean) / deviation, jnp.asarray(labels), classes=len(classes))

    @jax.jit
    def slopes(at: Array, chosen: Array) -> Array:
        def score(value: Array) -> Array:
            logits = scores(probe, (rest(value) - mean) / deviation)
            return jnp.sum(jnp.take_along_axis(logits, chosen[:, None], axis=1))

        return jax.grad(score)(at)

    def read(source: Source, rows: np.ndarray) -> np.ndarray:
        found, _ = images.encoded(lambda batch: activation(batch)[tap], source, batch_size=size, rows=rows)
        return np.asarray(found, np.float32)

    pool = read(train, drawn).reshape(len(drawn), -1)
    gradients = []
    for number, name in enumerate(classes):
        rows = np.flatnonzero(test.labels == name)[: concepts.DERIVATIVES]
        found = slopes(jnp.asarray(read(test, rows)), jnp.full(len(rows), number))
        gradients.append(np.asarray(found).reshape(len(rows), -1))
    random = concepts.directions(None, pool, runs=2 * concepts.RUNS, seed=1)
    chance = [np.asarray(concepts.tcav(g, random.vectors)) for g in gradients]
    results: dict[str, float] = {}
    pairs: dict[str, list[tuple[float, float]]] = {}
    for name, factor in train.factors.items():
        told = []
        for _, members in _values(factor, drawn):
            found = concepts.directions(pool[members][:POOL], pool)
            told.append(float(found.accuracy.mean()))
            for g, control in zip(gradients, chance, strict=True):
                ours = np.asarray(concepts.tcav(g, found.vectors))
                effect = float(np.abs(2 * ours.mean() - 1))
                pairs.setdefault(name, []).append((effect, concepts.concept_test(ours, control)))
        if told:
            results[f'concept_{name}_told'] = float(np.mean(told))
    total = sum(len(found) for found in pairs.values())
    for name, found in pairs.items():
        results[f'concept_{name}'] = float(np.mean([effect for effect, _ in found]))
        results[f'concept_{name}_significant'] = float(np.mean([p < LEVEL / total for _, p in found]))
    results['concept_random'] = float(np.mean([np.abs(2 * control.mean() - 1) for control in chance]))
    return results

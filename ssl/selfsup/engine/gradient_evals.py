"""Nearest neighbours by features and gradients of self-supervised losses, of a frozen vision transformer."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .. import augment, evals
from ..data.sources import Source
from ..errors import UserError
from ..evals import Features, even_draw
from ..evals import gradient_features as gradients
from . import build, images
from .encoder import Encoder
from .patches import feature_maps, variables, with_tokens

WINDOWS = 3  # a side, each of half the image's sides: views of the contrastive loss
WHOLE, LOCAL = 2, 6  # views of the distillation loss
NEGATIVE_IMAGES = 64
SIGNS = 2**26  # random signs that are held, 256 MiB
STREAM = 2**31 - 3  # keys of their own, the same for every encoder
ROWS = 32  # images whose views pass at once


def windows(rows: Array) -> Array:
    """Nine overlapping windows of each image, of half its sides and brought to its size, `[n, 9, …]`."""
    _, height, width, channels = rows.shape
    half = (max(height // 2, 1), max(width // 2, 1))
    places = [
        [round(i * (side - part) / (WINDOWS - 1)) for i in range(WINDOWS)]
        for side, part in zip((height, width), half, strict=True)
    ]
    cut = [rows[:, y : y + half[0], x : x + half[1]] for y in places[0] for x in places[1]]
    shape = (rows.shape[0], height, width, channels)
    return jnp.stack([jax.image.resize(part, shape, 'bilinear') for part in cut], axis=1)


def losses(encoder: Encoder, train: Source) -> dict[str, tuple[Callable[[Array, Array], Array], gradients.Loss]]:
    """Name -> how views are made of prepared images and their numbers, and the loss of an image's views."""
    module, given = with_tokens(encoder, 'gradients'), variables(encoder)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(0), STREAM), 5)
    heads = {
        name: gradients.random_head(key, module.dim, width)
        for name, key, width in zip(
            ('kl', 'simclr', 'student', 'teacher'),
            keys,
            (gradients.LATENT, gradients.HEAD, gradients.LATENT, gradients.LATENT),
            strict=False,
        )
    }
    prepare = build.build_preparation(encoder.config)
    drawn = even_draw(train.labels, NEGATIVE_IMAGES, seed=1)
    shown, _ = images.encoded(lambda rows: windows(prepare(rows)), train, batch_size=ROWS, rows=drawn)
    flat = jnp.asarray(shown).reshape(-1, *shown.shape[2:])
    negatives = gradients.normalize(heads['simclr'](jax.jit(module.apply)(given, flat)))
    side = shown.shape[2]
    crop = {'size': side, 'flip': 0.5}
    specs = {
        name: {**crop, 'count': count, 'crop': {'scale': scale, 'ratio': (3 / 4, 4 / 3), 'method': 'bicubic'}}
        for name, count, scale in (('whole', WHOLE, (0.25, 1.0)), ('with_local', LOCAL, (0.05, 0.25)))
    }
    config = encoder.config.augment
    drawn_views = augment.make_views(specs, mean=config.mean, std=config.std)

    def crops(rows: Array, numbers: Array) -> Array:
        return jnp.stack(drawn_views(keys[4], rows, numbers)[0], axis=1)

    return {
        'kl': (lambda rows, numbers: prepare(rows)[:, None], gradients.uniform_kl(heads['kl'])),
        'simclr': (lambda rows, numbers: windows(prepare(rows)), gradients.contrast(heads['simclr'], negatives)),
        'dino': (crops, gradients.distillation(heads['student'], heads['teacher'], whole=WHOLE)),
    }


def of_gradients(encoder: Encoder, data: Mapping[str, Source]) -> dict[str, float]:
    """k-NN (k = 20) of features beside features joined with projected gradients of three losses (FUNGI).

    Returns:
      `gradients_knn_features`, of unit rows of the features alone; `gradients_knn_<loss>`, joined with the unit
      gradients of one loss; `gradients_knn`, with all three. Likewise `gradients_linear_features` and
      `gradients_linear`, a linear probe with all labels.
    """
    module, given = with_tokens(encoder, 'gradients'), variables(encoder)
    width = max(min(module.dim, SIGNS // (module.dim * (module.dim + 1))), 1)
    signs = jax.random.rademacher(jax.random.fold_in(jax.random.key(1), STREAM), (width, module.dim, module.dim + 1))
    signs = signs.astype(jnp.float32)
    for part in data.values():
        if not (part.labels >= 0).any():
            raise UserError(f'--only=gradients: {part.name} has no labels')
    first = next(images.batches(data['train'], 1))[1]
    encoder.check(first, feature_maps(encoder))
    kinds = losses(encoder, data['train'])

    @jax.jit
    def found(given: Any, rows: Array, numbers: Array) -> dict[str, Array]:
        return {
            name: gradients.gradient_features(module, given, views(rows, numbers), loss, signs)
            for name, (views, loss) in kinds.items()
        }

    sets: dict[str, list[np.ndarray]] = {}
    labels = []
    for part in (data['train'], data['test']):
        starts = itertools.count(0, ROWS)

        def encode(rows: np.ndarray, starts: Iterator[int] = starts) -> dict[str, Any]:
            numbers = jnp.arange(len(rows)) + next(starts)  # an image's crops depend on its place in the set
            return {'features': encoder(rows), **found(given, jnp.asarray(rows), numbers)}

        outputs, kept = images.encoded(encode, part, batch_size=ROWS)
        labels.append(part.labels[kept])
        for name, rows in outputs.items():
            sets.setdefault(name, []).append(evals.features.unit_rows(rows))

    def both(names: tuple[str, ...]) -> tuple[Features, Features]:
        joined = (np.concatenate([sets[name][at] for name in names], axis=1) for at in (0, 1))
        train, test = (evals.labelled(Features(rows, y)) for rows, y in zip(joined, labels, strict=True))
        return train, test

    every = ('features', *kinds)
    results = {f'gradients_knn_{name}': evals.knn(*both(('features', name)))['knn'] for name in kinds}
    for suffix, names in (('_features', ('features',)), ('', every)):
        results[f'gradients_knn{suffix}'] = evals.knn(*both(names))['knn']
        results[f'gradients_linear{suffix}'] = evals.linear_probe(*both(names), label_counts=())['linear']
    return results

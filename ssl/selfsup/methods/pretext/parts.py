"""What the tasks on parts of an image share: tiles, turned copies.

A view is `[batch, parts, height, width, channels]`, and the augmentation's operation reports the answers as rows of
zeros with a one, `[batch, answers]` of the parts together or `[batch, parts, answers]` of each.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ... import losses
from ...errors import UserError
from ..base import Method, forward, view_keys

SMALLEST_DEVIATION = 1e-6  # of a part that is standardised; one of equal pixels becomes zeros

Cut = Callable[[Array], Array]


def one_part(images: Array) -> Array:
    """Images as views of one part."""
    return images[:, None]


def cells(grid: int) -> Cut:
    """The function that cuts images into grid x grid parts, row by row; the centre of sides it does not divide."""

    def cut(images: Float[Array, 'batch height width channels']) -> Float[Array, 'batch parts rows columns channels']:
        sides = [side // grid for side in images.shape[1:3]]
        if not all(sides):
            raise UserError(f'method.evaluation_grid={grid} is larger than the images {list(images.shape[1:3])}')
        top, left = ((whole - side * grid) // 2 for whole, side in zip(images.shape[1:3], sides, strict=True))
        x = images[:, top : top + sides[0] * grid, left : left + sides[1] * grid]
        x = x.reshape(len(x), grid, sides[0], grid, sides[1], -1)
        return jnp.swapaxes(x, 2, 3).reshape(len(x), grid * grid, *sides, images.shape[3])

    return cut


def standardized(parts: Array) -> Array:
    """Each part to mean 0 and deviation 1 (ddof 0) over its pixels and channels, so that no shade tells its place."""
    x = parts.astype(jnp.promote_types(parts.dtype, jnp.float32))
    x = x - jnp.mean(x, axis=(2, 3, 4), keepdims=True)
    deviation = jnp.sqrt(jnp.mean(x * x, axis=(2, 3, 4), keepdims=True))
    return (x / jnp.maximum(deviation, SMALLEST_DEVIATION)).astype(parts.dtype)


def known_answers(batch: dict, operation: str) -> Array | None:
    """The answers that the first view's operation reports; None of a view without it, such as a whole image."""
    drawn = batch['view_params'][0] if batch.get('view_params') else {}
    return drawn[operation]['answer'] if operation in drawn else None


def correct_share(predictions: Array, targets: Array) -> Array:
    """Share of the answers whose largest logit is the right one; no gradient."""
    return jnp.mean(jnp.argmax(predictions, axis=-1) == jnp.argmax(targets, axis=-1))


def part_features(
    encoder: nn.Module, params: Any, stats: Any, parts: Array, *, train: bool, keys: Array | None = None
) -> tuple[Array, Any]:
    """`[batch, parts, features]` of `[batch, parts, …]`, and the encoder's statistics: all parts run as one batch.

    `keys` `[batch]` are those of the examples.
    """
    batch, count = parts.shape[:2]
    keys = keys if keys is None else jnp.repeat(keys, count)
    flat = parts.reshape(batch * count, *parts.shape[2:])
    y, stats = forward(encoder, params, stats, flat, train=train, keys=keys)
    return y.reshape(batch, count, -1), stats


def of_unchanged(features: Float[Array, 'batch parts dim'], answers: Array) -> Float[Array, 'batch dim']:
    """Those of the part whose answer is the first, that of an unchanged one; the mean of all where there is none."""
    upright = answers[..., :1].astype(features.dtype)
    there = jnp.sum(upright, axis=1)
    return jnp.where(there > 0, jnp.sum(upright * features, axis=1), jnp.mean(features, axis=1))


def answered(
    encoder: nn.Module,
    predictor: nn.Module,
    *,
    name: str,
    operation: str,
    cut: Cut,
    together: int,
    standardize: bool = False,
) -> Method:
    """A method that classifies what was done to an image's parts: encoder, predictor, cross-entropy.

    Args:
      encoder: of a part.
      predictor: from features to logits, one for each answer of the operation.
      name: of the method, for messages.
      operation: row of :data:`selfsup.augment.OPERATIONS` whose `answer` is predicted.
      cut: images `[batch, height, width, channels]`, such as those of an evaluation, into parts.
      together: how many parts an image has, whose features the predictor sees side by side; 0 if it sees those of each
        part alone. Of images without the operation, such as those of an evaluation, it sees the first cells, again from
        the front where they are too few.
      standardize: each part to mean 0 and deviation 1.

    Features are the mean over an image's parts; where each has an answer of its own, and the first answer is that of an
    unchanged part, features in training are those of the unchanged part, if it is among them.
    """

    def parts_of(images: Array) -> Array:
        parts = images if images.ndim == 5 else cut(images)
        return standardized(parts) if standardize else parts

    def seen_by_predictor(features: Array) -> Array:
        if not together:
            return features.reshape(-1, features.shape[-1])
        chosen = features[:, jnp.arange(together) % features.shape[1]]
        return chosen.reshape(len(features), -1)

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        parts = parts_of(batch['views'][0][:2])
        first = encoder.init(key, parts[:, 0], train=False)
        stats = {'encoder': first.get('batch_stats', {})}
        features, _ = part_features(encoder, first['params'], stats['encoder'], parts, train=False)
        second = predictor.init(jax.random.fold_in(key, 1), seen_by_predictor(features), train=False)
        stats['predictor'] = second.get('batch_stats', {})
        return {'encoder': first['params'], 'predictor': second['params']}, {'batch_stats': stats}

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        answers, stats = known_answers(batch, operation), dict(extra['batch_stats'])
        parts = parts_of(batch['views'][0])
        if together and batch['views'][0].ndim == 5 and parts.shape[1] != together:
            raise UserError(
                f'{name} sees {together} parts of an image, and the operation {operation!r} gives {parts.shape[1]}'
            )
        features, stats['encoder'] = part_features(
            encoder, params['encoder'], stats['encoder'], parts, train=True, keys=view_keys(batch)(0)
        )
        logits, stats['predictor'] = forward(
            predictor, params['predictor'], stats['predictor'], seen_by_predictor(features), train=True
        )
        pooled = jnp.mean(features, axis=1)
        if answers is not None and logits.shape[-1] != answers.shape[-1]:
            raise UserError(
                f'predictor.widths must end in {answers.shape[-1]}, the answers of {operation!r}, '
                f'not in {logits.shape[-1]}'
            )
        if answers is not None and not together:
            pooled = of_unchanged(features, answers)
        outputs = {
            'features': (pooled,),
            'embeddings': (pooled,),
            'predictions': logits if answers is None else logits.reshape(answers.shape),
            'targets': answers,
        }
        return outputs, {**extra, 'batch_stats': stats}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        predictions, targets = outputs['predictions'], outputs['targets']
        if targets is None:
            raise UserError(f'{name} needs a view with the operation {operation!r}; augment.recipe={name!r} has one')
        value = losses.cross_entropy(predictions, targets)
        return value, (extra, {'pretext_accuracy': correct_share(predictions, targets)})

    def encode(network: dict[str, Any], inputs: Array) -> dict[str, Array]:
        stats = network['batch_stats']['encoder']
        features, _ = part_features(encoder, network['params']['encoder'], stats, parts_of(inputs), train=False)
        pooled = jnp.mean(features, axis=1)
        return {'features': pooled, 'embeddings': pooled}

    return Method(init, embed, criterion, encode, views=1, control='shuffled_targets')

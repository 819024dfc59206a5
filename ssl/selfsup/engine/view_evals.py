"""Evaluations that draw augmented views of images: how alike they are, how they move, what an encoder has memorised."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy import stats

from .. import diagnostics
from ..data.sources import Source
from ..errors import UserError
from ..evals import composition, even_draw, pair_rank
from . import build, images
from .encoder import Encoder
from .step import count_views

VIEWS = 8  # draws of each image
IMAGES = 500  # as in the experiments of SSLMem
VIEW_STREAM = 2**31 - 2  # keys of their own, the same for every encoder


def has_views(encoder: Encoder) -> bool:
    """Whether the config says how views are drawn; that of an imported encoder may not."""
    return count_views(encoder.config.augment.views) > 0


def has_operator(encoder: Encoder) -> bool:
    """Whether an encoder's method predicts how embeddings move with what the augmentation draws."""
    return has_views(encoder) and encoder.method.move is not None


def drawn_views(encoder: Encoder, train: Source) -> Callable[[Any, Any, Any], tuple[Array, dict]]:
    """`(inputs [b, …], positions [b], draw) -> ([b, …], what was drawn)`: the first view of the encoder's own recipe.

    An image's view depends on its position and the draw alone.

    Raises:
      UserError: an encoder whose config has no views.
    """
    if not has_views(encoder):
        raise UserError('the encoder has no augmentation of its own: augment.views is empty')
    views = build.build_views(encoder.config, train)
    base = jax.random.fold_in(jax.random.key(0), VIEW_STREAM)

    def draw_first(inputs: Any, positions: Any, draw: Any) -> tuple[Array, dict]:
        seen, drawn = views(jax.random.fold_in(base, draw), inputs, positions)
        return seen[0], drawn[0]

    return draw_first


def filled_batches(source: Source, most: int, count: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Images of `count` rows of a source, drawn evenly from the classes: (images, the same filled up, positions).

    All filled batches have one size, at most `most`; the first image fills the last of them.
    """
    rows = even_draw(source.labels, count, seed=0)
    size = min(most, len(rows))
    for numbers, batch in images.batches(source, size, rows):
        missing = size - len(batch)
        padded = np.concatenate([batch, np.repeat(batch[:1], missing, axis=0)])
        yield batch, padded, np.concatenate([numbers, np.repeat(numbers[:1], missing)]).astype(np.int32)


def encoded_views(
    encoders: list[Encoder], source: Source, train: Source, *, kind: str, count: int = IMAGES, draws: int = VIEWS
) -> Iterator[list[np.ndarray]]:
    """For each batch of images what every encoder makes of the same views, `[b, draws, dim]`, float32.

    Args:
      encoders: the first gives the augmentation; the others must normalise alike.
      source: of the images; `count` of them, drawn evenly from the classes.
      train: of augmentations that draw from the training set.
      kind: 'features' or 'embeddings'.
      count, draws: images, and views of each.

    Raises:
      UserError: encoders that normalise in different ways; images that do not fit one of them.
    """
    for other in encoders[1:]:
        for field in ('mean', 'std'):
            ours, theirs = encoders[0].config.augment[field], other.config.augment[field]
            if tuple(ours) != tuple(theirs):
                raise UserError(
                    f'both encoders must see the same views, and augment.{field} is {tuple(ours)} and {tuple(theirs)}'
                )
    views = drawn_views(encoders[0], train)

    def encode(encoder: Encoder) -> Callable[..., Array]:
        @jax.jit
        def of(params: Any, extra: Any, inputs: Array, positions: Array) -> Array:
            def one(draw: Array) -> Array:
                seen, _ = views(inputs, positions, draw)
                found = encoder.method.encode(encoder.method.network(params, extra), seen)[kind]
                return found.astype(jnp.promote_types(found.dtype, jnp.float32))

            return jnp.moveaxis(jax.lax.map(one, jnp.arange(draws)), 0, 1)

        return lambda inputs, positions: of(encoder.params, encoder.extra, inputs, positions)

    calls = [encode(encoder) for encoder in encoders]
    for batch, padded, positions in filled_batches(source, encoders[0].config.evaluate.batch_size, count):
        found = []
        for encoder, call in zip(encoders, calls, strict=True):
            one = functools.partial(call, positions=positions[:1])
            encoder.check(batch, one)
            found.append(np.asarray(call(padded, positions))[: len(batch)])
        yield found


def of_views(encoder: Encoder, data: Mapping[str, Source]) -> dict[str, float]:
    """How alike the embeddings of an image's views are, on 500 images of train and of test, 8 views of each.

    Returns:
      On test `views_alignment` (mean squared distance of two views, unit rows), `views_relative_alignment` (over that
      of shuffled pairs) and `views_distance` (mean distance over all pairs of views, unit rows); LiDAR of the
      embeddings of train, of test and of both, `views_lidar_train`, `views_lidar_test`, `views_lidar`; and EvalRank,
      where the second view of a test image stands among all views (`views_pair_mrr`, …, :func:`pair_rank`).
    """
    halves, pairs = {}, []
    for part in ('train', 'test'):
        summary = None
        for (z,) in encoded_views([encoder], data[part], data['train'], kind='embeddings'):
            summary = diagnostics.update_lidar(summary or diagnostics.empty_lidar(z.shape[2]), z)
            pairs += [z] if part == 'test' else []
        halves[part] = summary
    z = np.concatenate(pairs)
    found = {
        'alignment': diagnostics.alignment(z[:, 0], z[:, 1]),
        'relative_alignment': diagnostics.relative_alignment(z[:, 0], z[:, 1]),
        'distance': jnp.mean(diagnostics.view_distances(z)),
        'lidar_train': diagnostics.lidar(halves['train']),
        'lidar_test': diagnostics.lidar(halves['test']),
        'lidar': diagnostics.lidar(diagnostics.merge_lidar(halves['train'], halves['test'])),
    }
    found |= pair_rank(z[:, 0], z[:, 1])
    return {f'views_{name}': float(value) for name, value in found.items()}


def of_composition(encoder: Encoder, data: Mapping[str, Source]) -> dict[str, float]:
    """:func:`selfsup.evals.composition` of the method's operator, on three views of 500 test images.

    Raises:
      UserError: an encoder whose method has no operator.
    """
    method, move = encoder.method, encoder.method.move
    if move is None:
        raise UserError(
            f'--only=composition needs a method that moves embeddings by a known change (filmr, sie), and '
            f'{encoder.config.method.name} does not'
        )
    views = drawn_views(encoder, data['train'])

    @jax.jit
    def of(params: Any, extra: Any, inputs: Array, positions: Array) -> tuple[Array, ...]:
        seen, (first, second, third) = zip(*(views(inputs, positions, draw) for draw in range(3)), strict=True)
        _, another = views(inputs, positions + 1, 2)  # what another image's third view draws
        start, end = (method.encode(method.network(params, extra), one)['embeddings'] for one in (seen[0], seen[2]))
        twice = move(params, move(params, start, (first, second)), (second, third))
        once = move(params, start, (first, third))
        wrong = move(params, start, (first, another))
        return start, once, twice, wrong, end

    found = []
    for batch, padded, positions in filled_batches(data['test'], encoder.config.evaluate.batch_size, IMAGES):
        encoder.check(batch, functools.partial(of, encoder.params, encoder.extra, positions=positions[:1]))
        rows = of(encoder.params, encoder.extra, padded, positions)
        found.append([np.asarray(one)[: len(batch)] for one in rows])
    return composition(*(np.concatenate(one) for one in zip(*found, strict=True)))


def of_memorisation(encoder: Encoder, reference: Encoder) -> dict[str, float]:
    """SSLMem of an encoder against another that has not seen its training images, on features of the run's own data.

    Args:
      encoder: of a run; it has trained on its `data.source`.
      reference: trained alike on other images; whether it was is not to be told from its weights.

    Returns:
      `memorisation_train` and `memorisation_test`, mean scores of 500 images that the encoder trained on and of as many
      that neither saw, in [−2, 2]: positive where the encoder aligns the views better than the reference.
      What is memorised is `memorisation_gap`, the first less the second, with `memorisation_t` and `memorisation_p` of
      Welch's test; `memorisation_share`, the training images that score above 95 % of the test images (0.05 by chance).

    Raises:
      UserError: an encoder without training images of its own; encoders that cannot see the same views.

    References:
      Wang et al. 2024, https://arxiv.org/abs/2401.12233, eq. 2.
    """
    if not encoder.config.data.source:
        raise UserError('--only=memorisation reads the images that the encoder trained on; an imported one names none')
    data = build.open_data(encoder.config)
    scores = {}
    for name, source in (('train', data.train), ('test', data.test)):
        pairs = encoded_views([encoder, reference], source, data.train, kind='features')
        scores[name] = np.concatenate([np.asarray(diagnostics.sslmem(f, g)) for f, g in pairs])
    train, test = scores['train'], scores['test']
    # Scores that are all equal, as of an encoder beside itself, have no t.
    varied = np.ptp(train) > 0 or np.ptp(test) > 0
    statistic, chance = stats.ttest_ind(train, test, equal_var=False) if varied else (0.0, 1.0)
    found = {
        'train': train.mean(),
        'test': test.mean(),
        'gap': train.mean() - test.mean(),
        't': statistic,
        'p': chance,
        'share': np.mean(train > np.quantile(test, 0.95)),
    }
    return {f'memorisation_{name}': float(value) for name, value in found.items()}

"""Evaluations of an encoder's patches: tokens by name, an attentive probe, segmentation of rendered images."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from .. import augment, diagnostics, evals
from ..data.rendered import CLASSES, render
from ..data.sources import Source
from ..errors import UserError
from ..evals import Segmented, dense, even_draw, extract
from ..methods.base import backbone
from . import build, images, untrained
from .encoder import Encoder
from .patches import checked, feature_maps, summaries, variables, with_tokens

HELD_VALUES = 2**28  # of tokens of train in an attentive probe: 1 GiB as float32
MAPPED_VALUES = 2**27  # of the feature maps of train, and of test, in a segmentation: half of that
RANKED = 256  # test images of the rank of tokens, and of their structure
GROUP = 8  # images whose patches are clustered together, as the authors of DSE have it
RENDERED = {'train': (400, 0), 'test': (200, 1)}  # part -> images and seed


def of_tokens(encoder: Encoder, data: Mapping[str, Source]) -> dict[str, float]:
    """:func:`selfsup.evals.tokens` of the labelled images of train and test, and `token_rank`.

    The last is :func:`selfsup.diagnostics.token_rank` of the patch tokens of at most 256 test images, and
    `token_rank_share` that over the width.
    """
    encode, size = checked(encoder, summaries(encoder)), encoder.config.evaluate.batch_size
    sets = []
    for part in (data['train'], data['test']):
        found, kept = images.encoded(encode, part, batch_size=size)
        labels = part.labels[kept]
        sets.append({kind: evals.Features(np.asarray(rows, np.float32), labels) for kind, rows in found.items()})
    some = next(images.batches(data['test'], RANKED))[1]
    found = np.asarray(feature_maps(encoder)(some))
    rank = int(diagnostics.token_rank(found.reshape(len(found), -1, found.shape[-1])))
    results = evals.tokens({kind: (sets[0][kind], sets[1][kind]) for kind in sets[0]})
    return {**results, 'token_rank': float(rank), 'token_rank_share': rank / found.shape[-1]}


def of_attention(encoder: Encoder, data: Mapping[str, Source]) -> dict[str, float]:
    """:func:`selfsup.evals.attentive` of the labelled images, with as many heads as the encoder's blocks have.

    The tokens of train are held; where they would be more than `HELD_VALUES`, those of fewer images are, drawn evenly
    from the classes, and a line says so. The test images pass a batch at a time.
    """
    module, maps = with_tokens(encoder, 'attentive'), feature_maps(encoder)
    for part in data.values():
        if not (part.labels >= 0).any():
            raise UserError(f'--only=attentive: {part.name} has no labels')

    def tokens(rows: Any) -> Any:
        found = maps(rows)
        return found.reshape(len(found), -1, found.shape[-1])

    (seen, labels), (shown, test_labels) = (images.labelled_images(data[part]) for part in ('train', 'test'))
    each = math.prod(encoder.check(seen[:1], tokens).shape)
    rows = even_draw(labels, max(HELD_VALUES // each, 1), seed=0)
    if len(rows) < len(labels):
        print(
            f'attentive: {len(rows)} of {len(labels)} images of train, evenly from the classes; the tokens of all '
            f'would take {len(labels) * each * 4 / 2**30:.2f} GiB, and {HELD_VALUES * 4 / 2**30:.2g} GiB are held',
            flush=True,
        )
    size = encoder.config.evaluate.batch_size
    held = extract(tokens, (seen[rows[start : start + size]] for start in range(0, len(rows), size)))
    train, test = evals.Features(held, labels[rows]), evals.Features(shown, test_labels)
    return evals.attentive(train, test, heads=module.heads, encode=tokens)


def of_dense_structure(encoder: Encoder, data: Mapping[str, Source]) -> dict[str, float]:
    """:func:`selfsup.diagnostics.dense_structure` of the patch tokens of at most 256 test images; no labels are read.

    Returns:
      `dse` and its parts, `dse_inter`, `dse_intra_image`, `dse_intra_group`, `dse_dimension`, with the authors' numbers
      of clusters and one seed.

    Raises:
      UserError: an encoder without patches, fewer than 8 test images, or fewer patches than clusters.
    """
    some = next(images.batches(data['test'], RANKED))[1]
    found = np.asarray(checked(encoder, feature_maps(encoder))(some))
    if len(found) < GROUP:
        raise UserError(f'--only=dse needs {GROUP} images to test on, and {data["test"].name} holds {len(found)}')
    tokens = found[: len(found) // GROUP * GROUP].reshape(-1, found[0].size // found.shape[-1], found.shape[-1])
    try:
        parts = jax.jit(functools.partial(diagnostics.dense_structure, group=GROUP))(jax.random.key(0), tokens)
    except ValueError as error:
        raise UserError(f'--only=dse: {error}') from error
    return {'dse' if name == 'dse' else f'dse_{name}': float(value) for name, value in parts.items()}


def seen_shape(encoder: Encoder, source: Source) -> tuple[int, ...]:
    """Height, width and channels of a source's images as evaluation shows them to an encoder."""
    prepare = build.build_preparation(encoder.config)
    return jax.eval_shape(prepare, np.zeros((1, *source.image_shape), np.uint8)).shape[1:]


def of_dense(encoder: Encoder, data: Mapping[str, Source]) -> dict[str, float]:
    """:func:`selfsup.evals.segmentation` of rendered images of the size and channels that the encoder sees.

    The same of the untrained encoder (`dense_untrained_…`, batch statistics adapted on the data's train images) and of
    the raw pixels of the same patches (`dense_pixels_…`, in [0, 1]); and the scores of calling everything background.
    Images are normalised as the encoder's are, and neither resized nor cropped.
    """
    config, train = encoder.config, data['train']
    if not train.spec.is_image:
        raise UserError(
            f'--only=dense segments images, and {train.name} holds {train.spec.unit} {list(train.spec.shape)}'
        )
    height, width, channels = seen_shape(encoder, train)
    normalise = augment.make_evaluation(mean=config.augment.mean, std=config.augment.std)
    maps = feature_maps(encoder, normalise)
    shape = encoder.check(np.zeros((1, height, width, channels), np.uint8), maps).shape[1:]
    most = MAPPED_VALUES // math.prod(shape)
    sets = {}
    for part, (count, seed) in RENDERED.items():
        if most < count:
            print(f'dense: {most} of {count} images of {part}; the maps of all would take too much memory', flush=True)
        sets[part] = render(min(count, max(most, 2)), (height, width), channels=channels, seed=seed)

    def scored(name: str, of: Callable[[Any], Any]) -> dict[str, float]:
        size = config.evaluate.batch_size
        both = (Segmented(extract(of, rows, batch_size=size), masks) for rows, masks in sets.values())
        return evals.segmentation(*both, classes=len(CLASSES), name=name)

    results = scored('dense', maps)
    results |= scored('dense_untrained', feature_maps(untrained_backbone(encoder, train), normalise))
    if height % shape[0] == 0 and width % shape[1] == 0:
        results |= scored('dense_pixels', lambda rows: _pixel_patches(rows, shape[:2]))
    else:
        print(f'dense: no raw pixels, since a map of {shape[0]}x{shape[1]} does not tile {height}x{width}', flush=True)
    return results | dense.background(sets['test'][1], classes=len(CLASSES))


def untrained_backbone(encoder: Encoder, source: Source) -> Encoder:
    """The backbone before any training, with batch statistics adapted on a source."""
    given = variables(encoder)
    extra = {'batch_stats': {'encoder': given.get('batch_stats', {})}}
    method = backbone(build.build_encoder(encoder.config))
    kind = {'channels': encoder.channels, 'rank': encoder.rank}
    return untrained.of_encoder(Encoder(encoder.config, method, {'encoder': given['params']}, extra, 0, **kind), source)


def _pixel_patches(rows: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """The pixels of each cell of a grid that tiles the images, `[n, rows, columns, values]` in [0, 1]."""
    count, height, width, channels = rows.shape
    down, along = height // grid[0], width // grid[1]
    cells = rows.reshape(count, grid[0], down, grid[1], along, channels).transpose(0, 1, 3, 2, 4, 5)
    return cells.reshape(count, *grid, down * along * channels).astype(np.float32) / 255


# Name in --only -> the numbers, a function of the encoder and the sources `train` and `test`.
PATCH_EVALUATIONS: dict[str, Callable[[Encoder, Mapping[str, Source]], dict[str, float]]] = {
    'tokens': of_tokens,
    'attentive': of_attention,
    'dense': of_dense,
    'dse': of_dense_structure,
}

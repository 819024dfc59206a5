"""An encoder cut at named places: what its layers give, the rest behind one, and the table over its depth."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .. import evals
from ..data.sources import Source
from ..evals import Features
from ..models import taps
from . import build, images
from .encoder import Encoder
from .patches import variables

HELD_VALUES = (
    2**28
)  # of the pooled layers of train and test together, 1 GiB as float32; more are read in several passes
PIXEL_SIDE = 32  # larger images are averaged down to it before they are compared with layers
INPUTS, ENDS = 'pixels', ('features', 'embeddings')  # rows of the table that are no taps


def network(encoder: Encoder) -> tuple[Any, dict[str, Any], Callable[[Any], Any]]:
    """The backbone, its parameters and statistics, and what evaluation does to inputs before it."""
    return build.build_encoder(encoder.config), variables(encoder), build.build_preparation(encoder.config)


def known_taps(encoder: Encoder, inputs: np.ndarray) -> dict[str, jax.ShapeDtypeStruct]:
    """Every tap of the backbone with its shape for these inputs; see :mod:`selfsup.models.taps`.

    Raises:
      UserError: inputs that do not fit the encoder.
    """
    module, given, prepare = network(encoder)
    return encoder.check(np.asarray(inputs), lambda rows: taps.activations(module, given, prepare(rows)))


def activations(encoder: Encoder, names: Sequence[str], *, pooled: bool = False) -> Callable[[Any], dict[str, Array]]:
    """Inputs -> what the backbone gives at each tap, compiled; `pooled` makes vectors of them (:func:`taps.pooled`).

    Raises:
      UserError: when it is called, a name that the backbone has no tap of, with the nearest.
    """
    module, given, prepare = network(encoder)

    @jax.jit
    def found(given: Any, rows: Any) -> dict[str, Array]:
        values = taps.activations(module, given, prepare(rows), names)
        return {name: taps.pooled(module, value) for name, value in values.items()} if pooled else values

    return lambda rows: found(given, rows)


def rest(encoder: Encoder, name: str, inputs: np.ndarray) -> Callable[[Any], Array]:
    """The backbone behind a tap: activation -> features, compiled, differentiable; `inputs` give the shape of an image.

    Behind :func:`activations` it gives the encoder's features, up to the rounding of two programs.

    Raises:
      UserError: a name that the backbone has no tap of; inputs that do not fit the encoder.
    """
    module, given, prepare = network(encoder)
    taps.check([name], known_taps(encoder, inputs))
    shape = jax.eval_shape(prepare, np.asarray(inputs)[:1]).shape[1:]
    return jax.jit(taps.rest(module, given, name, shape))


def pixel_rows(inputs: Array) -> Array:
    """Prepared inputs `[n, …]` as vectors `[n, values]`, large images averaged to 32 pixels on their longer side."""
    if inputs.ndim == 4 and max(inputs.shape[1:3]) > PIXEL_SIDE:
        scale = PIXEL_SIDE / max(inputs.shape[1:3])
        size = [max(round(side * scale), 1) for side in inputs.shape[1:3]]
        shape = (inputs.shape[0], *size, inputs.shape[3])
        inputs = jax.image.resize(inputs, shape, 'linear', antialias=True)
    return inputs.reshape(len(inputs), -1).astype(jnp.float32)


def chosen(encoder: Encoder, data: Mapping[str, Source], text: str) -> dict[str, int]:
    """The taps that `--layers` names, each with its width when pooled.

    Raises:
      UserError: an unknown name, with the nearest.
    """
    first = next(images.batches(data['train'], 1))[1]
    known = known_taps(encoder, first)
    module = network(encoder)[0]
    names = taps.layers(module, list(known)) if text == 'all' else tuple(text.split(','))
    names = tuple(dict.fromkeys(names))
    taps.check(names, known)
    widths = jax.eval_shape(lambda found: {n: taps.pooled(module, x) for n, x in found.items()}, known)
    return {name: math.prod(widths[name].shape[1:]) for name in names}


def groups(widths: Mapping[str, int], count: int, *, most: int) -> Iterator[tuple[str, ...]]:
    """The layers in their order, so many at a time that `count` rows have at most `most` values; at least one."""
    held: list[str] = []
    for name, width in widths.items():
        if held and count * (sum(widths[other] for other in held) + width) > most:
            yield tuple(held)
            held = []
        held.append(name)
    if held:
        yield tuple(held)


def of_layers(encoder: Encoder, data: Mapping[str, Source], text: str) -> list[dict[str, Any]]:
    """:func:`selfsup.evals.layers` of the pixels, each tap, the features and, where they differ, the embeddings.

    Args:
      encoder: any, of a run or imported.
      data: the sources `train` and `test`.
      text: 'all' for the layers that the network lists, or names of taps, between commas.

    Images pass a batch at a time; a layer is held as n x dim floats after pooling, and so many layers together that
    they have at most 2^28 values; for more, the images are read again.
    """
    widths = chosen(encoder, data, text)
    size, prepare = encoder.config.evaluate.batch_size, network(encoder)[2]

    def read(encode: Callable[[Any], Any]) -> tuple[dict[str, Any], dict[str, Any], list[np.ndarray]]:
        found = [images.encoded(encode, data[part], batch_size=size) for part in ('train', 'test')]
        return found[0][0], found[1][0], [data[p].labels[k] for p, (_, k) in zip(('train', 'test'), found, strict=True)]

    shown = jax.jit(lambda rows: pixel_rows(prepare(rows)))
    train, test, labels = read(lambda rows: {**encoder.outputs(rows), INPUTS: shown(rows)})
    last, pixels = train['features'], train[INPUTS]
    ends = [name for name in ENDS if name == 'features' or not _equal(train[name], last)]

    def sets() -> Iterator[tuple[str, Features, Features]]:
        def pair(name: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[str, Features, Features]:
            return name, Features(np.asarray(ours[name]), labels[0]), Features(np.asarray(theirs[name]), labels[1])

        yield pair(INPUTS, train, test)
        for some in groups(widths, sum(len(part) for part in labels), most=HELD_VALUES):
            ours, theirs, _ = read(activations(encoder, some, pooled=True))
            for name in some:
                yield pair(name, ours, theirs)
        for name in ends:
            yield pair(name, train, test)

    rows = evals.layers(sets(), last=last, pixels=pixels)
    seen = [name for name in getattr(network(encoder)[0], 'lens', ()) if name in widths]
    known = [labels[part] >= 0 for part in (0, 1)]
    if seen and known[1].any() and len(np.unique(labels[0][known[0]])) > 1:
        through = lens(encoder, data['test'], seen)
        tests = {name: Features(found, labels[1]) for name, found in through.items()}
        found = evals.lens(Features(last, labels[0]), tests)
        for row in rows:
            row |= {'lens': found[row['layer']]} if row['layer'] in found else {}
    return rows


def lens(encoder: Encoder, source: Source, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Features that the end of a network makes of earlier layers: `rest` behind the last one, of each.

    Args:
      encoder: one whose network has a property `lens`, layers of one shape.
      source: the images.
      names: of those layers.

    Returns:
      name -> `[n, features]`; of the last one the features of the encoder, up to the rounding of two programs.
    """
    first = next(images.batches(source, 1))[1]
    end = rest(encoder, network(encoder)[0].lens[-1], first)
    read = activations(encoder, names)
    found, _ = images.encoded(
        lambda rows: {name: end(value) for name, value in read(rows).items()},
        source,
        batch_size=encoder.config.evaluate.batch_size,
    )
    return {name: np.asarray(rows) for name, rows in found.items()}


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool(np.array_equal(a, b))

"""From a specification (plain data) to a function of (key, image), and from that to a batch of views."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, PRNGKeyArray

from . import geometry
from ._common import to_float
from .operations import OPERATIONS


def make_view(spec: dict[str, Any], reference: Any = None) -> Callable[..., tuple[Array, dict[str, Any]]]:
    """The function `(key, example, box=None, cropped=True) -> (view, sampled parameters)` of a specification.

    Each operation has the key `fold_in(key, its stream)`, so adding or dropping one leaves the others' draws as they
    were. An example is an image `[height, width, channels]`, uint8 or in [0, 1], or an array of another rank, for
    which there are operations of that rank. `reference` holds rows of the training set for operations that draw from
    it. Where `box` is given, the worker that decoded the image drew it; with `cropped` it has also cropped the image
    to it and resized it, and only the flip is left to do.

    The parameters are `box` (crop, in pixels), `flip`, and under the name of each other operation what
    its function reports: for methods that match or predict transformations. Inside `jit` those that
    nobody reads cost nothing.
    """

    def others(example: Array, keys: dict[str, Array], sampled: dict[str, Any]) -> tuple[Array, dict[str, Any]]:
        """The operations besides crop and flip, and what they drew added to `sampled`."""
        for name in keys:
            if name in ('crop', 'flip'):
                continue
            row = OPERATIONS[name]
            fields = {'p': spec[name]} if row.bare else dict(spec[name])
            if row.reference:
                fields['reference'] = reference
            example, sampled[name] = row.function(keys[name], example, **fields, report=True)
        return example, sampled

    def view(
        key: PRNGKeyArray, image: Array, box: Array | None = None, cropped: bool = True
    ) -> tuple[Array, dict[str, Any]]:
        image = to_float(image)
        chosen = {name: row for name, row in OPERATIONS.items() if name in spec}
        keys = {name: jax.random.fold_in(key, row.stream) for name, row in chosen.items()}
        for name, row in chosen.items():
            if image.ndim != row.rank:
                raise ValueError(f'{name} needs examples with {row.rank} axes, and these are {list(image.shape)}')
            if row.colour and image.shape[-1] != 3:
                raise ValueError(f'{name} needs images of 3 channels, and these have {image.shape[-1]}')
        if image.ndim != 3:
            return others(image, keys, {})
        height, width, _ = image.shape
        flip = jax.random.bernoulli(keys['flip'], spec['flip']) if 'flip' in spec else jnp.asarray(False)
        if 'crop' in spec and (box is None or not cropped):
            crop = dict(spec['crop'])
            method = crop.pop('method', 'bilinear')
            if box is None:
                box = geometry.sample_crop(keys['crop'], height, width, **crop)
            box = box.astype(image.dtype)
            image = geometry.crop_and_resize(image, box, spec['size'], flip=flip, method=method)
        elif 'flip' in spec:
            image = jnp.where(flip, image[:, ::-1], image)
        sampled: dict[str, Any] = {'flip': flip}
        sampled['box'] = jnp.array([0.0, 0.0, height, width], image.dtype) if box is None else box
        return others(image, keys, sampled)

    return view


def normalise(images: Array, mean: tuple, std: tuple) -> Array:
    """(images − mean)/std per channel; one entry serves all channels."""
    channels = images.shape[-1]
    if len(mean) not in (1, channels) or len(mean) != len(std):
        raise ValueError(f'mean and std have {len(mean)} and {len(std)} entries for images of {channels} channels')
    shape = (1,) * (images.ndim - 1) + (-1,)
    return (images - jnp.asarray(mean, images.dtype).reshape(shape)) / jnp.asarray(std, images.dtype).reshape(shape)


class Crops(NamedTuple):
    """Views that were cropped on reading: per view `[batch, size, size, channels]`, and its boxes `[batch, 4]`."""

    views: tuple[Array, ...]
    boxes: tuple[Array, ...]


class Canvas(NamedTuple):
    """Whole images `[batch, side, side, channels]`, each in the upper left corner, and per view boxes `[batch, 4]`."""

    images: Array
    boxes: tuple[Array, ...]


def expand(specs: dict[str, dict[str, Any]]) -> dict[tuple[str, int], dict[str, Any]]:
    """One specification per view, `(name, number within the name)` -> it, in the order in which views come out.

    A config has its groups in alphabetical order, whatever order they were written in. So views are sorted by `order`,
    0 unless a specification says more, and within it larger sizes come first, a view without one (the whole image)
    before all: methods take the first views for the global crops. Equal ones stay in alphabetical order.
    """

    def place(entry: tuple[str, dict[str, Any]]) -> tuple[int, float, str]:
        return entry[1].get('order', 0), -float(entry[1].get('size', math.inf)), entry[0]

    ordered = sorted(specs.items(), key=place)
    return {(name, number): spec for name, spec in ordered for number in range(spec.get('count', 1))}


def make_views(
    specs: dict[str, dict[str, Any]], *, mean: tuple = (0.5,), std: tuple = (0.5,), reference: Any = None
) -> Callable[..., tuple[tuple[Array, ...], tuple[dict, ...]]]:
    """The function `(key, images, positions, sources) -> (views, view_params)` of a recipe.

    Args:
      specs: view name -> specification; `count` views of each, in the order of :func:`expand`.
      mean, std: normalisation per channel (or one for all), applied last.
      reference: rows `[rows, …]` of the training set, for operations that draw from it (`corrupt`).

    Returns:
      A function of a key for the step, uint8 or [0, 1] float images `[batch, height, width, channels]`,
      each example's position in the global batch, and, per view, which row it is drawn from (None:
      the example's own row). Example i's view v has the key
      `fold_in(fold_in(key, positions[i]), v)`, so it depends on nothing but step, position and view. With `shared=n`
      in a view's specification n neighbours in the batch have the key of the first of them, and `view_params` of that
      view a `shared` of zeros, `[batch, n]`, whose shape says so.
      Where workers have cropped already, the images are :class:`Crops`, and where they drew the boxes alone
      :class:`Canvas`.
    """
    functions = [(make_view(spec, reference), spec.get('shared', 1)) for spec in expand(specs).values()]

    def views(
        key: PRNGKeyArray, images: Any, positions: Array, sources: list[Array | None] | None = None
    ) -> tuple[tuple[Array, ...], tuple[dict, ...]]:
        fold = jax.vmap(lambda position: jax.random.fold_in(key, position))
        keys = {shared: fold(positions // shared * shared) for shared in {shared for _, shared in functions}}
        out, sampled = [], []
        for number, (function, shared) in enumerate(functions):
            rows, cropped = (images,), True
            if isinstance(images, Crops):
                rows = (images.views[number], images.boxes[number])
            elif isinstance(images, Canvas):
                rows, cropped = (images.images, images.boxes[number]), False
            if sources is not None and sources[number] is not None:
                rows = tuple(x[sources[number]] for x in rows)

            def one(k: PRNGKeyArray, *row: Array, f: Callable = function, n: int = number, done: bool = cropped) -> Any:
                return f(jax.random.fold_in(k, n), *row, cropped=done)

            image, params = jax.vmap(one)(keys[shared], *rows)
            if shared > 1:
                params['shared'] = jnp.zeros((len(positions), shared))
            out.append(normalise(image, mean, std))
            sampled.append(params)
        return tuple(out), tuple(sampled)

    return views


def evaluation_geometry(height: int, width: int, *, resize: int = 0, crop: int = 0) -> tuple[tuple, tuple]:
    """((height, width) after the resize, (top, left) of the crop), as torchvision's `Resize` and `CenterCrop` round.

    The longer side is cut to a whole number of pixels; the crop's start is rounded, a half to the even number.
    """
    if resize:
        short = min(height, width)
        height, width = int(resize * height / short), int(resize * width / short)
    if crop > min(height, width):
        raise ValueError(f'a centre crop of {crop} does not fit into images of {height}x{width}')
    start = (round((height - crop) / 2), round((width - crop) / 2)) if crop else (0, 0)
    return (height, width), start


def make_evaluation(
    *, resize: int = 0, crop: int = 0, mean: tuple = (0.5,), std: tuple = (0.5,), method: str = 'bicubic'
) -> Callable[[Array], Array]:
    """The function `images -> images` that prepares images for evaluation: resize, centre crop, normalise.

    Args:
      resize: length of the shorter side after resizing, as torchvision's `Resize`; 0 leaves the size.
      crop: side of the centred square cut out after it, as `CenterCrop`; 0 keeps everything. A larger one is
        refused, where torchvision pads.
      mean, std: normalisation per channel (or one for all).
      method: interpolation of the resize.
    """

    def prepare(images: ArrayLike) -> Array:
        images = to_float(images)
        if images.ndim != 4:
            if resize or crop:
                raise ValueError(f'inputs of shape {list(images.shape[1:])} can be neither resized nor cropped')
            return normalise(images, mean, std)
        height, width = images.shape[1:3]
        new, (top, left) = evaluation_geometry(height, width, resize=resize, crop=crop)
        if resize:
            rows = geometry.resize_matrix(0.0, float(height), height, new[0], method=method)
            columns = geometry.resize_matrix(0.0, float(width), width, new[1], method=method)
            images = jax.vmap(lambda image: geometry.resample(image, rows, columns, clip=True))(images)
        if crop:
            images = images[:, top : top + crop, left : left + crop]
        return normalise(images, mean, std)

    return prepare

"""From a specification (plain data) to a function of (key, image), and from that to a batch of views."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, PRNGKeyArray

from . import blur, colour, geometry, patches, policy, tone, warp
from ._common import to_float

# Every operation a specification may name, in the order in which they run, with the number of its stream
# of random numbers. Numbers are never given away again: runs of old configs keep their draws.
STREAMS = {
    'crop': 0,
    'affine': 1,
    'rotation': 9,
    'flip': 2,
    'rand_augment': 10,
    'jitter': 3,
    'grey': 4,
    'blur': 5,
    'solarise': 6,
    'posterise': 11,
    'equalise': 12,
    'autocontrast': 13,
    'quantise': 14,
    'gamma': 7,
    'noise': 8,
    'patch_shuffle': 15,
    'cutout': 16,
    'erase': 17,
}
OPERATIONS = tuple(STREAMS)
_FIELDS = {
    'crop': ('scale', 'ratio', 'method'),
    'affine': ('degrees', 'translate', 'scale', 'shear', 'fill'),
    'rotation': ('degrees', 'fill'),
    'rand_augment': ('operations', 'strength'),
    'jitter': ('brightness', 'contrast', 'saturation', 'hue', 'p'),
    'blur': ('p', 'sigma', 'dialect', 'kernel'),
    'solarise': ('p', 'threshold'),
    'posterise': ('p', 'bits'),
    'quantise': ('p', 'regions', 'spacing', 'value'),
    'gamma': ('strength',),
    'noise': ('deviation',),
    'patch_shuffle': ('p', 'grid'),
    'cutout': ('p', 'side', 'value'),
    'erase': ('p', 'scale', 'ratio', 'value'),
}
# Operations whose value is a bare probability.
_BARE = ('flip', 'grey', 'equalise', 'autocontrast')
_FUNCTIONS: dict[str, Callable] = {
    'affine': warp.random_affine,
    'rotation': warp.random_rotation,
    'rand_augment': policy.rand_augment,
    'jitter': colour.color_jitter,
    'grey': colour.random_grey,
    'blur': blur.random_blur,
    'solarise': tone.random_solarise,
    'posterise': tone.random_posterise,
    'equalise': tone.random_equalise,
    'autocontrast': tone.random_autocontrast,
    'quantise': tone.random_quantise,
    'gamma': tone.random_gamma,
    'noise': tone.random_noise,
    'patch_shuffle': patches.random_patch_shuffle,
    'cutout': patches.random_cutout,
    'erase': patches.random_erasing,
}
# Operations that need three channels.
COLOUR = ('rand_augment', 'jitter', 'grey')
_WORDS = {
    'method': ('bilinear', 'bicubic'),
    'dialect': blur.DIALECTS,
    'spacing': ('random', 'uniform'),
}


_RANGES = ('scale', 'ratio', 'sigma')
_COUNTS = ('regions', 'grid', 'side', 'operations', 'bits')
_MOST = {'size': 8192, 'count': 64, 'operations': 64, 'bits': 8}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_count(where: str, field: str, value: Any) -> None:
    if type(value) is not int or not 1 <= value <= _MOST.get(field, 2**31 - 1):
        most = f' of at most {_MOST[field]}' if field in _MOST else ''
        raise ValueError(f'{where} must be a positive integer{most}, not {value!r}')


def _check_field(where: str, field: str, entry: Any) -> None:
    """Refuses a value that cannot be meant; the operations check what is particular to them when they are traced."""
    if field in _WORDS:
        if entry not in _WORDS[field]:
            raise ValueError(f'{where} must be {" or ".join(map(repr, _WORDS[field]))}, not {entry!r}')
        return
    if field in _COUNTS:
        _check_count(where, field, entry)
        return
    if field in _RANGES:
        pair = isinstance(entry, (tuple, list)) and len(entry) == 2 and all(map(_is_number, entry))
        if not (pair and 0 < entry[0] <= entry[1]):
            raise ValueError(f'{where} must be a range (low, high) with 0 < low <= high, not {entry!r}')
        return
    if (field == 'kernel' and entry is None) or (field == 'value' and isinstance(entry, str)):
        return
    if not _is_number(entry):
        raise ValueError(f'{where} must be a number, not {entry!r}')
    if field == 'p' and not 0 <= entry <= 1:
        raise ValueError(f'{where} is a probability and must lie in [0, 1], not {entry!r}')
    if field == 'hue' and not 0 <= entry <= 0.5:
        raise ValueError(f'{where} must lie in [0, 0.5], not {entry!r}')
    if field == 'shear' and not 0 <= entry < 90:
        raise ValueError(f'{where} must lie in [0, 90), not {entry!r}')
    if field in ('brightness', 'contrast', 'saturation', 'deviation', 'strength', 'degrees') and not entry >= 0:
        raise ValueError(f'{where} must not be negative, and is {entry!r}')
    if field in ('threshold', 'translate') and not 0 <= entry <= 1:
        raise ValueError(f'{where} must lie in [0, 1], not {entry!r}')


def check_spec(name: str, spec: dict[str, Any]) -> None:
    """Refuses unknown operations and fields, probabilities outside [0, 1] and ranges upside down."""
    for operation, value in spec.items():
        if operation in ('size', 'count'):
            _check_count(f'{name}.{operation}', operation, value)
            continue
        if operation not in STREAMS:
            raise ValueError(f'{name}.{operation} is no operation; known are {", ".join(OPERATIONS)}')
        if operation in _BARE:
            _check_field(f'{name}.{operation}', 'p', value)
            continue
        if not isinstance(value, dict):
            raise ValueError(f'{name}.{operation} must be a group of fields, not {value!r}')
        for field, entry in value.items():
            where = f'{name}.{operation}.{field}'
            if field not in _FIELDS[operation]:
                raise ValueError(f'{where} is unknown; {operation} takes {", ".join(_FIELDS[operation])}')
            _check_field(where, field, entry)
    if 'crop' in spec and 'size' not in spec:
        raise ValueError(f'{name}.crop needs {name}.size')
    if dict(spec.get('crop', {})).get('scale', (1, 1))[1] > 1:
        raise ValueError(f'{name}.crop.scale={spec["crop"]["scale"]!r} asks for crops larger than the image')


def make_view(spec: dict[str, Any]) -> Callable[..., tuple[Array, dict[str, Any]]]:
    """The function `(key, image, box=None, cropped=True) -> (view, sampled parameters)` of a specification.

    Each operation has the key `fold_in(key, its number in STREAMS)`, so adding or dropping one leaves
    the others' draws as they were. The image is `[height, width, channels]`, uint8 or in [0, 1]. Where
    `box` is given, the worker that decoded the image drew it; with `cropped` it has also cropped the image to it and
    resized it, and only the flip is left to do.

    The parameters are `box` (crop, in pixels), `flip`, and under the name of each other operation what
    its function reports: for methods that match or predict transformations. Inside `jit` those that
    nobody reads cost nothing.
    """

    def view(
        key: PRNGKeyArray, image: Array, box: Array | None = None, cropped: bool = True
    ) -> tuple[Array, dict[str, Any]]:
        image = to_float(image)
        keys = {name: jax.random.fold_in(key, number) for name, number in STREAMS.items() if name in spec}
        height, width, channels = image.shape
        if channels != 3:
            for name in COLOUR:
                if name in spec:
                    raise ValueError(f'{name} needs images of 3 channels, and these have {channels}')
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
        for name in OPERATIONS:
            if name in _FUNCTIONS and name in spec:
                fields = {'p': spec[name]} if name in _BARE else spec[name]
                image, sampled[name] = _FUNCTIONS[name](keys[name], image, **fields, report=True)
        return image, sampled

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


def expand(specs: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """One specification per view, in the order in which views come out."""
    return [spec for spec in specs.values() for _ in range(spec.get('count', 1))]


def make_views(
    specs: dict[str, dict[str, Any]], *, mean: tuple = (0.5,), std: tuple = (0.5,)
) -> Callable[..., tuple[tuple[Array, ...], tuple[dict, ...]]]:
    """The function `(key, images, positions, sources) -> (views, view_params)` of a recipe.

    Args:
      specs: view name -> specification; views come out in this order, `count` of each, larger sizes first.
      mean, std: normalisation per channel (or one for all), applied last.

    Returns:
      A function of a key for the step, uint8 or [0, 1] float images `[batch, height, width, channels]`,
      each example's position in the global batch, and, per view, which row it is drawn from (None:
      the example's own row). Example i's view v has the key
      `fold_in(fold_in(key, positions[i]), v)`, so it depends on nothing but step, position and view.
      Where workers have cropped already, the images are :class:`Crops`, and where they drew the boxes alone
      :class:`Canvas`.
    """
    functions = [make_view(spec) for spec in expand(specs)]

    def views(
        key: PRNGKeyArray, images: Any, positions: Array, sources: list[Array | None] | None = None
    ) -> tuple[tuple[Array, ...], tuple[dict, ...]]:
        keys = jax.vmap(lambda position: jax.random.fold_in(key, position))(positions)
        out, sampled = [], []
        for number, function in enumerate(functions):
            rows, cropped = (images,), True
            if isinstance(images, Crops):
                rows = (images.views[number], images.boxes[number])
            elif isinstance(images, Canvas):
                rows, cropped = (images.images, images.boxes[number]), False
            if sources is not None and sources[number] is not None:
                rows = tuple(x[sources[number]] for x in rows)

            def one(k: PRNGKeyArray, *row: Array, f: Callable = function, n: int = number, done: bool = cropped) -> Any:
                return f(jax.random.fold_in(k, n), *row, cropped=done)

            image, params = jax.vmap(one)(keys, *rows)
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

"""From a specification (plain data) to a function of (key, image), and from that to a batch of views."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, PRNGKeyArray

from . import blur, colour, geometry

# Every operation a specification may name, in the order in which they run.
OPERATIONS = ('crop', 'affine', 'flip', 'jitter', 'grey', 'blur', 'solarise', 'gamma', 'noise')
_FIELDS = {
    'crop': ('scale', 'ratio', 'method'),
    'affine': ('degrees', 'translate', 'scale', 'shear', 'fill'),
    'flip': None,
    'jitter': ('brightness', 'contrast', 'saturation', 'hue', 'p'),
    'grey': None,
    'blur': ('p', 'sigma'),
    'solarise': ('p', 'threshold'),
    'gamma': ('strength',),
    'noise': ('deviation',),
}
# Operations whose value is a bare probability, and the function each of the others calls.
_FUNCTIONS: dict[str, Callable] = {
    'affine': geometry.random_affine,
    'jitter': colour.color_jitter,
    'blur': blur.random_blur,
    'solarise': colour.random_solarise,
    'gamma': colour.random_gamma,
    'noise': colour.random_noise,
}


def check_spec(name: str, spec: dict[str, Any]) -> None:
    """Refuses unknown operations and fields, probabilities outside [0, 1] and ranges upside down."""
    for operation, value in spec.items():
        if operation in ('size', 'count'):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f'{name}.{operation} must be a positive integer, not {value!r}')
            continue
        if operation not in OPERATIONS:
            raise ValueError(f'{name}.{operation} is no operation; known are {", ".join(OPERATIONS)}')
        fields = _FIELDS[operation]
        for field, entry in {operation: value}.items() if fields is None else dict(value).items():
            where = f'{name}.{operation}' if fields is None else f'{name}.{operation}.{field}'
            if fields is not None and field not in fields:
                raise ValueError(f'{where} is unknown; {operation} takes {", ".join(fields)}')
            if (field == 'p' or fields is None) and not 0 <= entry <= 1:
                raise ValueError(f'{where} is a probability and must lie in [0, 1], not {entry!r}')
            if field in ('scale', 'ratio', 'sigma') and not 0 < entry[0] <= entry[1]:
                raise ValueError(f'{where} must be a range (low, high) with 0 < low <= high, not {entry!r}')
            if field == 'method' and entry not in ('bilinear', 'bicubic'):
                raise ValueError(f"{where} must be 'bilinear' or 'bicubic', not {entry!r}")
            if field == 'hue' and not 0 <= entry <= 0.5:
                raise ValueError(f'{where} must lie in [0, 0.5], not {entry!r}')
    if 'crop' in spec and 'size' not in spec:
        raise ValueError(f'{name}.crop needs {name}.size')


def make_view(spec: dict[str, Any]) -> Callable[[PRNGKeyArray, Array], tuple[Array, dict[str, Array]]]:
    """The function `(key, image) -> (view, sampled parameters)` of a specification.

    Each operation has the key `fold_in(key, its number in OPERATIONS)`, so adding or dropping one
    leaves the others' draws as they were. The image is `[height, width, channels]` in [0, 1]. The
    parameters are `box` (crop, in pixels) and `flip`, for methods that need to know where a view
    came from.
    """

    def view(key: PRNGKeyArray, image: Array) -> tuple[Array, dict[str, Array]]:
        keys = {name: jax.random.fold_in(key, number) for number, name in enumerate(OPERATIONS)}
        height, width, _ = image.shape
        box = jnp.array([0.0, 0.0, height, width], image.dtype)
        flip = jax.random.bernoulli(keys['flip'], spec['flip']) if 'flip' in spec else jnp.asarray(False)
        if 'crop' in spec:
            crop = dict(spec['crop'])
            method = crop.pop('method', 'bilinear')
            box = geometry.sample_crop(keys['crop'], height, width, **crop).astype(image.dtype)
            image = geometry.crop_and_resize(image, box, spec['size'], flip=flip, method=method)
        elif 'flip' in spec:
            image = jnp.where(flip, image[:, ::-1], image)
        for name in OPERATIONS:
            if name == 'grey' and name in spec:
                image = colour.random_grey(keys[name], image, p=spec[name])
            elif name in _FUNCTIONS and name in spec:
                image = _FUNCTIONS[name](keys[name], image, **spec[name])
        return image, {'box': box, 'flip': flip}

    return view


def _normalise(images: Array, mean: tuple, std: tuple) -> Array:
    channels = images.shape[-1]
    if len(mean) not in (1, channels) or len(mean) != len(std):
        raise ValueError(f'mean and std have {len(mean)} and {len(std)} entries for images of {channels} channels')
    shape = (1,) * (images.ndim - 1) + (-1,)
    return (images - jnp.asarray(mean, images.dtype).reshape(shape)) / jnp.asarray(std, images.dtype).reshape(shape)


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
    """
    expanded = [spec for spec in specs.values() for _ in range(spec.get('count', 1))]
    functions = [make_view(spec) for spec in expanded]

    def views(
        key: PRNGKeyArray, images: ArrayLike, positions: Array, sources: list[Array | None] | None = None
    ) -> tuple[tuple[Array, ...], tuple[dict, ...]]:
        images = to_float(images)
        keys = jax.vmap(lambda position: jax.random.fold_in(key, position))(positions)
        out, sampled = [], []
        for number, function in enumerate(functions):
            rows = images if sources is None or sources[number] is None else images[sources[number]]
            image, params = jax.vmap(lambda k, x, f=function, n=number: f(jax.random.fold_in(k, n), x))(keys, rows)
            out.append(_normalise(image, mean, std))
            sampled.append(params)
        return tuple(out), tuple(sampled)

    return views


def make_evaluation(
    *, resize: int = 0, crop: int = 0, mean: tuple = (0.5,), std: tuple = (0.5,), method: str = 'bicubic'
) -> Callable[[Array], Array]:
    """The function `images -> images` that prepares images for evaluation: resize, centre crop, normalise.

    Args:
      resize: length of the shorter side after resizing; 0 leaves the size.
      crop: side of the centred square cut out after it; 0 keeps everything.
      mean, std: normalisation per channel (or one for all).
      method: interpolation of the resize.
    """

    def prepare(images: ArrayLike) -> Array:
        images = to_float(images)
        height, width = images.shape[1:3]
        if resize:
            new = (round(height * resize / min(height, width)), round(width * resize / min(height, width)))
            rows = geometry.resize_matrix(0.0, float(height), height, new[0], method=method)
            columns = geometry.resize_matrix(0.0, float(width), width, new[1], method=method)
            images = jnp.einsum('oh,bhwc,pw->bopc', rows, images, columns, precision=geometry.HIGHEST)
            images = jnp.clip(images, 0.0, 1.0)
            height, width = new
        if crop:
            if crop > min(height, width):
                raise ValueError(f'a centre crop of {crop} does not fit into images of {height}x{width}')
            top, left = (height - crop) // 2, (width - crop) // 2
            images = images[:, top : top + crop, left : left + crop]
        return _normalise(images, mean, std)

    return prepare


def to_float(images: ArrayLike) -> Array:
    """uint8 images to [0, 1] float32; float images as they are (at least float32)."""
    images = jnp.asarray(images)
    if images.dtype == jnp.uint8:
        return images.astype(jnp.float32) / 255.0
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(f'images must be uint8 in 0..255 or floating point in [0, 1], not {images.dtype}')
    return images.astype(jnp.promote_types(images.dtype, jnp.float32))

"""What every operation shares: the types of an image, its conversion and its checks."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, UInt8

# One image. uint8 stands for [0, 255], floating point for [0, 1]; operations give floating point.
Image = Float[Array, 'height width channels'] | UInt8[Array, 'height width channels']
Colour = Float[Array, 'height width 3'] | UInt8[Array, 'height width 3']
Result = Float[Array, 'height width channels']
# What `report=True` makes of a result: the image and the parameters that were drawn for it.
Report = tuple[Float[Array, '...'], dict[str, Any]]

# Products that make pixels: float32 throughout, where the default is TF32 on NVIDIA and bfloat16 on TPU.
HIGHEST = jax.lax.Precision.HIGHEST


def to_float(images: ArrayLike) -> Array:
    """uint8 images to [0, 1] float32; float images as they are (at least float32)."""
    images = jnp.asarray(images)
    if images.dtype == jnp.uint8:
        return images.astype(jnp.float32) / 255.0
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(f'images must be uint8 in 0..255 or floating point in [0, 1], not {images.dtype}')
    return images.astype(jnp.promote_types(images.dtype, jnp.float32))


def require_colour(image: Array) -> None:
    """Refuses what is not `[height, width, 3]`."""
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f'colour operations need an image [height, width, 3], not {list(image.shape)}')


def require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuses a word that is none of the choices."""
    if value not in choices:
        raise ValueError(f'{name} must be one of {", ".join(choices)}, not {value!r}')


def require_probability(p: Any) -> None:
    """Refuses a probability outside [0, 1]; a traced one is not looked at."""
    if isinstance(p, (int, float)) and not 0 <= p <= 1:
        raise ValueError(f'p is a probability and must lie in [0, 1], not {p!r}')


def require_range(name: str, value: Any, low: int | float, high: int | float = float('inf')) -> None:
    """Refuses a number, or a range (low, high), that leaves [low, high] or stands upside down."""
    ends = value if isinstance(value, (tuple, list)) else (value, value)
    if not all(isinstance(end, (int, float)) for end in ends):
        return
    if len(ends) != 2 or not low <= ends[0] <= ends[1] <= high:
        limits = f'[{low:g}, {high:g}]' if high < float('inf') else f'at least {low:g}'
        raise ValueError(f'{name} must be {limits}{" and in order" if ends is value else ""}, not {value!r}')


def reported(image: Array, drawn: dict[str, Any], report: bool) -> Array | Report:
    """The image alone, or with the parameters drawn for it."""
    return (image, drawn) if report else image

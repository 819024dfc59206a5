"""CIE Lab, and the colours of an image's cells as answers of a task."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ._common import HIGHEST, Colour, Report, reported, require_colour, to_float
from .patches import cells_of

# Linear sRGB to XYZ, D65, rows divided by the white point (0.95047, 1, 1.08883).
_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_XYZ = _XYZ / np.array([[0.95047], [1.0], [1.08883]])
_GAMUT = 52  # levels of each channel of which the colours that there are are read


def to_lab(image: Colour) -> Float[Array, 'height width 3']:
    """Brings sRGB to CIE Lab with the white point D65: L in [0, 100], a and b within about ±110."""
    image = to_float(image)
    require_colour(image)
    # Both branches stay defined: a power of 0 has no finite derivative.
    linear = jnp.where(image > 0.04045, ((jnp.maximum(image, 0.04045) + 0.055) / 1.055) ** 2.4, image / 12.92)
    xyz = jnp.einsum('hwc,xc->hwx', linear, jnp.asarray(_XYZ, image.dtype), precision=HIGHEST)
    small = (6.0 / 29.0) ** 3
    f = jnp.where(xyz > small, jnp.cbrt(jnp.maximum(xyz, small)), xyz / (3 * (6.0 / 29.0) ** 2) + 4.0 / 29.0)
    return jnp.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


@functools.lru_cache(maxsize=8)
def colour_bins(step: int) -> np.ndarray:
    """Centres (a, b) of the squares of `step` x `step` in which sRGB colours lie, `[bins, 2]`, by a, then b."""
    level = np.linspace(0.0, 1.0, _GAMUT, dtype=np.float32)
    cube = np.stack(np.meshgrid(level, level, level, indexing='ij'), axis=-1).reshape(_GAMUT, -1, 3)
    with jax.ensure_compile_time_eval():
        found = np.asarray(to_lab(jnp.asarray(cube)))[..., 1:].reshape(-1, 2)
    return np.unique(np.round(found / step), axis=0) * step


def cell_colours(
    key: PRNGKeyArray, image: Colour, *, cells: int = 8, step: int = 10, report: bool = False
) -> Float[Array, 'height width 3'] | Report:
    """The image as it is; reports which colour each of its cells has. Nothing is drawn.

    Args:
      key: of no use here.
      image: of three channels, whose sides `cells` divides.
      cells: along a side.
      step: side of the squares into which the plane of a and b is cut. Zhang et al.: 10.
      report: also give `answer` `[cells, cells, bins]`: the bin of :func:`colour_bins` nearest to its mean (a, b).

    References:
      Zhang et al. 2016, https://arxiv.org/abs/1603.08511, section 2.1.
    """
    del key
    image = to_float(image)
    require_colour(image)
    bins = jnp.asarray(colour_bins(step), image.dtype)
    colours = jnp.mean(cells_of(to_lab(image)[..., 1:], cells), axis=(1, 2))
    distances = jnp.sum((colours[:, None] - bins[None]) ** 2, axis=-1)
    answer = jax.nn.one_hot(jnp.argmin(distances, axis=1), len(bins)).reshape(cells, cells, -1)
    return reported(image, {'answer': answer}, report)

"""RandAugment: a few operations drawn from a list of fourteen, all of one strength."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, PRNGKeyArray

from . import blur, colour, tone, warp
from ._common import Colour, Report, Result, reported, require_colour, require_range, to_float

# The operations in torchvision's order, with the magnitude at strength 1. Signed ones go both ways.
SIGNED = {
    'shear_x': 0.3,
    'shear_y': 0.3,
    'translate_x': 150 / 331,
    'translate_y': 150 / 331,
    'rotate': 30.0,
    'brightness': 0.9,
    'saturation': 0.9,
    'contrast': 0.9,
    'sharpness': 0.9,
}
OPERATIONS = ('identity', *SIGNED, 'posterise', 'solarise', 'autocontrast', 'equalise')
_GEOMETRIC = 6  # numbers below it move pixels (or do nothing)


def _moved(image: Array, operation: ArrayLike, amount: ArrayLike) -> Array:
    """The geometric operations as one affine map, so that pixels are fetched once whichever it is."""
    height, width, _ = image.shape
    is_ = [operation == number for number in range(_GEOMETRIC)]
    slope = jnp.rad2deg(jnp.arctan(amount))
    right, down = jnp.trunc(amount * width), jnp.trunc(amount * height)
    sheared = is_[1] | is_[2]
    matrix, translation = warp.affine_map(
        jnp.where(is_[5], -amount, 0.0),
        (jnp.where(is_[3], right, 0.0), jnp.where(is_[4], down, 0.0)),
        1.0,
        (jnp.where(is_[1], slope, 0.0), jnp.where(is_[2], slope, 0.0)),
        (jnp.where(sheared, -width / 2, 0.0), jnp.where(sheared, -height / 2, 0.0)),
    )
    return warp.affine(image, matrix, translation, method='nearest')


def apply_operation(image: Colour, operation: ArrayLike, strength: ArrayLike, sign: ArrayLike) -> Result:
    """One operation of :data:`OPERATIONS`, by number, on an RGB image.

    Args:
      image: values in [0, 1], or uint8.
      operation: its number.
      strength: 0 (weakest) to 1.
      sign: 1 or −1, for those that go both ways.
    """
    require_colour(image)
    image = to_float(image)
    most = jnp.array([SIGNED.get(name, 0.0) for name in OPERATIONS])[operation]
    amount = (sign * strength * most).astype(image.dtype)

    def blended(which: int) -> Array:
        factors = jnp.where(jnp.arange(4) == which, 1 + amount, jnp.array([1.0, 1.0, 1.0, 0.0])).astype(image.dtype)
        return colour.jitter(image, factors, jnp.arange(4))

    arms = {
        'brightness': lambda: blended(colour.BRIGHTNESS),
        'saturation': lambda: blended(colour.SATURATION),
        'contrast': lambda: blended(colour.CONTRAST),
        'sharpness': lambda: blur.sharpen(image, 1 + amount),
        'posterise': lambda: tone.posterise(image, bits=8 - jnp.round(4 * strength)),
        'solarise': lambda: tone.solarise(image, threshold=1 - strength),
        'autocontrast': lambda: tone.autocontrast(image),
        'equalise': lambda: tone.equalise(image),
    }
    moved = [lambda: _moved(image, operation, amount)]
    branch = jnp.maximum(operation - _GEOMETRIC + 1, 0)
    return jax.lax.switch(branch, moved + [arms[name] for name in OPERATIONS[_GEOMETRIC:]])


def rand_augment(
    key: PRNGKeyArray,
    image: Colour,
    *,
    operations: int = 2,
    strength: float = 0.3,
    report: bool = False,
) -> Result | Report:
    """`operations` draws from :data:`OPERATIONS`, one after the other, all of the same strength.

    For one image a branch is taken; under `vmap` every example pays for all nine arms, because each
    draws another: dear on small devices (see benchmarks/augment.py), so no recipe of ours uses it.

    Args:
      key, image: the draw's key, and an RGB image.
      operations: number of draws, N.
      strength: M as a share of its greatest value; torchvision's magnitude 9 of 30 is 0.3.
      report: also give `operation` and `sign`, `[operations]` each.

    References:
      Cubuk et al. 2020, https://arxiv.org/abs/1909.13719; list and ranges of torchvision's `RandAugment`.
    """
    require_range('strength', strength, 0.0, 1.0)
    require_range('operations', operations, 1)
    image = to_float(image)
    which_key, sign_key = jax.random.split(key)
    which = jax.random.randint(which_key, (operations,), 0, len(OPERATIONS))
    sign = jnp.where(jax.random.bernoulli(sign_key, 0.5, (operations,)), 1.0, -1.0)

    def one(image: Array, drawn: tuple[Array, Array]) -> tuple[Array, None]:
        return apply_operation(image, drawn[0], strength, drawn[1]), None

    return reported(jax.lax.scan(one, image, (which, sign))[0], {'operation': which, 'sign': sign}, report)

"""What the augmentation changed from one view to another, as numbers: what SIE and FiLMR read."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..errors import UserError

# Name of what an operation reports in `view_params` -> how many numbers say the change from one view to another, and
# the function that gives them, `[batch, numbers]`.
Changes = Mapping[str, tuple[int, Callable[[Any, Any], Array]]]


def _angle(first: dict, second: dict) -> Array:
    """The angle from one view to the other, in radians."""
    return jnp.deg2rad(second['angle'] - first['angle'])[:, None]


def _turn(first: dict, second: dict) -> Array:
    """Cosine and sine of the angle from one view to the other."""
    angle = _angle(first, second)
    return jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=1)


def _colour(first: dict, second: dict) -> Array:
    """Differences of the factors of brightness, contrast and saturation, and of the hue's shift."""
    return second['factors'] - first['factors']


def _window(first: Array, second: Array) -> Array:
    """The second crop seen from the first: offsets over the first's sides, and logarithms of the sides' ratios."""
    offsets, ratios = (second[:, :2] - first[:, :2]) / first[:, 2:], second[:, 2:] / first[:, 2:]
    return jnp.concatenate([offsets, jnp.log(ratios)], axis=1)


def _mirror(first: Array, second: Array) -> Array:
    """1 where both views or neither are mirrored, else −1."""
    return jnp.where(first == second, 1.0, -1.0)[:, None]


RELATIVE: Changes = {'rotation': (2, _turn), 'jitter': (4, _colour), 'box': (4, _window), 'flip': (1, _mirror)}
# Those of one view to another and of that to a third add up to those of the first to the third. Of crops moves and
# scales do not commute, so that no sum says both, and a flip is no multiple of a step.
ADDITIVE: Changes = {'rotation': (1, _angle), 'jitter': (4, _colour)}


def changes(view_params: Sequence[dict], names: Sequence[str], known: Changes) -> Float[Array, 'batch numbers']:
    """The change from the first view to the second, by the operations of `known` that `names` has.

    Raises:
      UserError: for an operation that the views do not draw.
    """
    first, second = view_params
    for name in names:
        if name not in first or name not in second:
            raise UserError(
                f'method.transformations has {name!r}, and the views draw {", ".join(sorted({*first} & {*second}))}; '
                f'add the operation to augment.views'
            )
    return jnp.concatenate([known[name][1](first[name], second[name]) for name in names], axis=1)

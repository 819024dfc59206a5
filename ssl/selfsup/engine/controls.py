"""The controls of a claim of learning: the same run on pairs or targets that belong to other examples.

`shuffled_pairs` draws each view from another image; `shuffled_targets` makes each example predict another example's
targets, for methods of one view. In both, nothing about an image should be learned that its own statistics do not say.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from ..errors import UserError
from ..methods import Method


def pair_sources(control: str, batch: int, views: int) -> list[Array | None]:
    """Which row each view is drawn from: its own, or, with shuffled pairs, another image's.

    The batch is in random order, so a shift by the view's number draws another image every epoch.
    """
    if control != 'shuffled_pairs':
        return [None] * views
    return [None if v == 0 else jnp.roll(jnp.arange(batch), v) for v in range(views)]


def with_companions(rows: dict[str, Array], sources: list[Array | None]) -> tuple[Array, list[Array | None]]:
    """The images that views are drawn from, and the row of them for each view; companions serve all but the first.

    Images and companions stand side by side, so that no image changes its device.
    """
    if 'companion' not in rows:
        return rows['input'], sources
    both = jnp.stack([rows['input'], rows['companion']], axis=1).reshape(-1, *rows['input'].shape[1:])
    own = jnp.arange(len(rows['input']))
    return both, [2 * (own if s is None else s) + (view > 0) for view, s in enumerate(sources)]


def other_rows(rows: dict[str, Array], views: int) -> dict[str, Array]:
    """Each row's index and label replaced by those of an image that none of its views is drawn from.

    Labels (SupCon) and indices (the memory of DeepCluster) tie a row to its image as a pair of views does.
    """
    return {name: jnp.roll(rows[name], views) for name in ('index', 'label')}


def controlled(control: str, outputs: dict[str, Any]) -> dict[str, Any]:
    """The outputs of `embed` that the criterion sees: with shuffled targets, each example has the next one's."""
    if control != 'shuffled_targets':
        return outputs
    return {**outputs, 'targets': jax.tree.map(lambda x: jnp.roll(x, 1, axis=0), outputs['targets'])}


def check_control(config: ConfigDict, method: Method, views: int) -> None:
    """Refuses views that are too few for the method, and a control of another family.

    Raises:
      UserError: naming the method's own control, or how many views it needs.
    """
    name = config.method.name
    if views < method.views:
        raise UserError(f'augment.views gives {views} views, and {name} needs at least {method.views}')
    if config.control not in ('none', method.control):
        raise UserError(f'control={config.control!r} does not apply to {name}, whose control is {method.control!r}')

"""The shuffled-pairs control: every positive is drawn from another image, so that nothing should be learned."""

import jax.numpy as jnp
from jaxtyping import Array


def pair_sources(control: str, batch: int, views: int) -> list[Array | None]:
    """Which row each view is drawn from: its own, or, under the control, another image's.

    The batch is in random order, so a shift by the view's number draws a new stranger every epoch.
    """
    if control == 'none':
        return [None] * views
    return [None if v == 0 else jnp.roll(jnp.arange(batch), v) for v in range(views)]


def strangers(rows: dict[str, Array], views: int) -> dict[str, Array]:
    """Each row's index and label replaced by those of an image that none of its views is drawn from.

    Labels (SupCon) and indices (the memory of DeepCluster) tie a row to its image as a pair of views does.
    """
    return {name: jnp.roll(rows[name], views) for name in ('index', 'label')}

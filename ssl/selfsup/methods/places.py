"""Where the places of a feature map lie in the original image: what VICRegL and DetCon share."""

import jax.numpy as jnp
from jaxtyping import Array


def places(params: dict[str, Array], rows: int, columns: int) -> Array:
    """(row, column) in the original image, in pixels, of the centre of each place of a map, `[batch, places, 2]`.

    `params` holds a view's `box` (top, left, height, width) and `flip`, as the augmentation gives them.
    """
    box, flip = params['box'], params['flip']
    down = (jnp.arange(rows, dtype=box.dtype) + 0.5) / rows
    across = jnp.broadcast_to(((jnp.arange(columns, dtype=box.dtype) + 0.5) / columns)[None], (len(box), columns))
    across = jnp.where(flip[:, None], 1.0 - across, across)
    y = box[:, :1] + box[:, 2:3] * down[None]
    x = box[:, 1:2] + box[:, 3:] * across
    shape = (len(box), rows, columns)
    grid = [jnp.broadcast_to(y[:, :, None], shape), jnp.broadcast_to(x[:, None, :], shape)]
    return jnp.stack(grid, axis=-1).reshape(len(box), rows * columns, 2)

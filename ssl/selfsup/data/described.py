"""The shapes of what a feed gives, for a step that is compiled and not run: no row is read."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ..augment.pipeline import Canvas, Crops
from ..parallel import DATA_AXIS, replicated
from .crop_boxes import Crop
from .loader import feed_kind, is_shared, set_bytes
from .sources import Source


class Described:
    """In the place of a feed, for a mesh whose devices need not be there; see :func:`selfsup.data.loader.make_feed`.

    Attributes:
      resident: whether the whole set lies on the devices.
    """

    def __init__(
        self,
        kind: str,
        source: Source,
        *,
        batch_size: int,
        mesh: Mesh,
        crops: Sequence[Crop] = (),
        channels: int = 0,
        canvas: int = 0,
    ):
        kind = feed_kind(kind, source, batch_size=batch_size, mesh=mesh, crops=crops, canvas=canvas)
        self.resident = kind == 'resident'
        self._source, self._batch_size, self._mesh = source, batch_size, mesh
        self._crops, self._channels, self._canvas = crops, channels or source.spec.shape[-1], canvas

    def shapes(self, steps: int) -> tuple[dict[str, Any], Any]:
        """`(data, indices)` of a dispatch of so many steps, as shapes with the shardings that the feed gives them."""
        spread = NamedSharding(self._mesh, PartitionSpec(None, DATA_AXIS))

        def rows(*shape: int, dtype: Any = np.uint8) -> Any:
            return jax.ShapeDtypeStruct((steps, self._batch_size, *shape), dtype, sharding=spread)

        spec = self._source.spec
        inputs: Any
        if self.resident:
            inputs, labels = self._whole()
            return {'input': inputs, 'label': labels}, rows(dtype=jnp.int32)
        boxes: Any = tuple(rows(4, dtype=np.float32) for _ in self._crops)
        if not self._crops:
            inputs = rows(*spec.shape, dtype=spec.dtype)
        elif self._canvas:
            inputs = Canvas(rows(self._canvas, self._canvas, self._channels), boxes)
        else:
            views: Any = tuple(rows(c.size, c.size, self._channels) for c in self._crops)
            inputs = Crops(views, boxes)
        return {'input': inputs, 'label': rows(dtype=jnp.int32)}, rows(dtype=jnp.int32)

    def _whole(self) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
        """The whole set on each device, or its share where that is too much."""
        spec, count, place = self._source.spec, len(self._source), replicated(self._mesh)
        if is_shared(set_bytes(self._source), self._mesh):
            place = NamedSharding(self._mesh, PartitionSpec(DATA_AXIS))
            count += -count % self._mesh.shape[DATA_AXIS]
        return (
            jax.ShapeDtypeStruct((count, *spec.shape), spec.dtype, sharding=place),
            jax.ShapeDtypeStruct((count,), jnp.int32, sharding=place),
        )

"""Features of a whole data set, exact under a padded last batch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from ..errors import UserError


class Features(NamedTuple):
    """Features `[n, dim]` float32 and labels `[n]` int32 (−1 where unknown), on the host."""

    features: np.ndarray
    labels: np.ndarray


def extract(encode: Callable[[Any], Any], images: Any, *, batch_size: int = 512) -> Any:
    """`encode` over all rows of `images`, in batches of one shape; a tree of host arrays `[n, …]`.

    The last batch is filled up with copies of its first row, whose results are dropped, so `encode` is
    compiled once.
    """
    count = len(images)
    if count == 0:
        raise UserError('there are no images to encode')
    size = min(batch_size, count)
    pieces = []
    for start in range(0, count, size):
        rows = np.asarray(images[start : start + size])
        missing = size - len(rows)
        if missing:
            rows = np.concatenate([rows, np.repeat(rows[:1], missing, axis=0)])
        out = jax.device_get(encode(rows))
        pieces.append(jax.tree.map(lambda x, kept=size - missing: np.asarray(x)[:kept], out))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *pieces)


def check(features: Features, name: str) -> Features:
    """The same features, or an error that counts what is not finite."""
    bad = ~np.isfinite(features.features).all(axis=1)
    if bad.any():
        raise UserError(f'{name}: {int(bad.sum())} rows of features are not finite, the first is {int(bad.argmax())}')
    if features.features.ndim != 2 or len(features.features) != len(features.labels):
        raise UserError(
            f'{name}: features {list(features.features.shape)} and labels {list(features.labels.shape)} do not match'
        )
    return features


def standardized(train: Features, test: Features) -> tuple[np.ndarray, np.ndarray]:
    """Both sets to mean 0 and deviation 1 per dimension by train's statistics; constant dimensions become 0."""
    mean = train.features.mean(axis=0, dtype=np.float64)
    deviation = train.features.std(axis=0, dtype=np.float64)
    scale = np.where(deviation > 1e-8 * max(deviation.max(), 1e-30), 1.0 / np.maximum(deviation, 1e-30), 0.0)
    return tuple(((f.features - mean) * scale).astype(np.float32) for f in (train, test))  # type: ignore[return-value]

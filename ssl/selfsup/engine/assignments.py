"""The clusters into which an encoder's own method sorts images."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from .. import evals
from ..data.sources import Source
from . import images
from .encoder import Encoder

ROWS = 8192  # outputs that are assigned at once


class Assigned(NamedTuple):
    """Of each row its cluster and that cluster's score, `[n]`; and how many clusters there are."""

    clusters: np.ndarray
    scores: np.ndarray
    count: int


def has_clusters(encoder: Any) -> bool:
    """Whether an encoder's method sorts images into clusters."""
    return getattr(encoder.method, 'assign', None) is not None


def assigned(encoder: Encoder, outputs: Mapping[str, np.ndarray]) -> Assigned:
    """The likeliest cluster of each row.

    Args:
      encoder: of a method that has clusters.
      outputs: what :meth:`Encoder.outputs` gives of the images.
    """
    assign = encoder.method.assign
    assert assign is not None

    @jax.jit
    def best(params: Any, extra: Any, rows: Any) -> dict[str, Any]:
        scores = assign(params, extra, rows)
        return {'clusters': scores.argmax(axis=1), 'scores': scores.max(axis=1)}

    def call(rows: Any) -> Any:
        return best(encoder.params, encoder.extra, {'features': rows[:, :width], 'embeddings': rows[:, width:]})

    width = outputs['features'].shape[1]
    joined = np.concatenate([outputs['features'], outputs['embeddings']], axis=1)
    found = evals.extract(call, joined, batch_size=ROWS)
    one = jax.tree.map(lambda x: x[:1], dict(outputs))
    count = jax.eval_shape(lambda p, e: assign(p, e, one), encoder.params, encoder.extra).shape[1]
    return Assigned(found['clusters'], np.asarray(found['scores'], np.float32), count)


def of_assignments(encoder: Encoder, data: Mapping[str, Source]) -> dict[str, float]:
    """:func:`selfsup.evals.assigned` of the images of train and test."""
    parts = []
    for source in (data['train'], data['test']):
        outputs, kept = images.encoded(encoder.outputs, source, batch_size=encoder.config.evaluate.batch_size)
        parts.append((assigned(encoder, outputs), source.labels[kept]))
    (ours, labels), (theirs, test_labels) = parts
    return evals.assigned(ours.clusters, labels, theirs.clusters, test_labels, count=ours.count)

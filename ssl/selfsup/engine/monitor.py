"""What is measured on the held-out images during training: one compiled function, no labels but the probe's."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .. import diagnostics
from ..methods import Method
from .step import TrainState, probe_logits

# The held-out views are drawn with keys of their own, the same at every measurement.
MONITOR_STREAM = 2**31 - 1


def make_monitor(
    method: Method, views: Callable, prepare: Callable, images: np.ndarray, labels: np.ndarray, *, seed: int
) -> Callable[[TrainState], dict[str, Array]]:
    """The function `state -> numbers`, on images that the encoder never trains on.

    Returns:
      `rankme` (embeddings), `rankme_features`, `deviation` (absolute, of embeddings),
      `deviation_normalized`, `alignment` (squared distance of positive pairs over that of random
      pairs), and, with labels, `probe_accuracy` of the online probe.
    """
    key = jax.random.fold_in(jax.random.key(seed), MONITOR_STREAM)
    labelled = bool((labels >= 0).all())
    pair = [image for image in views(key, images, jnp.arange(len(images)))[0]][:2]

    @jax.jit
    def measure(params: Any, extra: Any, probe: Any, clean: Array, views: list[Array], labels: Array) -> dict:
        outputs = method.encode(params, extra, prepare(clean))
        embeddings = [method.encode(params, extra, view)['embeddings'] for view in views]
        features = outputs['features'].astype(jnp.float32)
        out = {
            'rankme': diagnostics.rankme(outputs['embeddings'].astype(jnp.float32)),
            'rankme_features': diagnostics.rankme(features),
            'deviation': diagnostics.feature_deviation(embeddings[0].astype(jnp.float32)),
            'deviation_normalized': diagnostics.feature_deviation(embeddings[0].astype(jnp.float32), normalized=True),
        }
        if len(embeddings) > 1:
            first, second = (e.astype(jnp.float32) for e in embeddings)
            out['alignment'] = diagnostics.relative_alignment(first, second)
        if labelled:
            out['probe_accuracy'] = jnp.mean(jnp.argmax(probe_logits(probe, features), axis=1) == labels)
        return out

    clean, labels_array = jnp.asarray(images), jnp.asarray(labels)
    return lambda state: measure(state.params, state.extra, state.probe, clean, pair, labels_array)

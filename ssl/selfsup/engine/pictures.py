"""Pictures of what a method that predicts hidden patches of pixels makes of images."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..losses.masked import EPSILON, unpatchify
from . import build
from .encoder import Encoder

SMALLEST_SIDE = 96  # pixels of a shown image; smaller ones are enlarged by whole pixels
GAP = 4  # white pixels between images


def _denormalised(predictions: Array, targets: Array) -> Array:
    """Predictions of patches of mean 0 and variance 1 in the units of the target patches, whose moments they get."""
    mean = jnp.mean(targets, axis=2, keepdims=True)
    deviation = jnp.sqrt(jnp.var(targets, axis=2, ddof=1, keepdims=True) + EPSILON)
    return predictions * deviation + mean


def reconstructions(encoder: Encoder, images: np.ndarray) -> dict[str, np.ndarray] | None:
    """Images as the encoder sees them, as it and its decoder complete them, and as they are.

    Args:
      encoder: of a run; masks are drawn from a fixed key.
      images: uint8 (0..255) or float ([0, 1]), `[n, height, width, channels]`, of the data's size.

    Returns:
      `masked` (hidden patches grey), `reconstructed` (hidden patches predicted; where the method normalises its target
      patches, with the mean and deviation of the true patch) and `original`: `[n, height, width, channels]`, float32 in
      [0, 1]. None for a method that predicts no pixels.
    """
    method, config = encoder.method, encoder.config
    if method.control != 'shuffled_targets':
        return None
    views = build.build_preparation(config)(images)
    count, height, width, channels = views.shape

    def predict(params: Any, extra: Any, views: Array) -> dict[str, Any]:
        keys = jax.random.split(jax.random.key(0), count)
        batch = {'views': (views,) * method.views, 'keys': keys, 'index': jnp.arange(count)}
        batch |= {'view_params': ({},) * method.views, 'step': jnp.zeros((), jnp.int32)}
        return method.embed(params, extra, batch, jax.random.key(0))[0]

    outputs = jax.jit(predict)(encoder.params, encoder.extra, views)
    if not {'predictions', 'targets', 'hidden'} <= outputs.keys() or outputs['targets'].size != views.size:
        return None
    predictions, targets, hidden = outputs['predictions'], outputs['targets'], outputs['hidden'][:, :, None]
    if config.method.get('normalize', False):
        predictions = _denormalised(predictions, targets)
    patch = round((targets.shape[2] // channels) ** 0.5)
    mean, std = (np.asarray(config.augment[name], np.float32) for name in ('mean', 'std'))

    def shown(patches: Array) -> np.ndarray:
        x = unpatchify(patches, patch, (height // patch, width // patch))
        return np.clip(np.asarray(x, np.float32) * std + mean, 0, 1)

    grey = jnp.broadcast_to(jnp.asarray((0.5 - mean) / std), (count, targets.shape[1], patch**2, channels))
    return {
        'masked': shown(jnp.where(hidden, grey.reshape(targets.shape), targets)),
        'reconstructed': shown(jnp.where(hidden, predictions, targets)),
        'original': shown(targets),
    }


def plot_reconstructions(encoder: Encoder, images: np.ndarray, file: Path) -> bool:
    """Writes :func:`reconstructions` as a PNG, one column an image; False, and no file, if there are none."""
    from PIL import Image

    found = reconstructions(encoder, images)
    if found is None:
        return False
    scale = -(-SMALLEST_SIDE // min(images.shape[1:3]))
    rows = []
    for group in found.values():
        large = group.repeat(scale, axis=1).repeat(scale, axis=2)
        framed = np.pad(large, ((0, 0), (GAP, 0), (GAP, 0), (0, 0)), constant_values=1.0)
        rows.append(np.concatenate(list(framed), axis=1))
    picture = np.round(255 * np.concatenate(rows)).astype(np.uint8)
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(file)
    return True

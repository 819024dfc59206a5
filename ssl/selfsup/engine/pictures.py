"""Pictures of what a method reconstructs, of the atoms of a dictionary, and of what an encoder makes of patches."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..errors import UserError
from ..losses.masked import EPSILON, unpatchify
from . import build
from .encoder import Encoder
from .patches import feature_maps, has_tokens

SMALLEST_SIDE = 96  # pixels of a shown image; smaller ones are enlarged by whole pixels
GAP = 4  # white pixels between images
ATOMS, ATOM_ROWS = 16, 4  # atoms in a row of their picture, and rows


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
      [0, 1]; of a dictionary `reconstructed` and `original`. None for a method that predicts no pixels.
    """
    method, config = encoder.method, encoder.config
    if method.control != 'shuffled_targets' or images.ndim != 4:
        return None
    views = build.build_preparation(config)(images)
    if method.decode is not None:
        decoded = method.decode(encoder.evaluated, jnp.asarray(encoder(images))).reshape(views.shape)
        return {'reconstructed': _pixels(encoder, decoded), 'original': _pixels(encoder, views)}
    if 'decoder' not in encoder.params:
        return None
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
        return _pixels(encoder, unpatchify(patches, patch, (height // patch, width // patch)))

    grey = jnp.broadcast_to(jnp.asarray((0.5 - mean) / std), (count, targets.shape[1], patch**2, channels))
    return {
        'masked': shown(jnp.where(hidden, grey.reshape(targets.shape), targets)),
        'reconstructed': shown(jnp.where(hidden, predictions, targets)),
        'original': shown(targets),
    }


def _pixels(encoder: Encoder, images: Array) -> np.ndarray:
    """Prepared images in [0, 1], float32."""
    mean, std = (np.asarray(encoder.config.augment[name], np.float32) for name in ('mean', 'std'))
    return np.clip(np.asarray(images, np.float32) * std + mean, 0, 1)


def atoms(encoder: Encoder, images: np.ndarray) -> dict[str, np.ndarray] | None:
    """Atoms of a dictionary of images: those of the units that are on most, the largest mean code first.

    Args:
      encoder: the trained one.
      images: uint8 (0..255) or float ([0, 1]), `[n, height, width, channels]`, on which units are ranked.

    Returns:
      Rows of `ATOMS` images `[ATOMS, height, width, channels]`, float32 in [0, 1]: an atom's zero is grey, its largest
      entry black or white. None for a method that is no dictionary, and for data that are no images.
    """
    method = encoder.method
    if method.decode is None or images.ndim != 4:
        return None
    codes = encoder(images)
    order = np.argsort(-np.abs(codes).mean(axis=0), kind='stable')[: ATOM_ROWS * ATOMS]
    chosen = np.eye(codes.shape[1], dtype=np.float32)[order]
    found = np.asarray(method.decode(encoder.evaluated, jnp.asarray(chosen)), np.float32)
    found = found - np.asarray(method.decode(encoder.evaluated, jnp.zeros_like(chosen[:1])), np.float32)
    found = found / np.maximum(np.abs(found).max(axis=1, keepdims=True), 1e-12)
    pictures = (0.5 + 0.5 * found).reshape(-1, *build.build_preparation(encoder.config)(images[:1]).shape[1:])
    missing = -len(pictures) % ATOMS
    pictures = np.concatenate([pictures, np.ones((missing, *pictures.shape[1:]), np.float32)])
    return {str(row): pictures[row * ATOMS : (row + 1) * ATOMS] for row in range(len(pictures) // ATOMS)}


def plot_atoms(encoder: Encoder, images: np.ndarray, file: Path) -> bool:
    """Writes :func:`atoms` as a PNG; False, and no file, if there are none."""
    return sheet(atoms(encoder, images), file)


def plot_reconstructions(encoder: Encoder, images: np.ndarray, file: Path) -> bool:
    """Writes :func:`reconstructions` as a PNG, one column an image; False, and no file, if there are none."""
    return sheet(reconstructions(encoder, images), file)


def principal_colours(maps: np.ndarray) -> np.ndarray:
    """The first three principal components of all vectors of some feature maps as red, green and blue.

    Args:
      maps: `[n, rows, columns, dim]`, finite.

    Returns:
      `[n, rows, columns, 3]` float32: each component from its least value at 0 to its largest at 1, its sign such that
      its largest loading is positive; 0.5 for components that do not vary or that the maps do not have.
    """
    flat = maps.reshape(-1, maps.shape[3]).astype(np.float64)
    flat = flat - flat.mean(axis=0)
    values, axes = np.linalg.eigh(flat.T @ flat)
    axes = axes[:, np.argsort(-values, kind='stable')[:3]]
    axes = axes * np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0))
    places = flat @ axes
    low, high = places.min(axis=0), places.max(axis=0)
    varies = high - low > 1e-6 * max((high - low).max(), 1e-30)
    colours = np.full((len(flat), 3), 0.5, np.float32)
    colours[:, : len(low)] = np.where(varies, (places - low) / np.where(varies, high - low, 1.0), 0.5)
    return colours.reshape(*maps.shape[:3], 3)


def patch_colours(encoder: Encoder, images: np.ndarray) -> dict[str, np.ndarray] | None:
    """Images as the encoder sees them, and :func:`principal_colours` of their patch tokens after the last norm.

    Args:
      encoder: the trained one.
      images: uint8 (0..255) or float ([0, 1]), `[n, height, width, channels]`, of the data's size.

    Returns:
      `original` and `patches`, each patch in one colour: `[n, height, width, 3]`, float32 in [0, 1]. None for an
      encoder without tokens.

    Raises:
      UserError: features that are not finite.
    """
    if not has_tokens(encoder):
        return None
    maps = np.asarray(feature_maps(encoder)(images))
    if not np.isfinite(maps).all():
        raise UserError('the features of the patches are not finite')
    views = np.asarray(build.build_preparation(encoder.config)(images), np.float32)
    mean, std = (np.asarray(encoder.config.augment[name], np.float32) for name in ('mean', 'std'))
    original = np.broadcast_to(np.clip(views * std + mean, 0, 1), (*views.shape[:3], 3))
    colours, (height, width) = principal_colours(maps), views.shape[1:3]
    colours = colours.repeat(height // maps.shape[1], axis=1).repeat(width // maps.shape[2], axis=2)
    return {'original': original, 'patches': colours}


def plot_patches(encoder: Encoder, images: np.ndarray, file: Path) -> bool:
    """Writes :func:`patch_colours` as a PNG, one column an image; False, and no file, if there are none."""
    return sheet(patch_colours(encoder, images), file)


def sheet(found: dict[str, np.ndarray] | None, file: Path) -> bool:
    """Writes groups of images as rows of a PNG; False, and no file, if there are none."""
    from PIL import Image

    if found is None:
        return False
    rows = []
    for group in found.values():
        scale = -(-SMALLEST_SIDE // min(group.shape[1:3]))
        large = group.repeat(scale, axis=1).repeat(scale, axis=2)
        framed = np.pad(large, ((0, 0), (GAP, 0), (GAP, 0), (0, 0)), constant_values=1.0)
        rows.append(np.concatenate(list(framed), axis=1))
    picture = np.round(255 * np.concatenate(rows)).astype(np.uint8)
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(file)
    return True

"""Encoders as values: what a file holds in our own trees, and back into other code bases' names."""

import math
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError

from ..config import keywords
from ..errors import UserError, nearest
from ..models import ENCODERS
from ..models.positions import interpolation_matrix, sincos_positions
from ..validation import validate_model
from . import reading
from .names import IMAGENET_MEAN, NAMINGS, ORIGINS, rename, transposed
from .recognise import Found, architecture, describe, first, locate

SINCOS_TOLERANCE = 1e-4  # float32 sines of angles up to some tens differ by 1e-6 between libraries
LARGEST_SIDE = 8192
CIFAR = {'mean': (0.4914, 0.4822, 0.4465), 'std': (0.2470, 0.2435, 0.2616)}


class Weights(NamedTuple):
    """An encoder: its architecture, its arrays, and how images are prepared for it.

    Attributes:
      model: the fields of `config.model`: name and keywords.
      params, batch_stats: trees of float32 arrays, as the encoder's `init` gives them.
      channels: of its images.
      resize, crop: sides of images before it sees them: the shorter side is resized, then the centre cut out;
        0 leaves them.
      mean, std: per channel, of images in [0, 1].
      origin: where it comes from: a row of the table of origins, or a method of ours.
      about: what else is known: file, run, step, data.
    """

    model: dict[str, Any]
    params: Any
    batch_stats: Any
    channels: int = 3
    resize: int = 0
    crop: int = 0
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    origin: str = ''
    about: Mapping[str, Any] = MappingProxyType({})

    @property
    def family(self) -> str:
        return 'vit' if self.model['name'].startswith('vit') else 'resnet'

    def module(self, **fixed: Any) -> nn.Module:
        """The flax module; `fixed` are attributes besides the model's fields, such as `dtype`."""
        return build(self.model, **fixed)


def build(model: dict[str, Any], **fixed: Any) -> nn.Module:
    """The flax module of the fields of `config.model`."""
    return ENCODERS[model['name']](**{k: v for k, v in model.items() if k != 'name'}, **fixed)


def complete(model: dict[str, Any]) -> dict[str, Any]:
    """The fields of `config.model` with every default filled in."""
    return {'name': model['name'], **keywords(ENCODERS[model['name']]), **model}


def shapes(model: dict[str, Any], channels: int) -> dict[str, dict[str, tuple[int, ...]]]:
    """Shapes of an encoder's `params` and `batch_stats`, flat: {'params': {'conv1/kernel': (7, 7, 3, 64), …}, …}."""
    side = (model['grid'] or 2) * model['patch'] if 'patch' in model else 32
    images = jax.ShapeDtypeStruct((1, side, side, channels), jnp.float32)
    tree = jax.eval_shape(lambda x: build(model).init(jax.random.key(0), x), images)
    flat: dict[str, dict[str, Any]] = {k: flatten_dict(tree.get(k, {}), sep='/') for k in ('params', 'batch_stats')}
    return {kind: {name: leaf.shape for name, leaf in leaves.items()} for kind, leaves in flat.items()}


def _own_positions(name: str) -> bool:
    return name in ('positions', 'cls_position')


def from_state(found: Found, path: Path, model: dict[str, Any], channels: int) -> tuple[dict[str, Any], Any, Any]:
    """The model's fields and our trees from another code base's state; strict in names and shapes.

    Raises:
      UserError: with the first keys that do not fit.
    """
    state, naming = dict(found.state), found.naming
    model = complete(model)
    try:
        validate_model(model)
    except UserError as error:
        raise UserError(f'{path}: {error}') from error
    table = None
    if found.family == 'vit':
        model, table = _positions(_values(state.pop(naming.positions), naming.positions, path)[0], model)
    wanted = shapes(model, channels)
    arrays: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in wanted}
    missing, misshapen = [], []
    for kind, leaves in wanted.items():
        for name, shape in leaves.items():
            if _own_positions(name):
                assert table is not None
                arrays[kind][name] = (table[:1][None] if name == 'cls_position' else table[1:]).copy()
                continue
            theirs = rename(name, naming)
            tensor = state.pop(theirs, None)
            kernel = name.endswith('kernel')
            expected = transposed(np.broadcast_to(0.0, shape)).shape if kernel else shape
            if tensor is None:
                missing.append(theirs)
            elif tuple(tensor.shape) != expected:
                misshapen.append(f'{theirs} {list(tensor.shape)} instead of {list(expected)}')
            else:
                array = _values(tensor, theirs, path)
                if not np.isfinite(array).all():
                    raise UserError(f'{path} is damaged: {theirs} holds values that are not finite')
                arrays[kind][name] = np.ascontiguousarray(transposed(array, back=True) if kernel else array)
    unexpected = [n for n in state if not n.endswith('num_batches_tracked')] + found.strangers
    faults = [
        f'{what} {first(names)}'
        for what, names in (('missing', missing), ('of another shape', misshapen), ('unexpected', unexpected))
        if names
    ]
    if faults:
        raise UserError(
            f'{path} does not fit {model["name"]} as {found.origin} names it: {"; ".join(faults)}; it seems to be '
            f'{describe(found.state)}'
        )
    trees = {kind: unflatten_dict(leaves, sep='/') for kind, leaves in arrays.items()}
    return model, trees['params'], trees['batch_stats']


def _values(tensor: Any, name: str, path: Path) -> np.ndarray:
    """The numbers of a tensor in a file, float32."""
    try:
        return np.asarray(tensor.array(), np.float32)
    except (ValueError, OSError, KeyError, RuntimeError, zipfile.BadZipFile, SafetensorError) as error:
        raise UserError(f'{path} is damaged: {name} cannot be read ({error})') from error


def _positions(table: np.ndarray, model: dict[str, Any]) -> tuple[dict[str, Any], np.ndarray]:
    """The model's fields and its table of positions `[1 + patches, dim]`; fixed sine-cosine ones are recognised."""
    side, dim = math.isqrt(len(table) - 1), table.shape[1]
    fixed = np.concatenate([np.zeros((1, dim), np.float32), sincos_positions(side, side, dim)])
    if np.abs(table - fixed).max() > SINCOS_TOLERANCE:
        return {**model, 'positions': 'learned', 'grid': side}, table
    return {**model, 'positions': 'sincos', 'grid': 0}, table


def read(
    path: str | Path,
    *,
    origin: str = 'auto',
    stem: str = 'auto',
    heads: int = 0,
    image_size: int = 0,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
) -> Weights:
    """An encoder from a file of weights, or from a folder or file that :func:`write` made.

    Args:
      path: `.pth`, `.pth.tar`, `.safetensors`, or a folder with `model.safetensors` and `config.json`.
      origin: a row of `convert.ORIGINS`, or 'auto' to recognise it by its names.
      stem: of a residual network: 'cifar' or 'cifar_pad2', which the weights do not tell; 'auto' takes 'cifar'.
      heads: attention heads of a vision transformer; 0 takes the origin's (MoCo v3's ViT-S has 12).
      image_size: side of the images; 0 takes the ImageNet habit, or that of the positions.
      mean, std: normalisation of images in [0, 1]; by default the origin's.

    Raises:
      UserError: when the file is no checkpoint, holds code, or does not fit.
    """
    from . import folder

    path = Path(path)
    weights = folder.read(path)
    if weights is None:
        tree = reading.load(path / 'model.safetensors' if (path / 'model.safetensors').is_file() else path)
        found = locate(tree, path, origin)
        model, channels, side = architecture(found, path, stem=stem, heads=heads)
        model, params, batch_stats = from_state(found, path, model, channels)
        name = found.origin
        if model.get('positions') == 'sincos' and name == 'timm' and origin == 'auto':
            name = 'moco_v3'  # a ViT of theirs without its packing: only they fix the positions so
            model |= {} if heads else ORIGINS[name].model.get(model['name'], {})
        weights = Weights(model, params, batch_stats, channels, origin=name, about={'file': path.name})
        weights = weights._replace(**_preparation(weights, side, folder.declared(path)))
    if image_size:
        weights = weights._replace(crop=image_size, resize=resize_for(image_size))
        fit_size(weights, image_size)
    weights = weights._replace(mean=tuple(mean) or weights.mean, std=tuple(std) or weights.std)
    for name, values in (('mean', weights.mean), ('std', weights.std)):
        if len(values) not in (1, weights.channels):
            raise UserError(f'{name}={values!r} must have 1 or {weights.channels} entries, one a channel of {path}')
    return weights


def _preparation(weights: Weights, side: int, declared: dict[str, Any]) -> dict[str, Any]:
    """Sides and normalisation: as the file declares them, else the habit of its origin."""
    if weights.model.get('stem', 'imagenet') != 'imagenet':
        return {'resize': 0, 'crop': 0, **(CIFAR if weights.channels == 3 else {})}
    crop = side or 224
    usual = {'resize': resize_for(crop), 'crop': crop}
    if weights.channels == 3:
        usual |= {'mean': IMAGENET_MEAN, 'std': ORIGINS[weights.origin].std}
    return usual | declared


def resize_for(crop: int) -> int:
    """The shorter side before a centre crop: 256 for 224 and in proportion; small images are not cropped."""
    return round(crop / 0.875) if crop >= 128 else crop


def fit_size(weights: Weights, side: int) -> None:
    """Refuses an image side that the patches do not tile, or that no image has."""
    if side > LARGEST_SIDE:
        raise UserError(f'--image-size={side} must be at most {LARGEST_SIDE}')
    patch = weights.model.get('patch', 1)
    if side % patch:
        below = max(side // patch, 1) * patch
        raise UserError(f'patches of {patch} do not tile images of {side}×{side}; {below} or {below + patch} would')


def state_dict(weights: Weights, *, names: str = 'torchvision', image_size: int = 0) -> dict[str, np.ndarray]:
    """The arrays under another code base's names, such that its model without a classifier loads them strictly.

    Args:
      weights: the encoder.
      names: 'torchvision' or 'timm'.
      image_size: learned positions are brought to the grid of images of this side; 0 leaves them.
    """
    if names not in NAMINGS:
        raise UserError(f'names={names!r} is unknown{nearest(names, NAMINGS)}')
    naming = NAMINGS[names][weights.family]
    found: dict[str, np.ndarray] = {}
    for tree in (weights.params, weights.batch_stats):
        for name, leaf in flatten_dict(tree, sep='/').items():
            if _own_positions(name):
                continue
            array = np.asarray(leaf, np.float32)
            theirs = rename(name, naming)
            found[theirs] = np.ascontiguousarray(transposed(array) if name.endswith('kernel') else array)
            if theirs.endswith('running_var'):
                found[re.sub('running_var$', 'num_batches_tracked', theirs)] = np.zeros((), np.int64)
    if weights.family == 'vit':
        found[naming.positions] = _positions_for(weights, image_size)
    return found


def _positions_for(weights: Weights, image_size: int) -> np.ndarray:
    """The table `[1, 1 + patches, dim]` with the class token's row first, for images of a side."""
    model, params = weights.model, weights.params
    dim, side = params['cls_token'].shape[-1], (image_size or weights.crop or 224) // model['patch']
    if model['positions'] == 'sincos':
        return np.concatenate([np.zeros((1, dim), np.float32), sincos_positions(side, side, dim)])[None]
    table, token = np.asarray(params['positions'], np.float32), np.asarray(params['cls_position'], np.float32)[0]
    old = round(len(table) ** 0.5)
    if image_size and side != old:
        matrix = interpolation_matrix(old, side, model['interpolation'])
        grid = np.einsum('hr,rcd,wc->hwd', matrix, table.reshape(old, old, dim), matrix)
        table = grid.reshape(side * side, dim).astype(np.float32)
    return np.concatenate([token, table])[None]

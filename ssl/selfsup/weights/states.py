"""States of other code bases into our trees, and back into their names; strict in names and shapes."""

import math
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError

from ..errors import UserError, nearest
from ..models import ENCODERS, check_sizes
from ..models.positions import interpolation_matrix, sincos_positions
from ..signature import check
from .names import NAMINGS, rename, transposed
from .recognise import Found, describe, first
from .values import Weights, complete, shapes

SINCOS_TOLERANCE = 1e-4  # float32 sines of angles up to some tens differ by 1e-6 between libraries


def _own_positions(name: str) -> bool:
    return name in ('positions', 'cls_position')


def from_state(found: Found, path: Path, model: dict[str, Any], channels: int) -> tuple[dict[str, Any], Any, Any]:
    """The model's fields and our trees from another code base's state; strict in names and shapes.

    Raises:
      UserError: with the first keys that do not fit.
    """
    state, naming = dict(found.state), found.naming
    state.pop(naming.mask, None)
    model = complete(model)
    try:
        fields = {name: value for name, value in model.items() if name != 'name'}
        check('model', ENCODERS[model['name']], fields)
        check_sizes('model', fields)
    except UserError as error:
        raise UserError(f'{path}: {error}') from error
    table = None
    if found.family == 'vit':
        table = _values(state.pop(naming.positions), naming.positions, path)[0]
        if model['registers'] and not naming.class_position:
            table = np.concatenate([np.zeros_like(table[:1]), table])
        model, table = _positions(table, model)
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
    unexpected = [n for n in state if not n.endswith('num_batches_tracked')] + found.unexpected
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


def state_dict(weights: Weights, *, names: str = 'torchvision', image_size: int = 0) -> dict[str, np.ndarray]:
    """The arrays under another code base's names, such that its model without a classifier loads them strictly.

    Args:
      weights: the encoder.
      names: 'torchvision', 'timm' or 'dinov2'.
      image_size: learned positions are brought to the grid of images of this side; 0 leaves them.
    """
    if names not in NAMINGS:
        raise UserError(f'names={names!r} is unknown{nearest(names, NAMINGS)}')
    if weights.family not in NAMINGS[names]:
        raise UserError(f'names={names!r} has no {weights.model["name"]}')
    naming = NAMINGS[names][weights.family]
    plain = {'class_token': True} | ({} if naming.registers else {'registers': 0, 'layer_scale': 0.0})
    for field, value in plain.items():
        if weights.model.get(field, value) != value:
            raise UserError(f'names={names!r} has no encoders with model.{field}={weights.model[field]!r}')
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
        table = _positions_for(weights, image_size)
        if weights.model['registers'] and not naming.class_position:
            found[naming.token] = found[naming.token] + table[:, :1]
            table = table[:, 1:]
        found[naming.positions] = table
        if naming.mask:
            found[naming.mask] = np.zeros((1, table.shape[-1]), np.float32)
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

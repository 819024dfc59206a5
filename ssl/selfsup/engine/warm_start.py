"""A training state that begins with given weights: `config.init_from`."""

import dataclasses
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from .. import weights as foreign
from ..errors import UserError
from .export import source
from .step import TrainState

# Fields of `config.model` that decide what an encoder computes.
DECIDING = ('name', 'stem', 'width', 'patch', 'depth', 'heads', 'positions', 'mlp_ratio')


def begin(run: Any) -> TrainState:
    """The state of a :class:`loop.Run` before its first step, with the encoder of `config.init_from`, if named."""
    config = run.config
    if not config.init_from:
        return run.start()
    weights = source(config.init_from)
    check(weights, config.model, run.image_shape[-1])
    return start_from(run.start(), weights)


def check(weights: foreign.Weights, model: Any, channels: int) -> None:
    """Refuses weights of another encoder than `config.model`, or of images with other channels."""
    differing = [
        f'{field} {value!r} instead of {model.get(field)!r}'
        for field, value in weights.model.items()
        if field in DECIDING and model.get(field) != value
    ]
    if weights.channels != channels:
        differing.append(f'{weights.channels} image channels instead of {channels}')
    if differing:
        raise UserError(f'init_from holds another encoder than config.model: {"; ".join(differing)}')


def start_from(state: TrainState, weights: foreign.Weights) -> TrainState:
    """A training state whose encoders, target networks included, hold the given weights.

    Raises:
      UserError: with the first arrays that do not fit the run's encoder.
    """
    given = {'params': weights.params, 'batch_stats': weights.batch_stats}
    flat = {kind: flatten_dict(tree, sep='/') for kind, tree in given.items()}

    def filled(tree: Any, kind: str) -> Any:
        """The tree with every encoder in it replaced; `kind` says whether it holds statistics."""
        if not isinstance(tree, dict):
            return tree
        out = {}
        for name, node in tree.items():
            inner = 'batch_stats' if name == 'batch_stats' else 'params' if name == 'params' else kind
            out[name] = _placed(node, given[inner], flat[inner]) if name == 'encoder' else filled(node, inner)
        return out

    return dataclasses.replace(state, params=filled(state.params, 'params'), extra=filled(state.extra, 'params'))


def _placed(old: Any, new: Any, flat: dict[str, Any]) -> Any:
    """`new` in the types and places of `old`, after a check of names and shapes."""
    if 'mask_token' in old:  # only masked methods have one, and encoders go out without it
        new, flat = {**new, 'mask_token': old['mask_token']}, {**flat, 'mask_token': old['mask_token']}
    own: dict[str, Any] = flatten_dict(old, sep='/')
    wanted = {name: leaf.shape for name, leaf in own.items()}
    found = {name: leaf.shape for name, leaf in flat.items()}
    if wanted != found:
        faults = [
            f'{name} {list(found.get(name, ())) if name in found else "missing"} instead of '
            f'{list(wanted[name]) if name in wanted else "nothing"}'
            for name in sorted(wanted.keys() | found.keys())
            if wanted.get(name) != found.get(name)
        ]
        hint = ''
        if 'positions' in found and found['positions'] != wanted.get('positions'):
            hint = f'; model.grid={round(found["positions"][0] ** 0.5)} keeps its positions and interpolates them'
        raise UserError(f'init_from does not fit the encoder of this run: {"; ".join(faults[:3])}{hint}')

    def put(o: jax.Array, n: Any) -> jax.Array:
        array = np.asarray(n, o.dtype)
        return jax.make_array_from_callback(array.shape, o.sharding, lambda index: array[index])

    return jax.tree.map(put, old, new)

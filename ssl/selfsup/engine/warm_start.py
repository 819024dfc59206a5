"""A training state that begins with given weights: `config.init_from`."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from .. import weights as foreign
from ..errors import UserError
from .encoder import load
from .export import source
from .step import TrainState

# Fields of `config.model` that decide what an encoder computes.
DECIDING = ('name', 'stem', 'width', 'patch', 'depth', 'heads', 'positions', 'mlp_ratio')


def begin(run: Any) -> TrainState:
    """The state of a :class:`loop.Run` before its first step, with the encoder of `config.init_from`, if named."""
    config = run.config
    if not config.init_from:
        return run.start()
    weights = source(config.init_from, leaving=False)
    check(weights, config.model, run.image_shape[-1])
    return start_from(run.start(), weights, networks_of(config))


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


def networks_of(config: Any) -> dict[str, dict[str, Any]]:
    """The networks of the run in `config.init_from` that `config.init_networks` names besides the encoder.

    Returns: name -> its `params` and `batch_stats`.

    Raises:
      UserError: if what is named is no run, or a run of a method without such a network or head.
    """
    names = [name for name in config.init_networks if name != 'encoder']
    if not names:
        return {}
    found = load(config.init_from)
    network = {**found.evaluated, 'params': {**found.params, **found.evaluated['params']}}
    for name in names:
        if name not in network['params']:
            raise UserError(f'init_networks={config.init_networks!r}: {config.init_from} has no {name}')
    stats = {**found.extra['batch_stats'], **network['batch_stats']}
    return {n: {'params': network['params'][n], 'batch_stats': stats.get(n, {})} for n in names}


def start_from(
    state: TrainState, weights: foreign.Weights, others: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
) -> TrainState:
    """A training state whose encoders, target networks included, hold the given weights; and likewise other networks.

    Raises:
      UserError: with the first arrays that do not fit the run's networks.
    """
    given = {'encoder': {'params': weights.params, 'batch_stats': weights.batch_stats}, **others}

    def filled(tree: Any, kind: str) -> Any:
        """The tree with every such network in it replaced; `kind` says whether it holds statistics."""
        if not isinstance(tree, dict):
            return tree
        out = {}
        for name, node in tree.items():
            inner = 'batch_stats' if name == 'batch_stats' else 'params' if name == 'params' else kind
            out[name] = _placed(node, given[name][inner], name) if name in given else filled(node, inner)
        return out

    for name in others:
        if name not in state.params:
            raise UserError(f'init_networks names {name!r}, which the method of this run does not have')
    return dataclasses.replace(state, params=filled(state.params, 'params'), extra=filled(state.extra, 'params'))


def _placed(old: Any, new: Any, network: str) -> Any:
    """`new` in the types and places of `old`, after a check of names and shapes."""
    if 'mask_token' in old:  # only masked methods have one, and encoders go out without it
        new = {**new, 'mask_token': old['mask_token']}
    flat: dict[str, Any] = flatten_dict(new, sep='/')
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
        raise UserError(f'init_from does not fit the {network} of this run: {"; ".join(faults[:3])}{hint}')

    def put(o: jax.Array, n: Any) -> jax.Array:
        array = np.asarray(n, o.dtype)
        return jax.make_array_from_callback(array.shape, o.sharding, lambda index: array[index])

    return jax.tree.map(put, old, new)

"""Encoders as starting points: the weights of a run or file, and a training state that begins with them."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from .. import convert
from ..errors import UserError
from ..files import read_json
from . import build
from .encoder import Encoder, load
from .step import TrainState, adapt_statistics

# How many batches of images adapt the statistics of an untrained encoder.
ADAPTING_BATCHES = 20
# Fields of `config.model` that decide what an encoder computes.
DECIDING = ('name', 'stem', 'width', 'patch', 'depth', 'heads', 'positions', 'mlp_ratio')


def source(path: str, *, step: int | None = None, **reading: Any) -> convert.Weights:
    """The encoder of a workdir, of a folder of `selfsup.convert`, or of a file of weights (`reading`: its keywords)."""
    root = Path(path)
    ours = root.is_dir() and ((root / 'model.safetensors').is_file() or convert.is_encoder(root))
    if (root / 'config.json').is_file() and not ours:
        return of_run(load(path, step=step), root)
    if step is not None:
        raise UserError(f'{path} is an encoder without steps; leave --step out')
    return convert.read(path, **reading)


def of_run(encoder: Encoder, root: Path) -> convert.Weights:
    """The network of a run that `encode` evaluates, as a value to export."""
    config = encoder.config
    model = {k: v for k, v in config.model.items()}
    if model['name'] not in convert.ARCHITECTURES:
        raise UserError(
            f'{root} holds a {model["name"]}, which no other code base has; {", ".join(convert.ARCHITECTURES)} go out'
        )
    saved = read_json(root / 'config.json')
    channels = saved['image_shape'][-1]
    holder = encoder.evaluated
    c = config.augment
    about = {
        'run': config.method.name,
        'step': encoder.step,
        'data': config.data.source,
        'config': saved.get('identity', ''),
    }
    spread = [tuple(v) * (channels if len(v) == 1 else 1) for v in (c.mean, c.std)]
    params = jax.tree.map(np.asarray, holder['params']['encoder'])
    crop = c.evaluation_crop
    if 'positions' in params:
        model['grid'] = round(len(params['positions']) ** 0.5)
        crop = crop or model['grid'] * model['patch']
    return convert.Weights(
        model,
        params,
        jax.tree.map(np.asarray, holder['batch_stats']['encoder']),
        channels,
        resize=c.evaluation_resize or config.data.image_size,
        crop=crop,
        mean=spread[0],
        std=spread[1],
        origin=config.method.name,
        about=about,
    )


def begin(run: Any) -> TrainState:
    """The state of a :class:`loop.Run` before its first step, with the encoder of `config.init_from`, if named."""
    config = run.config
    if not config.init_from:
        return run.start()
    weights = source(config.init_from)
    check(weights, config.model, run.image_shape[-1])
    return start_from(run.start(), weights)


def check(weights: convert.Weights, model: Any, channels: int) -> None:
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


def start_from(state: TrainState, weights: convert.Weights) -> TrainState:
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


def untrained(encoder: Encoder, images: np.ndarray) -> Encoder:
    """The same architecture before any training, with batch statistics adapted on images."""
    config, method = encoder.config, encoder.method
    prepare = build.build_preparation(config)
    params, extra = method.init(jax.random.key(config.seed), {'views': (prepare(images[:2]),)})
    size = min(config.evaluate.batch_size, len(images))
    starts = range(0, len(images) - size + 1, size)[:ADAPTING_BATCHES]
    batches = [(images[s : s + size], np.arange(s, s + size)) for s in starts]
    extra = adapt_statistics(
        method, params, extra, batches, lambda key, rows, positions: ((prepare(rows),), ({},)), seed=config.seed
    )
    return Encoder(config, method, params, extra, 0, channels=encoder.channels)

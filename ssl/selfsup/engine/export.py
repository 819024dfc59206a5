"""The encoder of a workdir, an encoder folder or a file of weights, as a value that leaves the project."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from .. import weights as foreign
from ..errors import UserError
from ..files import expanded, read_json
from .encoder import Encoder, load


def source(path: str, *, step: int | None = None, leaving: bool = True, **reading: Any) -> foreign.Weights:
    """The encoder of a workdir, of a folder of `selfsup.convert`, or of a file of weights (`reading`: its keywords).

    `leaving` refuses a run's encoder of an architecture that no other code base has.
    """
    root = expanded(path)
    ours = root.is_dir() and ((root / 'model.safetensors').is_file() or foreign.is_encoder(root))
    if (root / 'config.json').is_file() and not ours:
        encoder = load(path, step=step)
        name = encoder.config.model.name
        if leaving and name not in foreign.ARCHITECTURES:
            raise UserError(
                f'{root} holds a {name}, which no other code base has; {", ".join(foreign.ARCHITECTURES)} go out'
            )
        return of_run(encoder, root)
    if step is not None:
        raise UserError(f'{path} is an encoder without steps; leave --step out')
    return foreign.read(root, **reading)


def of_run(encoder: Encoder, root: Path) -> foreign.Weights:
    """The network of a run that `encode` evaluates, as a value to export."""
    config = encoder.config
    model = {k: v for k, v in config.model.items()}
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
    params = {name: leaf for name, leaf in params.items() if name != 'mask_token'}  # no image is encoded with it
    crop = c.evaluation_crop
    if 'positions' in params:
        model['grid'] = round(len(params['positions']) ** 0.5)
        crop = crop or model['grid'] * model['patch']
    return foreign.Weights(
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

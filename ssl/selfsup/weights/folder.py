"""Encoders on disk: `model.safetensors`, `config.json` and a model card, as the Hugging Face hub lays them out.

`config.json` has timm's fields where timm has the architecture, and a group `selfsup` with what is needed to
read the encoder back here. A single file `name.safetensors` keeps the same in `name.json`.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from ..errors import UserError, nearest
from ..files import are_numbers, expanded, is_whole, make_folders, placed, read_json, remove_empty
from . import reading
from .card import card
from .names import NAMINGS
from .recognise import Found, tensors
from .states import from_state, state_dict
from .values import Weights, complete, fit_size, resize_for

FORMAT = 1  # raised when the group `selfsup` changes
WEIGHTS, CONFIG, CARD = 'model.safetensors', 'config.json', 'README.md'
TIMM = {
    'resnet18': 'resnet18', 'resnet34': 'resnet34', 'resnet50': 'resnet50', 'vit_ti': 'vit_tiny_patch16_224',
    'vit_s': 'vit_small_patch16_224', 'vit_b': 'vit_base_patch16_224', 'vit_l': 'vit_large_patch16_224',
    'vit_h': 'vit_huge_patch14_224',
}  # fmt: skip


def _files(path: Path) -> tuple[Path, Path]:
    """Where weights and config lie: in a folder, or beside one another."""
    if path.suffix == '.safetensors':
        return path, path.with_suffix('.json')
    return path / WEIGHTS, path / CONFIG


def _config(path: Path) -> dict[str, Any]:
    """What `config.json` says; empty where there is none."""
    file = _files(path)[1]
    if not file.is_file():
        return {}
    return read_json(file)


def is_encoder(path: str | Path) -> bool:
    """Whether :func:`write` made this folder or file."""
    return 'selfsup' in _config(expanded(path)) and _files(expanded(path))[0].is_file()


def declared(path: Path) -> dict[str, Any]:
    """How images are prepared according to a folder that timm wrote; empty elsewhere."""
    about = _config(path).get('pretrained_cfg', {}) if path.is_dir() else {}
    if not isinstance(about, dict):
        return {}
    size, share = about.get('input_size', [224]), about.get('crop_pct', 0.875)
    spread = [about.get(k, [1.0]) for k in ('mean', 'std')]
    whole = are_numbers(size, positive=True) and size and type(size[-1]) is int and are_numbers([share], positive=True)
    if not whole or not are_numbers(spread[0]) or not are_numbers(spread[1], positive=True):
        raise UserError(f'{_files(path)[1]} is damaged: pretrained_cfg must hold numbers for input_size, mean and std')
    found: dict[str, Any] = {k: tuple(about[k]) for k in ('mean', 'std') if k in about}
    if 'input_size' in about:
        found |= {'crop': size[-1], 'resize': round(size[-1] / share)}
    return found


def read(path: Path) -> Weights | None:
    """The encoder of a folder or file that :func:`write` made; None if it is another kind."""
    about = _config(path).get('selfsup')
    if not isinstance(about, dict) or not _files(path)[0].is_file():
        return None
    if about.get('format') != FORMAT:
        raise UserError(f'{path} is of format {about.get("format")}, and this version reads {FORMAT}')
    try:
        model = {k: tuple(v) if isinstance(v, list) else v for k, v in about['model'].items()}
        names = NAMINGS[about['names']]
        weights = Weights(model, {}, {}, mean=tuple(about['mean']), std=tuple(about['std']))
        weights = weights._replace(**{k: about[k] for k in ('channels', 'resize', 'crop', 'origin', 'about')})
        naming = names[weights.family]
        complete(model)
        sides = (weights.channels, weights.resize, weights.crop)
        numbers = are_numbers(weights.mean) and are_numbers(weights.std, positive=True)
        if not numbers or not all(is_whole(n, least=0, below=2**15) for n in sides) or not weights.channels:
            raise ValueError('channels, resize, crop, mean and std must be numbers of a possible size')
        if not isinstance(weights.origin, str) or not isinstance(weights.about, dict):
            raise ValueError('origin and about must be a word and a group')
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        what = '' if isinstance(error, ValueError) else f'{type(error).__name__}: '
        raise UserError(f'{_files(path)[1]} is damaged: {what}{error}') from error
    state = tensors(reading.load(_files(path)[0]))
    if naming.positions and naming.positions not in state:
        raise UserError(f'{path} does not fit {model["name"]}: missing {naming.positions}')
    found = Found(f'{about["names"]} ', weights.family, naming, state, [])
    model, params, batch_stats = from_state(found, path, model, weights.channels)
    return weights._replace(model=model, params=params, batch_stats=batch_stats)


def describe(weights: Weights, names: str, side: int) -> dict[str, Any]:
    """The content of `config.json`."""
    model = weights.model
    content: dict[str, Any] = {}
    if timm_has(weights, names):
        content = {
            'architecture': TIMM[model['name']],
            'num_classes': 0,
            'num_features': features(weights),
            'pretrained_cfg': {
                'input_size': [weights.channels, side, side],
                'mean': list(weights.mean),
                'std': list(weights.std),
                'crop_pct': weights.crop / weights.resize if weights.crop and weights.resize else 1.0,
                'interpolation': 'bicubic',
                'num_classes': 0,
                'first_conv': 'conv1' if weights.family == 'resnet' else 'patch_embed.proj',
                'classifier': 'fc' if weights.family == 'resnet' else 'head',
            },
        }
        if weights.family == 'vit':
            content['model_args'] = {
                'img_size': side,
                'patch_size': model['patch'],
                'num_heads': model['heads'],
                'depth': model['depth'],
                'mlp_ratio': model['mlp_ratio'],
                # Ours takes the mean after the norm.
                **({} if model['pool'] == 'token' else {'global_pool': 'avg', 'fc_norm': False}),
                **({'init_values': model['layer_scale']} if model['layer_scale'] else {}),
                **({'reg_tokens': model['registers'], 'no_embed_class': True} if model['registers'] else {}),
            }
        if weights.channels != 3:
            content.setdefault('model_args', {})['in_chans'] = weights.channels
    kept = ('channels', 'resize', 'crop', 'mean', 'std', 'origin')
    content['selfsup'] = {
        'format': FORMAT,
        'names': names,
        'model': model,
        **{k: getattr(weights, k) for k in kept},
        'about': dict(weights.about),
    }
    return content


def timm_has(weights: Weights, names: str) -> bool:
    """Whether timm can build this architecture from its config alone."""
    if weights.family == 'resnet':
        return weights.model['stem'] == 'imagenet' and weights.model['width'] == 64
    return names == 'timm' and weights.model['name'] in TIMM


def features(weights: Weights) -> int:
    """Length of the encoder's output."""
    if weights.family == 'vit':
        return int(np.shape(weights.params['cls_token'])[-1])
    return weights.model['width'] * (32 if weights.model['name'] == 'resnet50' else 8)


def write(
    weights: Weights, path: str | Path, *, names: str = 'timm', image_size: int = 0, scores: Any = None
) -> dict[str, np.ndarray]:
    """Writes an encoder: into a folder as the hub expects it, or as a `.safetensors` file with a `.json` beside it.

    Args:
      weights: the encoder.
      path: a folder, made if it is not there, or a file that ends in .safetensors.
      names: of the parameters: 'timm', 'torchvision' or 'dinov2', which differ for vision transformers alone.
      image_size: side of the images for which positions are written; 0 leaves them.
      scores: results of `selfsup.evaluate`, for the model card: {representation: {score: value}}.

    Returns:
      The arrays by their written names.

    Raises:
      UserError: when the place is taken by something else or cannot be written.
    """
    if names not in NAMINGS:
        raise UserError(f'names={names!r} is unknown{nearest(names, NAMINGS)}')
    path = expanded(path)
    if image_size:
        fit_size(weights, image_size)
        weights = weights._replace(crop=image_size, resize=resize_for(image_size))
        if weights.family == 'vit' and weights.model['positions'] == 'learned':
            weights = weights._replace(model={**weights.model, 'grid': image_size // weights.model['patch']})
    file, config = _files(path)
    taken = next((p for p in (file, config, *([path / CARD] if file.name == WEIGHTS else [])) if p.exists()), None)
    if taken and 'selfsup' not in _config(path):
        raise UserError(f'{path} holds something else already (see {taken}); name another place')
    side = weights.crop or weights.model.get('grid', 0) * weights.model.get('patch', 0) or 32
    arrays = state_dict(weights, names=names, image_size=image_size)
    content = describe(weights, names, side)
    texts = {config: json.dumps(content, indent=2) + '\n'}
    if file.name == WEIGHTS and path.suffix != '.safetensors':
        texts[path / CARD] = card(weights, names, timm_has(weights, names), features(weights), side, scores)
    made: list[Path] = []
    try:
        made = make_folders(file.parent)
        with placed(file) as temporary:
            save_file(arrays, temporary, metadata={'format': 'pt'})
        for place, text in texts.items():
            with placed(place) as temporary:
                temporary.write_text(text)
    except BaseException as error:
        remove_empty(made)
        if isinstance(error, OSError):
            raise UserError(f'{path} cannot be written: {error.strerror or error}') from error
        raise
    return arrays

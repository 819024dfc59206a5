"""Encoders as values: architecture, arrays and preparation of images."""

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from ..errors import UserError
from ..models import ENCODERS
from ..signature import keywords

LARGEST_SIDE = 8192


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
    fields = tuple(sorted((name, tuple(v) if isinstance(v, list) else v) for name, v in model.items()))
    return {kind: dict(leaves) for kind, leaves in _shapes(fields, channels).items()}


@functools.lru_cache(maxsize=16)  # tracing a network takes a second, and reading and writing one ask for the same
def _shapes(fields: tuple[tuple[str, Any], ...], channels: int) -> dict[str, dict[str, tuple[int, ...]]]:
    model = dict(fields)
    side = (model['grid'] or 2) * model['patch'] if 'patch' in model else 32
    images = jax.ShapeDtypeStruct((1, side, side, channels), jnp.float32)
    tree = jax.eval_shape(lambda x: build(model).init(jax.random.key(0), x), images)
    flat: dict[str, dict[str, Any]] = {k: flatten_dict(tree.get(k, {}), sep='/') for k in ('params', 'batch_stats')}
    return {kind: {name: leaf.shape for name, leaf in leaves.items()} for kind, leaves in flat.items()}


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

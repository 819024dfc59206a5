"""Which encoder lies in a tree of tensors, and what a file that does not fit seems to be."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UserError
from .names import NAMINGS, ORIGINS, Naming

LAYER_SCALE = 1e-5  # where DINOv2's starts; its learned values are in the file
SHOWN = 3  # keys that a message names
RESNETS: dict[tuple[tuple[int, ...], bool], str] = {
    ((2, 2, 2, 2), False): 'resnet18',
    ((3, 4, 6, 3), False): 'resnet34',
    ((3, 4, 6, 3), True): 'resnet50',
}
DEEPER: dict[tuple[tuple[int, ...], bool], str] = {
    ((3, 4, 23, 3), True): 'a ResNet-101',
    ((3, 8, 36, 3), True): 'a ResNet-152',
}
VITS = {192: 'vit_ti', 384: 'vit_s', 768: 'vit_b', 1024: 'vit_l', 1280: 'vit_h', 1408: 'vit_g'}
LARGER = {1664: 'a ViT-G'}
READS = 'ResNet-18, -34, -50 and ViT-Ti, -S, -B, -L, -H, -g are read'
# Names by which families that are not read are recognised, the most specific first.
FAMILIES = (
    (r'(^|\.)(visual\.|text_model\.|vision_model\.)|resblocks', 'a CLIP model'),
    (r'(^|\.)decoder_blocks|mask_token.*decoder', 'a masked autoencoder with its decoder'),
    (r'relative_position_bias_table', 'a Swin transformer or BEiT'),
    (r'\.mlp\.w12\.', 'a ViT with gated MLPs, as the largest DINOv2 has them'),
    (r'\.gamma_1$', 'a ViT with layer scale, as BEiT and CaiT name it'),
    (r'patch_embeddings|attention\.attention\.query', "a ViT as Hugging Face's transformers names it"),
    (r'patch_embed\.proj\.\d', 'a ViT with a convolutional stem'),
    (r'^(module\.|backbone\.)*conv1\.\d\.weight', 'a ResNet with a deep stem'),
    (r'downsample_layers|stages\.\d+\.blocks|convnext', 'a ConvNeXt'),
    (r'conv_stem', 'an EfficientNet'),
    (r'^(module\.)?features\.', 'a VGG, AlexNet, DenseNet or MobileNet'),
    (r'lora_|adapter', 'an adapter'),
    (r'embed_tokens|wte\.weight|transformer\.h\.', 'a language model'),
)


class Found(NamedTuple):
    """An encoder in a file.

    Attributes:
      origin: whose packing it has.
      family: 'resnet' or 'vit'.
      naming: its names.
      state: name without the prefix -> tensor; heads and what lies beside are gone.
      unexpected: names that belong neither to it nor to what is known to lie beside.
      place: where it lies: the dictionary's key, a slash, and the prefix of its names.
      left_out: heads, other networks and what else lies beside it.
    """

    origin: str
    family: str
    naming: Naming
    state: dict[str, Any]
    unexpected: list[str]
    place: str = '/'
    left_out: tuple[str, ...] = ()


def tensors(node: Any) -> dict[str, Any]:
    """The tensors that lie directly in a dictionary, by name."""
    if not isinstance(node, dict):
        return {}
    return {k: v for k, v in node.items() if isinstance(k, str) and hasattr(v, 'shape') and hasattr(v, 'array')}


def first(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    rest = len(names) - SHOWN
    return ', '.join(names[:SHOWN]) + (f' and {rest} more' if rest > 0 else '')


def architecture(found: Found, path: Path, *, stem: str = 'auto', heads: int = 0) -> tuple[dict[str, Any], int, int]:
    """The fields of `config.model`, the image channels and the image side (0 where any will do), from the shapes.

    Raises:
      UserError: for an architecture or a stem that is none of ours.
    """
    if found.family == 'resnet':
        return (*_resnet(found.state, path, stem), 0)
    if stem != 'auto':
        raise UserError(f'--stem={stem} is for residual networks, and {path} holds a vision transformer')
    return _vit(found, path, heads)


def _stages(state: dict[str, Any]) -> tuple[int, ...]:
    blocks = {m.groups() for m in (re.match(r'layer(\d)\.(\d+)\.', name) for name in state) if m}
    return tuple(len([b for s, b in blocks if s == stage]) for stage in sorted({s for s, _ in blocks}))


def _resnet(state: dict[str, Any], path: Path, stem: str) -> tuple[dict[str, Any], int]:
    shape, stages, bottleneck = tuple(state['conv1.weight'].shape), _stages(state), 'layer1.0.conv3.weight' in state
    if (stages, bottleneck) not in RESNETS:
        raise UserError(
            f'{path} holds another architecture: {describe(state)}; its first keys are {first(list(state))}; {READS}'
        )
    stems = {7: ('imagenet',), 3: ('cifar', 'cifar_pad2')}.get(shape[-1] if len(shape) == 4 else 0)
    if stems is None:
        raise UserError(
            f'{path} has another stem: conv1.weight is {list(shape)}, and 7×7 (imagenet) and 3×3 (cifar) kernels are '
            f'read; it seems to be {describe(state)}'
        )
    if stem not in ('auto', *stems):
        raise UserError(
            f'{path} has another stem than --stem={stem}: conv1.weight is {list(shape)}, which is that of '
            f'{" or ".join(stems)}'
        )
    fields: dict[str, Any] = {'name': RESNETS[stages, bottleneck], 'stem': stems[0] if stem == 'auto' else stem}
    return {**fields, 'width': shape[0]}, shape[1]


def _vit(found: Found, path: Path, heads: int) -> tuple[dict[str, Any], int, int]:
    state, naming = found.state, found.naming
    projection = tuple(state[naming.anchor].shape)
    blocks = {m[1] for m in (re.match(r'(?:blocks\.|encoder\.layers\.encoder_layer_)(\d+)\.', n) for n in state) if m}
    if naming.positions not in state or naming.token not in state or len(projection) != 4 or projection[0] not in VITS:
        raise UserError(
            f'{path} holds another architecture: {describe(state)}; its first keys are {first(list(state))}; {READS}'
        )
    dim, channels, patch, _ = projection
    table = tuple(state[naming.positions].shape)
    registers = tuple(state[naming.registers].shape) if naming.registers in state else (1, 0)
    first_row = int(naming.class_position or not registers[1])  # of the class token
    side = math.isqrt(table[1] - first_row) if len(table) == 3 else 0
    if len(table) != 3 or side * side != table[1] - first_row or not side:
        what = 'a class token and a square grid of patches' if first_row else 'a square grid of patches'
        raise UserError(f'{path} has {naming.positions} of shape {list(table)}, which is not {what}')
    hidden = next(
        (t.shape[0] for n, t in state.items() if re.search(r'\.0\.mlp\.(fc1|0)\.weight$|_0\.mlp\.0\.weight$', n)),
        4 * dim,
    )
    fields = {'name': VITS[dim], 'depth': len(blocks), 'patch': patch, 'mlp_ratio': hidden / dim, 'grid': side}
    fields |= ORIGINS[found.origin].model.get(VITS[dim], {}) | ({'heads': heads} if heads else {})
    fields |= {'registers': registers[1]} if registers[1] else {}
    fields |= {'layer_scale': LAYER_SCALE} if 'blocks.0.ls1.gamma' in state else {}
    # DINOv2 interpolates without an offset, and antialiased, where there are registers.
    kind = 'timm' if registers[1] else ORIGINS[found.origin].interpolation
    return {**fields, 'interpolation': kind}, channels, side * patch


def describe(tree: Any) -> str:
    """What a tree of tensors seems to be, in a few words."""
    places = {'': tensors(tree)} | ({k: tensors(v) for k, v in tree.items()} if isinstance(tree, dict) else {})
    place, state = max(places.items(), key=lambda item: len(item[1]))
    if not state:
        kind = (
            f'a dictionary of {first([str(k) for k in tree])}'
            if isinstance(tree, dict) and tree
            else type(tree).__name__
        )
        return f'{kind}, without tensors'
    for pattern, what in FAMILIES:
        if any(re.search(pattern, name) for name in state):
            return what
    for naming in (n for family in NAMINGS.values() for n in family.values()):
        for name in state:
            if name.endswith(naming.anchor):
                prefix = name.removesuffix(naming.anchor)
                inner = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
                text = known(inner, naming)
                if text:
                    where = f' under {place + "/" if place else ""}{prefix}' if place or prefix else ''
                    return text + where
    return f'{len(state)} tensors{" under " + place if place else ""} that begin with {first(list(state))}'


def known(state: dict[str, Any], naming: Naming) -> str:
    """The name of a ResNet or ViT of any size, or ''."""
    shape, stages = tuple(state[naming.anchor].shape), _stages(state)
    if naming.anchor == 'conv1.weight':
        bottleneck = 'layer1.0.conv3.weight' in state
        if not stages:
            return ''
        found = RESNETS.get((stages, bottleneck))
        name = f'a ResNet-{found[6:]}' if found else DEEPER.get((stages, bottleneck))
        kind = 'bottleneck' if bottleneck else 'basic'
        name = name or f'a residual network of {"-".join(map(str, stages))} {kind} blocks'
        return f'{name} with a {shape[-1]}×{shape[-1]} stem of {shape[0]} channels'
    vit = {d: f'a ViT-{n[4:].capitalize() if n != "vit_g" else "g"}' for d, n in VITS.items()} | LARGER
    return f'{vit.get(shape[0], f"a vision transformer of width {shape[0]}")} with patches of {shape[-1]}'

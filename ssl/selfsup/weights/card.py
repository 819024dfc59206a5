"""The model card of an exported encoder."""

from typing import Any

from .names import ORIGINS
from .values import Weights


def _torch_lines(weights: Weights, names: str, side: int) -> list[str]:
    """Python that builds the network in PyTorch and loads the file strictly."""
    model = weights.model
    if weights.family == 'resnet':
        wide = '' if model['width'] == 64 else '  # its layers must be widened to match'
        lines = ['import torch, torchvision', f'model = torchvision.models.{model["name"]}(){wide}']
        if model['stem'] != 'imagenet':
            padding = 2 if model['stem'] == 'cifar_pad2' else 1
            shape = f'{weights.channels}, {model["width"]}, kernel_size=3, stride=1, padding={padding}, bias=False'
            lines += [f'model.conv1 = torch.nn.Conv2d({shape})', 'model.maxpool = torch.nn.Identity()']
        elif weights.channels != 3:
            shape = f'{weights.channels}, {model["width"]}, kernel_size=7, stride=2, padding=3, bias=False'
            lines.append(f'model.conv1 = torch.nn.Conv2d({shape})')
        lines.append('model.fc = torch.nn.Identity()')
    elif names == 'dinov2':
        dim = weights.params['cls_token'].shape[-1]
        shape = (
            f'img_size={side}, patch_size={model["patch"]}, in_chans={weights.channels}, embed_dim={dim}, '
            f'depth={model["depth"]}, num_heads={model["heads"]}, mlp_ratio={model["mlp_ratio"]:g}, '
            f'init_values={model["layer_scale"] or None}, block_chunks=0'
        )
        shape += f', num_register_tokens={model["registers"]}' if model['registers'] else ''
        lines = [
            'import torch',
            'from dinov2.models.vision_transformer import DinoVisionTransformer',
            f'model = DinoVisionTransformer({shape})',
        ]
    elif names == 'torchvision':
        dim = weights.params['cls_token'].shape[-1]
        shape = (
            f'image_size={side}, patch_size={model["patch"]}, num_layers={model["depth"]}, '
            f'num_heads={model["heads"]}, hidden_dim={dim}, mlp_dim={round(dim * model["mlp_ratio"])}'
        )
        lines = [
            'import torch, torchvision',
            f'model = torchvision.models.VisionTransformer({shape})',
            'model.heads = torch.nn.Identity()',
        ]
    else:
        lines = [
            'import timm',
            "model = timm.create_model('local-dir:.', pretrained=True)  # or 'hf-hub:<owner>/<name>'",
        ]
        return [*lines, 'model.eval()']
    load = "model.load_state_dict(safetensors.torch.load_file('model.safetensors'), strict=True)"
    return ['import safetensors.torch', *lines, load, 'model.eval()']


def card(weights: Weights, names: str, timm: bool, features: int, side: int, scores: Any) -> str:
    """Markdown with the hub's front matter; only what is known of the encoder is said."""
    model, about = weights.model, dict(weights.about)
    origin = ORIGINS.get(weights.origin)
    tags = ['self-supervised-learning', weights.origin.replace('_', '-') or 'selfsup', model['name']]
    front = ['---', f'library_name: {"timm" if timm else "pytorch"}', 'pipeline_tag: image-feature-extraction', 'tags:']
    front += [f'- {tag}' for tag in dict.fromkeys(tags)] + ['---', '']
    fields = ', '.join(f'{k}={v!r}' for k, v in model.items() if k != 'name')
    numbers = ', '.join(f'{x:g}' for x in weights.mean), ', '.join(f'{x:g}' for x in weights.std)
    sides = [f'the shorter side resized to {weights.resize}'] if weights.resize else []
    sides += [f'a centre crop of {weights.crop}'] if weights.crop else []
    text = [
        f'# {model["name"]}, {weights.origin or "selfsup"}',
        '',
        f'An image encoder without a head: {features} features of images with {weights.channels} channels.',
        '',
        f'- architecture: {model["name"]} ({fields})',
        f'- parameter names: {names}',
        f'- images: {", then ".join(sides) or "at their own size"}; values in [0, 1], minus ({numbers[0]}), '
        f'over ({numbers[1]})',
    ]
    if origin:
        text.append(f'- weights: converted from a file as {weights.origin} packs it, {origin.url}')
    text += [f'- {name.replace("_", " ")}: {value}' for name, value in about.items()]
    if origin and about:
        text += ['', 'The licence of the weights is that of their origin.']
    if scores:
        columns = list(next(iter(scores.values())))
        text += ['', '## Evaluation', '', '| representation | ' + ' | '.join(columns) + ' |']
        text.append('| --- ' * (len(columns) + 1) + '|')
        text += [f'| {name} | ' + ' | '.join(f'{row[c]:.3f}' for c in columns) + ' |' for name, row in scores.items()]
        text += ['', 'Written by `python -m selfsup.evaluate`; probes of frozen features.']
    text += ['', '## Use', '', 'In PyTorch:', '', '```python', *_torch_lines(weights, names, side), '```', '']
    text += ['In JAX:', '', '```python', 'import selfsup', "encoder = selfsup.load_encoder('.')"]
    text += ['features = encoder(images)  # uint8 or [0, 1] float, [n, height, width, channels]', '```', '']
    return '\n'.join(front + text)

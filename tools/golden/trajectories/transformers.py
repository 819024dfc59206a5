"""Parameters of the authors' transformers by our paths, in our layout. PyTorch only."""

import functools

import numpy as np
import torch
from torch import nn
from trajectories import masked_problem as problem
from trajectories import problem as arrays

norm = functools.partial(nn.LayerNorm, eps=1e-6)

LAYERS = {
    'norm1': 'norm1', 'norm2': 'norm2', 'attn.qkv': 'attn/qkv', 'attn.proj': 'attn/proj', 'mlp.fc1': 'fc1',
    'mlp.fc2': 'fc2',
}  # fmt: skip


def turned(parameter: torch.Tensor, name: str) -> tuple[str, torch.Tensor]:
    """(leaf, a view of a layer's parameter in our layout) of torch's name."""
    if name == 'bias':
        return 'bias', parameter
    if parameter.ndim == 4:
        return 'kernel', parameter.permute(2, 3, 1, 0)
    return ('kernel', parameter.T) if parameter.ndim == 2 else ('scale', parameter)


def named(module: nn.Module, names: dict[str, str], blocks: str) -> dict[str, torch.Tensor]:
    """Views of a transformer's parameters by our paths; `names` of its layers outside the blocks, ours by theirs."""
    found: dict[str, torch.Tensor] = {}
    for path, parameter in module.named_parameters():
        layer, _, name = path.rpartition('.')
        if path in names:
            found[names[path]] = parameter
        elif layer in names:
            leaf, view = turned(parameter, name)
            found[f'{names[layer]}/{leaf}'] = view
        elif path.startswith(f'{blocks}.'):
            _, number, inner = path.split('.', 2)
            layer, _, name = inner.rpartition('.')
            if layer in LAYERS:
                leaf, view = turned(parameter, name)
                found[f'block{number}/{LAYERS[layer]}/{leaf}'] = view
            elif inner in ('gamma_1', 'gamma_2'):
                found[f'block{number}/ls{inner[-1]}/gamma'] = parameter
            elif inner in ('attn.q_bias', 'attn.v_bias'):
                found[f'block{number}/attn/{inner[5]}_bias'] = parameter
    return found


def joined(found: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Arrays by our paths; biases of queries and values as one with those of keys, which are 0."""
    values = {k: v.detach().numpy().copy() for k, v in found.items()}
    for path in [k for k in values if k.endswith('q_bias')]:
        start = path.removesuffix('q_bias')
        query, value = values.pop(path), values.pop(f'{start}v_bias')
        values[f'{start}qkv/bias'] = np.concatenate([query, np.zeros_like(query), value])
    return values


def begin(parts: dict[str, dict[str, torch.Tensor]]) -> None:
    """Gives the parts of a model the case's initial weights."""
    found = {f'{part}/{k}': v for part, views in parts.items() for k, v in joined(views).items()}
    values = problem.without_key_bias(arrays.initial({k: v.shape for k, v in found.items()}))
    with torch.no_grad():
        for part, views in parts.items():
            for path, view in views.items():
                whole = f'{part}/{path}'
                if path.endswith(('q_bias', 'v_bias')):
                    thirds = np.split(values[f'{whole[:-6]}qkv/bias'], 3)
                    view.copy_(torch.from_numpy(thirds[0 if path.endswith('q_bias') else 2]))
                else:
                    view.copy_(torch.from_numpy(values[whole]))


def placed(parts: dict) -> dict[str, np.ndarray]:
    """The arrays of the parts under the paths of our state."""
    found = {}
    for part, views in parts.items():
        start = 'target/params/encoder' if part == 'target' else f'params/{part}'
        found |= {f'{start}/{k}': v for k, v in joined(views).items()}
    return problem.without_key_bias(found)

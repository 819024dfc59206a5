"""Small encoders under the names of other code bases, for the tests of weights in and out."""

import functools
import json
from pathlib import Path

import jax
import numpy as np
import torch_like
from convert_golden.formula import array
from safetensors.numpy import save_file
from selfsup.models.positions import sincos_positions
from selfsup.weights.names import NAMINGS, rename, transposed
from selfsup.weights.values import complete, shapes

HERE = Path(__file__).parent / 'convert_golden'
GOLDEN = json.loads((HERE / 'golden.json').read_text())
# Whole architectures at a width or depth that costs nothing; the golden features are of the full ones.
RESNET = {'name': 'resnet50', 'width': 4}
CIFAR = {'name': 'resnet18', 'stem': 'cifar', 'width': 4}
VIT = {'name': 'vit_ti', 'depth': 2, 'grid': 2}
SINCOS = {'name': 'vit_ti', 'depth': 2, 'positions': 'sincos'}


def state_of(model, names='timm'):
    """The arrays of an encoder by formula, under another code base's names."""
    return dict(_state_of(tuple(sorted(model.items())), names))


@functools.cache
def _state_of(fields, names):
    model = complete(dict(fields))
    naming = NAMINGS[names]['vit' if model['name'].startswith('vit') else 'resnet']
    found = {}
    for leaves in shapes(model, 3).values():
        for name, shape in leaves.items():
            if 'position' in name:
                continue
            theirs = rename(name, naming)
            shape = transposed(np.broadcast_to(0.0, shape)).shape if name.endswith('kernel') else shape
            found[theirs] = array(theirs, shape)
            if theirs.endswith('running_var'):
                batches = theirs.replace('running_var', 'num_batches_tracked')
                found[batches] = array(batches, ())
    if naming.positions:
        dim = found[naming.token].shape[-1]
        found[naming.positions] = array(naming.positions, (1, 1 + model['grid'] ** 2, dim))
        if model['positions'] == 'sincos':
            found[naming.positions] = np.concatenate([np.zeros((1, dim)), sincos_positions(2, 2, dim)])[None].astype(
                'f4'
            )
    return found


def written(path, model, names='timm'):
    save_file(state_of(model, names), path)
    return path


def encode(weights, x):
    variables = {'params': weights.params, 'batch_stats': weights.batch_stats}
    return np.asarray(jax.jit(weights.module().apply)(variables, np.asarray(x)))


def assert_equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def tensors(tree):
    if isinstance(tree, dict):
        return {k: tensors(v) for k, v in tree.items()}
    return torch_like.Tensor(tree) if isinstance(tree, np.ndarray) else tree

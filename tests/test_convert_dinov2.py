"""DINOv2's vision transformers: layer scale and registers, under its own names and timm's, in and out."""

import jax
import numpy as np
import pytest
import torch_like
from convert_states import encode
from flax.traverse_util import unflatten_dict
from safetensors.numpy import save_file
from scipy.special import erf, softmax
from selfsup import weights as foreign
from selfsup.errors import UserError
from selfsup.weights.values import complete, shapes
from tolerances import PARITY

IMAGES = np.random.default_rng(1).normal(size=(2, 42, 42, 3)).astype(np.float32)


def made(registers, name='vit_s', **fields):
    """An encoder of random numbers: two blocks, patches of 14 on a grid of 3."""
    model = {'name': name, 'depth': 2, 'patch': 14, 'grid': 3, 'registers': registers, 'layer_scale': 1e-5, **fields}
    model, rng = complete(model), np.random.default_rng(registers)
    leaves = {n: rng.normal(0, 0.2, s).astype(np.float32) for n, s in shapes(model, 3)['params'].items()}
    return foreign.Weights(model, unflatten_dict(leaves, sep='/'), {}, mean=(0.5,) * 3, std=(0.2,) * 3)


def reference(state, images, *, heads):
    """The class token of DINOv2's network in NumPy, float64, from the arrays as its own files name them."""
    p = {name: np.asarray(value, np.float64) for name, value in state.items()}

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * p[f'{name}.weight'] + p[f'{name}.bias']

    def linear(x, name):
        return x @ p[f'{name}.weight'].T + p[f'{name}.bias']

    patches = images.astype(np.float64).reshape(2, 3, 14, 3, 14, 3).transpose(0, 1, 3, 5, 2, 4).reshape(2, 9, -1)
    x = (
        patches @ p['patch_embed.proj.weight'].reshape(len(p['patch_embed.proj.bias']), -1).T
        + p['patch_embed.proj.bias']
    )
    x = np.concatenate([np.repeat(p['cls_token'], 2, axis=0), x], axis=1) + p['pos_embed']
    if 'register_tokens' in p:
        x = np.concatenate([x[:, :1], np.repeat(p['register_tokens'], 2, axis=0), x[:, 1:]], axis=1)
    for number in range(2):
        name = f'blocks.{number}'
        qkv = linear(norm(x, f'{name}.norm1'), f'{name}.attn.qkv')
        query, key, value = np.moveaxis(qkv.reshape(2, x.shape[1], 3, heads, -1), 2, 0)
        weights = softmax(np.einsum('bqhd,bkhd->bhqk', query, key) / query.shape[-1] ** 0.5, axis=-1)
        attended = np.einsum('bhqk,bkhd->bqhd', weights, value).reshape(x.shape)
        x = x + linear(attended, f'{name}.attn.proj') * p[f'{name}.ls1.gamma']
        y = linear(norm(x, f'{name}.norm2'), f'{name}.mlp.fc1')
        x = x + linear(y * (1 + erf(y / np.sqrt(2))) / 2, f'{name}.mlp.fc2') * p[f'{name}.ls2.gamma']
    return norm(x, 'norm')[:, 0]


@pytest.mark.parametrize(
    'name, registers, heads',
    [
        ('vit_s', 4, 6),
        ('vit_s', 0, 6),
        *(pytest.param('vit_b', registers, 12, marks=pytest.mark.slow) for registers in (0, 4)),
        *(pytest.param(name, 4, 16, marks=pytest.mark.slow) for name in ('vit_l', 'vit_h', 'vit_g')),
    ],
)
def test_its_files_give_its_features_and_go_out_again(name, registers, heads, tmp_path):
    weights = made(registers, name)
    state = foreign.state_dict(weights, names='dinov2')
    wanted = reference(state, IMAGES, heads=heads)
    for names, origin in (('dinov2', 'dinov2'), ('timm', 'timm')):
        file = tmp_path / f'{names}.safetensors'
        save_file(foreign.state_dict(weights, names=names), file)
        read = foreign.read(file)
        assert (read.origin, read.crop, read.model['registers'], read.model['grid']) == (origin, 42, registers, 3)
        assert read.model['interpolation'] == ('timm' if registers or names == 'timm' else 'dino')
        np.testing.assert_allclose(encode(read, IMAGES), wanted, atol=PARITY)
    assert ('register_tokens' in state) == bool(registers) and state['mask_token'].shape == (1, wanted.shape[1])
    theirs = foreign.state_dict(weights, names='timm')
    # Where there are registers timm keeps the class token's position in the token itself.
    assert theirs['pos_embed'].shape[1] == (9 if registers else 10) and 'mask_token' not in theirs


def test_a_checkpoint_of_its_training_holds_the_target_in_chunks(tmp_path):
    weights = made(4)
    state = foreign.state_dict(weights, names='dinov2')
    chunked = {name.replace('blocks.', 'blocks.0.', 1): value for name, value in state.items()}
    teacher = {f'backbone.{name}': value for name, value in chunked.items()} | {'dino_head.last': np.ones((2, 2), 'f4')}
    file = tmp_path / 'teacher.pth'
    torch_like.save({'teacher': {name: torch_like.Tensor(value) for name, value in teacher.items()}}, file)
    read = foreign.read(file)
    assert read.origin == 'dinov2' and read.about['taken_from'] == 'teacher/backbone.'
    jax.tree.map(np.testing.assert_array_equal, read.params, weights.params)


def test_a_folder_keeps_registers_and_layer_scale(tmp_path):
    for names in ('timm', 'dinov2'):
        foreign.write(made(4), tmp_path / names, names=names)
        read = foreign.read(tmp_path / names)
        np.testing.assert_allclose(encode(read, IMAGES), encode(made(4), IMAGES), atol=1e-6)
    card = (tmp_path / 'dinov2' / 'README.md').read_text()
    assert 'DinoVisionTransformer(img_size=42, patch_size=14' in card and 'num_register_tokens=4' in card


def test_what_it_has_not_is_refused(tmp_path):
    model = complete({'name': 'resnet18', 'width': 4})
    with pytest.raises(UserError, match="names='dinov2' has no resnet18"):
        foreign.state_dict(foreign.Weights(model, {}, {}), names='dinov2')
    with pytest.raises(UserError, match="names='torchvision' has no encoders with model.registers=4"):
        foreign.state_dict(made(4), names='torchvision')
    state = foreign.state_dict(made(0), names='dinov2')
    save_file(
        {n.replace('mlp.fc1', 'mlp.w12').replace('mlp.fc2', 'mlp.w3'): v for n, v in state.items()},
        tmp_path / 'g.safetensors',
    )
    with pytest.raises(UserError, match='gated MLPs'):
        foreign.read(tmp_path / 'g.safetensors')
    save_file({**state, 'pos_embed': state['pos_embed'][:, :6]}, tmp_path / 'p.safetensors')
    with pytest.raises(UserError, match='pos_embed of shape .* which is not a class token and a square grid'):
        foreign.read(tmp_path / 'p.safetensors')

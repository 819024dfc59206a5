"""Weights in and out: files of every origin, golden features of torchvision and timm, round trips."""

import argparse
import hashlib
import json

import numpy as np
import pytest
import torch_like
from convert_golden.formula import images, uniform
from convert_states import CIFAR, GOLDEN, HERE, RESNET, SINCOS, VIT, assert_equal, encode, state_of, tensors, written
from flax.traverse_util import unflatten_dict
from safetensors.numpy import load_file, save_file
from selfsup import weights as foreign
from selfsup.engine import export
from selfsup.models.positions import interpolation_matrix, sincos_positions
from selfsup.weights import reading
from selfsup.weights.names import IMAGENET_STD
from selfsup.weights.values import complete, shapes
from tolerances import FLOAT32, PARITY


@pytest.mark.parametrize('file', ['zip.pth', 'legacy.pth'])
def test_files_that_torch_wrote(file):
    tree = reading.load(HERE / file)
    x = uniform('tiny', (3, 4))
    wanted = {
        'plain': x, 'transposed': x.T, 'part': x[1:, 2:], 'half': x.astype('f2'), 'double': x.astype('f8'),
        'whole': np.arange(5), 'flags': np.array([True, False]), 'scalar': np.float32(2.5), 'parameter': x[0],
        'empty': np.zeros((0, 3), 'f4'),
    }  # fmt: skip
    state = tree['state_dict']
    assert state.keys() == {*wanted, 'bfloat16'}
    for name, value in wanted.items():
        found = state[name].array()
        assert found.dtype == np.asarray(value).dtype and found.flags['C_CONTIGUOUS']
        np.testing.assert_array_equal(found, value)
    brain = state['bfloat16'].array()
    assert brain.dtype == np.float32 and np.abs(brain / x - 1).max() < 2**-8
    assert tree['epoch'] == 3 and tree['numbers'][0] == 1.5 and tree['args'].values['lr'] == 0.1
    np.testing.assert_array_equal(tree['numbers'][1].value, np.arange(3))


# Golden features: recorded from torchvision and timm by tools/golden/convert/reference.py.


FAST = ('torchvision resnet18 cifar', 'timm vit_ti')


@pytest.mark.parametrize(
    'name', [pytest.param(n, marks=[] if n in FAST else pytest.mark.slow) for n in GOLDEN['features']]
)
def test_features_equal_the_other_library(name, tmp_path):
    names, arch, *stem = name.split()
    model = {'name': arch} | ({'stem': stem[0]} if stem else {}) | ({'grid': 14} if arch.startswith('vit') else {})
    weights = foreign.read(written(tmp_path / 'm.safetensors', model, names))
    found = encode(weights, images(32 if stem else 64))
    wanted = np.array(GOLDEN['features'][name])
    np.testing.assert_allclose(found[:, :: found.shape[1] // 16], wanted, atol=PARITY)


@pytest.mark.parametrize('name', GOLDEN['names'])
def test_exported_names_and_shapes_are_theirs(name):
    names, arch, *stem = name.split()
    model = complete({'name': arch} | ({'stem': stem[0]} if stem else {}) | ({'grid': 14} if 'vit' in arch else {}))
    trees = {
        kind: {n: np.broadcast_to(np.float32(1), s) for n, s in leaves.items()}
        for kind, leaves in shapes(model, 3).items()
    }
    weights = foreign.Weights(model, *(unflatten_dict(t, sep='/') for t in trees.values()))
    state = foreign.state_dict(weights, names=names)
    lines = sorted(f'{n} {list(a.shape)}' for n, a in state.items())
    assert hashlib.sha256('\n'.join(lines).encode()).hexdigest()[:16] == GOLDEN['names'][name]


@pytest.mark.parametrize('name', GOLDEN['positions'])
def test_positions_are_interpolated_as_there(name):
    kind, side = name.split()
    table = uniform('pos_embed', (1, 17, 4))[0, 1:].reshape(4, 4, 4)
    matrix = interpolation_matrix(4, int(side), kind)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=FLOAT32)
    found = np.einsum('hr,rcd,wc->hwd', matrix, table, matrix)
    np.testing.assert_allclose(found[..., 0].ravel(), GOLDEN['positions'][name], atol=FLOAT32)


def test_sincos_positions_begin_with_the_row():
    # MoCo v3 by hand: dim 4 has one frequency, 1; the patch of row 1, column 2 has sin 1, cos 1, sin 2, cos 2.
    np.testing.assert_allclose(sincos_positions(2, 3, 4)[5], [np.sin(1), np.cos(1), np.sin(2), np.cos(2)], atol=FLOAT32)


# Every origin's packing.


def _under(prefix, state):
    return {prefix + name: value for name, value in state.items()}


HEAD = {'weight': np.ones((2, 3), 'f4'), 'bias': np.ones(2, 'f4')}
PACKINGS = {
    'torchvision': (RESNET, lambda s: s | _under('fc.', HEAD), {}),
    'swav': (RESNET, lambda s: _under('module.', s | _under('projection_head.0.', HEAD) | _under('prototypes.', HEAD)),
             {'std': (0.228, 0.224, 0.225)}),
    'barlow_twins': (RESNET, lambda s: {'epoch': 1, 'model': _under('module.backbone.', s)
                     | _under('module.projector.0.', HEAD) | _under('module.bn.', {'running_mean': HEAD['bias']})}, {}),
    'vicreg': (RESNET, lambda s: {'epoch': 1, 'optimizer': {}, 'model': _under('module.backbone.', s)
               | _under('module.projector.0.', HEAD)}, {}),
    'moco_v2': (RESNET, lambda s: {'epoch': 200, 'arch': 'resnet50', 'state_dict':
                _under('module.encoder_k.', s) | _under('module.encoder_q.', s | _under('fc.0.', HEAD))
                | _under('module.', {'queue': HEAD['weight'], 'queue_ptr': HEAD['bias']})}, {}),
    'simsiam': (RESNET, lambda s: {'state_dict': _under('module.encoder.', s | _under('fc.0.', HEAD))
                | _under('module.predictor.0.', HEAD)}, {}),
    'moco_v3': (SINCOS | {'name': 'vit_s'}, lambda s: {'state_dict': _under('module.base_encoder.', s | _under('head.0.', HEAD))
                | _under('module.momentum_encoder.', s) | _under('module.predictor.0.', HEAD)},
                {'heads': 12, 'positions': 'sincos'}),
    'moco_v3 resnet50': (RESNET, lambda s: {'state_dict': _under('module.base_encoder.', s | _under('fc.0.', HEAD))
                         | _under('module.momentum_encoder.', s) | _under('module.predictor.0.', HEAD)}, {}),
    'dino': (VIT, lambda s: {'student': _under('module.backbone.', s), 'teacher': _under('backbone.', s)
             | _under('head.mlp.0.', HEAD), 'args': argparse.Namespace(arch='vit_tiny')}, {'interpolation': 'dino'}),
    'dino resnet50': (RESNET, lambda s: {'teacher': _under('module.backbone.', s) | _under('module.head.mlp.0.', HEAD)}, {}),
    'timm': (VIT, lambda s: s | _under('head.', HEAD), {'interpolation': 'timm', 'positions': 'learned'}),
}  # fmt: skip


@pytest.mark.parametrize('name', PACKINGS)
def test_every_origin_is_recognised_and_read(name, tmp_path):
    model, pack, fields = PACKINGS[name]
    state = state_of(model)
    path = tmp_path / 'checkpoint.pth.tar'
    torch_like.save(tensors(pack(state)), path, legacy=name in ('dino', 'swav'))
    weights = foreign.read(path)
    assert weights.origin == name.split()[0]
    for field, value in {'std': IMAGENET_STD, **fields}.items():
        assert weights.model.get(field, getattr(weights, field, None)) == value, field
    back = foreign.state_dict(weights, names='timm', image_size=0 if 'std' in fields else weights.crop)
    tracked = {n for n in state if n.endswith('num_batches_tracked')}
    assert back.keys() == state.keys()
    for key in state.keys() - tracked:
        np.testing.assert_allclose(back[key], state[key], atol=1e-6, err_msg=key)


def test_the_vit_of_moco_v3_is_known_by_its_positions(tmp_path):
    weights = foreign.read(written(tmp_path / 'm.safetensors', SINCOS | {'name': 'vit_s'}))
    assert (weights.origin, weights.model['heads'], 'positions' in weights.params) == ('moco_v3', 12, False)
    assert foreign.read(tmp_path / 'm.safetensors', heads=6).model['heads'] == 6


def test_an_older_torchvision_calls_the_mlp_otherwise(tmp_path):
    state = state_of(VIT, 'torchvision')
    older = {n.replace('.mlp.0.', '.mlp.linear_1.').replace('.mlp.3.', '.mlp.linear_2.'): a for n, a in state.items()}
    assert older.keys() != state.keys()
    save_file(older, tmp_path / 'older.safetensors')
    weights = foreign.read(tmp_path / 'older.safetensors')
    assert_equal(weights.params, foreign.read(written(tmp_path / 'm.safetensors', VIT, 'torchvision')).params)
    assert weights.model['interpolation'] == 'torchvision'


def test_a_folder_of_timm_says_how_it_wants_its_images(tmp_path):
    written(tmp_path / 'model.safetensors', VIT)
    about = {'input_size': [3, 32, 32], 'mean': [0.5, 0.5, 0.5], 'std': [0.4, 0.4, 0.4], 'crop_pct': 0.8}
    (tmp_path / 'config.json').write_text(json.dumps({'architecture': 'vit_tiny', 'pretrained_cfg': about}))
    weights = export.source(str(tmp_path))
    assert (weights.mean, weights.std, weights.crop, weights.resize) == ((0.5,) * 3, (0.4,) * 3, 32, 40)


def test_half_precision_is_widened(tmp_path):
    state = {n: a.astype(np.float16) for n, a in state_of(CIFAR).items() if a.dtype == np.float32}
    save_file(state, tmp_path / 'half.safetensors')
    kernel = foreign.read(tmp_path / 'half.safetensors').params['conv1']['kernel']
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, state['conv1.weight'].astype('f4').transpose(2, 3, 1, 0))


# Out, and in again.


ROUNDS = {
    'resnet, folder': (RESNET, 'timm', 'out'),
    'cifar, file': (CIFAR | {'stem': 'cifar_pad2'}, 'torchvision', 'out.safetensors'),
    'vit, folder': (VIT | {'heads': 6, 'pool': 'mean', 'interpolation': 'dino'}, 'timm', 'out'),
    'vit, torchvision': (VIT, 'torchvision', 'out'),
    'sincos': (SINCOS, 'timm', 'out.safetensors'),
}


@pytest.mark.parametrize('model, names, place', ROUNDS.values(), ids=ROUNDS.keys())
def test_out_and_in_again(model, names, place, tmp_path):
    read = foreign.read(written(tmp_path / 'm.safetensors', model))
    weights = read._replace(model=read.model | model, origin='simclr', about={'step': 7}, mean=(0.1, 0.2, 0.3))
    arrays = foreign.write(weights, tmp_path / place, names=names)
    again = foreign.read(tmp_path / place)
    assert again.model == complete(weights.model) and again.about == {'step': 7} and again.mean == (0.1, 0.2, 0.3)
    assert_equal(again.params, weights.params)
    assert_equal(again.batch_stats, weights.batch_stats)
    if place == 'out':
        saved = load_file(tmp_path / 'out' / 'model.safetensors')
        assert saved.keys() == arrays.keys()
        card = (tmp_path / 'out' / 'README.md').read_text()
        assert card.startswith('---\nlibrary_name: ') and 'load_encoder' in card and 'step: 7' in card
        about = json.loads((tmp_path / 'out' / 'config.json').read_text())
        # timm has no narrow residual network and does not know torchvision's names; the rest it builds itself.
        assert ('architecture' in about) == (names == 'timm' and model['name'] == 'vit_ti')


def test_positions_are_written_for_another_image_size(tmp_path):
    weights = foreign.read(written(tmp_path / 'm.safetensors', VIT | {'grid': 4}))
    foreign.write(weights, tmp_path / 'out', image_size=32)
    moved = foreign.read(tmp_path / 'out')
    assert moved.params['positions'].shape == (4, 192) and (moved.model['grid'], moved.crop) == (2, 32)
    x = images(32)
    np.testing.assert_allclose(encode(moved, x), encode(weights, x), atol=PARITY)

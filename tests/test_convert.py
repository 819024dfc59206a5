"""Weights in and out: files of every origin, golden features of torchvision and timm, round trips, bad files."""

import argparse
import hashlib
import json
import os
import pickle
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch_like
from convert_golden.formula import array, images, uniform
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors.numpy import load_file, save_file
from selfsup import convert, embed, evaluate, load_encoder, methods, models, train
from selfsup.convert import reading, torch_file
from selfsup.convert.__main__ import main
from selfsup.convert.names import IMAGENET_STD, NAMINGS, rename, transposed
from selfsup.convert.weights import complete, shapes
from selfsup.engine import initial
from selfsup.engine.step import init_state
from selfsup.errors import UserError
from selfsup.models.positions import interpolation_matrix, sincos_positions
from tolerances import FLOAT32, PARITY

HERE = Path(__file__).parent / 'convert_golden'
GOLDEN = json.loads((HERE / 'golden.json').read_text())
# Whole architectures at a width or depth that costs nothing; the golden features are of the full ones.
RESNET = {'name': 'resnet50', 'width': 4}
CIFAR = {'name': 'resnet18', 'stem': 'cifar', 'width': 4}
VIT = {'name': 'vit_ti', 'depth': 2, 'grid': 2}
SINCOS = {'name': 'vit_ti', 'depth': 2, 'positions': 'sincos'}


def state_of(model, names='timm'):
    """The arrays of an encoder by formula, under another code base's names."""
    model = complete(model)
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
    variables = jax.tree.map(jnp.asarray, {'params': weights.params, 'batch_stats': weights.batch_stats})
    return np.asarray(weights.module().apply(variables, jnp.asarray(x)))


def assert_equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


# What torch wrote, read without it.


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


class Evil:
    """Unpickled by Python, it would make a file."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


HOSTILE = {
    'system': lambda mark: (os.system, f'touch {mark}'),
    'eval': lambda mark: (eval, f'open({str(mark)!r}, "w")'),
    'open': lambda mark: (open, str(mark), 'w'),
    'getattr': lambda mark: (getattr, Path, 'touch'),
}


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('name', HOSTILE)
def test_nothing_in_a_file_is_run(name, legacy, tmp_path):
    mark = tmp_path / 'mark'
    path = tmp_path / 'evil.pth'
    call = HOSTILE[name](mark)
    torch_like.save({'state_dict': {'conv1.weight': Evil(*call)}}, path, legacy=legacy)
    with pytest.raises(UserError, match=rf'asks to load \w+\.{name}, which is no plain data.*nothing of it was run'):
        convert.read(path)
    assert not mark.exists()


REACHING = {
    'beyond': ({'shape': (5, 4)}, 'reaches beyond its storage'),
    'offset': ({'offset': 1}, 'reaches beyond its storage'),
    'repeated': ({'shape': (1000, 1000, 1000), 'strides': (0, 0, 0)}, 'reaches beyond its storage'),
    'negative': ({'strides': (-4, 1)}, 'impossible shape'),
    'ranks': ({'shape': (12,)}, 'impossible shape'),
}


@pytest.mark.parametrize('changes, message', REACHING.values(), ids=REACHING.keys())
def test_tensors_stay_within_the_file(changes, message, tmp_path):
    torch_like.save({'x': torch_like.Tensor(np.ones((3, 4), 'f4'), **changes)}, tmp_path / 'x.pth')
    with pytest.raises(UserError, match=message):
        reading.load(tmp_path / 'x.pth')


# Golden features: recorded from torchvision and timm by convert_golden/reference.py.


FAST = ('torchvision resnet18 cifar', 'timm vit_ti')


@pytest.mark.parametrize(
    'name', [pytest.param(n, marks=[] if n in FAST else pytest.mark.slow) for n in GOLDEN['features']]
)
def test_features_equal_the_other_library(name, tmp_path):
    names, arch, *stem = name.split()
    model = {'name': arch} | ({'stem': stem[0]} if stem else {}) | ({'grid': 14} if arch.startswith('vit') else {})
    weights = convert.read(written(tmp_path / 'm.safetensors', model, names))
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
    weights = convert.Weights(model, *(unflatten_dict(t, sep='/') for t in trees.values()))
    state = convert.state_dict(weights, names=names)
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


def _tensors(tree):
    if isinstance(tree, dict):
        return {k: _tensors(v) for k, v in tree.items()}
    return torch_like.Tensor(tree) if isinstance(tree, np.ndarray) else tree


@pytest.mark.parametrize('name', PACKINGS)
def test_every_origin_is_recognised_and_read(name, tmp_path):
    model, pack, fields = PACKINGS[name]
    state = state_of(model)
    path = tmp_path / 'checkpoint.pth.tar'
    torch_like.save(_tensors(pack(state)), path, legacy=name in ('dino', 'swav'))
    weights = convert.read(path)
    assert weights.origin == name.split()[0]
    for field, value in {'std': IMAGENET_STD, **fields}.items():
        assert weights.model.get(field, getattr(weights, field, None)) == value, field
    back = convert.state_dict(weights, names='timm', image_size=0 if 'std' in fields else weights.crop)
    tracked = {n for n in state if n.endswith('num_batches_tracked')}
    assert back.keys() == state.keys()
    for key in state.keys() - tracked:
        np.testing.assert_allclose(back[key], state[key], atol=1e-6, err_msg=key)


def test_the_vit_of_moco_v3_is_known_by_its_positions(tmp_path):
    weights = convert.read(written(tmp_path / 'm.safetensors', SINCOS | {'name': 'vit_s'}))
    assert (weights.origin, weights.model['heads'], 'positions' in weights.params) == ('moco_v3', 12, False)
    assert convert.read(tmp_path / 'm.safetensors', heads=6).model['heads'] == 6


def test_an_older_torchvision_calls_the_mlp_otherwise(tmp_path):
    state = state_of(VIT, 'torchvision')
    older = {n.replace('.mlp.0.', '.mlp.linear_1.').replace('.mlp.3.', '.mlp.linear_2.'): a for n, a in state.items()}
    assert older.keys() != state.keys()
    save_file(older, tmp_path / 'older.safetensors')
    weights = convert.read(tmp_path / 'older.safetensors')
    assert_equal(weights.params, convert.read(written(tmp_path / 'm.safetensors', VIT, 'torchvision')).params)
    assert weights.model['interpolation'] == 'torchvision'


def test_a_folder_of_timm_says_how_it_wants_its_images(tmp_path):
    written(tmp_path / 'model.safetensors', VIT)
    about = {'input_size': [3, 32, 32], 'mean': [0.5, 0.5, 0.5], 'std': [0.4, 0.4, 0.4], 'crop_pct': 0.8}
    (tmp_path / 'config.json').write_text(json.dumps({'architecture': 'vit_tiny', 'pretrained_cfg': about}))
    weights = initial.source(str(tmp_path))
    assert (weights.mean, weights.std, weights.crop, weights.resize) == ((0.5,) * 3, (0.4,) * 3, 32, 40)


def test_half_precision_is_widened(tmp_path):
    state = {n: a.astype(np.float16) for n, a in state_of(CIFAR).items() if a.dtype == np.float32}
    save_file(state, tmp_path / 'half.safetensors')
    kernel = convert.read(tmp_path / 'half.safetensors').params['conv1']['kernel']
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
    read = convert.read(written(tmp_path / 'm.safetensors', model))
    weights = read._replace(model=read.model | model, origin='simclr', about={'step': 7}, mean=(0.1, 0.2, 0.3))
    arrays = convert.write(weights, tmp_path / place, names=names)
    again = convert.read(tmp_path / place)
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
    weights = convert.read(written(tmp_path / 'm.safetensors', VIT | {'grid': 4}))
    convert.write(weights, tmp_path / 'out', image_size=32)
    moved = convert.read(tmp_path / 'out')
    assert moved.params['positions'].shape == (4, 192) and (moved.model['grid'], moved.crop) == (2, 32)
    x = images(32)
    np.testing.assert_allclose(encode(moved, x), encode(weights, x), atol=PARITY)


# Where ours go, imported ones go.


@pytest.fixture(scope='module')
def encoder(tmp_path_factory):
    """A folder with an imported residual network."""
    folder = tmp_path_factory.mktemp('convert')
    written(folder / 'm.safetensors', CIFAR)
    arguments = [f'--from={folder / "m.safetensors"}', f'--to={folder / "encoder"}', '--image-size=16']
    assert main(arguments) == 0
    return folder / 'encoder'


@pytest.fixture(scope='module')
def few(tmp_path_factory):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp('data') / 'few.npz'
    np.savez(path, images=rng.integers(0, 256, (60, 16, 16, 3), np.uint8), labels=np.arange(60) % 3)
    return path


def test_an_imported_encoder_is_called_like_ours(encoder):
    weights = convert.read(encoder)
    x = np.random.default_rng(1).uniform(size=(3, 16, 16, 3)).astype(np.float32)
    found = load_encoder(str(encoder))(x)
    wanted = encode(weights, (x - np.float32(weights.mean)) / np.float32(weights.std))
    np.testing.assert_allclose(found, wanted, atol=PARITY)
    assert found.shape == (3, 32)


def test_an_imported_encoder_is_embedded_and_evaluated(encoder, few, tmp_path, capsys):
    out = tmp_path / 'features.npz'
    assert embed.main([f'--workdir={encoder}', f'--out={out}', f'--data=npz:{few}']) == 0
    with np.load(out) as arrays:
        assert arrays['train_features'].shape == (48, 32)
    assert evaluate.main([f'--workdir={encoder}', f'--data=npz:{few}']) == 0
    results = json.loads((encoder / 'results.json').read_text())
    assert results['scores'].keys() == {'trained', 'untrained', 'pixels'} and results['ranks']
    assert 'torchvision' in (encoder / 'report.md').read_text()


@pytest.fixture(scope='module')
def start():
    """A run, as far as its start is concerned, of BYOL with a small residual network; and weights that fit it."""
    network = models.ResNet(stages=(1, 1), width=4, stem='cifar')
    method = methods.byol(network, models.MLP(widths=(8, 4)), models.MLP(widths=(8, 4)))
    views = {'views': (jnp.ones((2, 8, 8, 3)), jnp.ones((2, 8, 8, 3)))}
    state = init_state(method, optax.sgd(0.1), views, seed=0, classes=2)
    other = jax.device_get(network.init(jax.random.key(7), views['views'][0]))
    stats = jax.tree.map(lambda x: x + 0.5, other['batch_stats'])
    return state, convert.Weights({'name': 'resnet18', 'stem': 'cifar', 'width': 4}, other['params'], stats)


def test_a_run_starts_from_given_weights(start):
    scratch, weights = start
    state = jax.device_get(initial.start_from(scratch, weights))
    target = state.extra['target']
    for params in (state.params, target['params']):
        assert_equal(params['encoder'], weights.params)
    for stats in (state.extra['batch_stats'], target['batch_stats']):
        assert_equal(stats['encoder'], weights.batch_stats)
    scratch = jax.device_get(scratch)
    assert_equal(state.params['projector'], scratch.params['projector'])
    assert_equal(target['batch_stats']['projector'], scratch.extra['target']['batch_stats']['projector'])
    assert not np.array_equal(scratch.params['encoder']['conv1']['kernel'], weights.params['conv1']['kernel'])


def test_arrays_of_a_start_that_do_not_fit_are_named(start):
    state, weights = start
    params = {**weights.params, 'conv1': {'kernel': np.ones((7, 7, 3, 4), 'f4')}}
    with pytest.raises(UserError, match=r'conv1/kernel \[7, 7, 3, 4\] instead of \[3, 3, 3, 4\]'):
        initial.start_from(state, weights._replace(params=params))
    grid = {**weights.params, 'positions': np.ones((196, 4), 'f4')}
    with pytest.raises(UserError, match=r'positions \[196, 4\] instead of nothing; model.grid=14 keeps its positions'):
        initial.start_from(state, weights._replace(params=grid))


STARTS = {
    'model': ({'name': 'resnet34'}, 3, "name 'resnet18' instead of 'resnet34'"),
    'stem': ({'stem': 'cifar_pad2'}, 3, "stem 'cifar' instead of 'cifar_pad2'"),
    'channels': ({}, 1, '3 image channels instead of 1'),
}


@pytest.mark.parametrize('changes, channels, message', STARTS.values(), ids=STARTS.keys())
def test_a_start_that_does_not_fit_is_refused(changes, channels, message, start):
    weights = start[1]
    with pytest.raises(UserError, match=f'init_from holds another encoder than config.model: {message}'):
        initial.check(weights, {**weights.model, **changes}, channels)


@pytest.mark.slow
def test_a_run_from_weights_is_trained_exported_and_read_again(encoder, tmp_path):
    run = tmp_path / 'run'
    fields = {'model.name': 'resnet18', 'model.stem': 'cifar', 'model.width': 4, 'data.channels': 3, 'init_from': encoder,
              'projector.widths': (16, 8), 'train.epochs': 1, 'optimizer.warmup_epochs': 0}  # fmt: skip
    arguments = [f'--config.{name}={value}' for name, value in fields.items()]
    assert train.main(['--config=experiments/digits/dino.py', f'--workdir={run}', *arguments]) == 0
    assert main([f'--from={run}', f'--to={tmp_path / "out"}']) == 0
    ours, theirs = load_encoder(str(run)), load_encoder(str(tmp_path / 'out'))
    x = np.random.default_rng(1).uniform(size=(3, 8, 8, 3)).astype(np.float32)
    teacher = ours.extra['target']['params']['encoder']
    assert_equal(jax.device_get(teacher), convert.read(tmp_path / 'out').params)
    assert theirs(x).shape == (3, 32)
    assert '## Evaluation' in (tmp_path / 'out' / 'README.md').read_text()


# What does not fit.


def _zip(path, files):
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def _flipped(path):
    """A checkpoint of the small residual network in which one bit of the first kernel is another."""
    state = state_of(CIFAR)
    torch_like.save(_tensors(state), path)
    data = bytearray(path.read_bytes())
    data[data.index(state['conv1.weight'].tobytes())] ^= 1
    path.write_bytes(data)


def _state(path, **changes):
    """A safetensors file of the small residual network, with arrays replaced, added or (None) taken out."""
    state = state_of(CIFAR) | {n.replace('__', '.'): a for n, a in changes.items()}
    save_file({n: a for n, a in state.items() if a is not None}, path)


def _named(path, *names, shape=(3, 3)):
    save_file({n: np.ones(shape, 'f4') for n in names}, path)


def _resnet101(path):
    blocks = [f'layer{s}.{b}.conv3.weight' for s, n in enumerate((3, 4, 23, 3), 1) for b in range(n)]
    save_file({'conv1.weight': np.ones((4, 3, 7, 7), 'f4')} | {n: np.ones(1, 'f4') for n in blocks}, path)


F = np.float32
BAD = {
    'absent': (lambda p: None, {}, 'there is no file'),
    'empty': (lambda p: p.write_bytes(b''), {}, 'is no checkpoint: it is empty'),
    'page': (lambda p: p.write_text('\n<!DOCTYPE html>'), {}, 'seems to be a web page, so the download failed'),
    'pointer': (lambda p: p.write_text('version https://git-lfs.github.com/spec/v1'), {}, 'a Git LFS pointer'),
    'text': (lambda p: p.write_text('hello'), {}, 'neither a zip archive, a pickle nor a safetensors file'),
    'npz': (lambda p: _zip(p, {'a.npy': 'x'}), {}, 'seems to be a NumPy archive'),
    'torchscript': (lambda p: _zip(p, {'m/data.pkl': '', 'm/code/a': 'x'}), {}, 'a TorchScript program'),
    'cut': (lambda p: p.write_bytes((HERE / 'zip.pth').read_bytes()[:2000]), {}, 'no checkpoint that can be read, or it is damaged'),
    'cut, older': (lambda p: p.write_bytes((HERE / 'legacy.pth').read_bytes()[:-40]), {}, 'storage .* is missing|does not lie within the file'),
    'plain pickle': (lambda p: p.write_bytes(pickle.dumps({'a': 1}, 2)), {}, 'a pickle that torch did not write'),
    'cut safetensors': (lambda p: p.write_bytes(b'\x40' + b'\0' * 7 + b'{"a":'), {}, 'damaged safetensors file'),
    'no tensors': (lambda p: torch_like.save({'epoch': 1}, p), {}, 'a dictionary of epoch, without tensors'),
    'whole module': (lambda p: torch_like.save({'m': Evil(argparse.ArgumentParser)}, p), {}, 'asks to load argparse.ArgumentParser'),
    'deeper': (_resnet101, {}, 'another architecture: a ResNet-101 with a 7×7 stem of 4 channels.*first keys are conv1.weight, layer1.0'),
    'clip': (lambda p: _named(p, 'visual.conv1.weight'), {}, 'holds no encoder: it seems to be a CLIP model'),
    'convnext': (lambda p: _named(p, 'downsample_layers.0.0.weight'), {}, 'seems to be a ConvNeXt'),
    'dinov2': (lambda p: _named(p, 'patch_embed.proj.weight', 'blocks.0.ls1.gamma', shape=(384, 3, 14, 14)), {}, 'a ViT with layer scale'),
    'large': (lambda p: _named(p, 'patch_embed.proj.weight', shape=(1024, 3, 16, 16)), {}, 'another architecture: a ViT-L with patches of 16'),
    'deep stem': (lambda p: _named(p, 'conv1.0.weight', 'layer1.0.conv1.weight'), {}, 'a ResNet with a deep stem'),
    'conv stem': (lambda p: _named(p, 'patch_embed.proj.0.weight'), {}, 'a ViT with a convolutional stem'),
    'unknown': (lambda p: _named(p, 'a.b', 'c.d', 'e', 'f'), {}, '4 tensors that begin with a.b, c.d, e and 1 more'),
    'stem': (_state, {'stem': 'imagenet'}, r'another stem than --stem=imagenet: conv1.weight is \[4, 3, 3, 3\]'),
    '5x5 stem': (lambda p: _state(p, conv1__weight=np.ones((4, 3, 5, 5), F)), {}, 'another stem: conv1.weight is'),
    'missing': (lambda p: _state(p, bn1__bias=None), {}, 'does not fit resnet18 as torchvision names it: missing bn1.bias; it seems'),
    'unexpected': (lambda p: _state(p, se__weight=np.ones(3, F)), {}, 'unexpected se.weight; it seems to be a ResNet-18 with a 3×3'),
    'shape': (lambda p: _state(p, bn1__bias=np.ones(5, F)), {}, r'of another shape bn1.bias \[5\] instead of \[4\]'),
    'flipped': (_flipped, {}, 'is damaged: conv1.weight cannot be read .*CRC'),
    'nan': (lambda p: _state(p, bn1__bias=np.full(4, np.nan, F)), {}, 'bn1.bias holds values that are not finite'),
    'origin': (_state, {'origin': 'moco_v2', }, None),
    'wrong origin': (lambda p: _named(p, 'a'), {'origin': 'dino'}, 'holds no encoder as dino packs it'),
    'no origin': (_state, {'origin': 'moco2'}, "origin='moco2' is unknown; did you mean moco_v2"),
    'patches': (lambda p: save_file(state_of(VIT), p), {'image_size': 40}, 'patches of 16 do not tile images of 40×40; 32 or 48 would'),
    'not square': (lambda p: save_file(state_of(VIT) | {'pos_embed': np.ones((1, 6, 192), F)}, p), {}, 'no class token and square grid'),
    'vit stem': (lambda p: save_file(state_of(VIT), p), {'stem': 'cifar'}, 'is for residual networks'),
}  # fmt: skip


@pytest.mark.parametrize('make, keywords, message', BAD.values(), ids=BAD.keys())
def test_files_that_do_not_fit(make, keywords, message, tmp_path):
    path = tmp_path / 'file.pth'
    make(path)
    if message is None:
        convert.read(path, **keywords)
        return
    with pytest.raises(UserError, match=message) as caught:
        convert.read(path, **keywords)
    assert str(path) in str(caught.value) or 'origin' in message or 'patches' in message
    assert '\n' not in str(caught.value)


COMMANDS = {
    'config': (['--config.seed=1'], 'convert takes no config'),
    'stem': (['--stem=mnist'], '--stem=mnist is unknown'),
    'mean': (['--mean=a'], '--mean must be numbers with commas between'),
    'names': (['--names=keras'], '--names=keras is unknown; known are timm, torchvision'),
    'step': (['--step=3'], 'is an encoder without steps'),
}


@pytest.mark.parametrize('arguments, message', COMMANDS.values(), ids=COMMANDS.keys())
def test_bad_commands(arguments, message, tmp_path):
    path = written(tmp_path / 'm.safetensors', CIFAR)
    with pytest.raises(UserError, match=message):
        main([f'--from={path}', f'--to={tmp_path / "out"}', *arguments])


def test_what_is_no_place_of_weights_is_refused(tmp_path):
    with pytest.raises(UserError, match='is a folder, and neither a run nor an encoder'):
        initial.source(str(tmp_path))
    (tmp_path / 'config.json').write_text('{')
    with pytest.raises(UserError, match='config.json is damaged'):
        initial.source(str(tmp_path))


def test_a_place_that_is_taken_is_left_alone(tmp_path):
    path = written(tmp_path / 'm.safetensors', CIFAR)
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'config.json').write_text('{"config": {}}')
    (tmp_path / 'notes').mkdir()
    (tmp_path / 'notes' / 'README.md').write_text('notes')
    before = path.read_bytes()
    for taken in ('run', 'notes', 'm.safetensors'):
        with pytest.raises(UserError, match='holds something else already'):
            main([f'--from={path}', f'--to={tmp_path / taken}'])
    assert path.read_bytes() == before and (tmp_path / 'notes' / 'README.md').read_text() == 'notes'


def test_only_plain_data_may_be_named():
    """Whatever enters the table of harmless names must be of ours or a plain container."""
    for name, value in torch_file.HARMLESS.items():
        plain = value in (set, frozenset, list, tuple, dict) or isinstance(value, (str, torch_file.StorageType))
        assert plain or value.__module__ == torch_file.__name__, name


def test_trees_are_flat_dictionaries_of_arrays(encoder):
    weights = convert.read(encoder)
    assert all(isinstance(a, np.ndarray) and a.dtype == np.float32 for a in flatten_dict(weights.params).values())

"""Files of weights that do not fit, are damaged or would run something are refused with a one-line error."""

import argparse
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch_like
from convert_states import CIFAR, HERE, VIT, state_of, tensors, written
from safetensors.numpy import save_file
from selfsup import weights as foreign
from selfsup.convert import main
from selfsup.engine import export
from selfsup.errors import UserError
from selfsup.weights import reading, torch_file


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
    with pytest.raises(UserError, match=rf'names \w+\.{name}, which is not plain data.*nothing was run'):
        foreign.read(path)
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


# What does not fit.


def _zip(path, files):
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def _flipped(path):
    """A checkpoint of the small residual network in which one bit of the first kernel is another."""
    state = state_of(CIFAR)
    torch_like.save(tensors(state), path)
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
    'empty': (lambda p: p.write_bytes(b''), {}, 'is not a checkpoint: it is empty'),
    'page': (lambda p: p.write_text('\n<!DOCTYPE html>'), {}, 'seems to be a web page, so the download failed'),
    'pointer': (lambda p: p.write_text('version https://git-lfs.github.com/spec/v1'), {}, 'a Git LFS pointer'),
    'text': (lambda p: p.write_text('hello'), {}, 'neither a zip archive, a pickle nor a safetensors file'),
    'npz': (lambda p: _zip(p, {'a.npy': 'x'}), {}, 'seems to be a NumPy archive'),
    'torchscript': (lambda p: _zip(p, {'m/data.pkl': '', 'm/code/a': 'x'}), {}, 'a TorchScript program'),
    'cut': (lambda p: p.write_bytes((HERE / 'zip.pth').read_bytes()[:2000]), {}, 'not a readable checkpoint, or it is damaged'),
    'cut, older': (lambda p: p.write_bytes((HERE / 'legacy.pth').read_bytes()[:-40]), {}, 'storage .* is missing|does not lie within the file'),
    'plain pickle': (lambda p: p.write_bytes(pickle.dumps({'a': 1}, 2)), {}, 'a pickle that torch did not write'),
    'cut safetensors': (lambda p: p.write_bytes(b'\x40' + b'\0' * 7 + b'{"a":'), {}, 'damaged safetensors file'),
    'no tensors': (lambda p: torch_like.save({'epoch': 1}, p), {}, 'a dictionary of epoch, without tensors'),
    'whole module': (lambda p: torch_like.save({'m': Evil(argparse.ArgumentParser)}, p), {}, 'names argparse.ArgumentParser'),
    'deeper': (_resnet101, {}, 'another architecture: a ResNet-101 with a 7×7 stem of 4 channels.*first keys are conv1.weight, layer1.0'),
    'clip': (lambda p: _named(p, 'visual.conv1.weight'), {}, 'holds no encoder: it seems to be a CLIP model'),
    'convnext': (lambda p: _named(p, 'downsample_layers.0.0.weight'), {}, 'seems to be a ConvNeXt'),
    'beit': (lambda p: _named(p, 'patch_embed.proj.weight', 'blocks.0.gamma_1', shape=(384, 3, 14, 14)), {}, 'a ViT with layer scale'),
    'large': (lambda p: _named(p, 'patch_embed.proj.weight', shape=(1664, 3, 14, 14)), {}, 'another architecture: a ViT-G with patches of 14'),
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
    'not square': (lambda p: save_file(state_of(VIT) | {'pos_embed': np.ones((1, 6, 192), F)}, p), {}, 'not a class token and a square grid'),
    'vit stem': (lambda p: save_file(state_of(VIT), p), {'stem': 'cifar'}, 'is for residual networks'),
}  # fmt: skip


@pytest.mark.parametrize('make, keywords, message', BAD.values(), ids=BAD.keys())
def test_files_that_do_not_fit(make, keywords, message, tmp_path):
    path = tmp_path / 'file.pth'
    make(path)
    if message is None:
        foreign.read(path, **keywords)
        return
    with pytest.raises(UserError, match=message) as caught:
        foreign.read(path, **keywords)
    assert str(path) in str(caught.value) or 'origin' in message or 'patches' in message
    assert '\n' not in str(caught.value)


COMMANDS = {
    'config': (['--config.seed=1'], 'convert takes no config'),
    'stem': (['--stem=mnist'], '--stem=mnist is unknown'),
    'mean': (['--mean=a'], '--mean must be numbers with commas between'),
    'names': (['--names=keras'], '--names=keras is unknown; known are dinov2, timm, torchvision'),
    'step': (['--step=3'], 'is an encoder without steps'),
}


@pytest.mark.parametrize('arguments, message', COMMANDS.values(), ids=COMMANDS.keys())
def test_bad_commands(arguments, message, tmp_path):
    path = written(tmp_path / 'm.safetensors', CIFAR)
    with pytest.raises(UserError, match=message):
        main([f'--from={path}', f'--to={tmp_path / "out"}', *arguments])


def test_what_is_no_place_of_weights_is_refused(tmp_path):
    with pytest.raises(UserError, match='is a folder, and neither a run nor an encoder'):
        export.source(str(tmp_path))
    (tmp_path / 'config.json').write_text('{')
    with pytest.raises(UserError, match='config.json is damaged'):
        export.source(str(tmp_path))


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


@pytest.mark.parametrize(
    'names, field, value',
    [('torchvision', 'registers', 2), ('torchvision', 'layer_scale', 0.1), ('timm', 'class_token', False)],
)
def test_encoders_that_another_code_base_has_not_do_not_go_out(names, field, value):
    weights = foreign.Weights({'name': 'vit_ti', field: value}, {}, {})
    with pytest.raises(UserError, match=rf"names='{names}' has no encoders with model.{field}={value}"):
        foreign.state_dict(weights, names=names)

"""Encoders under the prefixes and in the containers of other training code, and which one is taken."""

import functools

import numpy as np
import pytest
import torch_like
from convert_states import CIFAR, VIT, assert_equal, state_of, tensors
from selfsup import weights as foreign
from selfsup.convert import main
from selfsup.errors import UserError

HEAD = {'weight': np.ones((2, 3), 'f4'), 'bias': np.ones(2, 'f4')}


def under(prefix, state):
    return {prefix + name: value for name, value in state.items()}


def doubled(state):
    """Another encoder, by which it shows whose arrays were read."""
    return {name: 2 * array for name, array in state.items()}


def inside(state, wrapper):
    """Names with a wrapper's part before the last but one."""
    return {'.'.join([*n.split('.')[:-2], wrapper, *n.split('.')[-2:]]): a for n, a in state.items()}


def read(tree, tmp_path, **keywords):
    path = tmp_path / 'file.pth'
    torch_like.save(tensors(tree), path)
    return foreign.read(path, **keywords)


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    """What is read of a model's state that lies in a file alone, and of the other encoder's."""

    @functools.cache
    def of(name, other):
        state = state_of({'resnet18': CIFAR, 'vit_ti': VIT}[name])
        return read(doubled(state) if other else state, tmp_path_factory.mktemp('plain'))

    return lambda model, other=False: of(model['name'], other)


# prefix -> model; a Lightning or torch.compile checkpoint, solo-learn, lightly, mmselfsup, MoCo's without a wrapper
ALONE = {
    '': CIFAR, 'module.': CIFAR, '_orig_mod.': CIFAR, 'module._orig_mod.': CIFAR, '_orig_mod.module.': VIT,
    'backbone.': CIFAR, 'backbone._orig_mod.': CIFAR, 'encoder.': VIT, 'model.': CIFAR, 'encoder_q.': CIFAR,
    'module.module.': CIFAR, 'model.online.net.': VIT, '_fsdp_wrapped_module.backbone.': CIFAR,
}  # fmt: skip


@pytest.mark.parametrize('prefix', ALONE)
@pytest.mark.parametrize('container', ['', 'state_dict', 'net'])
def test_one_encoder_is_found_under_any_prefix(container, prefix, plain, tmp_path):
    state = state_of(ALONE[prefix])
    tree = under(prefix, state)
    weights = read({container: tree, 'epoch': 3} if container else tree, tmp_path)
    assert_equal(weights.params, plain(ALONE[prefix]).params)
    inner = prefix.replace('_orig_mod.', '').replace('_fsdp_wrapped_module.', '')
    taken = f'{container}/{inner}' if container or not inner else inner
    assert weights.about.get('taken_from', '/') == taken


def test_wrappers_within_names_are_stripped(plain, tmp_path):
    state = state_of(CIFAR)
    for wrapper in ('_orig_mod', '_checkpoint_wrapped_module'):
        found = read(under('backbone.', inside(state, wrapper)), tmp_path)
        assert_equal(found.params, plain(CIFAR).params)


# what lies beside -> the file, from the state that must be read; where it is taken from; what is left out
BESIDE = {
    'heads': (lambda s: under('backbone.', s | under('fc.', HEAD)) | under('projector.0.', HEAD), 'backbone.', 'backbone.fc, projector'),
    'solo-learn': (lambda s: {'state_dict': under('backbone.', s) | under('momentum_backbone.', doubled(s)) | under('classifier.', HEAD)},
                   'state_dict/backbone.', 'momentum_backbone, classifier'),
    'lightly': (lambda s: under('backbone_momentum.', doubled(s)) | under('backbone.', s), 'backbone.', 'backbone_momentum'),
    'moco': (lambda s: under('encoder_k.', doubled(s)) | under('encoder_q.', s) | {'queue': HEAD['weight']}, 'encoder_q.', 'encoder_k, queue'),
    'mmselfsup': (lambda s: {'state_dict': under('target_net.0.', doubled(s)) | under('backbone.', s)}, 'state_dict/backbone.', 'target_net'),
    'timm': (lambda s: {'state_dict': doubled(s), 'state_dict_ema': s | under('fc.', HEAD)}, 'state_dict_ema/', 'fc, state_dict/'),
    'torchvision': (lambda s: {'model': doubled(s), 'model_ema': under('module.', s) | {'n_averaged': HEAD['bias']}, 'optimizer': {}},
                    'model_ema/module.', 'n_averaged, model/'),
    'average of all': (lambda s: {'ema_state_dict': under('_orig_mod.', s), 'model_state_dict': doubled(s)}, 'ema_state_dict/', 'model_state_dict/'),
}  # fmt: skip


@pytest.mark.parametrize('pack, taken, left_out', BESIDE.values(), ids=BESIDE.keys())
def test_what_is_taken_and_left_out_is_said(pack, taken, left_out, plain, tmp_path, capsys):
    weights = read(pack(state_of(CIFAR)), tmp_path)
    assert_equal(weights.params, plain(CIFAR).params)
    assert_equal(weights.batch_stats, plain(CIFAR).batch_stats)
    assert main([f'--from={tmp_path / "file.pth"}', f'--to={tmp_path / "out"}']) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [f'taken from: {taken}', f'left out: {left_out}']
    assert f'taken from: {taken}' in (tmp_path / 'out' / 'README.md').read_text()


# What --prefix= decides: the file, the prefix, whether the second network is the one that is read.
NAMED = {
    'first': (lambda s: under('a.', s) | under('b.', doubled(s)), 'a.', False),
    'second': (lambda s: under('a.', s) | under('b.', doubled(s)), 'b.', True),
    'without its dot': (lambda s: under('a.', s) | under('b.', doubled(s)), 'b', True),
    'with a wrapper': (lambda s: under('_orig_mod.a.', s) | under('_orig_mod.b.', doubled(s)), '_orig_mod.b.', True),
    'momentum': (lambda s: under('backbone.', s) | under('momentum_backbone.', doubled(s)), 'momentum_backbone.', True),
    'container': (lambda s: {'state_dict': doubled(s), 'state_dict_ema': s}, 'state_dict/', True),
    'container and prefix': (lambda s: {'one': under('x.', s), 'two': under('x.', doubled(s))}, 'two/x.', True),
    'top': (lambda s: s | {'model': doubled(s)}, '/', False),
}  # fmt: skip


@pytest.mark.parametrize('pack, prefix, second', NAMED.values(), ids=NAMED.keys())
def test_a_prefix_says_which(pack, prefix, second, plain, tmp_path):
    assert_equal(read(pack(state_of(CIFAR)), tmp_path, prefix=prefix).params, plain(CIFAR, second).params)


REFUSED = {
    'several prefixes': (lambda s: under('a.', s) | under('b.', s), {}, r'holds several encoders: --prefix= says which, one of a\., b\.$'),
    'teacher and student': (lambda s: {'teacher': under('net.', s), 'student': under('net.', s)}, {}, r'one of teacher/net\., student/net\.$'),
    'prefix in two containers': (lambda s: {'one': under('x.', s), 'two': under('x.', s)}, {'prefix': 'x.'}, r'one of one/x\., two/x\.$'),
    'no such prefix': (lambda s: under('a.', s), {'prefix': 'encoder'}, r"no encoder under prefix='encoder'; encoders lie under a\.$"),
    'no encoder at all': (lambda s: {'x': HEAD['bias']}, {'prefix': 'a.'}, r"holds no encoder under prefix='a\.'$"),
    'another family': (lambda s: under('visual.', s), {}, 'holds no encoder: it seems to be a CLIP model'),
    'names that are unknown': (lambda s: under('a.', s | {'se.weight': HEAD['bias']}), {}, r'unexpected se\.weight'),
}  # fmt: skip


@pytest.mark.parametrize('pack, keywords, message', REFUSED.values(), ids=REFUSED.keys())
def test_what_is_unclear_is_refused(pack, keywords, message, tmp_path):
    with pytest.raises(UserError, match=message) as caught:
        read(pack(state_of(CIFAR)), tmp_path, **keywords)
    assert '\n' not in str(caught.value)


def test_an_encoder_of_ours_has_no_prefix(tmp_path):
    foreign.write(read(state_of(CIFAR), tmp_path), tmp_path / 'out')
    with pytest.raises(UserError, match=r"prefix='a\.' is for files of other code bases"):
        foreign.read(tmp_path / 'out', prefix='a.')

"""Imported encoders in the place of ours: called, embedded, evaluated, trained further, exported."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from convert_states import CIFAR, assert_equal, encode, written
from flax.traverse_util import flatten_dict
from selfsup import config, embed, evaluate, load_encoder, methods, models, train
from selfsup import weights as foreign
from selfsup.convert import main
from selfsup.engine import report, warm_start
from selfsup.engine.run import Run
from selfsup.engine.step import init_state
from selfsup.errors import UserError
from tolerances import PARITY

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
    np.savez(path, images=rng.integers(0, 256, (27, 16, 16, 3), np.uint8), labels=np.arange(27) % 3)
    return path


def test_an_imported_encoder_is_called_like_ours(encoder):
    weights = foreign.read(encoder)
    x = np.random.default_rng(1).uniform(size=(3, 16, 16, 3)).astype(np.float32)
    found = load_encoder(str(encoder))(x)
    wanted = encode(weights, (x - np.float32(weights.mean)) / np.float32(weights.std))
    np.testing.assert_allclose(found, wanted, atol=PARITY)
    assert found.shape == (3, 32)


@pytest.mark.slow
def test_an_imported_encoder_is_embedded_and_evaluated(encoder, few, tmp_path, monkeypatch):
    monkeypatch.setattr(report, 'PICTURES', {})
    out = tmp_path / 'features.npz'
    assert embed.main([f'--workdir={encoder}', f'--out={out}', f'--data=npz:{few}']) == 0
    with np.load(out) as arrays:
        assert arrays['features'].shape == (27, 32)  # one part: the file has no test set of its own
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
    return state, foreign.Weights({'name': 'resnet18', 'stem': 'cifar', 'width': 4}, other['params'], stats)


@pytest.mark.slow
def test_a_run_starts_from_given_weights(start):
    scratch, weights = start
    state = jax.device_get(warm_start.start_from(scratch, weights))
    target = state.extra['target']
    for params in (state.params, target['params']):
        assert_equal(params['encoder'], weights.params)
    for stats in (state.extra['batch_stats'], target['batch_stats']):
        assert_equal(stats['encoder'], weights.batch_stats)
    scratch = jax.device_get(scratch)
    assert_equal(state.params['projector'], scratch.params['projector'])
    assert_equal(target['batch_stats']['projector'], scratch.extra['target']['batch_stats']['projector'])
    assert not np.array_equal(scratch.params['encoder']['conv1']['kernel'], weights.params['conv1']['kernel'])


def test_a_run_starts_from_other_networks_too(start):
    scratch, weights = start
    given = jax.device_get(
        {'params': scratch.params['projector'], 'batch_stats': scratch.extra['batch_stats']['projector']}
    )
    moved = jax.tree.map(lambda x: x + 1.0, given)
    state = jax.device_get(warm_start.start_from(scratch, weights, {'projector': moved}))
    target = state.extra['target']
    for params, stats in ((state.params, state.extra['batch_stats']), (target['params'], target['batch_stats'])):
        assert_equal(params['projector'], moved['params'])
        assert_equal(stats['projector'], moved['batch_stats'])
    assert_equal(state.params['predictor'], jax.device_get(scratch.params['predictor']))
    wide = {**moved, 'params': jax.tree.map(lambda x: np.concatenate([x, x]), moved['params'])}
    with pytest.raises(UserError, match='init_from does not fit the projector of this run: linear'):
        warm_start.start_from(scratch, weights, {'projector': wide})


NETWORKS = {
    'unknown': (
        ['init_from=x', "init_networks=('encoder','projetcor')"],
        "'projetcor' is no network of simclr; did you mean projector",
    ),
    'no encoder': (['init_from=x', "init_networks=('projector',)"], "must hold 'encoder'"),
    'no run': (["init_networks=('encoder','projector')"], 'needs init_from'),
}


@pytest.mark.parametrize('fields, message', NETWORKS.values(), ids=NETWORKS.keys())
def test_networks_to_start_with_that_cannot_be(fields, message):
    with pytest.raises(UserError, match=message):
        config.load('experiments/digits/simclr.py', fields)


@pytest.mark.slow
def test_a_run_goes_on_with_the_networks_of_another(tmp_path):
    first, second = tmp_path / 'first', tmp_path / 'second'
    fields = ['model.widths=(4, 8)', 'projector.widths=(16, 8)', 'train.epochs=1', 'optimizer.warmup_epochs=0']
    arguments = [f'--config.{field}' for field in fields]
    assert train.main(['--config=experiments/digits/vicreg.py', f'--workdir={first}', *arguments]) == 0
    more = ["--config.init_networks=('encoder','projector')", f'--config.init_from={first}', '--config.train.epochs=2']
    c = config.load('experiments/digits/vicreg.py', [x.removeprefix('--config.') for x in (*arguments, *more)])
    begun, was = warm_start.begin(Run(c, devices=1)), load_encoder(str(first))
    assert_equal(jax.device_get(begun.params), jax.device_get(was.params))
    assert_equal(jax.device_get(begun.extra), jax.device_get(was.extra))
    e2mc = ['--config.method.regularisers.e2mc.squash=sigmoid']
    assert train.main(['--config=experiments/digits/vicreg.py', f'--workdir={second}', *arguments, *more, *e2mc]) == 0
    assert load_encoder(str(second)).config.method.regularisers.e2mc.entropy_weight == 10.0
    other = [*fields, 'predictor.widths=(16, 8)', f'init_from={first}', "init_networks=('encoder','predictor')"]
    with pytest.raises(UserError, match='has no predictor'):
        warm_start.begin(Run(config.load('experiments/digits/byol.py', other), devices=1))


def test_arrays_of_a_start_that_do_not_fit_are_named(start):
    state, weights = start
    params = {**weights.params, 'conv1': {'kernel': np.ones((7, 7, 3, 4), 'f4')}}
    with pytest.raises(UserError, match=r'conv1/kernel \[7, 7, 3, 4\] instead of \[3, 3, 3, 4\]'):
        warm_start.start_from(state, weights._replace(params=params))
    grid = {**weights.params, 'positions': np.ones((196, 4), 'f4')}
    with pytest.raises(UserError, match=r'positions \[196, 4\] instead of nothing; model.grid=14 keeps its positions'):
        warm_start.start_from(state, weights._replace(params=grid))


STARTS = {
    'model': ({'name': 'resnet34'}, 3, "name 'resnet18' instead of 'resnet34'"),
    'stem': ({'stem': 'cifar_pad2'}, 3, "stem 'cifar' instead of 'cifar_pad2'"),
    'channels': ({}, 1, '3 image channels instead of 1'),
}


@pytest.mark.parametrize('changes, channels, message', STARTS.values(), ids=STARTS.keys())
def test_a_start_that_does_not_fit_is_refused(changes, channels, message, start):
    weights = start[1]
    with pytest.raises(UserError, match=f'init_from holds another encoder than config.model: {message}'):
        warm_start.check(weights, {**weights.model, **changes}, channels)


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
    assert_equal(jax.device_get(teacher), foreign.read(tmp_path / 'out').params)
    assert theirs(x).shape == (3, 32)
    assert '## Evaluation' in (tmp_path / 'out' / 'README.md').read_text()


def test_trees_are_flat_dictionaries_of_arrays(encoder):
    weights = foreign.read(encoder)
    assert all(isinstance(a, np.ndarray) and a.dtype == np.float32 for a in flatten_dict(weights.params).values())


def test_a_mask_token_stays_with_its_run():
    """Encoders go out without it, and a masked method that begins with one keeps its own."""
    own = {'mask_token': jnp.full((1, 1, 4), 2.0), 'norm': {'scale': jnp.zeros(4)}}
    given = {'norm': {'scale': np.ones(4, np.float32)}}
    placed = warm_start._placed(own, given, 'encoder')
    np.testing.assert_array_equal(placed['mask_token'], own['mask_token'])
    np.testing.assert_array_equal(placed['norm']['scale'], np.ones(4))

"""What one step is made of: controls, the probe, adapted statistics, one trace and no host transfer."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import selfsup
import small
import tolerances
from selfsup.data.sources import Source
from selfsup.engine import build, controls, loop, step, untrained
from selfsup.engine.encoder import Encoder
from selfsup.engine.run import Run
from selfsup.methods import Refresh


def test_shuffled_pairs_draw_the_other_view_from_another_image():
    sources = controls.pair_sources('shuffled_pairs', 5, 3)
    assert sources[0] is None
    assert not (np.asarray(sources[1]) == np.arange(5)).any()
    assert not (np.asarray(sources[1]) == np.asarray(sources[2])).any()
    assert controls.pair_sources('none', 5, 2) == [None, None]


def test_under_the_control_no_view_keeps_its_own_index_or_label():
    rows = {'index': jnp.arange(10, 18), 'label': jnp.arange(8)}
    others = controls.other_rows(rows, 3)
    for source in [jnp.arange(8) if s is None else s for s in controls.pair_sources('shuffled_pairs', 8, 3)]:
        assert not (others['index'] == rows['index'][source]).any()
        assert not (others['label'] == rows['label'][source]).any()


def test_the_probe_learns_and_its_features_get_no_gradient():
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 4
    features = np.eye(4, dtype=np.float32)[labels] + 0.1 * rng.normal(size=(200, 4)).astype(np.float32)
    probe = step.init_probe(4, 4)
    for _ in range(60):
        probe, accuracy = step.update_probe(probe, features, labels, 0.05)
    assert float(accuracy) == 1.0
    gradient = jax.grad(lambda f: step.update_probe(probe, f, labels, 0.1)[0]['params']['kernel'].sum())(features)
    assert float(np.abs(gradient).max()) == 0
    before = probe['params']['kernel']
    unlabelled, accuracy = step.update_probe(step.init_probe(4, 4), features, -np.ones(200, int), 0.1)
    assert float(accuracy) == 0 and float(np.abs(unlabelled['params']['kernel']).max()) == 0
    assert before.shape == (4, 4)


def test_untrained_statistics_are_adapted():
    config = small.digits_config('vicreg')
    prepared = Run(config, devices=1)
    adapted = untrained.of_run(prepared)
    fresh = prepared.start()
    assert small.tree_distance(adapted.params, fresh.params) == 0
    moved = small.tree_distance(adapted.extra['batch_stats']['encoder'], fresh.extra['batch_stats']['encoder'])
    assert moved > 0.1


@pytest.mark.parametrize('name', ['vicreg', 'byol'])
def test_untrained_statistics_of_an_encoder_are_adapted_on_every_class(name, monkeypatch):
    """A few batches of a set that is sorted by class, of which nothing else is read; BYOL takes no single view."""
    read = []

    class Counting:
        def array(self, index):
            read.append(index)
            return np.full((12, 12, 1), index, np.uint8)

    monkeypatch.setattr(untrained, 'ADAPTING_BATCHES', 2)
    config = small.digits_config(name, 'evaluate.batch_size=6')
    prepared = Run(config, devices=1)
    state = prepared.start()
    encoder = Encoder(config, prepared.method, state.params, state.extra, 0)
    labels = np.repeat([0, 1, 2], 80)
    adapted = untrained.of_encoder(encoder, Source('sorted', Counting(), labels, 'abc', 'x'))
    assert sorted(labels[read].tolist()) == [0] * 4 + [1] * 4 + [2] * 4
    stats = (e.extra['batch_stats']['encoder'] for e in (adapted, encoder))
    assert small.tree_distance(*stats) > 0.1


def test_no_host_transfer_and_one_trace_in_the_step():
    """The compiled step takes nothing from the host but indices, and is traced once."""
    prepared = Run(small.digits_config('simclr'), devices=1)
    state = prepared.start()
    inputs = [prepared.feed(number, 1) for number in range(3)]
    with jax.transfer_guard('disallow'):
        for data, indices in inputs:
            state, metrics = prepared.dispatch(state, data, indices)
    assert prepared.dispatch.function._cache_size() == 1
    assert metrics['loss'].shape == (1,)


@pytest.mark.slow
def test_a_scheduled_hyper_parameter_has_its_value_of_the_step():
    """A step of the scheduled run is that of a run whose temperature is the cosine's value at this step."""
    values = [1.0 - 0.9 * (1 - np.cos(np.pi * number / 12)) / 2 for number in (0, 6)]
    scheduled = Run(small.digits_config('simclr', 'method.temperature=1', 'schedules.temperature=0.1'), devices=1)
    assert scheduled.total == 12
    for number, value in zip((0, 6), values, strict=True):
        constant = Run(small.digits_config('simclr', f'method.temperature={value}'), devices=1)
        losses = []
        for prepared in (scheduled, constant):
            state = prepared.start()
            state = dataclasses.replace(state, step=state.step + number)
            losses.append(float(prepared.dispatch(state, *prepared.feed(number, 1))[1]['loss'][0]))
        np.testing.assert_allclose(*losses, rtol=tolerances.FLOAT32)


def counted(method):
    """The method with a refresh that counts its calls, keeps the mean feature and restarts the projector's optimiser."""

    def init(key, batch):
        params, extra = method.init(key, batch)
        features = jax.eval_shape(method.encode, method.network(params, extra), batch['views'][0][:2])['features']
        return params, {**extra, 'calls': jnp.zeros((), jnp.int32), 'mean': jnp.zeros(features.shape[1:])}

    def update(params, extra, key, features):
        return params, {**extra, 'calls': extra['calls'] + 1, 'mean': features.mean(0)}, ('projector',)

    return method._replace(init=init, refresh=Refresh(update, needs_features=True))


def test_a_refresh_gets_the_features_in_order_and_restarts_the_groups_that_it_names():
    prepared = Run(small.digits_config('vicreg', 'evaluate.batch_size=300'), devices=1, change=counted)
    state, _ = prepared.dispatch(prepared.start(), *prepared.feed(0, 1))
    features = prepared.training_features(state)
    encoder = Encoder(prepared.config, prepared.method, state.params, state.extra, 1)
    expected = encoder(prepared.data.train.images())
    np.testing.assert_allclose(features, expected, rtol=tolerances.FLOAT32, atol=tolerances.FLOAT32)

    def moments(state, group):
        paths = jax.tree_util.tree_leaves_with_path(state.opt_state)
        return [np.asarray(x) for path, x in paths if group in jax.tree_util.keystr(path) and x.ndim]

    kept = moments(state, 'encoder')
    assert any(x.any() for x in moments(state, 'projector')) and any(x.any() for x in kept)
    refreshed = prepared.refresh(state, features)
    assert not any(x.any() for x in moments(refreshed, 'projector'))
    for before, after in zip(kept, moments(refreshed, 'encoder'), strict=True):
        np.testing.assert_array_equal(before, after)
    np.testing.assert_allclose(refreshed.extra['mean'], expected.mean(0), rtol=tolerances.FLOAT32, atol=1e-6)


@pytest.mark.slow
def test_a_refresh_that_needs_features_runs_before_every_epoch(monkeypatch, tmp_path):
    built = build.build_method
    monkeypatch.setattr(build, 'build_method', lambda *a, **k: counted(built(*a, **k)))
    monkeypatch.setattr(loop.report, 'finish', lambda *arguments: None)
    assert loop.train(small.digits_config('vicreg'), str(tmp_path / 'run'), devices=1) == 0
    assert int(selfsup.load_encoder(str(tmp_path / 'run')).extra['calls']) == 3


def test_runs_of_two_seeds_share_one_program_and_differ_by_its_argument():
    """So that a second seed needs no compilation where the commands' cache holds the first one's."""
    runs = [Run(small.digits_config('moco_v2', f'seed={seed}'), devices=1) for seed in (0, 2**31 + 1)]
    texts = [run.dispatch.lower(run.shapes, *run.feed(0, 1)).as_text() for run in runs]
    assert texts[0] == texts[1]
    roots = [np.asarray(run.dispatch.seed) for run in runs]
    for seed, root in zip((0, 2**31 + 1), roots, strict=True):
        np.testing.assert_array_equal(root, jax.random.key_data(jax.random.key(seed)))
    assert (roots[0] != roots[1]).any()

"""What one step is made of: controls, the probe, adapted statistics, one trace and no host transfer."""

import jax
import jax.numpy as jnp
import numpy as np
import small
from selfsup.data.sources import Source
from selfsup.engine import controls, step, untrained
from selfsup.engine.encoder import Encoder
from selfsup.engine.run import Run


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


def test_untrained_statistics_of_an_encoder_are_adapted_on_every_class(monkeypatch):
    """A few batches of a set that is sorted by class, of which nothing else is read."""
    read = []

    class Counting:
        def array(self, index):
            read.append(index)
            return np.full((12, 12, 1), index, np.uint8)

    monkeypatch.setattr(untrained, 'ADAPTING_BATCHES', 2)
    config = small.digits_config('vicreg', 'evaluate.batch_size=6')
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
    assert prepared.dispatch._cache_size() == 1
    assert metrics['loss'].shape == (1,)

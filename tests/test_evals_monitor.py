"""What is monitored: rows drawn evenly, runs of one view, rows without labels, vectors, and features that are not finite."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from selfsup import diagnostics
from selfsup.engine import alarm
from selfsup.engine.build import open_data
from selfsup.engine.monitor import make_monitor, monitored_rows
from selfsup.engine.run import Run
from selfsup.engine.step import init_probe, probe_logits
from selfsup.errors import UserError
from selfsup.evals.measures import MEASURES, measured

COUNT, DIM = 60, 16


def test_a_run_monitors_rows_of_every_class(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / 'sorted.npz',
        images=rng.integers(0, 256, (500, 8, 8, 1), np.uint8),
        labels=np.repeat(np.arange(10), 50),
    )
    source = f'data.source=npz:{tmp_path / "sorted.npz"}'
    config = small.digits_config('simclr', source, 'monitor.max_samples=20', 'model.widths=(16,)', 'data.pad=0')
    run = Run(config, devices=1)
    rows = monitored_rows(run.data.holdout.labels, config.monitor.max_samples)
    assert np.bincount(run.data.holdout.labels[rows]).tolist() == [2] * 10
    other = open_data(small.digits_config('simclr', *overrides_of(config), 'seed=5'))
    np.testing.assert_array_equal(rows, monitored_rows(other.holdout.labels, 20))
    assert np.isfinite(float(run.monitor()(run.start())['rankme']))


def overrides_of(config):
    return [f'data.source={config.data.source}', f'monitor.max_samples={config.monitor.max_samples}']


def rows_of(*, bad=()):
    rows = np.random.default_rng(0).normal(size=(COUNT, DIM)).astype(np.float32)
    rows[list(bad), 3] = np.nan
    return rows


def measure(rows, labels, *, views=1, one_view=True, fields=()):
    """Numbers of a method whose features, and embeddings, are its inputs."""
    config = small.digits_config('simclr', 'evaluate.batch_size=25', *fields)
    if one_view:
        config.augment.views = {'only': {}}

    def encode(*arguments):
        return {'features': arguments[-1], 'embeddings': arguments[-1]}

    def augmented(key, inputs, positions):
        noise = jax.random.normal(key, (1 if one_view else 2, *inputs.shape))
        return tuple(inputs + 0.1 * n for n in noise), ({},) * len(noise)

    method = types.SimpleNamespace(encode=encode, network=lambda params, extra: {}, views=views)
    monitor = make_monitor(config, method, augmented, lambda x: jnp.asarray(x), rows, np.asarray(labels, np.int32))
    state = types.SimpleNamespace(params={}, extra={}, probe=init_probe(rows.shape[1], 3))
    return config, state, {name: float(value) for name, value in jax.device_get(monitor(state)).items()}


@pytest.mark.parametrize('one_view', [True, False])
def test_a_method_of_one_view_has_an_alarm_without_pairs(one_view):
    """Vectors as inputs, embeddings equal to features; also where the augmentation gives two views."""
    names = ('rankme', 'rankme_features', 'lidar', 'uniformity')
    fields = (f'monitor.measures={names}', 'monitor.lidar_views=3')
    _, _, found = measure(rows_of(), np.full(COUNT, -1), one_view=one_view, fields=fields)
    assert set(measured(1)) - {'probe_accuracy'} <= set(found) and set(names) <= set(found)
    assert not {'alignment', 'alarm/unaligned', 'alarm/relative_alignment_limit', 'probe_accuracy'} & set(found)
    wanted = diagnostics.collapse_alarm(rows_of())
    for name in ('deviation', 'deviation_normalized', 'rank'):
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5)
    assert found['rankme'] == found['rankme_features'] and np.isfinite(found['lidar'])
    line = {'step': 3, **found}
    assert alarm.verdict(line).startswith('Not collapsed: ') and 'pairs' not in alarm.verdict(line)
    assert not alarm.raised(line, warm=0, half=0)
    for lost in ('rank', 'alarm/flat', 'deviation', 'alarm/rank_limit'):  # of a damaged file
        assert alarm.verdict({k: v for k, v in line.items() if k != lost}) == ''


def test_a_method_of_two_views_has_its_pairs():
    _, _, found = measure(rows_of(), np.full(COUNT, -1), views=2, one_view=False)
    assert set(measured(2)) - {'probe_accuracy'} <= set(found) and found['alignment'] < 0.1
    line = {'step': 3, **found}
    assert 'shuffled pairs' in alarm.verdict(line)
    for lost in ('alignment', 'alarm/unaligned', 'alarm/relative_alignment_limit'):
        assert alarm.verdict({k: v for k, v in line.items() if k != lost}) == ''


LABELS = {
    'none': (np.full(COUNT, -1), None),
    'one class': (np.zeros(COUNT), None),
    'one class, some without': (np.resize([0, -1], COUNT), None),
    'all': (np.arange(COUNT) % 3, COUNT),
    'some without': (np.resize([0, 1, -1, -1], COUNT), COUNT // 2),
}


@pytest.mark.parametrize('labels, count', LABELS.values(), ids=LABELS.keys())
def test_the_probe_is_measured_on_labelled_rows_of_several_classes(labels, count):
    _, state, found = measure(rows_of(), labels)
    if count is None:
        assert 'probe_accuracy' not in found
        return
    labels = np.asarray(labels)
    predicted = np.asarray(jnp.argmax(probe_logits(state.probe, rows_of()), axis=1))
    assert found['probe_accuracy'] == pytest.approx((predicted == labels)[labels >= 0].mean(), abs=1e-6)


def test_features_that_are_not_finite_are_not_measured():
    """Ranks and dimensions of rows with a NaN come out as numbers; here they do not."""
    names = tuple(sorted(set(MEASURES)))
    _, _, found = measure(rows_of(bad=(4,)), np.arange(COUNT) % 3, fields=(f'monitor.measures={names}',))
    assert all(np.isnan(found[name]) for name in (*names, 'probe_accuracy'))
    assert found['alarm/collapsed'] == found['alarm/flat'] == 1
    assert alarm.verdict({'step': 1, **found}) == 'Collapsed: the embeddings are not finite.'
    _, _, healthy = measure(rows_of(), np.arange(COUNT) % 3, fields=(f'monitor.measures={names}',))
    assert all(np.isfinite(value) for value in healthy.values())


@pytest.mark.parametrize('views, kept', [(1, False), (2, True)])
def test_numbers_of_pairs_are_offered_for_several_views_only(views, kept):
    assert ('alignment' in measured(views)) == kept
    assert {'deviation', 'deviation_normalized', 'rank', 'probe_accuracy'} <= set(measured(views))


def test_every_measure_can_be_asked_for_and_small_sets_are_refused():
    fields = ('model.widths=(16,)', 'data.pad=0', 'monitor.max_samples=60')
    prepared = Run(small.digits_config('vicreg', f'monitor.measures={tuple(MEASURES)}', *fields), devices=1)
    numbers = jax.device_get(prepared.monitor()(prepared.start()))
    assert set(MEASURES) <= set(numbers)
    assert all(np.isfinite(v) for v in numbers.values())
    assert np.isclose(numbers['alarm/rank_limit'], 4)  # a quarter of 16
    prepared.config = small.digits_config('vicreg', "monitor.measures=('lid_mle',)", 'monitor.max_samples=10')
    with pytest.raises(UserError, match=r"monitor.measures=\('lid_mle',\) on 10 held-out images: .*10"):
        prepared.monitor()


@pytest.mark.parametrize(
    'flag, step_seen, counts',
    [('flat', 10, False), ('flat', 20, True), ('unaligned', 20, False), ('unaligned', 50, True), ('', 50, False)],
)
def test_the_alarm_counts_after_the_warm_up_and_alignment_in_the_second_half(flag, step_seen, counts):
    flags = dict.fromkeys(('alarm/shrunk', 'alarm/narrow', 'alarm/unaligned', 'alarm/flat', 'alarm/collapsed'), 0.0)
    line = {'step': step_seen, **flags, **({f'alarm/{flag}': 1.0} if flag else {})}
    assert alarm.raised(line, warm=20, half=50) == counts
    assert alarm.collapsed([line, {'step': 55, 'loss': 1.0}, line], warm=20, half=50) == counts
    assert not alarm.collapsed([line], warm=20, half=50)

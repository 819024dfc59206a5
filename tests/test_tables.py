"""Tables with measurements of their own: all of CIFAR-10, and the factors of rendered sprites."""

import json

import pytest
from selfsup import config
from selfsup.errors import UserError

from experiments.tables import cifar10, shapes, table

TINY = (
    'train.epochs=1', 'model.widths=(4, 8)', 'projector.widths=(16, 8)', 'data.source=shapes:400',
    'data.batch_size=128', 'monitor.every_epochs=1', 'optimizer.warmup_epochs=0.0',
)  # fmt: skip


def finished(place, epochs=3, **measured):
    """A folder as a run and `measure` leave it."""
    place.mkdir(parents=True)
    scores = {'trained': {'knn': 0.1}, 'untrained': {'knn': 0.1}, 'pixels': {'knn': 0.2, 'linear': 0.25}}
    (place / 'results.json').write_text(json.dumps({'scores': scores}))
    (place / 'measured.json').write_text(json.dumps({'scores': measured, 'sources': ['']}))
    saved = config.load('experiments/cifar10_small/byol.py', [f'train.epochs={epochs}'])
    (place / 'config.json').write_text(json.dumps({'config': saved.to_dict()}))
    lines = [
        {'step': 5, 'probe_accuracy': 0.3, 'rankme_features': 7.0, 'alarm/collapsed': 1.0},
        {'step': 7, 'loss': 1.0},
    ]
    (place / 'metrics.jsonl').write_text('\n'.join(map(json.dumps, lines)))
    times = [(1, 60.0), (1, 90.0), (2, 30.0)]
    (place / 'timing.jsonl').write_text(
        '\n'.join(json.dumps({'step': 1, 'session': s, 'seconds': t}) for s, t in times)
    )


def test_the_cifar10_table_is_written_from_finished_runs(tmp_path):
    for seed, more in ((1, 0.0), (2, 0.02)):
        trained = {
            'knn': 0.5 + more,
            'linear': 0.6,
            'rankme': 20.0,
            'online': 0.4,
            'fashion:knn': 0.8,
            'fashion:linear': 0.9,
        }
        untrained = {'knn': 0.3, 'linear': 0.4, 'fashion:knn': 0.7}
        finished(tmp_path / 'byol' / 'none' / f'seed{seed}', trained=trained, untrained=untrained)
    recorded = cifar10.collected(tmp_path)
    assert json.loads(table.as_json(recorded)) == recorded
    assert recorded['byol']['none']['seed1']['run'] == {
        'seconds': 120, 'alarm': True, 'curve': [[5, 0.3, 7.0]], 'epochs': 3,
    }  # fmt: skip
    lines = cifar10.markdown(recorded).splitlines()
    assert lines[2:5] == [
        '| **BYOL** | 40.0 ± 0.0 | 51.0 ± 1.4 | – | – | – | 60.0 ± 0.0 | 20.0 ± 0.0 | 2 of 2 | 2 | 3 | 2 |',
        '| untrained encoder | – | 30.0 ± 0.0 | – | – | – | 40.0 ± 0.0 | – |  |  |  | 2 |',
        '| raw pixels | – | 20.0 | – | – | – | 25.0 | – |  |  |  | 1 |',
    ]
    assert lines[6:] == [
        '| | fashion: k-NN, 20 | linear |', '| --- | ---: | ---: |',
        '| **BYOL** | 80.0 ± 0.0 | 90.0 ± 0.0 |', '| untrained encoder | 70.0 ± 0.0 | – |',
    ]  # fmt: skip


def test_controls_alone_have_rows_of_their_own(tmp_path):
    place = tmp_path / 'byol' / 'shuffled_pairs' / 'seed1'
    finished(place, trained={'knn': 0.5, 'rankme': 2.0})
    lines = cifar10.markdown(cifar10.collected(tmp_path)).splitlines()
    assert len(lines) == 3 and lines[2].startswith('| BYOL, shuffled pairs | – | 50.0 |')


def test_recorded_runs_are_kept_where_others_are_added(tmp_path):
    file = tmp_path / 'cifar10.json'
    for method in ('byol', 'simclr'):
        finished(tmp_path / method / method / 'none' / 'seed1', trained={'knn': 0.5, 'rankme': 2.0}, untrained={})
        assert cifar10.main([f'--workdir={tmp_path / method}', f'--record={file}']) == 0
    assert [*json.loads(file.read_text())] == ['byol', 'simclr']


@pytest.mark.parametrize('module', [cifar10, shapes])
def test_what_is_not_recorded_and_what_is_unknown(module, tmp_path):
    assert module.markdown({}) == 'Not run yet.\n'
    with pytest.raises(UserError, match="--methods: 'simclrr' is unknown; did you mean simclr"):
        module.main([f'--workdir={tmp_path}', '--methods=simclrr'])


def test_transfer_is_named_by_its_source():
    assert [cifar10.label(spec) for spec in ('digits', 'tfds:fashion_mnist', 'npz:a/fashion.npz')] == [
        'digits', 'fashion_mnist', 'fashion',
    ]  # fmt: skip


@pytest.mark.slow
def test_the_factors_of_a_run_are_measured_and_it_goes_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(shapes, 'PROBED', 'shapes:400')
    command = [f'--workdir={tmp_path}', '--methods=sie', '--seeds=1', *(f'--config.{field}' for field in TINY)]
    assert shapes.main(command) == 0
    told = capsys.readouterr().out
    assert '| SIE, shuffled pairs |' in told and '| raw pixels |' in told
    scores = table.collect(tmp_path, ['sie'])['sie']['none']['seed1']
    assert {'r2_colour', 'linear_10'} <= scores['trained'].keys() and 'r2_row' in scores['pixels']
    assert 'r2_colour' in scores['untrained']
    assert shapes.main([*command, f'--record={tmp_path / "shapes.json"}']) == 0
    assert shapes.main(command) == 0 and 'compiling' not in capsys.readouterr().out

"""Tables on digits that train in memory: their pages from recorded numbers, and one small run of each."""

import json
from pathlib import Path

import numpy as np
import pytest
from selfsup.errors import UserError

from experiments.tables import concatenation, e2mc, label_curves, subsets

DOCS = Path(__file__).parent.parent / 'docs'


def recorded(name):
    return json.loads((DOCS / f'{name}.json').read_text())


@pytest.mark.parametrize('table', [subsets, concatenation, label_curves])
def test_the_page_has_what_is_recorded(table):
    name = table.__name__.split('.')[-1]
    assert table.markdown(recorded(name)) in (DOCS / f'{name}.md').read_text()


def test_every_way_and_share_is_recorded():
    for of in recorded('subsets').values():
        assert set(of) == {'0.1', '0.2', '0.5', '1'}
        for share in ('0.1', '0.2', '0.5'):
            assert list(of[share]) == list(subsets.WAYS)
            rows = {way: found['rows'] for way, found in of[share].items()}
            assert max(rows.values()) <= 0.9 * float(share) * 1438 + 10, rows
    for of in recorded('label_curves').values():
        assert list(of) == ['1', '2', '5', '10', '0'] and all(
            list(ways) == list(label_curves.WAYS) for ways in of.values()
        )
    assert set(recorded('concatenation')['tasks']) == set(concatenation.TASKS)


def test_leads_are_over_random_rows():
    def of(value):
        return {'linear_10': value}

    ways = {way: of(0.5) for way in subsets.WAYS} | {'sas': of(0.6)}
    text = subsets.markdown({'1': {'0.1': ways, '1': {subsets.ALL: of(0.9)}}})
    assert (
        '| random rows, the control | 50.0 |' in text
        and '60.0 (+10.0) |' in text
        and 'All rows: 90.0. Seeds 1.' in text
    )


def test_the_utility_is_fine_tuned_less_scratch():
    ways = {'linear': 0.5, 'linear_untrained': 0.4, 'fine_tuned': 0.8, 'scratch': 0.65}
    text = label_curves.markdown({'1': {'10': ways, '0': ways}, '2': {'0': ways}})
    assert '| labels per class | 10 | all |' in text and '| utility: fine-tuned over scratch | +15.0 | +15.0' in text


@pytest.mark.slow
def test_a_seed_of_subsets_is_written_and_not_repeated(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(subsets, 'STEPS', 2)
    monkeypatch.setattr(subsets, 'WAYS', {way: subsets.WAYS[way] for way in ('random', 'hierarchical', 'memorised')})
    command = [f'--workdir={tmp_path}', '--seeds=3', '--shares=0.2']
    assert subsets.main(command) == 0
    found = json.loads((tmp_path / 'subsets.json').read_text())['3']['0.2']
    assert {found[way]['rows'] for way in found} <= {258, 259} and len(found) == 3
    names = {np.load(tmp_path / f'{way}-0.2-3.npz')['index'].tobytes() for way in found}
    assert len(names) == 3
    capsys.readouterr()
    assert subsets.main(command) == 0
    assert 'seed 3, 0.2' not in capsys.readouterr().out


@pytest.mark.slow
def test_a_short_run_of_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(concatenation, 'EPOCHS', 1)
    assert concatenation.main([f'--workdir={tmp_path}', '--seeds=0,1,2']) == 0
    tasks = json.loads((tmp_path / 'concatenation.json').read_text())['tasks']
    assert list(tasks['new']) == ['alone', 'joined 2', 'joined 3', 'wide 2', 'wide 3', 'cka']
    assert tasks['own'] != tasks['new']
    monkeypatch.setattr(label_curves, 'EPOCHS', 1)
    monkeypatch.setattr(label_curves, 'STEPS', 2)
    monkeypatch.setattr(label_curves, 'LEAST', 1)
    assert label_curves.main([f'--workdir={tmp_path}', '--labels=2']) == 0
    assert set(json.loads((tmp_path / 'label_curves.json').read_text())['1']['2']) == set(label_curves.WAYS)


def test_what_e2mc_adds_is_of_the_same_seed(capsys):
    ways = ({'before': 0.5, 'without': 0.6, 'e2mc': 0.8}, {'before': 0.5, 'without': 0.7, 'e2mc': 0.9})
    runs = {
        str(seed): {way: dict.fromkeys((*e2mc.SCORES, 'rank'), value) for way, value in of.items()}
        for seed, of in enumerate(ways)
    }
    text = e2mc.markdown({'vicreg': runs})
    assert '| VICReg, continued with E2MC | 85.0 ± 7.1 |' in text
    assert '| VICReg, what E2MC adds, seed by seed | +20.0 ± 0.0 |' in text and 'Seeds 0, 1.' in text


@pytest.mark.slow
def test_e2mc_continues_the_run_that_it_is_probed_against(tmp_path):
    short = ['--config.train.epochs=1', '--config.optimizer.warmup_epochs=0.0', '--config.model.widths=(8, 16)']
    assert e2mc.main([f'--workdir={tmp_path}', '--methods=simsiam', '--seeds=3', *short]) == 0
    ways = json.loads((tmp_path / 'e2mc.json').read_text())['simsiam']['3']
    assert list(ways) == list(e2mc.WAYS) and len({of['linear'] for of in ways.values()}) > 1
    start = tmp_path / 'before' / 'simsiam' / 'none' / 'seed3'
    for way, entropy in (('without', 0.0), ('e2mc', 1.0)):
        run = tmp_path / way / 'digits_simsiam_e2mc' / 'none' / 'seed3'
        resolved = json.loads((run / 'config.json').read_text())['config']
        assert resolved['init_from'] == str(start)
        assert resolved['method']['regularisers']['e2mc']['entropy_weight'] == entropy


@pytest.mark.parametrize(
    'table, words, message',
    [
        (subsets, ['--shares=0.5,1'], '--shares=0.5,1 must be below 1'),
        (concatenation, ['--seeds=1,1,2'], '--seeds=1,1,2 must name three or more different seeds'),
        (label_curves, ['--labels=some'], '--labels must be a whole number'),
        (e2mc, ['--methods=vicregl'], "--methods: 'vicregl' is unknown; did you mean vicreg"),
    ],
)
def test_bad_arguments(table, words, message, tmp_path):
    with pytest.raises(UserError, match=message):
        table.main([f'--workdir={tmp_path}', *words])

"""Choosing among runs: directions of measures, the alarm, what a choice costs, and the command."""

import json
import math
import shutil

import jax
import numpy as np
import pytest
from scipy import stats
from selfsup import select, train
from selfsup.config import defaults, to_json, with_overrides
from selfsup.errors import UserError
from selfsup.evals import Candidate, kendall, ranked, regret

RUNS = [
    Candidate('broken', 'vicreg', {'rankme': 90.0, 'alpha_req': 0.2, 'loss': 1.0}, True, 0.30),
    Candidate('good', 'vicreg', {'rankme': 50.0, 'alpha_req': 1.1, 'loss': 9.0}, False, 0.90),
    Candidate('fair', 'vicreg', {'rankme': 60.0, 'alpha_req': 0.7, 'loss': 5.0}, False, 0.80),
    Candidate('simple', 'simclr', {'rankme': 70.0, 'alpha_req': 2.0, 'loss': 2.0}, False, 0.85),
]


@pytest.mark.parametrize(
    'by, alarm, order',
    [
        ('rankme', False, ['broken', 'simple', 'fair', 'good']),
        ('rankme', True, ['simple', 'fair', 'good']),
        ('alpha_req', False, ['good', 'fair', 'broken', 'simple']),  # nearest to 1
        ('loss', False, ['broken', 'simple', 'fair', 'good']),  # least
    ],
)
def test_ranking(by, alarm, order):
    assert [run.name for run in ranked(RUNS, by, alarm=alarm)] == order


def test_regret_is_against_the_best_of_all():
    assert regret(RUNS, 'rankme', alarm=False) == pytest.approx(0.6)
    assert regret(RUNS, 'rankme', alarm=True) == pytest.approx(0.05)
    flagged = [run._replace(collapsed=run.name == 'good') for run in RUNS]
    assert regret(flagged, 'alpha_req', alarm=True) == pytest.approx(0.1)  # the alarm took the best away
    assert math.isnan(regret(RUNS[:1], 'rankme', alarm=True))


def test_what_is_not_a_number_is_never_chosen():
    runs = [run._replace(measures={'rankme': math.nan if run.name == 'broken' else 1.0}) for run in RUNS]
    assert ranked(runs, 'rankme', alarm=False)[-1].name == 'broken'
    with pytest.raises(UserError, match="broken has no measure 'lidar'"):
        ranked(RUNS, 'lidar', alarm=False)


def test_kendall_equals_scipy_and_its_interval_covers():
    rng = np.random.default_rng(0)
    values = rng.normal(size=30)
    accuracies = values + rng.normal(size=30)
    runs = [
        Candidate(str(i), 'a', {'rankme': v}, False, a) for i, (v, a) in enumerate(zip(values, accuracies, strict=True))
    ]
    tau, low, high = kendall(runs, 'rankme', draws=200)
    assert tau == pytest.approx(stats.kendalltau(values, accuracies).statistic)
    assert low < tau < high and 0.2 < high - low < 0.8
    reverse = [run._replace(measures={'loss': -run.measures['rankme']}) for run in runs]
    assert kendall(reverse, 'loss', draws=20)[0] == pytest.approx(tau)  # merit, not value
    assert all(math.isnan(v) for v in kendall(runs[:2], 'rankme'))


def workdir(folder, name, *, rankme, linear, collapsed, labels=True):
    path = folder / name
    path.mkdir()
    config = with_overrides(defaults(), [f'method.name={"vicreg" if name < "c" else "simclr"}', 'model.name=convnet'])
    (path / 'config.json').write_text(json.dumps({'config': json.loads(to_json(config))}))
    limits = {f'alarm/{k}_limit': 0.1 for k in ('deviation', 'deviation_normalized', 'relative_alignment', 'rank')}
    flags = {'shrunk': 0.0, 'narrow': 0.0, 'unaligned': float(collapsed), 'flat': 0.0, 'collapsed': float(collapsed)}
    line = {
        'step': 20, 'rankme': rankme, 'deviation': 1.0, 'deviation_normalized': 1.0, 'alignment': 0.97, 'rank': 30.0,
        **limits, **{f'alarm/{k}': v for k, v in flags.items()},
    }  # fmt: skip
    lines = [{'step': 10, 'loss': 3.0}, {**line, 'step': 10, 'rankme': 1.0}, {'step': 20, 'loss': 2.0}, line]
    (path / 'metrics.jsonl').write_text(''.join(json.dumps(entry) + '\n' for entry in lines))
    scores = {'trained': {'knn': linear - 0.1, 'linear': linear}} if labels else {}
    (path / 'results.json').write_text(json.dumps({'step': 20, 'scores': scores}))
    return str(path)


@pytest.fixture
def runs(tmp_path):
    return [
        workdir(tmp_path, 'a', rankme=90.0, linear=0.3, collapsed=True),
        workdir(tmp_path, 'b', rankme=50.0, linear=0.9, collapsed=False),
        workdir(tmp_path, 'c', rankme=60.0, linear=0.8, collapsed=False),
    ]


def test_the_command_excludes_ranks_and_prices(runs, tmp_path, capsys):
    (tmp_path / 'notes').mkdir()  # runs/* holds other folders too
    assert select.main([*runs, str(tmp_path / 'notes'), '--by', 'rankme']) == 0
    out = capsys.readouterr().out
    assert f'choice: {runs[2]}' in out.replace('\n', '') or f'choice: {runs[2]}' in out
    assert f'left out: {runs[0]} (rankme 90). Collapsed: pairs are 0.97 times as far apart as shuffled pairs' in out
    assert 'vicreg (2 runs): 60.0 without the alarm, 0.0 with it' in out
    assert 'simclr (1 runs): 0.0 without the alarm, 0.0 with it' in out
    assert 'across methods (3 runs): 60.0 without the alarm, 10.0 with it' in out


def test_the_command_without_the_alarm_and_by_several(runs, capsys):
    assert select.main(['--by=rankme,loss,knn', '--alarm=off', *runs]) == 0
    out = capsys.readouterr().out
    assert f'choice: {runs[0]}' in out and f'choice: {runs[1]}' in out  # RankMe's, k-NN's
    assert 'losses of different methods have different units' in out and 'left out' not in out


def test_the_command_without_labels(tmp_path, capsys):
    runs = [
        workdir(tmp_path, name, rankme=r, linear=0.0, collapsed=False, labels=False)
        for name, r in (('a', 1.0), ('b', 2.0))
    ]
    assert select.main([*runs, '--by=rankme']) == 0
    out = capsys.readouterr().out
    assert f'choice: {runs[1]}' in out and "2 of 2 runs have no score 'linear'" in out


def test_all_flagged(tmp_path, capsys):
    runs = [workdir(tmp_path, name, rankme=1.0, linear=0.5, collapsed=True) for name in ('a', 'b')]
    assert select.main([*runs, '--by=rankme']) == 0
    assert 'the alarm flagged every run, so none is chosen' in capsys.readouterr().out


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['--by=rankme'], 'at least two runs; the 0 folders given hold 0'),
        ([], '--by is missing'),
        (['--by=rankme', '--alarm=maybe'], '--alarm must be on or off'),
        (['--by=rankm'], "has not recorded 'rankm'; did you mean rankme"),
        (['--by=rankme', '--config.seed=1'], 'reads the config of each run'),
        (['--by=rankme', '--jugde=knn'], '--jugde is no option; did you mean judge'),
    ],
)
def test_bad_arguments(runs, arguments, message):
    folders = [] if message.startswith('at least two') else runs
    with pytest.raises(UserError, match=message):
        select.main([*folders, *arguments])


@pytest.mark.slow
def test_what_no_run_has_recorded_is_measured_on_a_host_with_several_devices(tmp_path, capsys):
    """The metrics of both runs are gone: their encoders, loaded on one device, are measured beside eight."""
    small = ['model.widths=(8,16)', 'projector.widths=(16,8)', 'train.epochs=2', 'data.per_class=30']
    first = str(tmp_path / 'a')
    assert train.main(['--config=experiments/digits/vicreg.py', f'--workdir={first}', *small]) == 0
    (tmp_path / 'a' / 'metrics.jsonl').unlink()
    shutil.copytree(first, tmp_path / 'b')
    assert jax.device_count() > 1 and select.main([first, str(tmp_path / 'b'), '--by=rankme', '--alarm=off']) == 0
    assert f'choice: {first}' in capsys.readouterr().out.replace('\n', '')


def test_names_are_no_markup(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '400')
    runs = [
        workdir(tmp_path, name, rankme=rank, linear=0.5, collapsed=False)
        for name, rank in (('a[b]', 2.0), ('b\n', 1.0))
    ]
    assert select.main([*runs, '--by=rankme', '--judge=[/linear]']) == 0
    out = capsys.readouterr().out
    assert out.count('a[b]') == 2 and r'b\n' in out and '[/linear]' in out

"""Ablation tables: rows are valid configs, what is declared is what is asserted, and the recorded page holds it."""

import json

import pytest
from selfsup.errors import UserError

from experiments.tables import ablations, table

TINY = [
    'train.epochs=1', 'model.widths=(4, 8)', 'projector.widths=(16, 8)', 'data.batch_size=128', 'optimizer.warmup_epochs=0.0',
]  # fmt: skip


@pytest.mark.parametrize('name', ablations.ABLATIONS)
def test_every_row_is_a_config_and_every_declared_pair_names_rows(name):
    ablation = ablations.ABLATIONS[name]
    assert {row for pair in ablation.shows for row in pair} <= ablation.rows.keys() and ablation.shows
    for row in ablation.rows.values():
        table.load('digits', ablation.method, row.overrides)
    programs = ablations.programs(ablation.rows)
    assert sum(map(len, programs)) == len(ablation.rows)


def test_rows_of_values_alone_are_one_program():
    assert [len(rows) for rows in ablations.programs(ablations.ABLATIONS['vicreg_terms'].rows)] == [9]
    assert [len(rows) for rows in ablations.programs(ablations.ABLATIONS['byol_parts'].rows)] == [1] * 4


def made(first, second):
    """Two seeds of a table of two rows."""
    rows = {'whole': ablations.Row('70.0'), 'part': ablations.Row('0.1')}
    ablation = ablations.Ablation('a part', 'byol', rows, (('whole', 'part'),))
    of = lambda score: {'linear_10': score, 'knn': score, 'rankme': 9.0, 'alarm': 0.0}  # noqa: E731
    seeds = {str(n): {'whole': of(a), 'part': of(b)} for n, (a, b) in enumerate(zip(first, second, strict=True))}
    return ablation, seeds


@pytest.mark.parametrize(('second', 'answer'), [((0.80, 0.82), True), ((0.89, 0.91), False), ((0.93, 0.95), False)])
def test_a_declared_pair_must_lead_by_two_standard_errors(second, answer):
    ablation, seeds = made((0.90, 0.92), second)
    assert ablations.shown(ablation, seeds) == {('whole', 'part'): answer}
    text = ablations.section(ablation, {'seeds': seeds, 'epochs': 3, 'processor': 7, 'device': 'cpu'})
    assert f'whole over part: {"yes" if answer else "no"}' in text and '| whole | 70.0 | 91.0 ± 1.4 |' in text


def test_tables_that_are_not_recorded_are_named():
    assert ablations.markdown({}) == f'Not run yet: {", ".join(ablations.ABLATIONS)}.\n'


def test_one_seed_shows_nothing():
    ablation, seeds = made((0.9,), (0.1,))
    assert ablations.shown(ablation, seeds) == {('whole', 'part'): False}


@pytest.mark.slow
def test_a_table_is_trained_and_goes_on(tmp_path, capsys):
    command = [f'--workdir={tmp_path}', '--tables=barlow_terms', *(f'--config.{field}' for field in TINY)]
    assert ablations.main([*command, '--seeds=1']) == 0
    assert ablations.main([*command, '--seeds=1,2']) == 0
    said = capsys.readouterr().out
    assert said.count('barlow_terms, seed 1:') == said.count('barlow_terms, seed 2:') == 1
    found = json.loads((tmp_path / 'table.json').read_text())['barlow_terms']
    assert list(found['seeds']) == ['1', '2'] and found['epochs'] == 1
    assert list(found['seeds']['1']) == list(ablations.ABLATIONS['barlow_terms'].rows)


def test_an_unknown_table_is_refused(tmp_path):
    with pytest.raises(UserError, match="'vicreg_term' is unknown; did you mean vicreg_terms"):
        ablations.main([f'--workdir={tmp_path}', '--tables=vicreg_term'])

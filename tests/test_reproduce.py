"""Recorded numbers have their recipes, and `selfsup reproduce` repeats them."""

import json
from pathlib import Path

import pytest
from selfsup import reproduce
from selfsup.errors import UserError

from experiments.tables import recipes, table

ROOT = Path(__file__).parent.parent
RECORDED = json.loads((ROOT / 'docs' / 'recipes.json').read_text())


@pytest.mark.parametrize('name', RECORDED)
def test_no_recipe_has_changed_since_its_numbers_were_recorded(name):
    """Else: repeat the table (`selfsup reproduce`), and take its table.json and recipes.json into docs/."""
    assert recipes.changes(name, RECORDED[name]) == {}
    assert set(RECORDED[name]['configs']) == set(json.loads((ROOT / 'docs' / f'{name}.json').read_text()))


def test_a_changed_recipe_is_found():
    recorded = recipes.packed([], {'byol': {**RECORDED['digits']['shared'], **RECORDED['digits']['configs']['byol']}})
    recorded['shared']['optimizer.learning_rate'] = 0.125
    recorded['shared']['model.gone'] = 1
    recorded['configs']['no_such_config'] = {}
    assert recipes.changes('digits', recorded) == {
        'byol': ['model.gone: 1 -> absent', 'optimizer.learning_rate: 0.125 -> 0.005'],
        'no_such_config': ['the config is gone'],
    }


def test_recipes_are_packed_and_read_again(tmp_path):
    file = tmp_path / 'recipes.json'
    for folder in ('digits', 'cifar5k'):
        file.write_text(recipes.updated(file, folder, ['simclr'], ['train.epochs=7']))
    read = json.loads(file.read_text())
    assert list(read) == ['digits', 'cifar5k'] and read['digits']['shared']['train.epochs'] == 7
    assert recipes.changes('digits', read['digits']) == {}


def finished(workdir, accuracies):
    """Runs of BYOL and of its control that are there already."""
    for control in ('none', 'shuffled_pairs'):
        for seed, value in enumerate(accuracies, 1):
            place = workdir / 'byol' / control / f'seed{seed}'
            place.mkdir(parents=True)
            scores = {of: {'linear_10': value} for of in table.REPRESENTATIONS}
            (place / 'results.json').write_text(json.dumps({'scores': scores}))


@pytest.mark.parametrize(('accuracies', 'answer'), [((0.92, 0.93), 'yes'), ((0.82, 0.83), 'no'), ((0.92,), '–')])
def test_numbers_stand_beside_the_recorded_ones(accuracies, answer, tmp_path, capsys):
    finished(tmp_path, accuracies)
    seeds = ','.join(map(str, range(1, len(accuracies) + 1)))
    assert reproduce.main(['digits', '--methods=byol', f'--seeds={seeds}', f'--workdir={tmp_path}']) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-1].endswith(f'| {answer} |') and '| BYOL | ' in said.out.splitlines()[-1]
    assert said.err == '' and (tmp_path / 'recipes.json').is_file()


def test_the_tables_are_listed_and_an_unknown_one_is_refused(capsys):
    assert reproduce.main([]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == [
        'ablations', 'cifar10', 'cifar5k', 'cifar5k_pretext', 'cifar5k_vit', 'collapse', 'concatenation',
        'dictionaries', 'digits', 'e2mc', 'findings', 'hardware', 'label_curves', 'label_free_selection', 'mutual_information',
        'reduction', 'shapes', 'speedrun', 'subsets', 'vectors',
    ]  # fmt: skip
    with pytest.raises(UserError, match='unknown table; did you mean digits'):
        reproduce.main(['digit'])

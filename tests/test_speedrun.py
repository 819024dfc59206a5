"""The speed-run: times and scores of each seed, the log's contents, and the rules of a record."""

import json

import pytest
from selfsup.errors import UserError

from experiments.tables import speedrun

TINY = [
    'model.widths=(4, 8)', 'projector.widths=(16, 8)', 'data.batch_size=256', 'train.epochs=1',
    'train.steps_per_call=1', 'optimizer.warmup_epochs=0.0',
]  # fmt: skip


def entry(score, count, *, processor=10.0, by='us'):
    seed = {'compilation': 1.0, 'seconds': 20.0, 'processor': processor, 'images': 1000, 'linear_10': score}
    conditions = {'device': 'cpu', 'jax': '1', 'git': 'x', 'date': '2026-01-01'}
    return {'by': by, 'conditions': conditions, 'seeds': {str(n): seed for n in range(count)}}


@pytest.mark.parametrize(
    ('score', 'count', 'record'), [(0.97, 20, True), (0.9699, 20, False), (0.99, 19, False), (0.98, 30, True)]
)
def test_a_record_needs_the_target_and_the_seeds(score, count, record):
    assert speedrun.holds(entry(score, count)) is record


def test_records_stand_first_and_by_their_time():
    made = {'slow': entry(0.98, 20), 'short': entry(0.99, 3, processor=1.0), 'fast': entry(0.975, 20, processor=5.0)}
    lines = speedrun.markdown(made).splitlines()[2:]
    assert [line.split(' | ')[0] for line in lines] == ['| fast', '| slow', '| short']
    assert lines[0].endswith('| 20.0 | 5.0 | 1.0 | 1,000 | 97.50 ± 0.00 | 100 % | 20 | yes |')


@pytest.mark.slow
def test_a_config_is_timed_and_logged_and_goes_on(tmp_path, capsys):
    command = [f'--workdir={tmp_path}', 'digits/simclr', '--by=me', *(f'--config.{field}' for field in TINY)]
    assert speedrun.main([*command, '--seeds=1']) == 0
    file = tmp_path / 'simclr.json'
    log = json.loads(file.read_text())
    one = log['seeds']['1']
    # 1,438 rows to train without a tenth held out: five batches.
    assert one['images'] == 5 * 256 and one['seconds'] > 0 and one['compilation'] > 0
    assert 0 <= one['linear_10'] <= 1 and 'def get_config' in log['source'] and log['by'] == 'me'
    assert log['config']['train']['epochs'] == 1 and 'train.epochs=1' in log['overrides']
    assert {'device', 'jax', 'git', 'date'} == set(log['conditions'])
    capsys.readouterr()
    assert speedrun.main([*command, '--seeds=1']) == 0
    assert 'seed 1:' not in capsys.readouterr().out and json.loads(file.read_text())['seeds'] == log['seeds']
    with pytest.raises(UserError, match='another config'):
        speedrun.main([*command, '--seeds=1', '--config.train.epochs=2'])


def test_the_programs_of_all_dispatches_are_compiled_first():
    """Five steps, four at a time."""

    class Four:
        total = 5

        def next_chunk(self, step):
            return min(4, self.total - step)

    assert speedrun.counts(Four()) == {4, 1}


def test_a_method_that_is_refreshed_is_refused(tmp_path):
    with pytest.raises(UserError, match='deepcluster_v2 is refreshed'):
        speedrun.main([f'--workdir={tmp_path}', 'digits/deepcluster_v2', '--seeds=1'])

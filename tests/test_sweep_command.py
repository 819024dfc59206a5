"""`selfsup sweep`: its grid, the runs that are trained, and their table."""

import json
import re
from pathlib import Path

import pytest
import selfsup
from selfsup import config, sweep
from selfsup.config import to_json
from selfsup.engine import loop, members
from selfsup.errors import REQUEUE, UserError
from selfsup.sweep import grid


@pytest.mark.parametrize(
    ('text', 'values'),
    [
        ('0..3', ['0', '1', '2', '3']),
        ('-1..1', ['-1', '0', '1']),
        ('0.1,0.2', ['0.1', '0.2']),
        ('(8,16),(16,32)', ['(8,16)', '(16,32)']),
        ('vicreg', ['vicreg']),
    ],
)
def test_values(text, values):
    assert grid.values_of(text) == values


def pruned(*options):
    return sweep.main(['digits/vicreg', '--grid', 'seed=0..1', *options])


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda: grid.values_of('4..0'), '4..0 must count upwards'),
        (lambda: grid.values_of('1,,2'), 'has an empty value'),
        (lambda: grid.values_of(''), 'has an empty value'),
        (lambda: grid.values_of('1,2,1'), 'has a value twice'),
        (lambda: grid.members(['seed']), '--grid seed: must be FIELD=VALUES'),
        (lambda: grid.members(['seed=1', 'seed=2']), '--grid names seed twice'),
        (lambda: grid.members(['seed=0..999', 'a=0..99']), '--grid has 100,000 runs'),
        (lambda: grid.shard_of('3/3'), '--shard=3/3 must be I/N'),
        (lambda: grid.shard_of('a'), '--shard=a must be I/N'),
        (lambda: sweep.main(['digits/vicreg']), '--grid is missing; usage: selfsup sweep'),
        (lambda: sweep.main(['--grid', 'seed=0..1']), 'the config is missing'),
        (lambda: sweep.main(['digits/vicreg', '--grid', 'sead=0..1']), 'unknown field sead'),
        (lambda: pruned('--rungs=10'), '--rungs=10 goes with --prune=MEASURE'),
        (lambda: pruned('--prune=rankme'), '--rungs is missing'),
        (
            lambda: pruned('--prune=rankne', '--rungs=10'),
            '--prune=rankne is not measured by these runs; did you mean rankme',
        ),
        (lambda: pruned('--prune=rankme', '--rungs=10,5'), '--rungs=10,5 must ascend'),
        (lambda: pruned('--prune=rankme', '--rungs=1'), '--rungs=1 must lie from 5 (monitor.every_epochs'),
        (lambda: pruned('--prune=rankme', '--rungs=10,100'), '--rungs=10,100 must lie from 5'),
        (lambda: pruned('--prune=rankme', '--rungs=ten'), "--rungs: 'ten' is no number"),
        (lambda: pruned('--prune=rankme', '--rungs=10', '--keep=1'), '--keep=1 must be a share above 0 and below 1'),
        (lambda: pruned('--prune=rankme', '--rungs=10', '--shard=0/2'), 'leave --shard and --together out'),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(UserError, match=re.escape(message) if '.*' not in message else message):
        call()


def test_every_combination_has_a_folder_of_its_own():
    found = grid.members(['seed=0..1', 'data.source=folder:/a/b,digits'])
    assert found[:2] == [('seed=0', 'data.source=folder:/a/b'), ('seed=0', 'data.source=digits')] and len(found) == 4
    names = [grid.folder_of(member) for member in found]
    assert names[0] == 'seed=0,data.source=folder:_a_b' and len(set(names)) == 4
    long = [grid.folder_of((f'data.source=folder:{"/x" * 300}{end}',)) for end in 'ab']
    assert len(set(long)) == 2 and all(len(name) < 100 for name in long)


@pytest.fixture
def trained(monkeypatch):
    """Stands for the training: writes what a finished run leaves, or fails at a learning rate of 2."""
    calls = []

    def train(config, path, until=0.0):
        calls.append(Path(path).name)
        if config.optimizer.learning_rate == 2:
            raise UserError('step 3: not finite: loss')
        if config.seed == 9:
            return REQUEUE
        folder = Path(path)
        folder.mkdir(parents=True)
        (folder / 'config.json').write_text(
            json.dumps({'config': json.loads(to_json(config)), 'identity': 'x', 'total_steps': 5})
        )
        (folder / 'metrics.jsonl').write_text('{"step": 5, "loss": 1.0}\n')
        (folder / 'checkpoints' / '5').mkdir(parents=True)
        scores = {'trained': {'linear': 0.5 + config.seed / 10}}
        (folder / 'results.json').write_text(json.dumps({'step': 5, 'scores': scores}))
        return 0

    monkeypatch.setattr(loop, 'train', train)
    return calls


def test_runs_and_their_table(trained, tmp_path, capsys):
    words = ['digits/vicreg', f'--workdir={tmp_path}', '--grid', 'seed=1..3', 'optimizer.learning_rate=0.1,0.2']
    assert sweep.main([*words, '--shard=1/2']) == 0
    assert trained == [f'seed={seed},optimizer.learning_rate=0.2' for seed in (1, 2, 3)]
    rows = [line.split('\t') for line in capsys.readouterr().out.splitlines() if '\t' in line]
    assert rows[1] == ['optimizer.learning_rate=0.1', '3 missing', '-']
    trained.clear()
    assert sweep.main(words) == 0
    assert len(trained) == 3  # the others are finished
    trained.clear()
    assert sweep.main([*words, '--table']) == 0 and trained == []
    rows = [line.split('\t') for line in capsys.readouterr().out.splitlines() if '\t' in line]
    assert rows[-2:] == [[f'optimizer.learning_rate={rate}', '3 finished', '0.700 ± 0.100'] for rate in (0.1, 0.2)]


def test_a_run_that_fails_does_not_end_the_others(trained, tmp_path, capsys):
    grid = ['--grid', 'optimizer.learning_rate=2,0.1']
    assert sweep.main(['digits/vicreg', f'--workdir={tmp_path}', *grid]) == 2
    shown = capsys.readouterr()
    told = 'error: optimizer.learning_rate=2: the run failed\nerror: step 3: not finite: loss\n'
    assert shown.err == told and len(trained) == 2
    assert '1 missing' in shown.out and '1 finished' in shown.out


def test_a_signal_ends_the_sweep_and_the_same_command_goes_on(trained, tmp_path, monkeypatch):
    words = ['digits/vicreg', f'--workdir={tmp_path}', '--grid', 'seed=1,9,2']
    assert sweep.main(words) == REQUEUE and trained == ['seed=1', 'seed=9']
    trained.clear()
    assert sweep.main(words) == REQUEUE and trained == ['seed=9']


def test_results_of_another_config_are_not_taken_for_this_one(trained, tmp_path, capsys):
    words = ['digits/vicreg', f'--workdir={tmp_path}', '--grid', 'seed=1,2']
    assert sweep.main(words) == 0
    capsys.readouterr()
    assert sweep.main([*words[:2], 'optimizer.weight_decay=0.5', *words[2:], '--table']) == 0
    assert capsys.readouterr().out.splitlines()[-1].split('\t') == ['all', '2 other config']
    trained.clear()
    assert (
        sweep.main([*words[:2], 'train.epochs=7', *words[2:]]) == 2 and len(trained) == 2
    )  # it goes on, here with an error


def test_a_run_that_was_not_evaluated_is_not_finished(trained, tmp_path):
    words = ['digits/vicreg', f'--workdir={tmp_path}', '--grid', 'seed=1']
    assert sweep.main(words) == 0
    place = tmp_path / 'seed=1'
    (place / 'results.json').unlink()
    alarm = {f'alarm/{flag}': 1.0 for flag in ('shrunk', 'narrow', 'flat', 'collapsed')}
    with (place / 'metrics.jsonl').open('a') as file:
        file.write(json.dumps({'step': 5, **alarm}) + '\n')
    trained.clear()
    assert sweep.main(words) == 2 and trained == ['seed=1']


HALVED = [
    'digits/vicreg', 'train.epochs=20', 'monitor.every_epochs=5', '--prune=rankme', '--rungs=5,10',
    '--grid', 'seed=1,2', 'optimizer.learning_rate=0.1,0.2,0.3,0.4,2',
]  # fmt: skip


@pytest.fixture
def measured(monkeypatch):
    """Runs of two steps an epoch; at epoch 5 a larger rate has the larger RankMe, at epoch 10 a smaller one."""
    calls = []

    def train(config, path, until=0.0):
        rate, folder = config.optimizer.learning_rate, Path(path)
        calls.append((folder.name, until))
        if rate == 2:
            raise UserError('step 3: not finite: loss')
        folder.mkdir(parents=True, exist_ok=True)
        about = {'identity': 'x', 'total_steps': 40, 'steps_per_epoch': 2}
        (folder / 'config.json').write_text(json.dumps({'config': json.loads(to_json(config)), **about}))
        end = until or 20
        ranks = {5: rate, 10: -rate - config.seed / 100, 15: 1.0, 20: 1.0}
        lines = [{'step': 2 * epoch, 'rankme': rank} for epoch, rank in ranks.items() if epoch <= end]
        (folder / 'metrics.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
        (folder / 'checkpoints' / str(round(2 * end))).mkdir(parents=True, exist_ok=True)
        if until:
            return REQUEUE
        scores = {'trained': {'linear': 1 - rate}}
        (folder / 'results.json').write_text(json.dumps({'step': 40, 'scores': scores}))
        return 0

    monkeypatch.setattr(loop, 'train', train)
    return calls


@pytest.mark.slow
def test_the_better_half_goes_on_and_the_same_command_decides_again(measured, tmp_path, capsys):
    assert sweep.main([*HALVED, f'--workdir={tmp_path}']) == 2  # for the runs that failed
    shown = capsys.readouterr().out
    better = [f'optimizer.learning_rate={rate}' for rate in (0.2, 0.3, 0.4)]
    assert f'after 5 epochs 3 of 5 go on by rankme: {"; ".join(better)}\n' in shown
    assert f'after 10 epochs 2 of 3 go on by rankme: {"; ".join(better[:2])}\n' in shown
    rungs = [5.0] * 10 + [10.0] * 6 + [0.0] * 4
    assert [until for _, until in measured] == rungs
    assert {name.split(',')[1] for name, until in measured if not until} == {*better[:2]}
    # (5 x 5 + 3 x 5 + 2 x 10) epochs of 5 x 20.
    assert 'pruned by rankme it trains 60% of the epochs' in shown and 'is known once all runs are finished' in shown
    measured.clear()
    assert sweep.main([*HALVED, f'--workdir={tmp_path}']) == 2
    assert {name for name, _ in measured} == {f'seed={seed},optimizer.learning_rate=2' for seed in (1, 2)}


def test_the_cost_of_pruning_is_told_of_a_whole_sweep(measured, tmp_path, capsys):
    whole = [word for word in HALVED if not word.startswith(('--prune', '--rungs'))]
    whole[-1] = 'optimizer.learning_rate=0.1,0.2,0.3,0.4'
    assert sweep.main([*whole, f'--workdir={tmp_path}']) == 0
    measured.clear()
    assert sweep.main([*whole, f'--workdir={tmp_path}', '--table', '--prune=rankme', '--rungs=5,10']) == 0
    told = 'linear: best 0.900 (optimizer.learning_rate=0.1), of the kept 0.700 (optimizer.learning_rate=0.3); regret 0.200'
    assert told in capsys.readouterr().out and not measured


def test_an_error_of_any_kind_ends_its_run_alone(tmp_path, monkeypatch, capsys):
    def train(config, path, until=0.0):
        raise RuntimeError('RESOURCE_EXHAUSTED: out of memory' if config.seed else 'broken')

    monkeypatch.setattr(loop, 'train', train)
    assert sweep.main(['digits/vicreg', f'--workdir={tmp_path}', '--grid', 'seed=0,1']) == 2
    shown = capsys.readouterr().err
    assert (
        'RuntimeError: broken' in shown
        and 'error: there is not enough memory' in shown
        and 'seed=1: the run failed' in shown
    )


def test_runs_that_differ_in_numbers_alone_are_one_group():
    fields = ['optimizer.learning_rate=0.1,0.2', 'method.variance_weight=10,25', 'model.widths=(4,8),(8,16)']
    combinations = grid.members(fields)
    groups = members.grouped({names: config.load('digits/vicreg', [*names]) for names in combinations})
    assert [len(group.names) for group in groups] == [4, 4] and not any(group.alone for group in groups)
    fields = {'optimizer.learning_rate', 'method.variance_weight'}
    assert all(set(member) == fields for group in groups for member in group.members)
    assert [group.members[0]['method.variance_weight'] for group in groups] == [10.0, 10.0]


@pytest.mark.parametrize(
    'name, field, what',
    [
        ('simclr', 'train.microbatches=2', 'train.microbatches=2 is for runs one by one'),
        ('simclr', 'branch_from=runs/trunk', "branch_from='runs/trunk' is for runs one by one"),
        ('vicreg', 'monitor.patience=3', 'monitor.patience=3 is for runs one by one'),
        ('deepcluster_v2', 'seed=3', 'deepcluster_v2 is refreshed between epochs'),
        ('simclr', 'seed=3', ''),
    ],
)
def test_why_runs_are_not_trained_together(name, field, what):
    assert members.refusal(config.load(f'digits/{name}', [field])) == what


@pytest.mark.slow
def test_runs_together_leave_workdirs_that_are_reported_and_loaded(tmp_path, monkeypatch, capsys):
    """Both are written with their training ended, so that what comes after evaluates them; a wild one is told of."""
    ended = []
    monkeypatch.setattr(loop.report, 'finish', lambda root, *arguments: ended.append(root.name))
    words = [
        'digits/vicreg', 'train.epochs=2', 'data.per_class=20', 'data.batch_size=64', 'model.widths=(4,8)',
        'projector.widths=(16,8)', 'optimizer.warmup_epochs=0.5', 'optimizer.name=sgd', f'--workdir={tmp_path}',
        '--grid', 'optimizer.learning_rate=0.01,1e30', '--together',
    ]  # fmt: skip
    assert sweep.main(words) == 2
    shown = capsys.readouterr()
    assert '2 runs as one program, which differ in optimizer.learning_rate' in shown.out
    assert re.fullmatch(r'error: optimizer.learning_rate=1e30: not finite in epoch \d\n', shown.err)
    assert ended == ['optimizer.learning_rate=0.01'] and not (tmp_path / 'optimizer.learning_rate=1e30').exists()
    place = tmp_path / ended[0]
    lines = [json.loads(line) for line in (place / 'metrics.jsonl').read_text().splitlines()]
    assert [line['step'] for line in lines] == [2, 4, 4] and 'rankme' in lines[-1] and 'loss' in lines[0]
    assert selfsup.load_encoder(str(place)).step == 4

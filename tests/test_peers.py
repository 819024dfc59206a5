"""The comparison with lightly: our half trains at toy size, a stopped command goes on, and the page tells the numbers."""

import json
import subprocess
import sys

import numpy as np
import pytest
import small
from selfsup import optim
from selfsup.errors import UserError

sys.path.insert(0, str(small.ROOT / 'benchmarks'))
page = small.script('benchmarks/peers_page.py')
sys.path.pop(0)
SCHEDULE = 1e-6  # float32 of the engine beside Python's float64
TOY = dict(images=48, classes=2, batch=8)


@pytest.fixture(scope='module')
def tool():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(small.ROOT / 'benchmarks'))
        yield small.script('benchmarks/peers.py')


@pytest.fixture(scope='module')
def toy(tmp_path_factory):
    """A file of random images, some set apart to test on."""
    file = tmp_path_factory.mktemp('peers') / 'toy.npz'
    draw = np.random.default_rng(0)
    parts = {}
    for part, count in (('train', TOY['images']), ('test', 16)):
        parts[f'{part}_images'] = draw.integers(0, 256, (count, 32, 32, 3), np.uint8)
        parts[f'{part}_labels'] = np.arange(count) % TOY['classes']
    np.savez(file, **parts)
    return f'npz:{file}'


def job(tool, toy, folder, method='simclr', epochs=1):
    return tool.Job(method, 1, epochs, TOY['batch'], str(folder / 'data.npz'), toy, '', 0, 1)


def test_both_halves_have_one_schedule(tool):
    import peers_recipe

    ours = optim.warmup_cosine(1.0, steps=50, warmup_steps=7)
    for step in (0, 3, 6, 7, 8, 30, 49):
        assert abs(float(ours(step)) - peers_recipe.rate_share(step, steps=50, warmup=7)) < SCHEDULE


@pytest.mark.slow
def test_our_half_trains_and_encodes(tool, toy, tmp_path):
    import peers_ours

    one = job(tool, toy, tmp_path)
    tool.prepare(one._replace(per_class=8))
    tool.prepare(one)  # of another source: written anew
    half = peers_ours.Ours(one)
    with np.load(one.data) as data:
        before = half.features(data['test'])
        assert half.run.epoch_steps == len(data['train']) // TOY['batch']
        assert np.isfinite(half.epoch())
        after = half.features(data['test'])
        assert after.shape == (len(data['test']), 128) and not np.allclose(before, after)
        assert len(data['labelled']) == len(data['labelled_labels']) == TOY['images']


@pytest.mark.parametrize('method', ['barlow_twins', 'byol', 'byol_own_start', 'moco_v2', 'simclr', 'vicreg'])
def test_every_recipe_is_a_config(tool, toy, tmp_path, method):
    import peers_ours

    config = peers_ours.config_of(job(tool, toy, tmp_path, method))
    recipe = peers_ours.RECIPES[method]
    assert config.method.name == method.removesuffix('_own_start')
    assert config.projector.widths == recipe.head
    assert all(config.method[name] == value for name, value in recipe.numbers.items())
    if 'momentum' in recipe.numbers:  # the other half has one number for the whole run
        assert config.method.momentum_final == config.method.momentum
    assert not config.schedules
    assert [view.solarise.p if 'solarise' in view else 0.0 for view in config.augment.views.values()] == [
        *recipe.solarise
    ]


@pytest.mark.slow
def test_the_tool_goes_on_with_what_is_missing(tool, toy, tmp_path):
    command = [sys.executable, 'benchmarks/peers.py', f'--workdir={tmp_path}', f'--source={toy}', '--per-class=0']
    command += ['--batch=8', '--epochs=2', '--methods', 'simclr', '--seeds']
    for seeds, told in ((['1'], ['simclr, seed 1']), (['1', '2'], ['simclr, seed 2'])):
        done = subprocess.run([*command, *seeds], cwd=small.ROOT, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        assert [line.partition(':')[0] for line in done.stdout.splitlines()] == told
    found = tool.recorded(tmp_path)
    assert list(found['runs']['simclr']) == ['seed1', 'seed2']
    record = found['runs']['simclr']['seed1']['ours']
    assert len(record['epochs']) == 2 and record['memory'] > 0
    assert set(record['scores']) == {'untrained', 'trained'}
    assert json.loads(tool.as_json(found)) == found
    assert found['settings']['images'] == TOY['images'] // TOY['batch'] * TOY['batch'] - TOY['batch']  # one held out


@pytest.mark.slow
@pytest.mark.parametrize('method', ['barlow_twins', 'byol', 'moco_v2', 'simclr', 'vicreg'])
def test_both_halves_have_the_same_parameters(tool, toy, tmp_path, method):
    """As many arrays of each shape in both, and finite losses; the order of axes is each library's own."""
    pytest.importorskip('lightly', reason='lightly is not installed')
    import jax
    import peers_lightly
    import peers_ours

    one = job(tool, toy, tmp_path, method)
    tool.prepare(one)
    ours, theirs = peers_ours.Ours(one), peers_lightly.Lightly(one)
    shapes = [sorted(x.shape) for x in jax.tree.leaves(ours.state.params)]
    assert sorted(shapes) == sorted(sorted(p.shape) for p in theirs.model.parameters() if p.requires_grad)
    assert np.isfinite(ours.epoch()) and np.isfinite(theirs.epoch())


def run_of(score, seconds, memory=100):
    """The record of a half: one score for all, and so many seconds in each of three epochs."""
    about = {'jax': '1'} if memory == 100 else {'torch': '2'}
    scores = dict.fromkeys(page.SCORES, score)
    return {
        'about': about,
        'start': {'seconds': 9.0, 'processor': 5.0},
        'epochs': [[2 * seconds, seconds, 0.5]] * 3,
        'memory': memory,
        'scores': {'trained': scores, 'untrained': scores},
    }


def made(ours, theirs):
    """Two seeds of one method with these scores."""
    both = zip(ours, theirs, strict=True)
    seeds = {f'seed{n}': {'ours': run_of(a, 2.0), 'lightly': run_of(b, 3.0, 200)} for n, (a, b) in enumerate(both)}
    alike = {'simclr': {'steps': 10, 'loss': 2e-6, 'features': 3e-4}}
    return {'settings': {'epochs': 3, 'batch': 8, 'images': 40}, 'agreement': alike, 'runs': {'simclr': seeds}}


def test_the_page_tells_who_agrees():
    near, far = made([0.50, 0.52], [0.51, 0.53]), made([0.50, 0.52], [0.61, 0.63])
    assert page.apart(near['runs']) == [] and len(page.apart(far['runs'])) == len(page.SCORES)
    assert '4 of 4 means agree' in page.part(near)
    # Deviations of √2 points, standard errors of 1 and of the difference of √2.
    assert '| SimCLR | 10 | 2e-06 | 3e-04 |' in page.part(near)
    assert '| SimCLR | k-NN, 20 | 51.0 ± 1.0 | 62.0 ± 1.0 | -11.0 ± 1.4 | **no** |' in page.part(far)


def test_the_page_tells_times_and_memory():
    text = page.part(made([0.5, 0.5], [0.5, 0.5]))
    # 40 images in 2 and 3 processor seconds; 5 seconds to start and three epochs of 2 and 3.
    assert '| SimCLR | 1.50 (1.50–1.50) | 1.50 (1.50–1.50) | 20 | 13 | 11 | 14 | 100 MiB | 200 MiB |' in text


def test_a_single_run_has_no_verdict():
    runs = made([0.5, 0.5], [0.9, 0.9])['runs']
    del runs['simclr']['seed1']
    assert page.apart(runs) == [] and '| –' in page.accuracy(runs)
    assert page.verdict(runs).startswith('No method has two seeds')


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['--reference=/no/python'], '--reference=/no/python is no program'),
        (['--agreement=3'], 'the half of --reference, which is missing'),
        (['--epochs=7'], "holds runs of {'epochs': 5}"),
        (['--methods', 'dino'], "invalid choice: 'dino'"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(tool, tmp_path, capsys, words, said):
    finished(tmp_path, 'simclr', 1, epochs=5, ours={})
    with pytest.raises(SystemExit) as ended:
        tool.main([f'--workdir={tmp_path}', *words])
    assert ended.value.code == 2 and said in capsys.readouterr().err


def finished(folder, method, seed, *, epochs=6, **halves):
    """Leaves the file of a run."""
    (folder / method).mkdir(parents=True, exist_ok=True)
    (folder / method / f'seed{seed}.json').write_text(json.dumps({'settings': {'epochs': epochs}, **halves}))


def test_runs_of_other_settings_are_not_collected_together(tool, tmp_path):
    finished(tmp_path, 'simclr', 1, epochs=5, ours={})
    finished(tmp_path, 'simclr', 2, ours={})
    with pytest.raises(UserError, match="'epochs': 6.*'epochs': 5"):
        tool.recorded(tmp_path)


def test_recording_adds_to_what_is_recorded(tool, tmp_path):
    first, second, third, file = (tmp_path / name for name in ('first', 'second', 'third', 'peers.json'))
    finished(first, 'simclr', 1, ours={'memory': 1}, lightly={'memory': 2})
    finished(first, 'vicreg', 10, ours={'memory': 3}, lightly={'memory': 4})
    (first / 'vicreg' / 'agreement.json').write_text('{"steps": 10}')
    finished(second, 'simclr', 1, ours={'memory': 5})
    finished(second, 'vicreg', 2, ours={'memory': 6}, lightly={'memory': 7})
    finished(second, 'byol', 1, lightly={'memory': 8})
    finished(third, 'simclr', 1, ours={'memory': 9}, lightly={'memory': 10})
    (third / 'simclr' / 'agreement.json').write_text('{"steps": 20}')
    told = []
    for folder in (first, second, third):
        tool.main([f'--workdir={folder}', f'--record={file}'])
        told.append(json.loads(file.read_text()))
    assert told[0] == tool.recorded(first)
    # Of seed 1 our half is there anew, so that the two did not train in turns; the order is that of the seeds.
    assert told[1]['runs'] == {
        'byol': {'seed1': {'lightly': {'memory': 8}}},
        'simclr': {'seed1': {'lightly': {'memory': 2}, 'ours': {'memory': 5}, 'apart': True}},
        'vicreg': {
            'seed2': {'ours': {'memory': 6}, 'lightly': {'memory': 7}},
            'seed10': {'ours': {'memory': 3}, 'lightly': {'memory': 4}},
        },
    }
    assert list(told[1]['runs']) == ['byol', 'simclr', 'vicreg'] and [*told[1]['runs']['vicreg']] == ['seed2', 'seed10']
    assert told[1]['agreement'] == {'vicreg': {'steps': 10}}
    assert told[2]['runs']['simclr']['seed1'] == {'ours': {'memory': 9}, 'lightly': {'memory': 10}}
    assert told[2]['runs']['vicreg'] == told[1]['runs']['vicreg']
    assert told[2]['agreement'] == {'vicreg': {'steps': 10}, 'simclr': {'steps': 20}}


@pytest.mark.parametrize(
    ('held', 'said'),
    [
        ('{"settings": {"epochs": 5}, "agreement": {}, "runs": {"simclr": {}}}', 'epochs 5 there and 6 here'),
        ('{"settings": {}, "runs": {}}', 'is no recording: it must hold settings, agreement, runs'),
        ('[]', 'holds no JSON object'),
        ('', 'is damaged'),
    ],
)
def test_what_cannot_be_added_to_is_refused_in_a_line_and_kept(tool, tmp_path, monkeypatch, capsys, held, said):
    finished(tmp_path, 'simclr', 1, ours={})
    file = tmp_path / 'peers.json'
    file.write_text(held)
    monkeypatch.setattr(sys, 'argv', ['peers.py', f'--workdir={tmp_path}', f'--record={file}'])
    with pytest.raises(SystemExit) as ended:
        tool.command(tool.main)()
    told = capsys.readouterr().err
    assert ended.value.code == 2 and said in told and told.count('\n') == 1
    assert file.read_text() == held


def test_a_folder_without_runs_is_not_recorded(tool, tmp_path):
    with pytest.raises(UserError, match='no finished run'):
        tool.main([f'--workdir={tmp_path}', f'--record={tmp_path / "peers.json"}'])


def test_halves_trained_apart_have_scores_and_no_ratio():
    runs = made([0.5, 0.5], [0.5, 0.5])['runs']
    assert len(page.ratios(runs['simclr'], 1)) == 4
    runs['simclr']['seed0']['apart'] = True
    assert len(page.ratios(runs['simclr'], 1)) == 2 and len(page.paired(runs)['simclr']) == 2

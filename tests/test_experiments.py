"""Every config of experiments/ is valid; those of digits and CIFAR-10 take real steps."""

import json
import shutil
import sys
import types
from pathlib import Path

import jax
import numpy as np
import pytest
from selfsup import config, signature
from selfsup.engine.run import Run
from selfsup.errors import UserError
from selfsup.methods import METHODS

from experiments.tables import table

ROOT = Path(__file__).parent.parent
FILES = sorted(
    f
    for f in (ROOT / 'experiments').glob('*/*.py')
    if f.parent.name != 'tables' and f.name[0] != '_' and f.stem != 'common'
)
ids = [f'{f.parent.name}/{f.stem}' for f in FILES]
# Widths and batches that two cores can afford; the recipes themselves stay.
SMALL = {
    'digits': ['model.widths=(4, 8)', 'projector.widths=(16, 8)', 'data.batch_size=32', 'train.steps_per_call=1'],
    'cifar5k_vit': ['data.batch_size=16', 'data.per_class=8'],
    'cifar5k': ['model.widths=(4, 8)', 'projector.widths=(16, 8)', 'data.batch_size=16', 'data.per_class=8'],
    'cifar5k_pretext': [
        'model.widths=(4, 8)', 'projector.widths=(16, 8)', 'data.batch_size=16', 'data.per_class=8',
    ],
    'dictionaries': ['model.widths=(16,)', 'data.batch_size=32', 'train.steps_per_call=1'],
    'cifar10': [
        'model.width=4', 'model.stages=(1, 1)', 'projector.widths=(16, 8)', 'data.batch_size=16', 'data.per_class=8', 'data.holdout=0.1',
    ],
}  # fmt: skip
# Instead of the widths above, for vision transformers; their methods may have no projector.
SMALL_VIT = ['model.dim=8', 'model.depth=1', 'model.heads=2']
# Of the networks after them, by kind.
SMALL_KIND = {
    'transformer': ['dim=8', 'depth=1', 'heads=2'],
    'cross': ['dim=8', 'depth=1', 'heads=2'],
    'linear': [],
    'mlp': ['widths=(16, 8)'],
    'convolution': ['dim=8', 'depth=1', 'channel_groups=4'],
}

# What some methods need with so few images and steps.
BY_METHOD = {
    'archetypal': ['method.points=16'],
    'amdim': ['method.local_widths=(8, 8)'],
    'beclr': ['method.clusters=4', 'method.neighbours=2'],
    'capi': ['method.prototypes=8'],
    'cluster_ns': ['method.clusters=4'],
    'colourisation': ['predictor.widths=(16, 260)'],
    'data2vec': ['method.layers=1'],
    'data2vec2': ['method.layers=1'],
    'deepcluster': ['method.clusters=4'],
    'deepcluster_v2': ['method.prototypes=4'],
    'deepercluster': ['method.superclusters=2', 'method.clusters=2'],
    'directclr': ['method.dims=4'],
    'dino': ['method.prototypes=16'],
    'dinosr': ['method.layers=1', 'method.codes=8'],
    'dinov2': ['method.prototypes=16', 'method.koleo_groups=1'],
    'gmml': ['method.layers=(1,)'],
    'ibot': ['method.prototypes=16'],
    'jigclu': ['method.mixing=2'],
    'jigsaw': ['augment.views.only.jigsaw.permutations=6', 'predictor.widths=(16, 6)'],
    'jule': ['method.neighbours=4', 'method.local=2', 'method.clusters=4'],
    'mochi': ['method.hardest=16'],
    'moco_hard': ['method.hardest=16'],
    'matching_pursuit': ['method.units=16'],
    'msn': ['method.prototypes=16'],
    'pcl': ['method.prototypes=(4, 8)'],
    'sela': ['method.clusters=4'],
    'relational': ['predictor.widths=(16, 1)'],
    'rotation': ['predictor.widths=(4,)'],
    'swav': ['method.prototypes=16'],
    'vicregl': ['method.local_widths=(8, 8)'],
    'w_mse': ['method.block=16'],
    'whitened_contrastive': ['method.column_groups=4'],
}

BY_CONFIG = {
    'cifar10/colourisation': ['augment.views.only.colours.cells=16'],  # the map of two stages
    'digits/simclr_ldreg': ['method.regularisers.ldreg.neighbours=8'],  # of the rows of two small views
}


@pytest.mark.parametrize('file', FILES, ids=ids)
def test_config_is_valid_and_says_how_to_run_it(file):
    resolved = config.load(str(file))
    text = file.read_text()
    assert resolved.method.name in text
    assert resolved.control == 'none'
    if file.parent.name != 'digits':
        assert 'python -m selfsup.train' in text or 'experiments.tables' in text
        assert 'result' in text.lower()


def test_a_folder_of_configs_loads_from_anywhere(tmp_path, monkeypatch):
    """From another working directory, as a copy, and after another folder with a common.py."""
    expected = [config.to_json(config.load(str(ROOT / 'experiments' / f / 'vicreg.py'))) for f in ('digits', 'cifar10')]
    shutil.copytree(ROOT / 'experiments' / 'digits', tmp_path / 'mine')
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    common = types.ModuleType('common')
    monkeypatch.setitem(sys.modules, 'common', common)
    for file in ('mine/vicreg.py', tmp_path / 'mine' / 'vicreg.py', ROOT / 'experiments' / 'digits' / 'vicreg.py'):
        assert config.to_json(config.load(str(file))) == expected[0]
    assert config.to_json(config.load(str(ROOT / 'experiments' / 'cifar10' / 'vicreg.py'))) == expected[1]
    assert sys.path == path and sys.modules['common'] is common
    (tmp_path / 'mine' / 'common.py').unlink()
    monkeypatch.delitem(sys.modules, 'common')
    with pytest.raises(UserError, match="cannot be run as a config: ModuleNotFoundError: No module named 'common'"):
        config.load('mine/vicreg.py')


def test_a_table_is_written_from_finished_runs(tmp_path):
    """The means, deviations and leads of two methods whose controls have different names."""
    scores = {'trained': {'knn': 0.9}, 'untrained': {'knn': 0.7}, 'pixels': {'knn': 0.5}}
    for method, control in (('byol', 'shuffled_pairs'), ('mae', 'shuffled_targets')):
        for name, knn in (('none', 0.9), (control, 0.6)):
            for seed, more in ((1, 0.0), (2, 0.02)):
                place = tmp_path / method / name / f'seed{seed}'
                place.mkdir(parents=True)
                trained = {'trained': {'knn': knn + more}}
                (place / 'results.json').write_text(json.dumps({'scores': {**scores, **trained, 'logistic': {}}}))
    recorded = table.collect(tmp_path, ['byol', 'mae', 'dino'])
    assert json.loads(table.as_json(recorded)) == recorded
    # Deviations of (90, 92) and (60, 62) are sqrt(2); of each mean, 1: the lead of 30 is known to sqrt(2).
    assert table.summary(recorded, 'knn').splitlines()[2:] == [
        f'| {name} | 91.0 ± 1.4 | 70.0 ± 0.0 | 61.0 ± 1.4 | +21.0 ± 1.0 | +30.0 ± 1.4 | +41.0 ± 1.0 | 2 |'
        for name in ('BYOL', 'MAE')
    ]
    assert list(table.rows(recorded)) == [
        'BYOL', 'BYOL, untrained encoder', 'BYOL, shuffled pairs', 'MAE', 'MAE, untrained encoder',
        'MAE, shuffled targets', 'raw pixels',
    ]  # fmt: skip


def test_a_run_without_some_scores_has_a_dash_in_a_table(tmp_path):
    """Raw pixels of large images, an untrained encoder and a run whose features are not finite may have no probes."""
    found = {('none', 1): {'trained': {'knn': 0.9}}, ('none', 2): {}, ('shuffled_pairs', 1): {'trained': {'knn': 0.5}}}
    for (control, seed), scores in found.items():
        place = tmp_path / 'byol' / control / f'seed{seed}'
        place.mkdir(parents=True)
        (place / 'results.json').write_text(json.dumps({'scores': scores}))
    recorded = table.collect(tmp_path, ['byol'])
    assert table.summary(recorded, 'knn').splitlines()[2:] == ['| BYOL | 90.0 | – | 50.0 | – | +40.0 | – | 1 |']
    assert table.markdown(table.rows(recorded)).splitlines()[2:] == [
        '| BYOL | 90.0 | 1 |', '| BYOL, shuffled pairs | 50.0 | 1 |',
    ]  # fmt: skip
    assert table.rows({'byol': {'none': {'seed1': {}}}}) == {}


@pytest.mark.parametrize(
    'name, control', [('byol', 'shuffled_pairs'), ('diet', 'shuffled_pairs'), ('mae', 'shuffled_targets')]
)
def test_a_table_knows_the_control_of_a_config(name, control):
    """Also of a method that keeps a row for each example, of which there are none yet."""
    assert table.control_of(f'digits/{name}') == control


def test_every_config_of_a_table_has_a_name():
    digits = {*table.configs('digits')}
    assert digits <= {*table.NAMES} <= digits | {*table.configs('cifar5k_pretext')}


TRAINED = [f for f in FILES if f.parent.name in SMALL]
# A step compiles for seconds: one config takes real steps in the quick suite, and one of each kind is traced.
QUICK = ('digits/moco_v2',)
TRACED = (
    *QUICK,
    'digits/dino',
    'digits/deepcluster_v2',
    'cifar10/mae',
    'cifar5k_pretext/jigsaw',
    'cifar5k_vit/ibot',
)


def _name(file: Path) -> str:
    return f'{file.parent.name}/{file.stem}'


def _small_run(file: Path, *more: str) -> Run:
    overrides = [*SMALL[file.parent.name], *more]
    resolved = config.load(str(file))
    if resolved.model.name.startswith('vit'):
        overrides = [o for o in overrides if not o.startswith(('model.', 'projector.'))] + SMALL_VIT
        for section in signature.networks(METHODS[resolved.method.name])[1:]:
            overrides += [f'{section}.{field}' for field in SMALL_KIND[resolved[section].kind]]
    if 'projector' not in signature.networks(METHODS[resolved.method.name]):
        overrides = [o for o in overrides if not o.startswith('projector.')]
    if resolved.method.get('queue', 0):
        overrides.append(f'method.queue={resolved.data.batch_size // 256 * 64}')
    if resolved.predictor.get('widths', ()):
        overrides.append('predictor.widths=(16, 8)')
    if resolved.method.get('groups', 1) > 1:
        overrides.append('method.groups=4')
    if 'freeze_steps' in resolved.optimizer.groups.get('prototypes', {}):
        overrides.append('optimizer.groups.prototypes.freeze_steps=0')
    overrides += BY_METHOD.get(resolved.method.name, []) + BY_CONFIG.get(_name(file), [])
    return Run(config.load(str(file), overrides), devices=1)


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """A file of random images of CIFAR-10's size, 16 a class."""
    file = tmp_path_factory.mktemp('made') / 'images.npz'
    images = np.random.default_rng(0).integers(0, 256, (160, 32, 32, 3), np.uint8)
    np.savez(file, images=images, labels=np.arange(160) % 10)
    return file


def _traces(file: Path):
    return pytest.param(file, id=_name(file), marks=[] if _name(file) in TRACED else [pytest.mark.slow])


@pytest.mark.parametrize('file', [_traces(f) for f in TRAINED])
def test_a_step_of_the_config_can_be_traced(file, made):
    run = _small_run(file, *([f'data.source=npz:{made}'] if 'cifar' in file.parent.name else []))
    state, metrics = jax.eval_shape(run.dispatch, run.shapes, *run.feed(0, 1))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == jax.tree.map(lambda x: (x.shape, x.dtype), run.shapes)
    assert metrics['loss'].shape == (1,) and metrics['loss'].dtype == np.float32


def _steps(file: Path):
    return pytest.param(file, id=_name(file), marks=[] if _name(file) in QUICK else [pytest.mark.slow])


@pytest.mark.slow
@pytest.mark.parametrize('file', [_steps(f) for f in TRAINED])
def test_config_takes_real_steps(file, request):
    needed = [f'data.dir={request.getfixturevalue("cifar10")}'] if 'cifar' in file.parent.name else []
    run = _small_run(file, *needed)
    state = run.start()
    before = jax.tree.map(np.asarray, state.params)
    for number in range(2):
        # A method with clusters learns only from images that it has seen before: the same batch again.
        state, metrics = run.dispatch(state, *run.feed(0 if run.method.refresh else number, 1))
        if run.method.refresh:
            state = run.refresh(state, run.training_features(state))
    assert np.isfinite(float(metrics['loss'][0]))
    moved = jax.tree.map(lambda a, b: float(np.abs(np.asarray(a) - b).max()), state.params, before)
    assert all(max(jax.tree.leaves(part)) > 0 for part in moved.values())

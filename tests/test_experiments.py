"""Every config of experiments/ is valid; those of digits and CIFAR-10 take real steps."""

from pathlib import Path

import jax
import numpy as np
import pytest
from selfsup import config
from selfsup.engine.run import Run

ROOT = Path(__file__).parent.parent
FILES = sorted(f for f in (ROOT / 'experiments').glob('*/*.py') if f.parent.name != 'tables' and f.name[0] != '_')
ids = [f'{f.parent.name}/{f.stem}' for f in FILES]
# Widths and batches that two cores can afford; the recipes themselves stay.
SMALL = {
    'digits': ['model.widths=(4, 8)', 'projector.widths=(16, 8)', 'data.batch_size=32', 'train.steps_per_call=1'],
    'cifar5k': ['model.widths=(4, 8)', 'projector.widths=(16, 8)', 'data.batch_size=16', 'data.per_class=8'],
    'cifar10': [
        'model.width=4', 'model.stages=(1, 1)', 'projector.widths=(16, 8)', 'data.batch_size=16', 'data.per_class=8', 'data.holdout=0.1',
    ],
}  # fmt: skip
# Instead of the widths above, for vision transformers; their methods may have no projector.
SMALL_VIT = ['model.dim=8', 'model.depth=1', 'model.heads=2', 'decoder.dim=8', 'decoder.depth=1', 'decoder.heads=2']

# What some methods need with so few images and steps.
BY_METHOD = {
    'deepcluster_v2': ['method.prototypes=4'],
    'dino': ['method.prototypes=16', 'optimizer.groups.prototypes.freeze_steps=0'],
    'swav': ['method.prototypes=16', 'optimizer.groups.prototypes.freeze_steps=0'],
    'vicregl': ['method.local_widths=(8, 8)'],
    'w_mse': ['method.block=16'],
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


def _steps(file: Path):
    """A parameter of the test below; CIFAR-10's networks compile slowly, so four stand for all in the quick suite."""
    name = f'{file.parent.name}/{file.stem}'
    slow = file.parent.name == 'cifar10' and file.stem not in ('barlow_twins', 'vicreg', 'simclr', 'moco_v2')
    return pytest.param(file, id=name, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize('file', [_steps(f) for f in FILES if f.parent.name in SMALL])
def test_config_takes_real_steps(file, request):
    overrides = list(SMALL[file.parent.name])
    if 'cifar' in file.parent.name:
        overrides.append(f'data.dir={request.getfixturevalue("cifar10")}')
    resolved = config.load(str(file))
    if resolved.model.name.startswith('vit'):
        overrides = [o for o in overrides if not o.startswith(('model.', 'projector.'))] + SMALL_VIT
    if resolved.method.get('queue', 0):
        overrides.append(f'method.queue={resolved.data.batch_size // 256 * 64}')
    if resolved.predictor.widths:
        overrides.append('predictor.widths=(16, 8)')
    if resolved.method.get('groups', 1) > 1:
        overrides.append('method.groups=4')
    overrides += BY_METHOD.get(resolved.method.name, [])
    run = Run(config.load(str(file), overrides), devices=1)
    state = run.start()
    before = jax.tree.map(np.asarray, state.params)
    for number in range(2):
        # A method with clusters learns only from images that it has seen before: the same batch again.
        state, metrics = run.dispatch(state, *run.feed(0 if run.method.refresh else number, 1))
        if run.method.refresh:
            state = run.refresh(state)
    assert np.isfinite(float(metrics['loss'][0]))
    moved = jax.tree.map(lambda a, b: float(np.abs(np.asarray(a) - b).max()), state.params, before)
    assert all(max(jax.tree.leaves(part)) > 0 for part in moved.values())

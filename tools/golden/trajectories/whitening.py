"""INTL's own training script, run whole on the fixed problems, as those of `references.py`. PyTorch only."""

import functools
import importlib
import os
import sys
from pathlib import Path
from unittest import mock

import environment
from environment import FEATURES, Batches, headless, pairs, started
from trajectories import problem

PARTS = {'encoder': 'backbone', 'projector': 'projection'}


def intl(c: dict, root: Path, folder: Path, case: str = 'intl') -> None:
    for name in ('wandb', 'transform', 'eval', 'eval.dataloader', 'eval.evaluate'):  # of data and probes, not used here
        sys.modules[name] = mock.MagicMock()
    for place in ('INTL', 'INTL/cifar'):
        sys.path.insert(0, str(root / place))
    main, resnet, methods = (importlib.import_module(name) for name in ('main', 'src.resnet', 'methods'))
    environment.on_cpu(case)
    Batches.form = staticmethod(pairs)
    main.CIFAR10 = lambda *_, **__: [None] * problem.BATCH
    resnet.__dict__['small'] = lambda **_: (headless(), FEATURES)

    def parts(m):
        found = {name: getattr(m, label) for name, label in PARTS.items()}
        if case == 'intl_m':
            found |= {f'target/{name}': getattr(m, f'momentum_{label}') for name, label in PARTS.items()}
        return found

    started(methods.intl_m.INTL_M if case == 'intl_m' else methods.intl.INTL, parts)
    hidden, _, output = c['projector.widths']
    with mock.patch.object(sys, 'argv', ['main.py']):
        cfg = main.get_cfg()
    vars(cfg).update(
        method=case, arch='small', dataset='fixed', gpu=0, world_size=1, rank=0, dist_backend='gloo', wandb='',
        epochs=problem.STEPS // problem.epoch_steps(case), bs=problem.BATCH,
        lr=c['optimizer.learning_rate'] * 256 / problem.BATCH, weight_decay=c['optimizer.weight_decay'],
        warmup_eps=int(c['optimizer.warmup_epochs']) + 1, m=c.get('method.momentum', 0.0), eval_every=problem.STEPS + 1,
        projection_size=hidden, emb=output, data_path=str(folder),
    )  # fmt: skip
    os.chdir(folder)  # it makes a folder for its checkpoints
    main.main_worker(0, 1, cfg)


RUNS = {
    'intl': (intl, 'cifar/main.py: main_worker'),
    'intl_m': (functools.partial(intl, case='intl_m'), 'cifar/main.py: main_worker'),
}
REPOSITORIES = {name: ('winci-ai/INTL',) for name in RUNS}

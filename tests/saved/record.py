"""Makes the runs of this folder with the code of an older commit, which a test resumes with today's.

    git worktree add ../older 4653bbd
    PYTHONPATH=../older/ssl python tests/saved/record.py OUT

Every run is stopped at step 7 of 10 and copied; the copy is what is kept. The run then goes on to its end, with the
same code, and the lines of metrics.jsonl that it writes are kept as `expected.json`, with the encoder's features of
five images at step 7. `encoder` is an encoder folder of `selfsup.convert`, with its features of the same images.
"""

import json
import os
import shutil
import sys
from pathlib import Path

FLAGS = '--xla_backend_optimization_level=0 --xla_cpu_multi_thread_eigen=false'  # as in the tests
os.environ |= {'XLA_FLAGS': FLAGS, 'JAX_PLATFORMS': 'cpu', 'OMP_NUM_THREADS': '1'}

STOP = 7
COMMON = (
    'model.widths=(4,)', 'projector.widths=(8, 8)', 'train.epochs=2', 'train.log_every=1', 'checkpoint.keep=1',
    'data.batch_size=256', 'optimizer.warmup_epochs=1', 'monitor.every_epochs=1', 'monitor.max_samples=64',
    f'train.stop_after_steps={STOP}',
)  # fmt: skip
RUNS = {
    'vicreg': (),
    'dino': ('method.prototypes=8', 'method.warmup_steps=8', 'optimizer.groups.prototypes.freeze_steps=2'),
    'swav': ('method.prototypes=8', 'method.queue=256', 'method.queue_start=3',
             'optimizer.groups.prototypes.freeze_steps=2'),
    'deepcluster_v2': ('method.prototypes=8', 'method.clusterings=1'),
}  # fmt: skip


def main(out: Path) -> None:
    import jax
    import numpy as np
    import selfsup
    from selfsup import config
    from selfsup.convert.__main__ import main as convert
    from selfsup.data.sources import open_source
    from selfsup.engine import loop

    loop.report.finish = lambda *arguments: None
    images = np.pad(open_source('digits')[1].images()[:5], ((0, 0), (2, 2), (2, 2), (0, 0)))
    for name, fields in RUNS.items():
        run, kept = out / 'whole' / name, out / name
        resolved = config.load(f'experiments/digits/{name}.py', [*COMMON, *fields])
        assert loop.train(resolved, str(run), devices=1) == 75
        shutil.copytree(run, kept, ignore=shutil.ignore_patterns('tensorboard', 'timing.jsonl', '.lock', '.writable'))
        features = selfsup.load_encoder(str(kept))(images).tolist()
        resolved.train.stop_after_steps = 0
        assert loop.train(resolved, str(run), devices=1) == 0
        lines = [json.loads(line) for line in (run / 'metrics.jsonl').read_text().splitlines()]
        lines = [line for line in lines if line['step'] > STOP]
        (kept / 'expected.json').write_text(json.dumps({'metrics': lines, 'features': features}, indent=1) + '\n')
    resolved = config.load('experiments/digits/vicreg.py', [
        'model.name=resnet18', 'model.width=4', 'model.stages=(1, 1)', 'model.stem=cifar', 'projector.widths=(8, 8)',
        'train.epochs=1', 'monitor.max_samples=64', 'optimizer.warmup_epochs=1', 'train.stop_after_steps=1',
    ])  # fmt: skip
    assert loop.train(resolved, str(out / 'whole' / 'encoder'), devices=1) == 75
    convert([f'--from={out / "whole" / "encoder"}', f'--to={out / "encoder"}'])
    features = selfsup.load_encoder(str(out / 'encoder'))(images).tolist()
    (out / 'encoder' / 'expected.json').write_text(json.dumps({'features': features}) + '\n')
    shutil.rmtree(out / 'whole')
    print(jax.__version__)


if __name__ == '__main__':
    main(Path(sys.argv[1]))

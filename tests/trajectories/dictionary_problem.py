"""What the recorder (PyTorch) and the replay (ours) of sparse autoencoders share: fields, rows, weights. NumPy only."""

import zlib

import numpy as np
from trajectories import problem

STEPS = 50
BATCH = 32
DIM, UNITS, POINTS = 12, 24, 30

COMMON = {
    'model.name': 'mlp',
    'model.widths': (UNITS,),
    'data.batch_size': BATCH,
    'optimizer.name': 'adamw',
    'optimizer.weight_decay': 0.0,
    'optimizer.learning_rate': 0.01,
    'optimizer.schedule': 'constant',
    'optimizer.warmup_epochs': 0.0,
    'train.epochs': 10,
}
# Rates and weights are larger than in the papers, and units die sooner, so that every ingredient shows in fifty steps.
CASES = {
    'topk': {
        'method.active': 4,
        'method.dead_after': 60,
        'method.auxiliary_weight': 0.5,
        'optimizer.momentum': 0.9,
        'optimizer.clip_norm': 1.0,
    },
    'batch_topk': {
        'method.active': 4,
        'method.dead_after': 60,
        'method.auxiliary_weight': 0.5,
        'method.threshold_momentum': 0.9,
        'optimizer.momentum': 0.9,
        'optimizer.clip_norm': 1.0,
    },
    'gated': {
        'model.last_bias': False,
        'method.weight': 0.3,
        'method.weight_warmup': 20,
        'optimizer.momentum': 0.0,
    },
    'p_anneal': {
        'method.weight': 0.2,
        'method.weight_warmup': 10,
        'method.p_final': 0.4,
        'method.anneal_start': 15,
        'method.anneal_steps': 36,
        'method.changes': 4,
        'optimizer.momentum': 0.9,
    },
    'jump_relu': {
        'method.target': 4.0,
        'method.weight': 2.0,
        'method.weight_warmup': 20,
        'method.bandwidth': 0.3,
        'method.centred': False,
        'method.after_jump': True,
        'optimizer.momentum': 0.0,
        'optimizer.clip_norm': 1.0,
    },
    'matryoshka': {
        'model.last_bias': False,
        'method.active': 4,
        'method.shares': (0.25, 0.25, 0.5),
        'method.threshold_momentum': 0.99,
        'method.auxiliary_weight': 0.0,
        'optimizer.momentum': 0.9,
    },
    'archetypal': {
        'method.active': 4,
        'method.points': POINTS,
        'method.delta': 0.1,
        'optimizer.momentum': 0.9,
        'optimizer.clip_norm': 1.0,
    },
}


def fields(name: str) -> dict:
    """The config fields of a case."""
    return {**COMMON, **CASES[name]}


def rows(step: int) -> np.ndarray:
    """The rows of a step, `[batch, dim]` float32: five batches in turn, each row a few directions with weights of its own."""
    draw = np.random.default_rng([5, step % 5])
    directions = np.random.default_rng(6).normal(size=(16, DIM))
    weights = draw.random((BATCH, 16)) * (draw.random((BATCH, 16)) < 0.25)
    return (0.3 + weights @ directions + 0.05 * draw.normal(size=(BATCH, DIM))).astype(np.float32)


def points() -> np.ndarray:
    """The points whose hull archetypes are in."""
    return np.concatenate([rows(step) for step in range(5)])[:POINTS]


def initial(name: str) -> dict[str, np.ndarray]:
    """Initial parameters by their paths, and the state that a case begins with."""
    draw = np.random.default_rng(7)
    atoms = draw.normal(size=(UNITS, DIM))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    found = {'encoder/linear0/kernel': atoms.T + 0.05 * draw.normal(size=(DIM, UNITS))}
    if fields(name).get('model.last_bias', True):
        found['encoder/linear0/bias'] = 0.05 * draw.normal(size=UNITS)
    if name == 'archetypal':
        weights = np.eye(UNITS, POINTS)
        own = {'weights': weights, 'relaxation': np.zeros((UNITS, DIM)), 'log_scale': np.zeros(())}
        found |= {f'dictionary/{k}': v for k, v in own.items()}
    else:
        found |= {'dictionary/atoms': atoms, 'dictionary/centre': rows(0).mean(0)}
    if name == 'jump_relu':
        found['units/threshold'] = 0.1 + 0.2 * draw.random(UNITS)
    if name == 'gated':
        found |= {f'units/{k}': 0.1 * draw.normal(size=UNITS) for k in ('gate', 'gain', 'magnitude')}
    return {k: v.astype(np.float32) for k, v in found.items()}


def starting(name: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The initial parameters of a case, by their paths."""
    return {k: v for k, v in initial(name).items() if k in shapes}


def fingerprint(name: str) -> str:
    """Checksum of the rows of a case, the same in all, which tells whether NumPy's streams are those of the recording."""
    crc = 0
    for step in range(5):
        crc = zlib.crc32(rows(step).tobytes(), crc)
    return f'{crc:08x}'


recorded, distance = problem.recorded, problem.distance

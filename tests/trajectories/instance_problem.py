"""What the recorder (PyTorch) and the replay (ours) of methods with a row for each example share. NumPy only."""

import zlib

import numpy as np
from trajectories import problem

STEPS, BATCHES = 30, 5
DATA = BATCHES * problem.BATCH  # each example is seen six times

# Rates are larger than the authors', so that thirty steps move the parameters far; weight decay and momentum of
# InstDisc are written in its script.
SGD = {
    'model.stages': (1, 1),
    'model.width': 4,
    'model.stem': 'cifar',
    'data.batch_size': problem.BATCH,
    'train.epochs': STEPS // BATCHES,
    'projector.widths': (8,),
    'method.temperature': 0.2,
    'method.momentum': 0.5,
    'optimizer.name': 'sgd',
    'optimizer.momentum': 0.9,
    'optimizer.learning_rate': 0.1,
    'optimizer.weight_decay': 5e-4,
    'optimizer.decay_vectors': True,
    'optimizer.schedule': 'constant',
    'optimizer.warmup_epochs': 0.0,
}
CASES = {
    'instdisc': {**SGD, 'method.negatives': 8, 'optimizer.learning_rate': 0.03},
    'instdisc_softmax': {**SGD, 'method.name': 'instdisc', 'method.negatives': 0},
    'diet': {
        **{k: v for k, v in SGD.items() if k not in ('projector.widths', 'method.temperature', 'method.momentum')},
        'method.smoothing': 0.8,
        'optimizer.name': 'adamw',
        'optimizer.learning_rate': 0.003,
        'optimizer.weight_decay': 1.0,
    },
}


def method(name: str) -> str:
    """The method of a case."""
    return CASES[name].get('method.name', name)


def view(name: str, step: int) -> np.ndarray:
    """The view of a step, `[batch, side, side, channels]` float32: the images of its batch, and new noise."""
    return problem.views(method(name), step)[0]


def index(step: int) -> np.ndarray:
    """Which examples they are."""
    return step % BATCHES * problem.BATCH + np.arange(problem.BATCH)


def negatives() -> np.ndarray:
    """InstDisc's draws of every step, `[steps, batch, negatives]`, as our run makes them."""
    with np.load(problem.HERE / 'negatives.npz') as stored:
        return stored['negatives'].astype(np.int64)


def fingerprint(name: str) -> str:
    """Checksum of the views, which tells whether NumPy's streams are those of the recording."""
    crc = 0
    for step in range(STEPS):
        crc = zlib.crc32(view(name, step).tobytes(), crc)
    return f'{crc:08x}'


starting = problem.starting

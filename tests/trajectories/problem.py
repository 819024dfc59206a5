"""What the recorder (PyTorch) and the replay (ours) share: hyper-parameters, initial weights, views. NumPy only."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent

STEPS = 50
BATCH = 32
CHANNELS = 3
LARGE, SMALL = 12, 8

# Every field of our config that a case sets; the recorder translates them into the authors' arguments.
# Rates, decay and momenta are larger than in the papers, so that 50 steps move the parameters far and
# every ingredient shows in them: a dropped weight decay alone would miss the tolerance many times.
COMMON = {
    'model.stages': (1, 1),
    'model.width': 4,
    'model.stem': 'cifar',
    'data.batch_size': BATCH,
    'optimizer.momentum': 0.9,
    'projector.widths': (16, 8),
}

CASES = {
    'barlow_twins': {
        'train.epochs': 25,  # two batches each, so that the authors' ten epochs of warm-up are 20 steps
        'method.lambd': 0.05,
        'projector.widths': (16, 16, 8),
        'projector.hidden_bias': False,
        'projector.last_bias': False,
        'optimizer.name': 'lars',
        'optimizer.learning_rate': 1.0,
        'optimizer.vector_scale': 0.024,
        'optimizer.weight_decay': 0.02,
        'optimizer.warmup_epochs': 10.0,
        'optimizer.final_share': 0.001,
    },
    'barlow_twins_two_devices': {
        'method.name': 'barlow_twins',
        'method.scale': 0.5,  # theirs is the gradient of half the loss on two devices
        'train.epochs': 25,
        'method.lambd': 0.05,
        'projector.widths': (16, 16, 8),
        'projector.hidden_bias': False,
        'projector.last_bias': False,
        'optimizer.name': 'lars',
        'optimizer.learning_rate': 1.0,
        'optimizer.vector_scale': 0.024,
        'optimizer.weight_decay': 0.02,
        'optimizer.warmup_epochs': 10.0,
        'optimizer.final_share': 0.001,
    },
    'vicreg': {
        'train.epochs': 25,
        'projector.widths': (16, 16, 8),
        'projector.last_bias': False,
        'optimizer.name': 'lars',
        'optimizer.learning_rate': 0.5,
        'optimizer.weight_decay': 0.005,
        'optimizer.warmup_epochs': 10.0,
        'optimizer.final_share': 0.001,
        'method.invariance_weight': 0.5,
        'method.variance_weight': 0.5,
        'method.covariance_weight': 0.05,
    },
    'moco_v2': {
        'train.epochs': 10,
        'method.queue': 64,
        'method.momentum': 0.95,
        'method.momentum_final': 0.95,
        'method.groups': 1,
        'projector.widths': (8, 8),
        'projector.hidden_norm': False,
        'optimizer.name': 'sgd',
        'optimizer.learning_rate': 0.05,
        'optimizer.weight_decay': 0.01,
        'optimizer.decay_vectors': True,
        'optimizer.warmup_epochs': 0.0,
        'optimizer.by_epoch': True,
    },
    'moco_v2_two_devices': {
        'method.name': 'moco_v2',
        'train.epochs': 10,
        'method.queue': 64,
        'method.momentum': 0.95,
        'method.momentum_final': 0.95,
        'method.groups': 2,
        'projector.widths': (8, 8),
        'projector.hidden_norm': False,
        'optimizer.name': 'sgd',
        'optimizer.learning_rate': 0.05,
        'optimizer.weight_decay': 0.01,
        'optimizer.decay_vectors': True,
        'optimizer.warmup_epochs': 0.0,
        'optimizer.by_epoch': True,
    },
    'moco_v3': {
        'train.epochs': 10,
        'method.temperature': 0.5,
        'method.momentum': 0.9,
        'method.momentum_final': 1.0,
        'projector.hidden_bias': False,
        'projector.last_bias': False,
        'projector.last_norm': 'plain',
        'predictor.widths': (16, 8),
        'predictor.hidden_bias': False,
        'predictor.last_bias': False,
        'optimizer.name': 'lars',
        'optimizer.learning_rate': 0.1,
        'optimizer.weight_decay': 0.02,
        'optimizer.warmup_epochs': 2.0,
    },
    'simclr': {
        'train.epochs': 10,
        'method.temperature': 0.2,
        'method.fuse_views': False,
        'projector.hidden_norm': False,
        'optimizer.name': 'lars_clipped',
        'optimizer.trust': 0.001,
        'optimizer.learning_rate': 0.02,
        'optimizer.weight_decay': 0.02,
        'optimizer.warmup_epochs': 2.0,
        'optimizer.warmup_start': 0.002,
        'optimizer.warmup_inclusive': True,
    },
    'byol': {
        'train.epochs': 10,
        'method.momentum': 0.9,
        'method.momentum_final': 1.0,
        'predictor.widths': (16, 8),
        'optimizer.name': 'lars_clipped',
        'optimizer.trust': 0.001,
        'optimizer.learning_rate': 0.02,
        'optimizer.weight_decay': 0.02,
        'optimizer.warmup_epochs': 2.0,
        'optimizer.warmup_start': 0.002,
        'optimizer.warmup_inclusive': True,
    },
    'simsiam': {
        'train.epochs': 10,
        'projector.widths': (8, 8, 8),
        'projector.hidden_bias': False,
        'projector.last_bias': False,
        'projector.last_norm': 'plain',
        'predictor.widths': (4, 8),
        'predictor.hidden_bias': False,
        'optimizer.name': 'sgd',
        'optimizer.learning_rate': 0.005,
        'optimizer.weight_decay': 0.01,
        'optimizer.decay_vectors': True,
        'optimizer.warmup_epochs': 0.0,
        'optimizer.by_epoch': True,
        'optimizer.groups': {'predictor': {'schedule': 'constant'}},
    },
    'swav': {
        'train.epochs': 10,
        'method.prototypes': 12,
        'method.queue': 96,
        'method.queue_start': 10,
        'optimizer.name': 'larc',
        'optimizer.learning_rate': 2.0,
        'optimizer.weight_decay': 0.02,
        'optimizer.decay_vectors': True,
        'optimizer.warmup_epochs': 2.0,
        'optimizer.warmup_start': 0.2,
        'optimizer.warmup_inclusive': True,
        'optimizer.final_share': 0.01,
        'optimizer.groups': {'prototypes': {'freeze_steps': 7}},
    },
    'dino': {
        'train.epochs': 10,
        'method.prototypes': 12,
        'method.momentum': 0.9,
        'method.momentum_final': 1.0,
        'method.first_temperature': 0.04,
        'method.teacher_temperature': 0.07,
        'method.warmup_steps': 15,  # the fourth epoch is the first with the final temperature
        'method.warmup_hold': 5,
        'projector.widths': (16, 16, 8),
        'projector.hidden_norm': False,
        'projector.activation': 'gelu',
        'optimizer.name': 'adamw',
        'optimizer.learning_rate': 0.005,
        'optimizer.weight_decay': 0.04,
        'optimizer.weight_decay_final': 0.4,
        'optimizer.warmup_epochs': 2.0,
        'optimizer.warmup_inclusive': True,
        'optimizer.final_share': 0.01,
        'optimizer.clip_norm': 0.1,
        'optimizer.clip_each': True,
        'optimizer.groups': {'prototypes': {'freeze_steps': 5}},
    },
    'nnclr': {
        'train.epochs': 10,
        'method.temperature': 0.2,
        'method.queue': 64,
        'projector.widths': (16, 16, 8),
        'projector.last_norm': 'affine',
        'predictor.widths': (16, 8),
        'optimizer.name': 'lars_clipped',
        'optimizer.trust': 0.001,
        'optimizer.learning_rate': 0.02,
        'optimizer.weight_decay': 0.02,
        'optimizer.warmup_epochs': 2.0,
        'optimizer.warmup_start': 0.002,
        'optimizer.warmup_inclusive': True,
    },
    'intl': {
        # Theirs is a cosine that is one step ahead: the schedule of a run, and of a warm-up, that are one step shorter.
        'train.epochs': 49,
        'optimizer.warmup_epochs': 9.0,
        'optimizer.warmup_start': 0.003,
        'projector.widths': (16, 16, 8),
        'projector.hidden_bias': False,
        'optimizer.name': 'sgd',
        'optimizer.learning_rate': 0.03,
        'optimizer.weight_decay': 0.01,
        'optimizer.decay_vectors': True,
        'optimizer.final_share': 0.001,
    },
    'intl_m': {
        'train.epochs': 49,
        'optimizer.warmup_epochs': 9.0,
        'optimizer.warmup_start': 0.01,
        'method.momentum': 0.9,
        'method.momentum_final': 1.0,
        'projector.widths': (16, 16, 8),
        'projector.hidden_bias': False,
        'optimizer.name': 'sgd',
        'optimizer.learning_rate': 0.1,
        'optimizer.weight_decay': 0.01,
        'optimizer.decay_vectors': True,
        'optimizer.final_share': 0.001,
    },
}

# Of the views. Where a ReLU or a nearest neighbour sits on the edge, the reference leaves its own tracks on
# another thread count; these are views for which it does not.
SEEDS = {
    'barlow_twins': 2,
    'barlow_twins_two_devices': 2,
    'vicreg': 4,
    'moco_v2': 2,
    'simclr': 4,
    'byol': 4,
    'simsiam': 2,
    'nnclr': 4,
    'intl_m': 4,
}


def fields(name: str) -> dict:
    """The config fields of a case."""
    return {**COMMON, **CASES[name]}


def method(name: str) -> str:
    """The method of a case."""
    return CASES[name].get('method.name', name)


def devices(name: str) -> int:
    """Processes over which the reference runs; ours runs on one in every case."""
    return 2 if name.endswith('two_devices') else 1


def epoch_steps(name: str) -> int:
    """Steps of an epoch; the run has `STEPS` in all."""
    return STEPS // CASES[name]['train.epochs']


def sizes(name: str) -> tuple[int, ...]:
    """Pixels of each view's side: two, or two large and two small crops."""
    return (LARGE, LARGE, SMALL, SMALL) if name in ('swav', 'dino') else (LARGE, LARGE)


def views(name: str, step: int) -> tuple[np.ndarray, ...]:
    """The views of a step, `[batch, size, size, channels]` float32: images of five batches in turn, and noise.

    An image is a colour and a coarse random pattern, so that examples differ widely even in the mean over
    places: batch-norm over nearly equal rows would magnify rounding.
    """
    seed = SEEDS.get(name, 0)
    draw = np.random.default_rng([1, seed, step % 5])
    colour = draw.random((BATCH, 1, 1, CHANNELS))
    pattern = 2.0 * colour - 1.0 + draw.random((BATCH, 4, 4, CHANNELS)) - 0.5
    found = []
    for number, size in enumerate(sizes(name)):
        noise = np.random.default_rng([2, seed, step, number]).random((BATCH, size, size, CHANNELS))
        coarse = pattern.repeat(size // 4, axis=1).repeat(size // 4, axis=2)
        found.append((coarse + 0.8 * (noise - 0.5)).astype(np.float32))
    return tuple(found)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def initial(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Initial values of arrays, each a function of its path and shape alone (and of its layer having a norm).

    A bias before batch-norm starts at 0: its gradient is rounding noise, which a trust ratio would scale
    up to steps of full length in a random direction, without any effect on the loss.
    """
    found = {}
    for path, shape in shapes.items():
        u = 2.0 * np.random.default_rng([3, zlib.crc32(path.encode())]).random(shape) - 1.0
        *parents, leaf = path.split('/')
        if leaf == 'kernel':
            value = u * np.sqrt(6.0 / np.prod(shape[:-1]))
        elif leaf == 'scale':
            value = 1.0 + 0.2 * u
        elif leaf == 'bias':
            normed = any(p.startswith('/'.join(parents).replace('linear', 'norm') + '/') for p in shapes)
            value = np.zeros(shape) if 'linear' in parents[-1] and normed else 0.1 * u
        else:  # prototypes and queues, one a row
            value = _unit(u)
        found[path] = value.astype(np.float32)
    return found


def fingerprint(name: str) -> str:
    """Checksum of the views of a run, which tells whether NumPy's streams are those of the recording."""
    crc = 0
    for step in range(STEPS):
        for view in views(name, step):
            crc = zlib.crc32(view.tobytes(), crc)
    return f'{crc:08x}'


def packed(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays as one float32 vector and a description of it, which takes half the room of an entry for each."""
    layout = json.dumps([[k, list(v.shape)] for k, v in arrays.items()])
    values = np.concatenate([v.astype(np.float32).ravel() for v in arrays.values()])
    return {'values': values, 'layout': np.frombuffer(layout.encode(), np.uint8)}


def recorded(name: str) -> dict[str, np.ndarray]:
    """The recording of a case: losses, learning rates and final arrays by their paths."""
    found = {}
    with np.load(HERE / f'{name}.npz') as stored:
        start = 0
        for path, shape in json.loads(stored['layout'].tobytes()):
            stop = start + int(np.prod(shape))
            found[path] = stored['values'][start:stop].reshape(shape)
            start = stop
        return {**found, 'loss_float64': stored['loss_float64']}


def _norm(arrays: list[np.ndarray]) -> float:
    return float(np.sqrt(sum(np.sum(np.asarray(a, np.float64) ** 2) for a in arrays)))


def distance(run: dict, reference: dict) -> dict[str, float]:
    """How far a run is from a reference: the largest relative difference of the losses; ‖·‖ over trees, relative.

    `parameters` and `state` (what is neither parameter nor note) are over their whole trees.
    """
    notes = ('loss', 'loss_float64', 'learning_rate')
    parameters = [k for k in reference if k.startswith('params/')]
    found = {'loss': float(np.max(np.abs(run['loss'] - reference['loss']) / np.abs(reference['loss'])))}
    for group, keys in (
        ('parameters', parameters),
        ('state', [k for k in reference if k not in notes and k not in parameters]),
    ):
        apart = _norm([np.asarray(run[k], np.float64) - reference[k] for k in keys])
        found[group] = apart / (_norm([reference[k] for k in keys]) or 1.0)
    return found


def starting(name: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The initial parameters of a case, by their paths: those of every case with these shapes."""
    return initial(shapes)


def moved(run: dict, starting: Callable) -> float:
    """‖θ_last − θ₀‖ / ‖θ₀‖ over the parameters; `starting` gives θ₀ of their shapes."""
    final = {k.removeprefix('params/'): v for k, v in run.items() if k.startswith('params/')}
    start = starting({k: v.shape for k, v in final.items()})
    return _norm([final[k] - start[k] for k in final]) / _norm([start[k] for k in final])

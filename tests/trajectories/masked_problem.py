"""What the recorder (PyTorch) and the replay (ours) of masked methods share: fields, images, masks. NumPy only."""

import zlib

import numpy as np
from trajectories import problem

STEPS = 20
BATCH = 16
SIDE, PATCH = 16, 4
GRID = SIDE // PATCH
CONTEXT, BLOCKS = 6, 4  # I-JEPA: patches of the context, and target blocks, each of 2 x 2 patches
HIDDEN = 9  # data2vec: hidden patches of 16
SHOWN, MASKS = 6, 3  # data2vec 2.0: patches of 16 that a mask shows, and masks of an image
RATIO = 0.75  # MAE

# A small vision transformer. Rates, decay and momenta are larger than in the papers, so that twenty steps move the
# parameters far.
COMMON = {
    'model.name': 'vit_ti',
    'model.dim': 16,
    'model.depth': 2,
    'model.heads': 2,
    'model.patch': PATCH,
    'model.positions': 'sincos',
    'model.pool': 'mean',
    'data.batch_size': BATCH,
    'optimizer.name': 'adamw',
    'optimizer.momentum': 0.9,
    'train.epochs': 4,
}
CASES = {
    # Their learning rate is a step ahead of a cosine from 0; a constant one has no such step.
    'ijepa': {
        'model.class_token': False,
        'method.context': CONTEXT,
        'method.least': 4,
        'method.blocks': BLOCKS,
        'method.momentum': 0.9,
        'method.momentum_final': 0.9,
        'predictor.kind': 'transformer',
        'predictor.dim': 8,
        'predictor.depth': 2,
        'predictor.heads': 2,
        'optimizer.learning_rate': 0.01,
        'optimizer.schedule': 'constant',
        'optimizer.warmup_epochs': 0.0,
        'optimizer.weight_decay': 0.1,
    },
    'mae': {
        'method.ratio': RATIO,
        'decoder.kind': 'transformer',
        'decoder.dim': 8,
        'decoder.depth': 2,
        'decoder.heads': 2,
        'optimizer.learning_rate': 0.01,
        'optimizer.beta2': 0.95,
        'optimizer.warmup_epochs': 1.0,
        'optimizer.weight_decay': 0.2,
    },
    'data2vec2': {
        'method.ratio': 1 - SHOWN / GRID**2,
        'method.masks': MASKS,
        'method.length': 2,
        'method.layers': 2,
        'method.class_weight': 2.0,
        'method.momentum': 0.9,
        'method.momentum_final': 0.9,
        'decoder.kind': 'convolution',
        'decoder.dim': 8,
        'decoder.depth': 2,
        'decoder.channel_groups': 2,
        'decoder.kernel': 3,
        'decoder.noise': 0.0,
        'optimizer.learning_rate': 0.01,
        'optimizer.beta2': 0.95,
        'optimizer.schedule': 'constant',
        'optimizer.warmup_epochs': 0.0,
        'optimizer.weight_decay': 0.2,
        'optimizer.clip_norm': 0.3,
    },
    'data2vec': {
        'model.positions': 'learned',
        'model.layer_scale': 0.1,  # replaced by the initial values of the problem
        'method.layers': 2,
        'method.beta': 0.5,
        'method.momentum': 0.9,
        'method.momentum_final': 0.9,
        'decoder.kind': 'linear',
        'optimizer.learning_rate': 0.01,
        'optimizer.warmup_epochs': 1.0,
        'optimizer.warmup_inclusive': True,
        'optimizer.final_share': 0.01,
        'optimizer.weight_decay': 0.04,
        'optimizer.weight_decay_final': 0.4,
        'optimizer.clip_norm': 0.3,
    },
}


def fields(name: str) -> dict:
    """The config fields of a case."""
    return {**COMMON, **CASES[name]}


def images(step: int) -> np.ndarray:
    """The view of a step, `[batch, side, side, channels]` float32: images of five batches in turn, and noise."""
    draw = np.random.default_rng([4, step % 5])
    colour = draw.random((BATCH, 1, 1, problem.CHANNELS))
    pattern = 2.0 * colour - 1.0 + draw.random((BATCH, 4, 4, problem.CHANNELS)) - 0.5
    noise = np.random.default_rng([5, step]).random((BATCH, SIDE, SIDE, problem.CHANNELS))
    coarse = pattern.repeat(SIDE // 4, axis=1).repeat(SIDE // 4, axis=2)
    return (coarse + 0.8 * (noise - 0.5)).astype(np.float32)


def blocks(step: int) -> tuple[np.ndarray, np.ndarray]:
    """I-JEPA's masks of a step: context `[batch, context]` and target blocks `[batch, blocks, 4]`, numbers of patches."""
    draw = np.random.default_rng([6, step])
    grid = np.arange(GRID * GRID).reshape(GRID, GRID)
    contexts, targets = [], []
    while len(contexts) < BATCH:
        corners = draw.integers(0, GRID - 1, (BLOCKS, 2))
        chosen = np.stack([grid[r : r + 2, c : c + 2].ravel() for r, c in corners])
        free = np.setdiff1d(grid, chosen)
        if len(free) >= CONTEXT:
            contexts.append(draw.permutation(free)[:CONTEXT])
            targets.append(chosen)
    return np.stack(contexts), np.stack(targets)


def hidden(step: int) -> np.ndarray:
    """data2vec's mask of a step, `[batch, patches]` bool."""
    noise = np.random.default_rng([7, step]).random((BATCH, GRID * GRID))
    return noise.argsort(axis=1).argsort(axis=1) < HIDDEN


def noise(step: int) -> np.ndarray:
    """What MAE's mask of a step is drawn from, `[batch, patches]`: the patches with the smallest are kept."""
    return np.random.default_rng([8, step]).random((BATCH, GRID * GRID))


def random(step: int) -> tuple[np.ndarray, np.ndarray]:
    """MAE's mask of a step: kept patches `[batch, kept]`, and which are hidden, `[batch, patches]` bool."""
    order = noise(step).argsort(axis=1)
    count = int(GRID * GRID * (1 - RATIO))
    return order[:, :count], order.argsort(axis=1) >= count


def several(step: int) -> np.ndarray:
    """data2vec 2.0's masks of a step, `[batch · masks, patches]` bool, True at hidden ones; an image's together."""
    drawn = np.random.default_rng([9, step]).random((BATCH * MASKS, GRID * GRID))
    return drawn.argsort(axis=1).argsort(axis=1) >= SHOWN


DRAWN = {'ijepa': blocks, 'data2vec': lambda step: (hidden(step),), 'mae': random,
         'data2vec2': lambda step: (several(step),)}  # fmt: skip


def fingerprint(name: str) -> str:
    """Checksum of a case's images and masks, which tells whether NumPy's streams are those of the recording."""
    crc = 0
    for step in range(STEPS):
        for array in (images(step), *DRAWN[name](step)):
            crc = zlib.crc32(np.ascontiguousarray(array).tobytes(), crc)
    return f'{crc:08x}'


def without_key_bias(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays with the biases of attention's keys set to 0.

    A softmax over keys does not see them: their gradient is rounding noise, of which AdamW makes steps of full length.
    """
    found = {}
    for path, value in arrays.items():
        if path.endswith('qkv/bias'):
            third = len(value) // 3
            value = np.concatenate([value[:third], np.zeros(third, value.dtype), value[2 * third :]])
        found[path] = value
    return found


def starting(name: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The initial parameters of a case, by their paths."""
    return without_key_bias(problem.initial(shapes))

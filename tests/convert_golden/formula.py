"""Weights and images by formula, the same for every library and version: nothing but NumPy, no random state."""

import zlib

import numpy as np


def uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers in (−1, 1) that depend on a name and a shape alone, float32.

    A multiplicative hash of the position, so that no generator of any version has a say.
    """
    count = int(np.prod(shape)) if shape else 1
    x = np.arange(count, dtype=np.uint64) + np.uint64(zlib.crc32(name.encode()))
    x = (x + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    return ((x >> np.uint64(40)).astype(np.float64) / 2**23 - 1).astype(np.float32).reshape(shape)


def array(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A parameter or statistic of PyTorch's `name`: scaled so that activations neither vanish nor grow."""
    if name.endswith('num_batches_tracked'):
        return np.array(7, np.int64)
    x = uniform(name, tuple(shape))
    if name.endswith('running_var'):
        return 1 + 0.5 * x
    if len(shape) == 1:
        # Norms are scaled about 1, biases and running means lie about 0.
        scale = name.endswith('weight')
        return (1 if scale else 0) + (0.3 if scale else 0.1) * x
    if name.endswith(('token', 'pos_embed', 'pos_embedding')):
        return 0.5 * x
    fan_in = int(np.prod(shape[1:]))
    return x * np.float32(((2.5 if len(shape) == 4 else 4.5) / fan_in) ** 0.5)


def images(side: int, count: int = 2, channels: int = 3) -> np.ndarray:
    """Images `[count, side, side, channels]` about 0, as normalised ones are, float32."""
    return 1.7 * uniform(f'images {side}', (count, side, side, channels))

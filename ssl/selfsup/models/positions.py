"""Positions of patches: the fixed sine-cosine table, and learned tables brought to another grid."""

import numpy as np

INTERPOLATIONS = ('timm', 'dino', 'torchvision')


def sincos_positions(height: int, width: int, dim: int) -> np.ndarray:
    """Fixed 2-D sine-cosine positions `[height·width, dim]` (MoCo v3): a quarter each of sin and cos per axis.

    The row's sine and cosine come first: the authors' `grid_w` is the slow axis of their mesh.
    """
    if dim % 4:
        raise ValueError(f'sine-cosine positions need a width divisible by 4, not {dim}')
    omega = 1.0 / 10000 ** (np.arange(dim // 4) / (dim // 4))
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing='ij')
    angles = [np.outer(axis.ravel(), omega) for axis in (rows, columns)]
    parts = [f(angle) for angle in angles for f in (np.sin, np.cos)]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic convolution kernel."""
    x = np.abs(distance)
    inner = ((a + 2) * x - (a + 3)) * x * x + 1
    outer = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x < 1, inner, np.where(x < 2, outer, 0.0))


def interpolation_matrix(old: int, new: int, kind: str) -> np.ndarray:
    """Bicubic weights `[new, old]`, float32, of one axis of a table of positions; each row sums to 1.

    Args:
      old, new: sides of the grids.
      kind: 'timm' (`resample_abs_pos_embed`: antialiased, a = −0.5), 'dino' (a = −0.75, repeated border, and a
        scale of old / (new + 0.1), as its code has it) or 'torchvision' (`interpolate_embeddings`: a = −0.75,
        corners aligned).
    """
    if kind not in INTERPOLATIONS:
        raise ValueError(f'interpolation must be one of {", ".join(INTERPOLATIONS)}, not {kind!r}')
    place = np.arange(new)
    if kind == 'timm':
        scale = old / new
        distance = np.arange(old)[None] - ((place + 0.5) * scale - 0.5)[:, None]
        weights = _cubic(distance / max(scale, 1.0), -0.5)
        return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    corners = place * ((old - 1) / max(new - 1, 1))
    centre = (place + 0.5) * (old / (new + 0.1)) - 0.5 if kind == 'dino' else corners
    weights = np.zeros((new, old))
    for tap in range(-1, 3):
        index = np.floor(centre) + tap
        np.add.at(weights, (place, np.clip(index, 0, old - 1).astype(int)), _cubic(index - centre, -0.75))
    return weights.astype(np.float32)

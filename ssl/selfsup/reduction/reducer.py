"""A reducer: affine layers with a ReLU between them, and the npz file that holds them."""

import itertools
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..errors import UserError
from ..files import placed, read_arrays

KINDS = ('tldr', 'pca', 'whiten')
CHUNK = 8192  # rows at a time


class Reducer(NamedTuple):
    """The map z ↦ Wₙ(… relu(W₁z + b₁) …) + bₙ, float32 on the host.

    Attributes:
      kind: how it was fitted, one of `KINDS`.
      matrices: of each layer, `[in, out]`.
      biases: of each layer, `[out]`.
    """

    kind: str
    matrices: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]

    @property
    def width(self) -> int:
        """Width of the rows that it takes."""
        return self.matrices[0].shape[0]

    @property
    def dim(self) -> int:
        """Width of the rows that it gives."""
        return self.matrices[-1].shape[1]


@jax.jit
def _through(matrices: tuple, biases: tuple, rows: Array) -> Array:
    for index, (matrix, bias) in enumerate(zip(matrices, biases, strict=True)):
        rows = jnp.maximum(rows, 0.0) if index else rows
        rows = jnp.matmul(rows, matrix, precision=jax.lax.Precision.HIGHEST) + bias[None]
    return rows


def apply(reducer: Reducer, rows: np.ndarray) -> np.ndarray:
    """Rows `[n, width]` reduced to `[n, dim]`, float32.

    Raises:
      UserError: for rows of another width.
    """
    if rows.ndim != 2 or rows.shape[1] != reducer.width:
        raise UserError(f'this reducer takes rows of {reducer.width} features, not {list(rows.shape)}')
    layers = jax.device_put((reducer.matrices, reducer.biases))
    parts = [
        np.asarray(_through(*layers, np.asarray(rows[start : start + CHUNK], np.float32)))
        for start in range(0, len(rows), CHUNK)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, reducer.dim), np.float32)


def save(reducer: Reducer, file: Path) -> None:
    """Writes a reducer as an npz file: `kind`, and `matrix0`, `bias0`, … of its layers."""
    arrays = {'kind': np.array(reducer.kind)}
    for index, layer in enumerate(zip(reducer.matrices, reducer.biases, strict=True)):
        arrays |= {f'{name}{index}': value for name, value in zip(('matrix', 'bias'), layer, strict=True)}
    with placed(file) as temporary, temporary.open('wb') as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


def read(file: Path, name: str) -> Reducer:
    """The reducer that :func:`save` wrote; `name` is what an error calls the file.

    Raises:
      UserError: for a file that holds no reducer.
    """
    arrays = read_arrays(file, name)
    count = sum(key.startswith('matrix') for key in arrays)
    nothing = np.zeros(0)
    matrices = [arrays.get(f'matrix{i}', nothing) for i in range(count)]
    biases = [arrays.get(f'bias{i}', nothing) for i in range(count)]
    kind = str(arrays.get('kind', ''))
    good = kind in KINDS and count > 0 and len(arrays) == 2 * count + 1
    good = good and all(
        w.ndim == 2 and b.shape == w.shape[1:] and all(np.issubdtype(a.dtype, np.floating) for a in (w, b))
        for w, b in zip(matrices, biases, strict=True)
    )
    good = good and all(np.isfinite(a).all() for a in (*matrices, *biases))
    good = good and all(w.shape[1] == then.shape[0] for w, then in itertools.pairwise(matrices))
    if not good:
        raise UserError(
            f'{name} holds no reducer of `selfsup reduce --save`; it holds {", ".join(arrays) or "nothing"}'
        )
    layers = (tuple(np.asarray(a, np.float32) for a in part) for part in (matrices, biases))
    return Reducer(kind, *layers)

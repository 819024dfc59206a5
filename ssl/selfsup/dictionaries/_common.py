"""What the dictionaries share: products at full precision, checks of shapes with names in the message."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

HIGHEST = jax.lax.Precision.HIGHEST
UNIT = 1e-3  # how far from 1 the length of an atom may be where unit atoms are needed


def dot(a: Array, b: Array) -> Array:
    """a·b at full precision: correlations decide which atoms are chosen."""
    return jnp.matmul(a, b, precision=HIGHEST)


def as_float(name: str, z: jax.typing.ArrayLike) -> Array:
    """`z` in at least float32: half precision is promoted, float64 stays; anything else is refused."""
    z = jnp.asarray(z)
    if not jnp.issubdtype(z.dtype, jnp.floating):
        raise TypeError(f'{name} must be a floating-point array, not {z.dtype}')
    return z.astype(jnp.promote_types(z.dtype, jnp.float32))


def matrix(name: str, z: jax.typing.ArrayLike, *, rows: str = 'rows') -> Array:
    """`z` as a float matrix `[rows, dim]` that is not empty, or an error that names it."""
    z = as_float(name, z)
    if z.ndim != 2 or 0 in z.shape:
        raise ValueError(f'{name} must have shape [{rows}, dim] and not be empty, not {list(z.shape)}')
    return z


def concrete(*arrays: Array) -> bool:
    """Whether values can be looked at: inside a trace they cannot."""
    return not any(isinstance(a, jax.core.Tracer) for a in arrays)


def finite(name: str, z: Array) -> None:
    """Refuses concrete values that are not finite, with the first row that has one."""
    if not concrete(z):
        return
    bad = ~np.isfinite(np.asarray(z)).reshape(len(z), -1).all(axis=1)
    if bad.any():
        raise ValueError(f'{name} {list(z.shape)}: {int(bad.sum())} rows are not finite, the first is {bad.argmax()}')


def class_labels(labels: jax.typing.ArrayLike, signals: Array, *, least: int = 0) -> np.ndarray:
    """Whole numbers from `least`, one for each signal, or an error that names both shapes."""
    labels = np.asarray(labels)
    if labels.shape != (len(signals),) or not np.issubdtype(labels.dtype, np.integer) or labels.min() < least:
        raise ValueError(
            f'labels must be whole numbers from {least}, one for each of signals {list(signals.shape)}, not '
            f'{labels.dtype} {list(labels.shape)}'
        )
    return labels


def both(
    signals: jax.typing.ArrayLike, dictionary: jax.typing.ArrayLike, *, unit: bool = False
) -> tuple[Float[Array, 'batch dim'], Float[Array, 'units dim']]:
    """Signals and dictionary as finite float matrices of one width and type, or an error that names both shapes.

    With `unit`, concrete atoms whose length is not 1 are refused too.
    """
    signals, dictionary = matrix('signals', signals), matrix('dictionary', dictionary, rows='units')
    if signals.shape[1] != dictionary.shape[1]:
        raise ValueError(
            f'signals and dictionary must have the same width, and are {list(signals.shape)} and '
            f'{list(dictionary.shape)}'
        )
    finite('signals', signals)
    finite('dictionary', dictionary)
    if unit and concrete(dictionary):
        lengths = np.linalg.norm(np.asarray(dictionary), axis=1)
        worst = int(np.abs(lengths - 1).argmax())
        if abs(lengths[worst] - 1) > UNIT:
            raise ValueError(
                f'dictionary {list(dictionary.shape)} needs atoms of length 1, and atom {worst} has length '
                f'{lengths[worst]:.4g}; unit_atoms makes them so'
            )
    dtype = jnp.promote_types(signals.dtype, dictionary.dtype)
    return signals.astype(dtype), dictionary.astype(dtype)


def count(name: str, value: int, most: int, shape: tuple[int, ...], *, of: str = 'units of dictionary') -> int:
    """A whole number from 1 to `most`, or an error that says of what there are no more."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 1 <= value <= most:
        raise ValueError(f'{name} must be a whole number from 1 to {most}, the {of} {list(shape)}, not {value!r}')
    return int(value)

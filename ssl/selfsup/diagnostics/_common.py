"""What every diagnostic shares: promotion to float32, shape checks with names in the message, safe norms."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

# Covariances, ranks and neighbours depend on digits that TF32 (NVIDIA's default) and bfloat16 (TPU's) do not keep.
HIGHEST = jax.lax.Precision.HIGHEST


def dot(a: Array, b: Array) -> Array:
    """Matrix product in full precision."""
    return jnp.matmul(a, b, precision=HIGHEST)


@jax.custom_jvp
def factor(z: Array) -> Array:
    """R of the QR decomposition of `z`, `[..., rows, dim]`, for functions of RᵀR = ZᵀZ alone.

    Its tangent is QᵀdZ, which gives RᵀR the right derivative. That of a triangular R would be divided by R's diagonal,
    which is 0 where a column is constant.
    """
    return jnp.linalg.qr(z, mode='r')


@factor.defjvp
def _factor_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    q, r = jnp.linalg.qr(primals[0])
    return r, dot(jnp.swapaxes(q, -1, -2), tangents[0])


@jax.custom_jvp
def thin_svd(z: Array) -> tuple[Array, Array, Array]:
    """U, σ and Vᵀ of a matrix `[rows, dim]`, with finite tangents where singular values are equal or zero.

    Vectors of equal singular values, and those of zeros (σ ≤ σ₁·max(shape)·machine ε), may be turned among themselves:
    the tangent leaves that turn out, and what a zero would divide. Right for functions of the subspaces that belong to
    such values, which give zeros no weight.
    """
    return tuple(jnp.linalg.svd(z, full_matrices=False))


@thin_svd.defjvp
def _thin_svd_jvp(primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
    (z,), (dz,) = primals, tangents
    u, s, vt = jnp.linalg.svd(z, full_matrices=False)
    noise = max(z.shape) * jnp.finfo(z.dtype).eps
    zero = s <= s[0] * noise
    rows, columns = s[:, None], s[None]
    tied = jnp.abs(rows - columns) <= noise * jnp.maximum(rows, columns)
    tied |= zero[:, None] & zero[None]
    gap = jnp.where(tied, 0.0, 1.0 / jnp.where(tied, 1.0, (columns - rows) * (columns + rows)))
    inverse = jnp.where(zero, 0.0, 1.0 / jnp.where(zero, 1.0, s))[None]
    right, left = dot(dz, vt.T), dot(dz.T, u)
    inner = dot(u.T, right)
    du = dot(u, gap * (inner * columns + rows * inner.T)) + (right - dot(u, inner)) * inverse
    dv = dot(vt.T, gap * (rows * inner + inner.T * columns)) + (left - dot(vt.T, inner.T)) * inverse
    return (u, s, vt), (du, jnp.diagonal(inner), dv.T)


def as_float(name: str, z: ArrayLike) -> Array:
    """`z` in at least float32: half precision is promoted, float64 stays; anything else is refused."""
    z = jnp.asarray(z)
    if not jnp.issubdtype(z.dtype, jnp.floating):
        raise TypeError(f'{name} must be a floating-point array, not {z.dtype}')
    return z.astype(jnp.promote_types(z.dtype, jnp.float32))


def matrix(name: str, z: ArrayLike, *, rows: int = 1) -> Array:
    """`z` as a float matrix `[samples, dim]` with at least `rows` rows, or an error that names it."""
    z = as_float(name, z)
    if z.ndim != 2 or 0 in z.shape:
        raise ValueError(f'{name} must have shape [samples, dim] with neither zero, not {list(z.shape)}')
    if z.shape[0] < rows:
        raise ValueError(f'{name} needs at least {_NUMBERS.get(rows, rows)} rows, and has shape {list(z.shape)}')
    return z


_NUMBERS = {2: 'two', 3: 'three', 4: 'four'}


def pair(x: ArrayLike, y: ArrayLike, *, names: tuple[str, str], rows: int = 1, same: str = 'shape') -> tuple:
    """Two float matrices of one type that agree in `same` ('shape', 'samples' or 'dim'), or an error naming both."""
    first, second = matrix(names[0], x, rows=rows), matrix(names[1], y, rows=rows)
    axes = {'shape': (0, 1), 'samples': (0,), 'dim': (1,)}[same]
    if any(first.shape[a] != second.shape[a] for a in axes):
        what = {'shape': 'the same shape', 'samples': 'as many rows', 'dim': 'as many columns'}[same]
        raise ValueError(
            f'{names[0]} and {names[1]} must have {what}, and are {list(first.shape)} and {list(second.shape)}'
        )
    dtype = jnp.promote_types(first.dtype, second.dtype)
    return first.astype(dtype), second.astype(dtype)


def class_labels(name: str, labels: ArrayLike, samples: int, classes: int | None) -> tuple[Array, int]:
    """Integer labels `[samples]` and the number of classes, which is counted when the labels are concrete."""
    concrete = not isinstance(labels, jax.core.Tracer)
    labels = jnp.asarray(labels)
    if labels.shape != (samples,):
        raise ValueError(f'{name} must have shape [{samples}], one for each row, not {list(labels.shape)}')
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f'{name} must be integers, not {labels.dtype}')
    if not concrete:
        if classes is None:
            raise ValueError(f'classes must be given where {name} is traced')
        return labels, classes
    values = np.asarray(labels)
    classes = int(values.max()) + 1 if classes is None else classes
    if values.min() < 0 or values.max() >= classes:
        raise ValueError(f'{name} must lie in [0, {classes}), and span {values.min()} to {values.max()}')
    return labels, classes


def unit(z: Array) -> Array:
    """Rows scaled to unit length; zero rows stay zero and get no gradient.

    Rows are divided by their largest entry first, so that no norm overflows or drowns in float32.
    """
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(z), axis=-1, keepdims=True))
    z = z / jnp.where(largest > 1e-12, largest, 1.0)
    squared = jnp.sum(z * z, axis=-1, keepdims=True)
    short = squared < 1e-24
    z = jnp.where(short, jax.lax.stop_gradient(z), z)
    return z * jax.lax.rsqrt(jnp.where(short, 1e-24, squared))


def centre(z: Array) -> Array:
    """Columns less their mean."""
    return z - jnp.mean(z, axis=0, keepdims=True)


def ratio(a: Array, b: Array, *, limit: float) -> Array:
    """`a / b`, and `limit` where `b` is not positive, with finite gradients."""
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1.0), limit)


def root(x: Array) -> Array:
    """√x of what is not negative; the gradient at 0 is 0, where the root's own is infinite."""
    zero = x == 0
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, x)))


def frobenius_unit(z: Array) -> Array:
    """`z` over its Frobenius norm, scaled by the largest entry first so that no square over- or underflows.

    Zeros stay zeros and get no gradient.
    """
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(z)))
    zero = largest == 0
    z = jnp.where(zero, jax.lax.stop_gradient(z), z / jnp.where(zero, 1.0, largest))
    squared = jnp.sum(z * z)
    return z * jax.lax.rsqrt(jnp.where(zero, 1.0, squared))


def squared_norms(z: Array) -> Float[Array, 'samples']:
    return jnp.sum(z * z, axis=-1)

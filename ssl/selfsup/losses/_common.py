"""What every loss shares: promotion to float32, shape checks with names in the message, safe norms."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

# Similarities and covariances decide rankings and gradients; the default precision is TF32 on NVIDIA
# and bfloat16 on TPU, which is too coarse for both.
HIGHEST = jax.lax.Precision.HIGHEST


def as_float(name: str, z: jax.typing.ArrayLike) -> Array:
    """`z` in at least float32: half precision is promoted, float64 stays; anything else is refused."""
    z = jnp.asarray(z)
    if not jnp.issubdtype(z.dtype, jnp.floating):
        raise TypeError(f'{name} must be a floating-point array, not {z.dtype}')
    return z.astype(jnp.promote_types(z.dtype, jnp.float32))


def matrix(name: str, z: jax.typing.ArrayLike, *, rows: int = 1) -> Array:
    """`z` as a float matrix `[batch, dim]` with at least `rows` rows, or an error that names it."""
    z = as_float(name, z)
    if z.ndim != 2:
        raise ValueError(f'{name} must have shape [batch, dim], not {list(z.shape)}')
    if z.shape[0] < rows or z.shape[1] < 1:
        raise ValueError(f'{name} needs at least {rows} row(s) and one column, and has shape {list(z.shape)}')
    return z


def pair(z1: jax.typing.ArrayLike, z2: jax.typing.ArrayLike, *, names=('z1', 'z2'), rows: int = 1) -> tuple:
    """Two float matrices of one shape, or an error that names both shapes."""
    first, second = matrix(names[0], z1, rows=rows), matrix(names[1], z2, rows=rows)
    if first.shape != second.shape:
        raise ValueError(
            f'{names[0]} and {names[1]} must have the same shape, and are {list(first.shape)} and {list(second.shape)}'
        )
    dtype = jnp.promote_types(first.dtype, second.dtype)
    return first.astype(dtype), second.astype(dtype)


def several(*views: jax.typing.ArrayLike, rows: int = 1) -> tuple:
    """Two or more float matrices of one shape and type, or an error that names the odd one and both shapes."""
    if len(views) < 2:
        raise ValueError(f'at least 2 views are needed, not {len(views)}')
    found = [matrix(f'z{number}', z, rows=rows) for number, z in enumerate(views, 1)]
    for number, z in enumerate(found[1:], 2):
        if z.shape != found[0].shape:
            raise ValueError(
                f'z1 and z{number} must have the same shape, and are {list(found[0].shape)} and {list(z.shape)}'
            )
    dtype = jnp.result_type(*(z.dtype for z in found))
    return tuple(z.astype(dtype) for z in found)


def drawn_to_mean(views: tuple, centres: int) -> Array:
    """Mean over views, batch and dims of (z_v − c)², with c the mean of the first `centres` views (0: of all)."""
    if not 0 <= centres <= len(views):
        raise ValueError(f'centres must lie between 0 and the {len(views)} views, not {centres}')
    centre = sum(views[: centres or len(views)]) / (centres or len(views))
    return sum(jnp.mean((z - centre) ** 2) for z in views) / len(views)


def same_width(name: str, x: Array, other: str, z: Array) -> None:
    """Refuses `x` where it is not as wide as `z`; the error names both and their shapes."""
    if x.shape[-1] != z.shape[-1]:
        raise ValueError(f'{name} must be as wide as {other}, and their shapes are {list(x.shape)} and {list(z.shape)}')


def row_labels(labels: jax.typing.ArrayLike, z: Array, name: str = 'z') -> Array:
    """One whole number for each row of `z`, or an error that calls that argument `name`."""
    labels = jnp.asarray(labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f'labels must be integers, not {labels.dtype}')
    if labels.shape != z.shape[:1]:
        raise ValueError(
            f'labels must have one entry a row of {name}: their shapes are {list(labels.shape)} and {list(z.shape)}'
        )
    return labels


def positive(name: str, value) -> None:
    """Refuses a concrete value that is not positive; traced values pass (a sweep traces them)."""
    if not isinstance(value, jax.core.Tracer) and not (np.asarray(value) > 0).all():
        raise ValueError(f'{name} must be positive, not {value}')


def normalize(z: Float[Array, '*batch dim'], *, eps: float = 1e-12) -> Float[Array, '*batch dim']:
    """Rows scaled to unit length, `z / max(‖z‖, ε)` as torch's `F.normalize`.

    Rows are divided by their largest entry first, so that norms beyond 1e19 do not overflow float32.
    A row shorter than ε, such as one of zeros, gets no gradient: torch's is 1/ε = 1e12 times the others'.
    """
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(z), axis=-1, keepdims=True))
    z = z / jnp.where(largest > eps, largest, 1.0).astype(z.dtype)
    squared = jnp.sum(z * z, axis=-1, keepdims=True)
    least = jnp.asarray(eps, z.dtype) ** 2
    short = squared < least
    z = jnp.where(short, jax.lax.stop_gradient(z), z)
    return z * jax.lax.rsqrt(jnp.where(short, least, squared))


def chosen(logits: Float[Array, 'rows columns'], which: Bool[Array, 'rows columns']) -> Float[Array, ' rows']:
    """The logit of each row that `which` marks, as it stands in the matrix.

    The same product computed apart rounds differently: log Σ exp of the row less it falls below 0, and near
    alignment its gradient, (p − 1) of the matrix, is left as the difference of two large ones.
    """
    return jnp.sum(jnp.where(which, logits, 0.0), axis=-1)


def standardize(z: Float[Array, 'batch dim'], *, eps: float = 1e-5) -> Float[Array, 'batch dim']:
    """Columns to mean 0 and variance 1 (biased variance, ε inside the root), as batch-norm does.

    The gradient computes it again: a pass over z is cheap beside the products that follow, and half their memory.
    """

    @jax.checkpoint
    def standard(z: Array) -> Array:
        centred = z - jnp.mean(z, axis=0, keepdims=True)
        return centred * jax.lax.rsqrt(jnp.mean(centred * centred, axis=0, keepdims=True) + eps)

    return standard(z)


def deviation_hinge(
    centred: Float[Array, 'batch *dims'], *, target: jax.typing.ArrayLike, eps: jax.typing.ArrayLike
) -> Float[Array, '']:
    """mean_d max(0, γ − √(Var_d + ε)) of centred columns, with the unbiased variance (ddof 1).

    The gradient of a constant column is 0 for ε = 0 too, where the root's own is infinite.
    """
    variance = jnp.sum(centred * centred, axis=0) / (len(centred) - 1) + eps
    zero = variance == 0
    deviation = jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, variance)))
    return jnp.mean(jnp.maximum(target - deviation, 0.0))


def off_diagonal_energy(z1: Float[Array, 'batch dim'], z2: Float[Array, 'batch dim']) -> Float[Array, '']:
    """Σ_{i≠j} (Z1ᵀ Z2)²ᵢⱼ by the cheaper of its two forms.

    Feature form: the `dim × dim` product, its diagonal left out. Sample form, when 2·batch ≤ dim:
    ‖Z1ᵀZ2‖² = Σ (Z1Z1ᵀ)∘(Z2Z2ᵀ) from two `batch × batch` products, less the diagonal. The subtraction
    is benign there: with dim ≥ 2·batch the rank bound keeps the off-diagonal part the larger one.
    """
    batch, dim = z1.shape
    if 2 * batch <= dim:
        gram1 = jnp.matmul(z1, z1.T, precision=HIGHEST)
        gram2 = gram1 if z2 is z1 else jnp.matmul(z2, z2.T, precision=HIGHEST)
        diagonal = jnp.sum(z1 * z2, axis=0)
        return jnp.sum(gram1 * gram2) - jnp.sum(diagonal * diagonal)
    product = jnp.matmul(z1.T, z2, precision=HIGHEST)
    return jnp.sum(jnp.where(jnp.eye(dim, dtype=bool), 0.0, product) ** 2)

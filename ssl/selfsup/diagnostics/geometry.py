"""Spread and alignment of embeddings on and off the unit sphere, without labels."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .spectrum import HIGHEST, _matrix


def _unit(z: Array) -> Array:
    squared = jnp.sum(z * z, axis=-1, keepdims=True)
    return z * jax.lax.rsqrt(jnp.maximum(squared, 1e-24))


def alignment(
    z1: Float[ArrayLike, 'samples dim'], z2: Float[ArrayLike, 'samples dim'], *, alpha: ArrayLike = 2.0
) -> Float[Array, '']:
    """Mean distance of positive pairs on the unit sphere, ‖n(z1) − n(z2)‖^α (eq. 1).

    Args:
      z1, z2: embeddings of two views of the same images, any norm.
      alpha: the power α.

    Returns:
      A scalar in [0, 2^α]: 0 when all pairs coincide (also at collapse), about 2^(α/2) for unrelated
      directions in high dimension.

    References:
      Wang and Isola 2020, https://arxiv.org/abs/2005.10242, eq. 1.
    """
    z1, z2 = _matrix('z1', z1), _matrix('z2', z2)
    if z1.shape != z2.shape:
        raise ValueError(f'z1 and z2 must have the same shape, and are {list(z1.shape)} and {list(z2.shape)}')
    squared = jnp.sum((_unit(z1) - _unit(z2)) ** 2, axis=-1)
    safe = jnp.where(squared > 0, squared, 1.0)
    return jnp.mean(jnp.where(squared > 0, safe ** (alpha / 2), 0.0))


def uniformity(z: Float[ArrayLike, 'samples dim'], *, t: ArrayLike = 2.0) -> Float[Array, '']:
    """Log of the mean Gaussian potential over distinct pairs on the unit sphere (eq. 2).

    Args:
      z: embeddings, any norm, at least two rows.
      t: sharpness of the kernel exp(−t‖x − y‖²).

    Returns:
      A scalar ≤ 0: 0 at collapse, towards −2t (less a little) for uniform points in high dimension.

    Cost: O(samples²·dim).

    References:
      Wang and Isola 2020, https://arxiv.org/abs/2005.10242, eq. 2.
    """
    z = _unit(_matrix('z', z))
    count = z.shape[0]
    if count < 2:
        raise ValueError(f'z needs at least two rows, and has shape {list(z.shape)}')
    squared = 2.0 - 2.0 * jnp.matmul(z, z.T, precision=HIGHEST)
    potential = jnp.where(jnp.eye(count, dtype=bool), -jnp.inf, -t * squared)
    return jax.nn.logsumexp(potential) - jnp.log(count * (count - 1.0))


def feature_deviation(z: Float[ArrayLike, 'samples dim'], *, normalized: bool = False) -> Float[Array, '']:
    """Mean over dimensions of the per-dimension standard deviation (ddof 0).

    Args:
      z: embeddings, one a row.
      normalized: rows to unit length first, and the result times √dim, so that an isotropic cloud
        gives about 1 whatever its width.

    Returns:
      A scalar ≥ 0: 0 at collapse to a point.

    References:
      Chen and He 2021, https://arxiv.org/abs/2011.10566, section 4.1 (the normalised form).
    """
    z = _matrix('z', z)
    if normalized:
        z = _unit(z) * jnp.sqrt(jnp.asarray(z.shape[1], z.dtype))
    centred = z - jnp.mean(z, axis=0, keepdims=True)
    return jnp.mean(jnp.sqrt(jnp.mean(centred * centred, axis=0)))


def relative_alignment(z1: Float[ArrayLike, 'samples dim'], z2: Float[ArrayLike, 'samples dim']) -> Float[Array, '']:
    """Squared distance of positive pairs over that of random pairs, on centred embeddings.

    Unlike :func:`alignment` it does not fall at collapse: when pairs come closer only because
    everything does, the ratio stays.

    Args:
      z1, z2: embeddings of two views of the same images, at least two rows.

    Returns:
      A scalar ≥ 0: 0 for aligned pairs in a spread cloud, about 1 when pairs are no closer than
      strangers; 1 (the limit) when there is no spread at all.

    References:
      The ratio of the two expectations in Wang and Isola 2020, https://arxiv.org/abs/2005.10242,
      section 4.1; the random pairs are all pairs of different images, counted in closed form.
    """
    z1, z2 = _matrix('z1', z1), _matrix('z2', z2)
    if z1.shape != z2.shape or z1.shape[0] < 2:
        raise ValueError(
            f'z1 and z2 must have one shape with at least two rows, and are {list(z1.shape)} and {list(z2.shape)}'
        )
    count = z1.shape[0]
    centre = jnp.mean(jnp.concatenate([z1, z2]), axis=0, keepdims=True)
    z1, z2 = z1 - centre, z2 - centre
    positive = jnp.mean(jnp.sum((z1 - z2) ** 2, axis=-1))
    # Σ_{i,j} ‖aᵢ − bⱼ‖² = n(Σ‖a‖² + Σ‖b‖²) − 2 (Σa)·(Σb); the n positive pairs are taken out.
    every = count * (jnp.sum(z1 * z1) + jnp.sum(z2 * z2)) - 2 * jnp.sum(jnp.sum(z1, 0) * jnp.sum(z2, 0))
    random = (every - count * positive) / (count * (count - 1))
    return jnp.where(random > 0, positive / jnp.where(random > 0, random, 1.0), 1.0)

"""Joint embedding solved exactly: the best linear encoders and functions of a kernel, by an eigendecomposition."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ._common import dot, matrix, pair


class Modes(NamedTuple):
    """Directions of the inputs, the most alike in two views first.

    Attributes:
      values: λ, canonical correlations of the two views, falling, in [−1, 1].
      directions: V `[width, modes]`, with VᵀΣV = I and VᵀΓV = diag(λ).
    """

    values: Float[Array, 'modes']
    directions: Float[Array, 'width modes']


def joint_modes(
    x1: Float[ArrayLike, 'samples width'],
    x2: Float[ArrayLike, 'samples width'],
    *,
    truncate: float | None = None,
) -> Modes:
    """The generalised eigenvectors of Γ = ½(X1ᵀX2 + X2ᵀX1)/n against Σ = ½(X1ᵀX1 + X2ᵀX2)/n.

    Every loss that sees a linear encoder through Σ and Γ alone has its optimum among them (:func:`linear_optimum`):
    the views count as if each pair stood in both orders.

    Args:
      x1, x2: two views of the same samples. Centre them first for losses that centre.
      truncate: eigenvalues of Σ up to this share of the largest are no direction. Default: samples·machine ε.

    Returns:
      As many modes as Σ has rank. Not under jit: the rank is counted.

    Cost: O(samples·width² + width³).

    References:
      HaoChen et al. 2021, https://arxiv.org/abs/2106.04156, section 3; Cabannes et al. 2023,
      https://arxiv.org/abs/2302.02774, section 2.
    """
    x1, x2 = pair(x1, x2, names=('x1', 'x2'), same='shape')
    count = x1.shape[0]
    sigma = 0.5 * (dot(x1.T, x1) + dot(x2.T, x2)) / count
    gamma = dot(x1.T, x2) / count
    gamma = 0.5 * (gamma + gamma.T)
    values, vectors = jnp.linalg.eigh(sigma)
    truncate = count * float(np.finfo(sigma.dtype).eps) if truncate is None else truncate
    kept = np.flatnonzero(np.asarray(values) > truncate * np.asarray(values).max())
    if not len(kept):
        raise ValueError('x1 and x2 are zero throughout: they have no mode')
    white = vectors[:, kept] / jnp.sqrt(values[kept])[None]
    alike, turn = jnp.linalg.eigh(dot(white.T, dot(gamma, white)))
    return Modes(alike[::-1], dot(white, turn)[:, ::-1])


def linear_optimum(
    modes: Modes,
    *,
    dim: int,
    loss: str = 'spectral',
    invariance_weight: float = 25.0,
    variance_weight: float = 25.0,
) -> tuple[Float[Array, 'width dim'], Float[Array, '']]:
    """The linear encoder z = x·W of least loss, up to a rotation of z, and that loss.

    - 'spectral', :func:`selfsup.losses.spectral_contrastive` with `itself`: columns √λᵢ·vᵢ of the modes with λ > 0, and
      −Σλᵢ².
    - 'whitening', :func:`selfsup.losses.w_mse` with `normalized=False`: the first modes, and (2/dim)·Σ(1 − λᵢ), which
      its unbiased covariance multiplies by (samples − 1)/samples.
    - 'vicreg', :func:`selfsup.losses.vicreg` without ε in the limit of a large covariance weight: columns aᵢ·vᵢ with
      aᵢ = min(1, µ / 4s(1 − λᵢ)), since a dimension costs 2s·aᵢ²(1 − λᵢ) + µ·(1 − aᵢ), with s and µ the weights of
      invariance and variance. With a finite weight correlated columns may cost less: 25, 25, 1 is no such limit.

    Barlow Twins has no such form: its columns are brought to variance 1 one by one, and where its weight of what lies
    off the diagonal is below 1, modes that are turned among themselves cost less than the modes.

    Args:
      modes: of :func:`joint_modes`. In coordinates of a kernel (:func:`kernel_coordinates`) W is the optimum over its
        reproducing space.
      dim: width of z; for 'whitening' and 'vicreg' at most the number of modes.
      loss: 'spectral', 'whitening' or 'vicreg'.
      invariance_weight, variance_weight: of 'vicreg'.

    Returns:
      W, zero columns where the loss wants no further mode, and the least loss.

    Cost: O(width·dim).

    References:
      HaoChen et al. 2021, https://arxiv.org/abs/2106.04156, section 3; Cabannes et al. 2023,
      https://arxiv.org/abs/2302.02774, section 2; Balestriero and LeCun 2022, https://arxiv.org/abs/2205.11508.
    """
    count = modes.values.shape[0]
    values, directions = modes.values[:dim], modes.directions[:, :dim]
    if loss == 'spectral':
        values = jnp.pad(jnp.maximum(values, 0.0), (0, max(dim - count, 0)))
        directions = jnp.pad(directions, ((0, 0), (0, max(dim - count, 0))))
        return directions * jnp.sqrt(values)[None], -jnp.sum(values**2)
    if loss not in ('whitening', 'vicreg'):
        raise ValueError(f"loss must be 'spectral', 'whitening' or 'vicreg', not {loss!r}")
    if dim > count:
        raise ValueError(f'dim={dim} is more than the {count} modes, and a constant column cannot be whitened')
    apart = 1.0 - values
    if loss == 'whitening':
        return directions, 2.0 * jnp.mean(apart)
    pull = 2.0 * invariance_weight * apart
    size = jnp.where(2.0 * pull > variance_weight, variance_weight / jnp.where(pull > 0, 2.0 * pull, 1.0), 1.0)
    return directions * size[None], jnp.mean(pull * size**2 + variance_weight * (1.0 - size))


def kernel_coordinates(
    gram: Float[ArrayLike, 'samples samples'], *, truncate: float = 1e-10
) -> tuple[Float[Array, 'samples rank'], Float[Array, 'samples rank']]:
    """Rows whose inner products are a kernel's: what is linear in them is a function of its reproducing space.

    Args:
      gram: k(xᵢ, xⱼ) of all samples, the two views one below the other.
      truncate: eigenvalues up to this share of the largest are left out.

    Returns:
      Coordinates C with C·Cᵀ = gram, and the map of new points: k(new, samples)·map are theirs. Not under jit.

    Cost: O(samples³).

    References:
      Schölkopf et al. 1998, "Nonlinear component analysis as a kernel eigenvalue problem"; Cabannes et al. 2023,
      https://arxiv.org/abs/2302.02774, section 2.
    """
    gram = matrix('gram', gram)
    if gram.shape[0] != gram.shape[1]:
        raise ValueError(f'gram must be square, and has shape {list(gram.shape)}')
    values, vectors = jnp.linalg.eigh(0.5 * (gram + gram.T))
    values, vectors = values[::-1], vectors[:, ::-1]
    rank = int(np.sum(np.asarray(jax.lax.stop_gradient(values)) > truncate * max(float(values[0]), 0.0)))
    if not rank or not values[0] > 0:
        raise ValueError('gram has no positive eigenvalue: it is no kernel')
    root = jnp.sqrt(values[:rank])[None]
    return vectors[:, :rank] * root, vectors[:, :rank] / root

"""BYOL and SimSiam: predict one view's embedding from the other's, without negatives."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import normalize, pair


def _cosines(p: Array, z: Array) -> Array:
    return jnp.sum(normalize(p) * normalize(z), axis=-1)


def simsiam(
    p: Float[ArrayLike, 'batch dim'], z: Float[ArrayLike, 'batch dim'], *, stop_gradient: bool = True
) -> Float[Array, '']:
    """Negative cosine between a prediction and a stopped embedding: D = −mean cos(p, sg z) (SimSiam, eq. 1 and 3).

    The method's loss is ½·D(p1, z2) + ½·D(p2, z1) (eq. 4).

    Args:
      p: the predictor's output for one view, any norm (normalised here).
      z: the projector's output for the other view, any norm (normalised here); no gradient passes.
      stop_gradient: False lets the gradient into `z`: the paper's ablation, which collapses.

    Returns:
      A dimensionless scalar in [−1, 1]: −1 when every prediction points along its embedding, and so
      also at collapse, which this loss does not see.

    Convention: one direction, a mean over the batch. The authors and solo-learn average the two
    directions; so does lightly, which normalises with ε = 1e-8 instead of 1e-12.

    Cost: O(batch·dim); no state.

    References:
      Chen and He 2021, https://arxiv.org/abs/2011.10566, eq. 1, 3 and 4.
    """
    p, z = pair(p, z, names=('p', 'z'))
    return -jnp.mean(_cosines(p, jax.lax.stop_gradient(z) if stop_gradient else z))


def byol(
    p1: Float[ArrayLike, 'batch dim'],
    p2: Float[ArrayLike, 'batch dim'],
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
) -> Float[Array, '']:
    """Both directions' squared distance on the sphere: mean ‖n(p1) − sg n(z2)‖² + ‖n(p2) − sg n(z1)‖² (BYOL, eq. 2).

    Each term is 2 − 2·cos(p, sg z).

    Args:
      p1, p2: the online network's predictions for the two views, any norm (normalised here).
      z1, z2: the target network's projections of the two views (normalised here); no gradient passes.

    Returns:
      A dimensionless scalar in [0, 8]: 0 when every prediction points along the other view's target,
      and so also at collapse, which this loss does not see.

    Convention: the sum of both directions without a ½, as in the authors' code, the paper and
    solo-learn; lightly averages negative cosines, which is a quarter of this up to a constant.

    Cost: O(batch·dim); no state (the target network is the caller's).

    References:
      Grill et al. 2020, https://arxiv.org/abs/2006.07733, eq. 2.
    """
    p1, z2 = pair(p1, z2, names=('p1', 'z2'))
    p2, z1 = pair(p2, z1, names=('p2', 'z1'))
    if p1.shape != p2.shape:
        raise ValueError(f'p1 and p2 must have the same shape, and are {list(p1.shape)} and {list(p2.shape)}')
    forth = 2.0 - 2.0 * _cosines(p1, jax.lax.stop_gradient(z2))
    back = 2.0 - 2.0 * _cosines(p2, jax.lax.stop_gradient(z1))
    return jnp.mean(forth + back)

"""BECLR (Poulakakis-Daktylidis and Jamali-Rad 2024): clusters of a memory, batches enlarged by neighbours in them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from ._common import HIGHEST, matrix, normalize, pair, positive, same_width
from .predictive import simsiam
from .transport import sinkhorn
from .unisiam import mean_kernel


def balanced_clusters(
    z: Float[ArrayLike, 'batch dim'],
    prototypes: Float[ArrayLike, 'count dim'],
    *,
    epsilon: ArrayLike = 0.1,
    iterations: int = 10,
    farthest: bool = False,
) -> Int[Array, ' batch']:
    """The cluster of each row by Sinkhorn's plan, which uses all clusters equally: scores are −‖n(z) − n(c)‖.

    Args:
      z, prototypes: any norm (normalised here).
      epsilon, iterations: of :func:`sinkhorn`. Authors: 10 iterations, and an ε of 1e-5 that grows by 0.1 until
        exp(·/ε) is finite, which is at 0.1.
      farthest: scores are +‖n(z) − n(c)‖, so that far clusters are preferred, as the authors' code has it.

    Returns:
      Numbers of clusters, no gradient. The first one for all where all scores are equal, as at collapse.

    Cost: O(batch·count·(dim + iterations)); no state. Every row depends on the whole batch.

    References:
      Poulakakis-Daktylidis and Jamali-Rad 2024, https://arxiv.org/abs/2402.02444; `dyce.py` of the authors.
    """
    z, prototypes = matrix('z', z), matrix('prototypes', prototypes)
    same_width('prototypes', prototypes, 'z', z)
    z, prototypes = jax.lax.stop_gradient((normalize(z), normalize(prototypes.astype(z.dtype))))
    squared = 2.0 - 2.0 * jnp.matmul(z, prototypes.T, precision=HIGHEST)
    distance = jnp.sqrt(jnp.maximum(squared, 0.0))
    plan = sinkhorn(distance if farthest else -distance, epsilon=epsilon, iterations=iterations)
    return jnp.argmax(plan, axis=1)


def nearest_members(
    z: Float[ArrayLike, 'batch dim'],
    memory: Float[ArrayLike, 'length dim'],
    members: Int[ArrayLike, ' length'],
    prototypes: Float[ArrayLike, 'count dim'],
    *,
    neighbours: int = 5,
) -> Float[Array, 'batch neighbours dim']:
    """The entries most alike to each row in the cluster whose prototype is most alike to it, by cosines.

    Args:
      z: rows, any norm.
      memory: entries, any norm.
      members: the cluster of each entry; −1 for an empty place, which is never chosen.
      prototypes: one a cluster, any norm.
      neighbours: k. Where the cluster has no more entries than k, they are sought in the whole memory.

    Returns:
      Entries as they stand in the memory, the most alike first, no gradient. A row that is in the memory finds itself.

    Convention: one row's neighbours are all of one cluster or all of the memory. The authors ask for more than k
    members for the first view and at least k for the second; here it is more than k for both.

    Cost: O(batch·length·dim); state: memory, members and prototypes, kept by the caller.

    References:
      Poulakakis-Daktylidis and Jamali-Rad 2024, https://arxiv.org/abs/2402.02444; `dyce.py` of the authors.
    """
    z, memory, prototypes = matrix('z', z), matrix('memory', memory), matrix('prototypes', prototypes)
    members = jnp.asarray(members)
    same_width('memory', memory, 'z', z)
    same_width('prototypes', prototypes, 'z', z)
    if members.shape != memory.shape[:1]:
        raise ValueError(
            f'members must have one entry a row of memory: their shapes are {list(members.shape)} and '
            f'{list(memory.shape)}'
        )
    if not 1 <= neighbours <= len(memory):
        raise ValueError(f'neighbours={neighbours} must lie between 1 and the {len(memory)} rows of memory')
    z, memory, prototypes = jax.lax.stop_gradient((normalize(z), memory.astype(z.dtype), prototypes.astype(z.dtype)))
    cluster = jnp.argmax(jnp.matmul(z, normalize(prototypes).T, precision=HIGHEST), axis=1)
    cosines = jnp.matmul(z, normalize(memory).T, precision=HIGHEST)
    inside = cluster[:, None] == members[None]
    enough = jnp.sum(inside, axis=1, keepdims=True) > neighbours
    among = jnp.where(enough, inside, members[None] >= 0)
    return memory[jax.lax.top_k(jnp.where(among, cosines, -jnp.inf), neighbours)[1]]


def beclr_terms(
    p1: Float[ArrayLike, 'batch dim'],
    p2: Float[ArrayLike, 'batch dim'],
    t1: Float[ArrayLike, 'batch dim'],
    t2: Float[ArrayLike, 'batch dim'],
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *,
    temperature: ArrayLike = 2.0,
) -> dict[str, Array]:
    """The terms of :func:`beclr`: `alignment` and `uniformity`.

    Args:
      p1, p2, t1, t2, z1, z2, temperature: see :func:`beclr`.

    Returns:
      The two scalars by name, without weight.

    References:
      Poulakakis-Daktylidis and Jamali-Rad 2024, https://arxiv.org/abs/2402.02444.
    """
    positive('temperature', temperature)
    z1, z2 = pair(z1, z2, rows=2)
    return {
        'alignment': (simsiam(p1, t2) + simsiam(p2, t1)) / 2.0,
        'uniformity': mean_kernel(z1, z2, temperature),
    }


def beclr(
    p1: Float[ArrayLike, 'batch dim'],
    p2: Float[ArrayLike, 'batch dim'],
    t1: Float[ArrayLike, 'batch dim'],
    t2: Float[ArrayLike, 'batch dim'],
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *,
    uniformity_weight: ArrayLike = 0.1,
    temperature: ArrayLike = 2.0,
) -> Float[Array, '']:
    """UniSiam's loss towards a target network: −½·mean cos(p1, sg t2) − ½·mean cos(p2, sg t1) + λ·U(z1, z2).

    U is the logarithm of the mean of exp(n(z_i)·n(z_j) / T) over pairs of views of different images.

    Args:
      p1, p2: the predictor's outputs for the two views, any norm.
      t1, t2: the target network's projections, any norm; no gradient enters them.
      z1, z2: the trained network's projections, at least two rows, any norm.
      uniformity_weight: λ. Authors: 0.1.
      temperature: T. Authors: 2.

    Returns:
      A scalar from −1 − λ/T; −1 + λ/T at collapse.

    Convention: rows that enlarge a batch (:func:`nearest_members`) stand behind its own, the same place in both views,
    and are counted as further images. With t = z it is :func:`unisiam`.

    Cost: O(batch²·dim) time, O(batch²) memory; no state.

    References:
      Poulakakis-Daktylidis and Jamali-Rad 2024, https://arxiv.org/abs/2402.02444; `model/beclr.py`.
    """
    terms = beclr_terms(p1, p2, t1, t2, z1, z2, temperature=temperature)
    return terms['alignment'] + uniformity_weight * terms['uniformity']

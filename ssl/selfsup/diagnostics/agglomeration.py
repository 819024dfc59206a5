"""Agglomerative clustering by a directed graph of nearest neighbours (graph degree linkage), as JULE does it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from ._common import HIGHEST, as_float, matrix
from .neighbours import nearest, pairwise_distances


def neighbour_affinity(z: Float[ArrayLike, 'samples dim'], *, neighbours: int = 20) -> Float[Array, 'samples samples']:
    """W_ij = exp(−‖z_i − z_j‖² / σ²) where j is one of the nearest neighbours of i, else 0.

    σ² is the mean of those squared distances.

    Args:
      z: points, more than `neighbours`.
      neighbours: of each point, itself left out. Authors: 20.

    Returns:
      The directed graph, in [0, 1]; 1 at all neighbours where all points coincide.

    Cost: O(samples²·dim) time, O(samples²) memory.

    References:
      Zhang et al. 2012, https://arxiv.org/abs/1208.5092; Yang et al. 2016, https://arxiv.org/abs/1604.03628;
      `affinity.lua` of the authors.
    """
    z = matrix('z', z)
    distance, index = nearest(z, k=neighbours)
    squared = distance**2
    width = jnp.mean(squared)
    near = jnp.exp(-squared / jnp.where(width > 0, width, 1.0))
    return jnp.zeros((len(z), len(z)), z.dtype).at[jnp.arange(len(z))[:, None], index].set(near)


def neighbour_chains(z: Float[ArrayLike, 'samples dim']) -> Int[Array, ' samples']:
    """First clusters: every point is with its nearest neighbour, so a cluster has at least two.

    Args:
      z: points, at least two.

    Returns:
      Clusters numbered from 0 in the order of their first points; at most half as many as points.

    Convention: whole connected parts. The authors' code ends a chain after 50 points, or where it meets an earlier one.

    Cost: O(samples²·dim).

    References:
      Zhang et al. 2012, https://arxiv.org/abs/1208.5092; Yang et al. 2016, https://arxiv.org/abs/1604.03628;
      `agg_clustering.lua` of the authors.
    """
    near = nearest(z, k=1)[1][:, 0]

    def spread(state: tuple) -> tuple:
        _, now = state
        new = jnp.minimum(now, now[near])
        new = new.at[near].min(new)
        return now, jnp.minimum(new, new[new])

    own = jnp.arange(len(near), dtype=near.dtype)
    _, first = jax.lax.while_loop(lambda state: jnp.any(state[0] != state[1]), spread, (own - 1, own))
    return _numbered(first, len(near))


def agglomerate(
    affinity: Float[ArrayLike, 'samples samples'],
    member: Int[ArrayLike, ' samples'],
    z: Float[ArrayLike, 'samples dim'],
    *,
    left: ArrayLike,
    slots: int | None = None,
    local: int = 5,
    local_above: int = 100,
) -> Int[Array, ' samples']:
    """Merges the two clusters of largest affinity until so many are left (graph degree linkage).

    A_ab = 1ᵀW_ab W_ba 1 / |a|² + 1ᵀW_ba W_ab 1 / |b|². While there are more than `local_above` clusters, the pair is
    the one of largest A_ab + Σ_k (A_ab − A_a,k) / (K − 1), b being the cluster of largest affinity to a, and k the 2nd
    to K-th: b should be nearer than the others. Clusters without any affinity are merged last, nearest means first.

    Args:
      affinity: W, directed, ≥ 0.
      member: the cluster of each point, from 0.
      z: points, for the means of clusters.
      left: how many clusters to leave; it may be traced. Nothing is merged where there are no more than that.
      slots: a bound of the numbers of `member`, at most and by default the number of points.
      local: K, at most `slots`. Authors: 5.
      local_above: see above. Authors' code: 100.

    Returns:
      Clusters numbered from 0, in the order of their numbers before.

    Convention: affinities after a merge are exact; the authors' fast form adds up rows where their products are meant.

    Cost: O(merges·slots·(samples + slots)) time, O(samples·(samples + slots)) memory.

    References:
      Zhang et al. 2012, https://arxiv.org/abs/1208.5092; Yang et al. 2016, https://arxiv.org/abs/1604.03628;
      `agg_clustering.lua` of the authors.
    """
    w, member = as_float('affinity', affinity), jnp.asarray(member)
    z = matrix('z', z).astype(w.dtype)
    samples = len(z)
    slots = samples if slots is None else slots
    if w.shape != (samples, samples) or member.shape != (samples,):
        raise ValueError(
            f'affinity [samples, samples] and member [samples] do not fit z of {list(z.shape)}: their shapes are '
            f'{list(w.shape)} and {list(member.shape)}'
        )
    if not 2 <= local <= slots:
        raise ValueError(f'local={local} must lie between 2 and the {slots} slots')
    number = jnp.arange(slots)
    which = jax.nn.one_hot(member, slots, dtype=w.dtype)
    into, out = jnp.matmul(which.T, w, precision=HIGHEST), jnp.matmul(w, which, precision=HIGHEST).T
    sizes = jnp.sum(which, axis=0)
    sums = jnp.matmul(which.T, z, precision=HIGHEST)
    products = jnp.matmul(into * out, which, precision=HIGHEST)
    apart = pairwise_distances(sums / jnp.maximum(sizes, 1.0)[:, None], metric='squared')

    def chosen(state: tuple) -> tuple[Array, Array]:
        _, _, _, products, sizes, _, apart = state
        there = (sizes > 0)[:, None] & (sizes > 0)[None] & (number[:, None] != number[None])
        one_way = products / jnp.maximum(sizes, 1.0)[:, None] ** 2
        linked = jnp.where(there, one_way + one_way.T, -1.0)
        most = jax.lax.top_k(linked, local)[0]
        gaps = jnp.where(most[:, 1:] >= 0, most[:, :1] - most[:, 1:], 0.0)
        more = jnp.where(jnp.sum(sizes > 0) > local_above, jnp.sum(gaps, axis=1) / (local - 1), 0.0)
        far = jnp.where(there, apart, jnp.inf)
        score = jnp.where(most[:, 0] > 0, most[:, 0] + more, -jnp.min(far, axis=1))
        a = jnp.argmax(score)
        b = jnp.where(most[a, 0] > 0, jnp.argmax(linked[a]), jnp.argmin(far[a]))
        return jnp.minimum(a, b), jnp.maximum(a, b)

    def merge(state: tuple) -> tuple:
        member, into, out, products, sizes, sums, apart = state
        a, b = chosen(state)
        member = jnp.where(member == b, a, member).astype(member.dtype)
        into, out, sizes, sums = (x.at[a].add(x[b]).at[b].set(0.0) for x in (into, out, sizes, sums))
        row = jnp.matmul(into[a] * out[a], jax.nn.one_hot(member, slots, dtype=w.dtype), precision=HIGHEST)
        products = products.at[:, a].add(products[:, b]).at[a].set(row)
        means = sums / jnp.maximum(sizes, 1.0)[:, None]
        new = jnp.sum((means - means[a][None]) ** 2, axis=1)
        return member, into, out, products, sizes, sums, apart.at[a].set(new).at[:, a].set(new)

    start = (member, into, out, products, sizes, sums, apart)
    last = jax.lax.while_loop(lambda state: jnp.sum(state[4] > 0) > jnp.maximum(left, 1), merge, start)
    return _numbered(last[0], slots)


def _numbered(member: Array, slots: int) -> Array:
    """The same clusters, numbered from 0 without gaps in the order of their numbers, which lie below `slots`."""
    there = jnp.zeros(slots, jnp.int32).at[member].max(1)
    return (jnp.cumsum(there) - 1)[member].astype(jnp.int32)

"""k-means on the device: Euclidean or spherical, with rows that do not count, and what becomes of empty clusters."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Key

from ._common import HIGHEST, as_float, matrix, unit

# Rows are visited so many at a time, one from each of as many parts of the set: a memory whose rows are spread over
# devices gives every device its share of each visit.
PIECE = 256
STARTS = ('plus_plus', 'rows')
EMPTY = ('keep', 'farthest')


def kmeans(
    key: Key[Array, ''],
    z: Float[ArrayLike, 'samples dim'],
    *,
    clusters: int,
    iterations: int = 50,
    start: str | Float[ArrayLike, 'clusters dim'] = 'plus_plus',
    empty: str = 'keep',
    spherical: bool = False,
    valid: Bool[ArrayLike, ' samples'] | None = None,
    restarts: int = 1,
) -> tuple[Float[Array, 'clusters dim'], Int[Array, 'samples']]:
    """Lloyd's algorithm in a fixed number of iterations: min Σ_i ‖z_i − c_member(i)‖².

    Args:
      key: for the start.
      z: points, at least `clusters` of them.
      clusters: number of centres.
      iterations: of Lloyd's algorithm; none raises the inertia.
      start: 'plus_plus', k-means++ seeds; 'rows', distinct random rows (faiss, DeepCluster); or the centres themselves.
      empty: what a cluster without rows does: 'keep' its centre, or go to the row 'farthest' from its own centre, the
        next such row for the next empty cluster (scikit-learn).
      spherical: rows and centres are scaled to unit length, and a row belongs to the centre of largest cosine.
      valid: rows that take part; None for all. The caller sees to it that there are `clusters` of them.
      restarts: starts from so many keys, of which the one of least inertia is returned.

    Returns:
      Centres, and for each row the index of the nearest, −1 where not valid. With fewer distinct points than clusters,
      centres coincide and the first of them takes the points.

    Rows may be spread over devices: assignments are the same on any number of them, and sums over rows, which are
    products with a one-hot matrix, are to rounding. (On a GPU scattered additions would differ from run to run.)

    Cost: O(iterations·samples·clusters·dim) time, O(samples·dim + 256·clusters) memory.

    References:
      Arthur and Vassilvitskii 2007, "k-means++: the advantages of careful seeding"; Lloyd 1982.
    """
    z = matrix('z', z)
    if not 1 <= clusters <= z.shape[0]:
        raise ValueError(f'clusters={clusters} must lie between 1 and the rows of z, which has shape {list(z.shape)}')
    if empty not in EMPTY:
        raise ValueError(f"empty must be 'keep' or 'farthest', not {empty!r}")
    if isinstance(start, str) and start not in STARTS:
        raise ValueError(f"start must be 'plus_plus', 'rows' or centres, not {start!r}")
    if restarts < 1:
        raise ValueError(f'restarts must be at least 1, not {restarts}')
    z = unit(z) if spherical else z
    counted = jnp.ones(z.shape[0], bool) if valid is None else jnp.asarray(valid)
    given = None if isinstance(start, str) else _given(start, clusters, z, spherical)

    def once(key: Array) -> tuple[Array, Array, Array]:
        centres = given if given is not None else _begun(key, z, counted, clusters, str(start))

        def lloyd(_: Array, centres: Array) -> Array:
            member, gaps, sums, counts = _visited(z, counted, centres, spherical)
            if empty == 'farthest':
                sums, counts = _relocated(z, member, gaps, sums, counts)
            means = unit(sums) if spherical else sums / jnp.maximum(counts, 1.0)[:, None]
            return jnp.where((counts > 0)[:, None], means, centres)

        centres = jax.lax.fori_loop(0, iterations, lloyd, centres)
        member = jnp.where(counted, _visited(z, counted, centres, spherical)[0], -1)
        return centres, member, inertia(z, centres, member)

    if restarts == 1:
        return once(key)[:2]
    centres, member, objective = jax.lax.map(once, jax.random.split(key, restarts))
    best = jnp.argmin(objective)
    return centres[best], member[best]


def inertia(
    z: Float[ArrayLike, 'samples dim'], centres: Float[ArrayLike, 'clusters dim'], member: Int[ArrayLike, ' samples']
) -> Float[Array, '']:
    """Σ_i ‖z_i − c_member(i)‖², k-means' objective, of the rows whose member is not −1.

    Args:
      z, centres, member: as :func:`kmeans` takes and returns them.

    Returns:
      A scalar ≥ 0; 0 at collapse to one point.

    Cost: O(samples·dim).

    References:
      Lloyd 1982, "Least squares quantization in PCM".
    """
    z, centres, member = matrix('z', z), matrix('centres', centres), jnp.asarray(member)
    squares = jnp.sum((z - centres[jnp.maximum(member, 0)]) ** 2, axis=1)
    return jnp.sum(jnp.where(member >= 0, squares, 0.0))


def _given(start: ArrayLike, clusters: int, z: Array, spherical: bool) -> Array:
    centres = as_float('start', start).astype(z.dtype)
    if centres.shape != (clusters, z.shape[1]):
        raise ValueError(
            f'start must be centres {[clusters, z.shape[1]]} for z of {list(z.shape)}, not {list(centres.shape)}'
        )
    return unit(centres) if spherical else centres


def _begun(key: Array, z: Array, valid: Array, clusters: int, start: str) -> Array:
    """First centres: random valid rows, or k-means++ seeds among them."""
    if start == 'rows':
        lots = jnp.where(valid, jax.random.uniform(key, valid.shape), -1.0)
        return z[jax.lax.top_k(lots, clusters)[1]]
    keys = jax.random.split(key, clusters)

    def to(centre: Array) -> Array:
        return jnp.where(valid, jnp.sum((z - centre[None]) ** 2, axis=1), 0.0)

    first = z[_drawn(keys[0], valid)]

    def seed(i: Array, state: tuple) -> tuple:
        centres, closest = state
        chance = jnp.where(jnp.any(closest > 0), closest, valid.astype(z.dtype))
        new = z[jax.random.categorical(keys[i], jnp.log(chance))]
        return centres.at[i].set(new), jnp.minimum(closest, to(new))

    centres = jnp.zeros((clusters, z.shape[1]), z.dtype).at[0].set(first)
    return jax.lax.fori_loop(1, clusters, seed, (centres, to(first)))[0]


def _drawn(key: Array, valid: Array) -> Array:
    """A random valid row's number."""
    place = jax.random.randint(key, (), 0, jnp.sum(valid))
    return jnp.searchsorted(jnp.cumsum(valid), place, side='right')


def _visited(z: Array, valid: Array, centres: Array, spherical: bool) -> tuple[Array, Array, Array, Array]:
    """Each row's nearest centre and squared distance to it; each centre's sum and number of valid rows."""
    rows = z.shape[0]
    short = -rows % PIECE
    z = jnp.pad(z, ((0, short), (0, 0)))
    pieces = jnp.swapaxes(z.reshape(PIECE, -1, z.shape[1]), 0, 1)
    masks = jnp.pad(valid, (0, short)).reshape(PIECE, -1).T
    # Distances through ‖x‖² + ‖c‖² − 2x·c round by the size of x and c: both are taken from the centres' middle.
    middle = jnp.zeros_like(centres[:1]) if spherical else jnp.mean(centres, axis=0, keepdims=True)
    around = centres - middle
    norms = jnp.sum(around * around, axis=1)

    def visit(carry: tuple, piece: tuple) -> tuple:
        sums, counts = carry
        x, mask = piece
        products = jnp.matmul(x - middle, around.T, precision=HIGHEST)
        chosen = jnp.argmax(products if spherical else 2.0 * products - norms[None], axis=1)
        gaps = jnp.sum((x - centres[chosen]) ** 2, axis=1)
        members = jax.nn.one_hot(chosen, centres.shape[0], dtype=x.dtype) * mask[:, None]
        sums = sums + jnp.matmul(members.T, x, precision=HIGHEST)
        return (sums, counts + jnp.sum(members, axis=0)), (chosen, gaps)

    start = (jnp.zeros_like(centres), jnp.zeros(centres.shape[0], centres.dtype))
    (sums, counts), (chosen, gaps) = jax.lax.scan(visit, start, (pieces, masks))
    chosen, gaps = (x.T.reshape(-1)[:rows] for x in (chosen, jnp.where(masks, gaps, -1.0)))
    return chosen, gaps, sums, counts


def _relocated(z: Array, member: Array, gaps: Array, sums: Array, counts: Array) -> tuple[Array, Array]:
    """Sums and numbers after each empty cluster took the farthest row that is left."""
    clusters = counts.shape[0]
    vacant = counts == 0
    distance, far = jax.lax.top_k(gaps, clusters)
    place = jnp.maximum(jnp.cumsum(vacant) - 1, 0)
    taken = far[place]
    moved = vacant & (distance[place] > 0)
    rows = jnp.where(moved[:, None], z[taken], 0.0)
    lost = jax.nn.one_hot(member[taken], clusters, dtype=z.dtype) * moved[:, None]
    sums = sums - jnp.matmul(lost.T, rows, precision=HIGHEST) + rows
    return sums, counts - jnp.sum(lost, axis=0) + moved.astype(counts.dtype)

"""JULE: the graph, merges and triplets against NumPy, and what happens before an epoch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from programs import compiled
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from selfsup import diagnostics, losses
from selfsup.errors import UserError
from test_clustering import begun, refreshed
from tolerances import FLOAT32, FLOAT64

KEY = jax.random.key(3)


def points(count=24, dim=3, seed=0):
    rng = np.random.default_rng(seed)
    return 4 * rng.normal(size=(4, dim))[np.arange(count) % 4] + rng.normal(size=(count, dim))


def squared(z):
    found = ((z[:, None] - z[None]) ** 2).sum(2)
    np.fill_diagonal(found, np.inf)
    return found


def graph(z, neighbours):
    apart = squared(z)
    near = np.argsort(apart, axis=1)[:, :neighbours]
    width = np.take_along_axis(apart, near, axis=1).mean()
    found = np.zeros_like(apart)
    for i, row in enumerate(near):
        found[i, row] = np.exp(-apart[i, row] / width)
    return found


def merged(w, member, z, left, local, local_above):
    """The same by sets of points, every affinity computed anew before every merge."""
    sets = [list(np.flatnonzero(member == k)) for k in range(member.max() + 1)]

    def affinity(a, b):
        there, back = w[np.ix_(a, b)], w[np.ix_(b, a)]
        return (there @ back).sum() / len(a) ** 2 + (back @ there).sum() / len(b) ** 2

    while len(sets) > left:
        table = np.array([[affinity(a, b) if a is not b else -1 for b in sets] for a in sets])
        means = np.array([z[s].mean(0) for s in sets])
        apart, scores = squared(means), []
        for row, far in zip(table, apart, strict=True):
            most = np.sort(row[row >= 0])[::-1][:local]
            more = (most[0] - most[1:]).sum() / (local - 1) if len(sets) > local_above else 0
            scores.append(most[0] + more if most[0] > 0 else -far.min())
        a = int(np.argmax(scores))
        b = int(np.argmax(table[a]) if table[a].max() > 0 else np.argmin(apart[a]))
        a, b = min(a, b), max(a, b)
        sets[a] = sets[a] + sets.pop(b)
    found = np.zeros(len(z), int)
    for number, s in enumerate(sets):
        found[s] = number
    return found


def test_graph_is_directed_and_as_wide_as_its_distances(x64):
    z = points()
    np.testing.assert_allclose(compiled(diagnostics.neighbour_affinity, neighbours=5)(z), graph(z, 5), rtol=FLOAT64)
    same = np.asarray(compiled(diagnostics.neighbour_affinity, neighbours=5)(np.ones((24, 3))))
    assert ((same == 0) | (same == 1)).all() and (same.sum(1) == 5).all()


@pytest.mark.parametrize('seed', range(4))
def test_first_clusters_are_the_connected_parts_of_the_nearest_neighbours(seed, x64):
    z = np.random.default_rng(seed).normal(size=(60, 2))
    near = squared(z).argmin(1)
    count, parts = connected_components(coo_array((np.ones(60), (np.arange(60), near)), shape=(60, 60)), directed=False)
    found = np.asarray(compiled(diagnostics.neighbour_chains)(z))
    np.testing.assert_array_equal(found, np.unique(parts, return_index=True, return_inverse=True)[2])
    assert found.max() + 1 == count <= 30 and np.bincount(found).min() >= 2


@pytest.mark.parametrize('local_above', [3, 100])
@pytest.mark.parametrize('left', [2, 4, 24])
def test_merges_are_those_of_affinities_made_anew(left, local_above, x64):
    z = points()
    w, start = graph(z, 5), np.asarray(compiled(diagnostics.neighbour_chains)(z))
    call = compiled(diagnostics.agglomerate, left=left, slots=12, local=3, local_above=local_above)
    found = np.asarray(call(w, start, z))
    np.testing.assert_array_equal(found, merged(w, start, z, left, 3, local_above))
    assert found.max() + 1 == min(left, start.max() + 1)


def test_clusters_without_affinity_are_merged_last_and_by_their_means(x64):
    z = np.asarray([[0.0], [1], [10], [11], [14], [15], [40], [41]])
    w = np.kron(np.eye(4), 1 - np.eye(2))  # pairs know one another, and nobody else
    found = compiled(diagnostics.agglomerate, left=2, slots=8, local=2)(w, np.arange(8) // 2, z)
    np.testing.assert_array_equal(found, [0, 0, 0, 0, 0, 0, 1, 1])
    single = compiled(diagnostics.agglomerate, left=4, slots=8, local=2)(w, np.arange(8), z)
    np.testing.assert_array_equal(single, np.arange(8) // 2)


def test_affinities_that_do_not_fit_are_refused(own_checks):
    with pytest.raises(ValueError, match=r'affinity \[samples, samples\] and member .* \[8, 7\] and \[8\]'):
        diagnostics.agglomerate(np.ones((8, 7)), np.arange(8), np.ones((8, 1)), left=2)
    with pytest.raises(ValueError, match='local=9 must lie between 2 and the 8 slots'):
        diagnostics.agglomerate(np.ones((8, 8)), np.arange(8), np.ones((8, 1)), left=2, local=9)


def test_triplets_are_those_of_the_loop(x64):
    rng = np.random.default_rng(0)
    z, lots = rng.normal(size=(9, 4)), rng.uniform(size=(9, 9))
    clusters = np.asarray([0, 0, 0, 1, 1, 2, -1, 2, 3])
    n = z / np.linalg.norm(z, axis=1, keepdims=True)
    terms = []
    for i in range(9):
        others = [k for k in range(9) if clusters[k] >= 0 and clusters[k] != clusters[i]]
        drawn = sorted(others, key=lambda k, i=i: -lots[i, k])[:3]
        for j in range(9):
            if i != j and clusters[i] == clusters[j] >= 0:
                gaps = [1.5 * ((n[i] - n[j]) ** 2).sum() - ((n[i] - n[k]) ** 2).sum() + 0.4 for k in drawn]
                terms += [max(gap, 0) for gap in gaps]
    call = compiled(losses.weighted_triplet, margin=0.4, positive_weight=1.5, negatives=3)
    np.testing.assert_allclose(call(z, clusters, lots), np.mean(terms), rtol=FLOAT64)
    one = compiled(losses.weighted_triplet)
    np.testing.assert_allclose(one(np.ones((9, 4)), clusters, lots), 0.2, rtol=FLOAT64)  # at collapse
    assert float(one(z, np.full(9, -1), lots)) == 0 == float(one(z, np.zeros(9, int), lots))
    gradient = jax.grad(lambda x: losses.weighted_triplet(x, clusters, lots))(jnp.asarray(z))
    assert (np.asarray(gradient)[6] == 0).all() and np.isfinite(gradient).all()


def test_triplets_that_do_not_fit_are_refused(own_checks):
    z = np.ones((4, 2), np.float32)
    with pytest.raises(ValueError, match=r'lots must have shape \[4, 4\], not \[4\]'):
        losses.weighted_triplet(z, np.zeros(4, int), np.ones(4, np.float32))
    with pytest.raises(ValueError, match='negatives must be at least 1, not 0'):
        losses.weighted_triplet(z, np.zeros(4, int), np.ones((4, 4), np.float32), negatives=0)


def test_first_clusters_are_of_pixels_and_later_ones_are_merged():
    method, rows, params, extra = begun('jule', clusters=2, merged=0.5, neighbours=3)
    pixels, z = points(20, 4, 1).astype(np.float32), points(20, 16, 2).astype(np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    both = np.concatenate([z, pixels], axis=1)
    _, state, reset = refreshed(method, params, extra, both)
    first = np.asarray(diagnostics.neighbour_chains(pixels))
    held = np.asarray(state['per_example']['clusters'][:, 0])
    np.testing.assert_array_equal(held[:20], first)
    count = first.max() + 1
    assert (held[20:] == -1).all() and int(state['left']) == count > 3 and reset == ()
    left = []
    for _ in range(4):
        _, state, _ = refreshed(method, params, state, both)
        left.append(int(state['left']))
    expected, now = [], count
    for _ in range(4):
        now = max(now - int(np.ceil(0.5 * now)), 2)
        expected.append(now)
    assert left == expected and left[-1] == 2
    own = np.asarray(state['per_example']['clusters'][:20, 0])
    scores = method.assign(params, state, {'embeddings': jnp.asarray(z)})
    means = np.stack([z[own == k].mean(0) for k in range(2)])
    expected = z @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    np.testing.assert_allclose(scores[:, :2], expected, rtol=1e-4, atol=1e-5)
    assert np.isneginf(scores[:, 2:]).all()
    kept = method.refresh.encode(params, extra, rows['views'][0])
    flat = np.asarray(rows['views'][0]).reshape(16, -1)
    expected = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    np.testing.assert_allclose(kept[:, 16:], expected, rtol=FLOAT32, atol=1e-6)


def test_sets_that_are_too_large_or_too_small_are_named():
    with pytest.raises(UserError, match='jule compares all pairs of at most 20000 images, and has 20001'):
        small.initial(small.make('jule', data_size=20001), small.batch())
    with pytest.raises(UserError, match='method.neighbours=16 neighbours and method.local=2 clusters among 16 images'):
        small.make('jule', neighbours=16)

"""The losses of sentence embeddings against their authors' code, and their parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from loss_references import ORDERS
from loss_rows import views
from programs import compiled
from selfsup import losses, methods, models
from selfsup.errors import UserError
from tolerances import FLOAT64, GOLDEN_FLOAT64


def test_esimcse_golden(golden, x64):
    """The queue is X − Y, last row first."""
    x, y = golden
    found = compiled(losses.esimcse)(x, y, (x - y)[::-1])
    assert abs(float(found) - 0.3162754009) < GOLDEN_FLOAT64


def test_esimcse_with_an_empty_queue_is_simcse(x64):
    z1, z2 = views()
    found = compiled(losses.esimcse)(z1, z2, np.ones((4, 6)), queue_valid=np.zeros(4, bool))
    np.testing.assert_allclose(found, compiled(losses.info_nce_in_batch, temperature=0.05)(z1, z2), rtol=FLOAT64)
    half = compiled(losses.esimcse)(z1, z2, np.concatenate([z1[:3], z2[:3]]), queue_valid=np.arange(6) < 3)
    np.testing.assert_allclose(half, compiled(losses.esimcse)(z1, z2, z1[:3]), rtol=FLOAT64)


def test_cluster_negatives_golden(golden, x64):
    """Centroids are the first four rows of X. Of α = 0.25 their mean counts 0.25 for each pair of other clusters."""
    x, y = golden
    found = compiled(losses.cluster_negatives, weight=0.01)(x, y, x[:4])
    assert abs(float(found) - 0.5851610075) < GOLDEN_FLOAT64
    plain, found = (compiled(losses.cluster_negatives, weight=w, least=0.25)(x, y, x[:4]) for w in (0.0, 1.0))
    assert abs(float(plain) - 0.5840831492) < GOLDEN_FLOAT64
    assert abs(float(found - plain) - (0.3099658441 - 0.25 * (1 - 54 / 256))) < GOLDEN_FLOAT64


def test_centroids_move_to_their_members(x64):
    z1, _ = views()
    unit = z1 / np.linalg.norm(z1, axis=1, keepdims=True)
    centroids = np.concatenate([unit[:3], -10 * unit[:1].sum(0, keepdims=True)])
    own = np.argmax(unit @ (centroids / np.linalg.norm(centroids, axis=1, keepdims=True)).T, axis=1)
    found = np.asarray(compiled(losses.moved_centroids, rate=0.3)(z1, centroids))
    for c in range(4):
        if (own == c).any():
            moved = 0.7 * centroids[c] + 0.3 * unit[own == c].mean(0)
            np.testing.assert_allclose(found[c], moved / np.linalg.norm(moved), rtol=FLOAT64)
        else:
            np.testing.assert_array_equal(found[c], centroids[c])


def test_group_whitening_golden(golden):
    """The authors' layer, which computes in float32, with two groups and the columns as they stand."""
    x, y = golden
    first, second = (np.asarray(compiled(losses.group_whiten, groups=2, eps=0.0)(z.astype(np.float32))) for z in (x, y))
    expected = [1.48056817, 1.65218842, 0.96464443, -1.25600576, -1.6905334, -1.44446635]
    np.testing.assert_allclose(first[0], expected, atol=2e-4)
    expected = [-0.35884684, -1.35643721, -1.6270622, -0.04265074, 1.43212509, 1.37014353]
    np.testing.assert_allclose(second[1], expected, atol=2e-4)


def test_each_group_has_the_identity_as_covariance(x64):
    z = views(40)[0] @ np.random.default_rng(1).normal(size=(6, 6))
    order = ORDERS[0]
    white = np.asarray(compiled(losses.group_whiten, groups=3, eps=0.0)(z, order))
    for columns in np.split(order, 3):
        np.testing.assert_allclose(white[:, columns].T @ white[:, columns] / 40, np.eye(2), atol=1e-10)
    np.testing.assert_allclose(white.mean(0), 0, atol=1e-12)
    inverse = np.argsort(order)
    again = compiled(losses.group_whiten, groups=3, eps=0.0)(z[:, order])
    np.testing.assert_allclose(np.asarray(again)[:, inverse], white, atol=1e-12)


@pytest.mark.parametrize('case', ['general', 'equal eigenvalues', 'rank one'])
def test_the_gradient_of_whitening_is_that_of_differences(case, x64):
    """An eigendecomposition's own derivative is not finite where eigenvalues are equal."""
    z = np.random.default_rng(2).normal(size=(12, 3))
    if case == 'equal eigenvalues':
        z = np.linalg.qr(z - z.mean(0))[0] * 2
    if case == 'rank one':
        z = np.outer(z[:, 0], [1.0, 2.0, -1.0])
    weights = np.random.default_rng(3).normal(size=(12, 3))
    eps = 1e-2
    value = jax.jit(lambda z: jnp.sum(losses.group_whiten(z, groups=1, eps=eps) * weights))
    slope = np.asarray(jax.jit(jax.grad(value))(z))
    step = np.random.default_rng(4).normal(size=z.shape)
    step[np.unravel_index(np.abs(z - z.mean(0)).argmax(), z.shape)] = 0  # of the scale that is taken out, which cancels
    difference = (float(value(z + 1e-6 * step)) - float(value(z - 1e-6 * step))) / 2e-6
    np.testing.assert_allclose(np.sum(slope * step), difference, rtol=1e-5, atol=1e-7)


def test_unsee_wants_a_projector_as_wide_as_the_features():
    method = methods.METHODS['unsee'](small.ENCODER, models.MLP(widths=(8,)))
    with pytest.raises(UserError, match='projector.widths must end in 16, the width of the features, not 8'):
        jax.eval_shape(lambda: method.init(jax.random.key(0), small.batch()))

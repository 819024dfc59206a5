"""CARE and SIE: their losses beside float64 references, the draws that neighbours share, and what training reaches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
import tolerances
from programs import compiled, with_gradients
from selfsup import augment, losses, methods
from selfsup.errors import UserError
from selfsup.methods.equivariant.sie import relative

ROWS, COLUMNS = np.meshgrid(np.arange(16), np.arange(6), indexing='ij')
X = np.sin(1 + 1.7 * ROWS + 0.9 * COLUMNS + 0.13 * ROWS * COLUMNS)
Y = X + 0.3 * np.cos(0.5 + 2.3 * ROWS + 1.1 * COLUMNS)


def unit(z):
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def test_care_equals_the_authors_value_and_a_loop(x64):
    value, gradients = with_gradients(losses.care, chunk=8)(X, Y)
    np.testing.assert_allclose(value, 0.1646443444, atol=1e-10)  # the authors' code on unit rows, 2 chunks of 8
    x, y, total = unit(X), unit(Y), 0.0
    for start in (0, 4, 8, 12):
        for i in range(start, start + 4):
            total += sum((x[i] @ x[j] - y[i] @ y[j]) ** 2 for j in range(start, start + 4) if j != i) * 2 / 16
    np.testing.assert_allclose(compiled(losses.care, chunk=4)(X, Y), total, rtol=tolerances.FLOAT64)
    assert all(np.isfinite(g).all() and np.abs(g).max() > 0 for g in gradients)


def test_care_is_zero_where_the_change_is_orthogonal_and_at_collapse(x64):
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    assert compiled(losses.care, chunk=8)(X, X @ turn) < 1e-25
    assert compiled(losses.care, chunk=8)(X, Y) > 0.1
    constant = np.ones((16, 6))
    value, gradients = with_gradients(losses.care, chunk=8)(constant, constant)
    assert value == 0 and all((g == 0).all() for g in gradients)


def sie_reference(z1, z2, predicted):
    kept = z1.shape[1] - predicted.shape[1]

    def hinge(z):
        return np.mean(np.maximum(0, 1 - np.sqrt(z.var(0, ddof=1) + 1e-4)))

    def covariance(z):
        c = np.cov(z, rowvar=False)
        return (np.sum(c**2) - np.sum(np.diag(c) ** 2)) / z.shape[1]

    return {
        'invariance': np.mean((z1[:, :kept] - z2[:, :kept]) ** 2) if kept else 0.0,
        'equivariance': np.mean((predicted - z2[:, kept:]) ** 2),
        'variance': (hinge(z1) + hinge(z2)) / 2,
        'prediction_variance': hinge(predicted),
        'covariance': covariance(z1) + covariance(z2),
    }


@pytest.mark.parametrize('width', [2, 6])
def test_sie_terms_equal_their_formulas(width, x64):
    predicted = 0.5 * X[:, :width] - 0.2 * Y[:, -width:]
    found = compiled(losses.sie_terms)(X, Y, predicted)
    expected = sie_reference(X, Y, predicted)
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-14, err_msg=name)


def test_neighbours_share_what_is_drawn_and_other_views_do_not_change():
    images = np.asarray(small.images(8) * 255).astype(np.uint8)
    own = {'rotation': {'degrees': 90.0}}
    specs = {'own': own, 'shared': {**own, 'shared': 4, 'count': 2}}
    views = jax.jit(augment.make_views(specs))
    positions = jnp.arange(8) + 16  # a later piece of the batch
    seen, drawn = views(jax.random.key(0), images, positions, None)
    angles = [np.asarray(one['rotation']['angle']) for one in drawn]
    assert [len(np.unique(a)) for a in angles] == [8, 2, 2] and 'shared' not in drawn[0]
    assert (angles[1].reshape(2, 4) == angles[1][::4, None]).all() and (angles[1] != angles[2]).all()
    assert [one['shared'].shape for one in drawn[1:]] == [(8, 4)] * 2
    alone, _ = jax.jit(augment.make_views({'own': own}))(jax.random.key(0), images, positions, None)
    np.testing.assert_array_equal(seen[0], alone[0])
    # The piece that a microbatch holds has the draws of the whole.
    part, _ = views(jax.random.key(0), images[4:], positions[4:], None)
    np.testing.assert_array_equal(part[1], seen[1][4:])
    assert augment.expand(specs)['shared', 1]['shared'] == 4


def test_relative_transformations_of_two_views():
    first = {'rotation': {'angle': jnp.array([10.0, -20.0])}, 'flip': jnp.array([True, False]),
             'box': jnp.array([[0.0, 0, 4, 8], [2, 2, 4, 4]])}  # fmt: skip
    second = {'rotation': {'angle': jnp.array([100.0, -20.0])}, 'flip': jnp.array([True, True]),
              'box': jnp.array([[2.0, 4, 8, 8], [2, 2, 4, 4]])}  # fmt: skip
    found = relative((first, second), ('rotation', 'flip', 'box'))
    expected = [[0, 1, 1, 0.5, 0.5, np.log(2), 0], [1, 0, -1, 0, 0, 0, 0]]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(UserError, match="'jitter', and the views draw box, flip, rotation"):
        relative((first, second), ('jitter',))


@pytest.mark.slow
def test_care_without_shared_draws_is_refused():
    method, rows = small.make('care'), small.batch(8)
    params, extra = small.started(method, rows)
    outputs, extra = small.embed(method, params, extra, rows, jax.random.key(0))
    bare = {
        **rows,
        'view_params': tuple({**p, 'shared': p['shared'][:, : 4 - v]} for v, p in enumerate(rows['view_params'])),
    }
    for batch in (bare, {**rows, 'view_params': ({}, {})}):
        with pytest.raises(UserError, match=r'augment.views.<name>.shared in its last two views'):
            method.criterion(params, outputs, extra, batch, jax.random.key(0))


@pytest.mark.slow
def test_the_prediction_of_sie_is_a_linear_map_made_from_the_change(x64):
    """Against a loop over rows: predicted_o = Σ_i Σ_k g_k A[k, o·d + i] y_i, and no prediction where g is 0."""
    method, rows = small.make('sie'), small.batch(8)
    params, extra = small.started(method, rows)
    outputs, extra = small.embed(method, params, extra, rows, jax.random.key(0))
    z1, z2 = (np.asarray(z, np.float64) for z in outputs['embeddings'])
    width = z1.shape[1] // 2
    maps = np.asarray(params['hypernetwork']['kernel'], np.float64).reshape(2, width, width)
    angle = np.deg2rad(
        [float(b - a) for a, b in zip(*(p['rotation']['angle'] for p in rows['view_params']), strict=True)]
    )
    g = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    predicted = np.stack([np.einsum('k,koi->oi', c, maps) @ y for c, y in zip(g, z1[:, width:], strict=True)])
    _, (_, terms) = method.criterion(params, outputs, extra, rows, jax.random.key(0))
    for name, value in sie_reference(z1, z2, predicted).items():
        np.testing.assert_allclose(terms[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
    assert methods.sie in methods.METHODS.values() and set(params['projector']) == {'invariant', 'equivariant'}

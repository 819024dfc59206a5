"""CARE, SIE and FiLMR: their losses beside float64 references, the draws that neighbours share, and what training reaches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
import tolerances
from programs import compiled, with_gradients
from selfsup import augment, losses, methods
from selfsup.errors import UserError
from selfsup.methods.changes import ADDITIVE, RELATIVE, changes
from selfsup.methods.equivariant.filmr import operate

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
    found = changes((first, second), ('rotation', 'flip', 'box'), RELATIVE)
    expected = [[0, 1, 1, 0.5, 0.5, np.log(2), 0], [1, 0, -1, 0, 0, 0, 0]]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(UserError, match="'jitter', and the views draw box, flip, rotation"):
        changes((first, second), ('jitter',), RELATIVE)


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


def test_additive_changes_of_views_in_turn_are_those_of_the_first_to_the_last():
    rng = np.random.default_rng(0)
    drawn = [
        {'rotation': {'angle': jnp.asarray(a)}, 'jitter': {'factors': jnp.asarray(f)}}
        for a, f in zip(rng.uniform(-90, 90, (3, 5)), rng.uniform(0.5, 1.5, (3, 5, 4)), strict=True)
    ]
    one, two, both = (changes((drawn[i], drawn[j]), tuple(ADDITIVE), ADDITIVE) for i, j in ((0, 1), (1, 2), (0, 2)))
    np.testing.assert_allclose(one + two, both, atol=1e-5)
    assert both.shape == (5, sum(count for count, _ in ADDITIVE.values()))


def operator_of(numbers, width, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {'frequencies': (numbers, width // 2), 'rates': (numbers, width // 2), 'centre': (width,)}
    return {name: 0.7 * rng.normal(size=shape) for name, shape in shapes.items()}


def test_operators_compose_and_turn_each_pair(x64):
    operator, rng = operator_of(3, 6), np.random.default_rng(1)
    z, (a, b) = rng.normal(size=(5, 6)), rng.normal(size=(2, 5, 3))
    step = jax.jit(operate)
    np.testing.assert_allclose(step(step(z, a, operator), b, operator), step(z, a + b, operator), rtol=1e-10)
    np.testing.assert_allclose(step(step(z, a, operator), -a, operator), z, rtol=1e-10)
    np.testing.assert_allclose(step(z, np.zeros((5, 3)), operator), z, rtol=1e-14)
    # A pair as a complex number is multiplied by exp(pΓ + i pΩ).
    centred = z - operator['centre']
    factor = np.exp(a @ operator['rates'] + 1j * (a @ operator['frequencies']))
    moved = factor * (centred[:, :3] + 1j * centred[:, 3:])
    expected = operator['centre'] + np.concatenate([moved.real, moved.imag], axis=1)
    np.testing.assert_allclose(step(z, a, operator), expected, rtol=1e-12)
    without = {**operator, 'rates': np.zeros((3, 3)), 'centre': np.zeros(6)}
    lengths = [np.linalg.norm(x, axis=1) for x in (step(z, a, without), z)]
    np.testing.assert_allclose(*lengths, rtol=1e-12)


@pytest.mark.slow
def test_the_loss_of_filmr_is_of_its_operators_prediction(x64):
    method, rows = small.make('filmr'), small.batch(8)
    params, extra = small.started(method, rows)
    params['operator'] = jax.tree.map(jnp.asarray, operator_of(1, params['operator']['centre'].shape[0]))
    outputs, extra = small.embed(method, params, extra, rows, jax.random.key(0))
    z1, z2 = (np.asarray(z, np.float64) for z in outputs['embeddings'])
    angles = [np.asarray(p['rotation']['angle'], np.float64) for p in rows['view_params']]
    change = np.deg2rad(angles[1] - angles[0])[:, None]
    predicted = np.asarray(operate(z1, change, params['operator']))
    value, (_, terms) = method.criterion(params, outputs, extra, rows, jax.random.key(0))
    expected = sie_reference(z1, z2, predicted)
    assert set(terms) == {*expected, 'turn'} - {'invariance'}
    for name in set(expected) - {'invariance'}:
        np.testing.assert_allclose(terms[name], expected[name], rtol=1e-4, atol=1e-6, err_msg=name)
    total = expected['equivariance'] + 0.5 * expected['variance'] + 0.25 * expected['covariance']
    np.testing.assert_allclose(value, total, rtol=1e-5)
    np.testing.assert_allclose(terms['turn'], np.abs(change @ params['operator']['frequencies']).mean(), rtol=1e-5)


def test_embeddings_without_pairs_are_refused():
    odd = small.PROJECTOR.clone(widths=(8, 5))
    with pytest.raises(UserError, match='the last of projector.widths must be even, not 5'):
        methods.filmr(small.ENCODER, odd).init(jax.random.key(0), small.batch(8))


@pytest.mark.slow
@pytest.mark.parametrize('name', ['filmr', 'sie'])
def test_an_embedding_moves_as_the_criterion_predicts(name):
    method, rows = small.make(name), small.batch(8)
    params, extra = small.started(method, rows)
    outputs, _ = small.embed(method, params, extra, rows, jax.random.key(0))
    z, width = outputs['embeddings'][0], outputs['embeddings'][0].shape[1]
    moved = method.move(params, z, rows['view_params'])
    assert moved.shape == z.shape
    kept = width // 2 if name == 'sie' else 0
    np.testing.assert_array_equal(moved[:, :kept], z[:, :kept])
    _, (_, terms) = method.criterion(params, outputs, extra, rows, jax.random.key(0))
    missed = np.mean((np.asarray(moved) - np.asarray(outputs['embeddings'][1]))[:, kept:] ** 2)
    np.testing.assert_allclose(missed, terms['equivariance'], rtol=1e-4)

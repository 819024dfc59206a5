"""Sparse codes, activations and constraints against scikit-learn, SciPy and formulas; refusals of bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.optimize import minimize
from selfsup import dictionaries as d
from selfsup import losses
from sklearn.decomposition import sparse_encode
from sklearn.linear_model import orthogonal_mp
from tolerances import FLOAT32, FLOAT64

SKLEARN = 1e-6  # solvers that stop at their own tolerance


def problem(rows=20, dim=12, units=24, seed=0):
    rng = np.random.default_rng(seed)
    atoms = rng.normal(size=(units, dim))
    return rng.normal(size=(rows, dim)), atoms / np.linalg.norm(atoms, axis=1, keepdims=True)


@pytest.mark.parametrize('nonnegative', [False, True])
def test_lasso_codes_are_scikit_learns(nonnegative, x64):
    x, atoms = problem()
    how = 'lasso_cd' if nonnegative else 'lasso_lars'
    expected = sparse_encode(x, atoms, algorithm=how, alpha=0.3, max_iter=100_000, positive=nonnegative)
    if nonnegative:  # coordinate descent stops early: refine it by its own fixed point
        expected = np.asarray(d.ista(x, atoms, penalty=0.3, iterations=20_000, nonnegative=True))
        least = sparse_encode(x, atoms, algorithm=how, alpha=0.3, max_iter=100_000, positive=True)
        values = [d.lasso_objective(x, atoms, z, penalty=0.3) for z in (expected, least)]
        assert (np.asarray(values[0] - values[1]) < 1e-9).all()
    fast = d.fista(x, atoms, penalty=0.3, iterations=400, nonnegative=nonnegative)
    np.testing.assert_allclose(fast, expected, atol=SKLEARN)
    if not nonnegative:
        np.testing.assert_allclose(d.ista(x, atoms, penalty=0.3, iterations=20_000), expected, atol=SKLEARN)


def test_a_step_of_lista_with_the_weights_of_the_dictionary_is_a_step_of_ista(x64):
    x, atoms = problem()
    curvature = np.linalg.eigvalsh(atoms @ atoms.T)[-1]
    codes, drive = jnp.zeros((20, 24)), jnp.asarray(x @ atoms.T / curvature)
    for _ in range(3):
        codes = d.lista_cell(codes, drive, jnp.eye(24) - atoms @ atoms.T / curvature, 0.3 / curvature)
    np.testing.assert_allclose(codes, d.ista(x, atoms, penalty=0.3, iterations=3), atol=FLOAT64)
    one_each = d.lista_cell(codes, drive, jnp.eye(24), jnp.full(24, 0.1))
    np.testing.assert_allclose(one_each, d.lista_cell(codes, drive, jnp.eye(24), 0.1), atol=FLOAT64)


@pytest.mark.parametrize('active', [1, 5])
def test_orthogonal_matching_pursuit_is_scikit_learns(active, x64):
    x, atoms = problem()
    np.testing.assert_allclose(
        d.omp(x, atoms, active=active), orthogonal_mp(atoms.T, x.T, n_nonzero_coefs=active).T, atol=SKLEARN
    )


def test_orthogonal_matching_pursuit_stops_where_nothing_is_left(x64):
    """A signal of two atoms, asked for four, and one of zeros."""
    _, atoms = problem()
    x = np.stack([2 * atoms[3] - atoms[7], np.zeros(12)])
    codes = np.asarray(d.omp(x, atoms[:10], active=4))
    np.testing.assert_allclose(codes[0, [3, 7]], [2, -1], atol=FLOAT64)
    assert (np.abs(np.delete(codes[0], [3, 7])) < 1e-10).all() and not codes[1].any()


def test_matching_pursuit_follows_the_loop_and_its_energy_identity(x64):
    x, atoms = problem()
    expected, residual = np.zeros((20, 24)), x.copy()
    for round_ in range(1, 5):
        before = (residual**2).sum(1)
        scores = residual @ atoms.T
        best = np.abs(scores).argmax(1)
        found = scores[np.arange(20), best]
        expected[np.arange(20), best] += found
        residual = residual - found[:, None] * atoms[best]
        np.testing.assert_allclose(before - (residual**2).sum(1), found**2, atol=FLOAT64)
        np.testing.assert_allclose(d.matching_pursuit(x, atoms, rounds=round_), expected, atol=FLOAT64)


def test_matching_pursuit_of_several_atoms_a_round_and_of_positive_codes(x64):
    x, atoms = problem()
    codes = d.matching_pursuit(x, atoms, rounds=2, each=3, nonnegative=True)
    assert (codes >= 0).all() and ((codes > 0).sum(1) <= 6).all()
    first = np.sort(x @ atoms.T, axis=1)[:, -3:]
    once = np.asarray(d.matching_pursuit(x, atoms, rounds=1, each=3, nonnegative=True))
    np.testing.assert_allclose(np.sort(once, axis=1)[:, -3:], np.maximum(first, 0), atol=FLOAT64)
    # Of three signals whose choices no small step changes.
    pursue = lambda a: jnp.sum(d.matching_pursuit(x[:3], a, rounds=3) ** 2)  # noqa: E731
    check_grads(pursue, (jnp.asarray(atoms),), 1, modes=['rev'], eps=1e-6)


def test_top_k_is_a_fixed_mask_and_its_batch_form_keeps_as_many_on_average(x64):
    a = jnp.asarray(problem(units=24, dim=24)[0])
    codes = d.top_k(a, active=3)
    mask = np.zeros(a.shape, bool)
    np.put_along_axis(mask, np.argsort(-np.asarray(a), axis=1)[:, :3], True, axis=1)
    np.testing.assert_array_equal(codes, np.where(mask, np.maximum(a, 0), 0))
    weights = jnp.sin(jnp.arange(a.size).reshape(a.shape))
    gradient = jax.grad(lambda a: jnp.sum(weights * d.top_k(a, active=3) ** 2))(a)
    np.testing.assert_allclose(gradient, 2 * weights * codes, atol=FLOAT64)
    many, least = d.batch_top_k(a, active=3)
    assert int((many > 0).sum()) == 3 * len(a) and least == many[many > 0].min()
    np.testing.assert_array_equal(d.above(a, least - 1e-9), many)
    none, nothing = d.batch_top_k(-jnp.abs(a), active=3)
    assert not none.any() and nothing == 0


def test_abs_top_k_is_top_k_of_both_signs(x64):
    a = jnp.asarray(problem(dim=24)[0])
    both = d.top_k(jnp.concatenate([a, -a], axis=1), active=4)
    np.testing.assert_array_equal(d.abs_top_k(a, active=4), both[:, :24] - both[:, 24:])


def test_jump_relu_has_the_pseudo_gradients_of_the_paper(x64):
    a, threshold, eps = jnp.linspace(-0.2, 0.5, 50)[:, None], jnp.asarray([0.2]), 0.1
    g = jnp.cos(jnp.arange(50.0))[:, None]
    inside = (np.abs(a - 0.2) < eps / 2).astype(float)
    for f, slope in ((d.jump_relu, 0.2), (d.heaviside, 1.0)):
        value, back = jax.vjp(lambda a, t, f=f: f(a, t, bandwidth=eps), a, threshold)
        np.testing.assert_allclose(value, np.where(a > 0.2, a if f is d.jump_relu else 1.0, 0))
        by_input, by_threshold = back(g)
        np.testing.assert_allclose(by_threshold, [-(slope / eps) * (inside * g).sum()], rtol=FLOAT64)
        np.testing.assert_allclose(by_input, np.where(a > 0.2, g, 0) if f is d.jump_relu else 0 * g)


def test_a_gate_opens_and_closes_and_gets_no_gradient():
    gate, magnitude = jnp.asarray([[1.0, -1.0, 1.0]]), jnp.asarray([[2.0, 2.0, -2.0]])
    np.testing.assert_array_equal(d.gated(gate, magnitude), [[2, 0, 0]])
    by_gate, by_magnitude = jax.grad(lambda *z: jnp.sum(d.gated(*z)), argnums=(0, 1))(gate, magnitude)
    np.testing.assert_array_equal(by_gate, [[0, 0, 0]])
    np.testing.assert_array_equal(by_magnitude, [[1, 0, 0]])


def test_sparsemax_is_the_projection_on_the_simplex(x64):
    z = problem(rows=3, dim=5)[0]
    for row, found in zip(z, losses.sparsemax(z), strict=True):
        constraint = {'type': 'eq', 'fun': lambda p: p.sum() - 1}
        bounds = [(0, 1)] * 5
        best = minimize(
            lambda p, row=row: ((p - row) ** 2).sum(), np.full(5, 0.2), bounds=bounds, constraints=constraint
        )
        np.testing.assert_allclose(found, best.x, atol=1e-4)
    check_grads(lambda z: jnp.sum(jnp.sin(losses.sparsemax(z))), (jnp.asarray(z),), 1, modes=['rev'])
    np.testing.assert_allclose(losses.sparsemax(jnp.zeros((1, 4))), 0.25)


def test_the_tangent_gradient_is_that_of_normalised_atoms(x64):
    """Of unit atoms, the gradient through the normalisation and the one that `tangent` projects are the same."""
    x, atoms = problem()
    loss = lambda a: jnp.sum(jnp.sin(x @ a.T))  # noqa: E731
    free, projected = (jax.grad(lambda a, f=f: loss(f(a)))(jnp.asarray(atoms)) for f in (d.unit_atoms, d.tangent))
    np.testing.assert_allclose(projected, free, atol=FLOAT64)
    np.testing.assert_allclose(jnp.sum(projected * atoms, axis=1), 0, atol=FLOAT64)
    assert not d.unit_atoms(jnp.zeros((2, 3))).any()
    assert np.isfinite(jax.grad(lambda a: jnp.sum(d.unit_atoms(a)))(jnp.zeros((2, 3)))).all()


def test_the_nearest_orthogonal_matrix(x64):
    m = problem(rows=12)[0]
    q = np.asarray(d.nearest_orthogonal(m))
    np.testing.assert_allclose(q @ q.T, np.eye(12), atol=FLOAT64)
    others = np.linalg.qr(np.random.default_rng(1).normal(size=(50, 12, 12)))[0]
    assert ((others - m) ** 2).sum((1, 2)).min() > ((q - m) ** 2).sum()


def test_relaxed_archetypes_lie_within_delta_of_the_hull(x64):
    rng = np.random.default_rng(0)
    weights, relaxation = d.hull_constraints(*(jnp.asarray(rng.normal(size=(7, n))) for n in (9, 4)), delta=0.5)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    assert (weights >= 0).all() and np.linalg.norm(relaxation, axis=1).max() <= 0.5 + 1e-12
    points = rng.normal(size=(9, 4))
    atoms = d.near_hull(weights, points, relaxation, 0.0)
    assert np.linalg.norm(atoms - weights @ points, axis=1).max() <= 0.5 + 1e-12
    np.testing.assert_allclose(d.near_hull(weights, points, relaxation, np.log(2.0)), 2 * atoms, rtol=FLOAT64)
    still = d.hull_constraints(jnp.ones((2, 2)), jnp.zeros((2, 3)))[1]
    assert not still.any()


def test_the_geometric_median_has_the_least_sum_of_distances(x64):
    x = problem()[0]
    found = d.geometric_median(x, iterations=500)
    best = minimize(lambda m: np.linalg.norm(x - m, axis=1).sum(), x.mean(0), tol=1e-12)
    np.testing.assert_allclose(found, best.x, atol=1e-4)
    many = np.concatenate([np.repeat(x[:1], 25, axis=0), x])  # more than half are one point
    np.testing.assert_allclose(d.geometric_median(many, iterations=300), x[0], atol=1e-5)


def test_measures_of_reconstructions_and_codes(x64):
    x = problem()[0]
    np.testing.assert_allclose(d.explained_variance(x, x + 1.0), 1.0)  # an offset is not seen
    np.testing.assert_allclose(d.normalised_error(x, np.broadcast_to(x.mean(0), x.shape)), 1.0)
    half = d.explained_variance(x, x / 2 + x.mean(0) / 2)
    np.testing.assert_allclose(half, 0.75)
    np.testing.assert_allclose(d.normalised_error(x, x / 2 + x.mean(0) / 2), 0.25)
    codes = np.zeros((20, 5))
    codes[:, 0], codes[0, 1] = -1.0, 2.0
    numbers = {name: float(v) for name, v in d.code_numbers(codes).items()}
    assert numbers == pytest.approx({'l0': 1.05, 'l1': 1.1, 'dead': 0.6, 'dense': 0.2})
    np.testing.assert_allclose(
        d.hoyer(np.array([[0.0, 0, 3, 0], [1.0, 1, 1, 1], [0.0, 0, 0, 0]])), [1, 0, 0], atol=FLOAT64
    )
    assert d.mutual_coherence(np.array([[1.0, 0], [1.0, 1.0]])) == pytest.approx(np.sqrt(0.5))


def test_units_are_kept_by_their_importance_and_a_power_law_is_a_line_of_logarithms(x64):
    rng = np.random.default_rng(0)
    codes = np.maximum(rng.normal(size=(30, 5)), 0) * np.array([0.5, 4.0, 0.0, 1.0, 2.0])
    atoms, centre = rng.normal(size=(5, 4)), rng.normal(size=4)
    x = codes @ atoms + centre
    weight = d.importance(codes)
    np.testing.assert_allclose(weight, (codes**2).mean(0), rtol=FLOAT64)
    order = np.argsort(-np.asarray(weight))
    assert order.tolist() == [1, 4, 3, 0, 2]
    whole = ((x - x.mean(0)) ** 2).sum()
    for chosen in (None, np.array([2, 3, 0, 1, 4])):
        found = d.kept_errors(x, codes, atoms, centre, kept=(0, 2, 5), order=chosen)
        ranked = order if chosen is None else chosen
        expected = [((codes[:, ranked[n:]] @ atoms[ranked[n:]]) ** 2).sum() / whole for n in (0, 2, 5)]
        np.testing.assert_allclose(found, expected, atol=FLOAT64)
    law = d.power_law(np.append(3 * np.arange(1, 9.0) ** -1.7, 0.0)[::-1].copy())
    np.testing.assert_allclose(law, (-1.7, 1.0), rtol=FLOAT64)


def test_atoms_are_matched_whatever_their_order_length_and_sign(x64):
    _, atoms = problem()
    order = np.random.default_rng(1).permutation(24)
    turned = (atoms * np.where(np.arange(24) % 2, -3.0, 2.0)[:, None])[order]
    pairs = d.match(atoms, turned, signed=False)
    np.testing.assert_array_equal(order[pairs.second], pairs.first)
    np.testing.assert_allclose(pairs.cosines, 1, atol=FLOAT64)
    assert d.stability(atoms, turned, signed=False) == pytest.approx(1)
    assert d.stability(atoms, turned) < 0.9
    assert d.recovered(atoms, turned[:12]) == pytest.approx(0.5)
    codes = problem(rows=200, dim=6)[0]
    assert d.mean_correlation(codes, -2 * codes[:, ::-1] + 1) == pytest.approx(1)
    assert d.mean_correlation(codes, np.ones((200, 6))) == 0


def test_half_precision_is_promoted_and_jit_changes_nothing():
    x, atoms = (jnp.asarray(z, jnp.bfloat16) for z in problem())
    assert d.fista(x, atoms.astype(jnp.float32), penalty=0.3, iterations=2).dtype == jnp.float32
    x, atoms = (jnp.asarray(z, jnp.float32) for z in problem())
    inside = jax.jit(lambda x, a: d.omp(x, a, active=3))(x, atoms)
    np.testing.assert_allclose(inside, d.omp(x, atoms, active=3), rtol=FLOAT32)


X, ATOMS = (np.asarray(z, np.float32) for z in problem(4, 3, 5))
REFUSED = {
    'other width': (lambda: d.fista(X, ATOMS[:, :2], penalty=0.1), ['signals', 'dictionary', '[4, 3]', '[5, 2]']),
    'not finite': (lambda: d.ista(np.where(np.arange(4)[:, None] == 2, np.nan, X), ATOMS, penalty=0.1), ['signals [4, 3]', 'first is 2']),
    'too many': (lambda: d.omp(X, ATOMS, active=4), ['active', '1 to 3', '[5, 3]', '4']),
    'more than units': (lambda: d.top_k(X, active=4), ['active', '1 to 3', 'units of a [4, 3]']),
    'more than units of a batch': (lambda: d.batch_top_k(X, active=4), ['active', '1 to 3']),
    'no unit': (lambda: d.abs_top_k(X, active=0), ['active', '0']),
    'long atoms': (lambda: d.omp(X, 2 * ATOMS, active=1), ['dictionary [5, 3]', 'length 1', 'atom 0', '2']),
    'long atoms of pursuit': (lambda: d.matching_pursuit(X, 2 * ATOMS, rounds=1), ['length 1']),
    'rounds': (lambda: d.matching_pursuit(X, ATOMS, rounds=0), ['rounds', '0']),
    'integers': (lambda: d.omp(X, np.ones((5, 3), int), active=1), ['dictionary', 'int']),
    'empty': (lambda: d.unit_atoms(np.ones((0, 3), np.float32)), ['dictionary', '[0, 3]']),
    'rank': (lambda: d.fista(X[0], ATOMS, penalty=0.1), ['signals', '[3]']),
    'threshold': (lambda: d.jump_relu(X, X[0, :2]), ['threshold', '[3]', '[2]']),
    'step': (lambda: d.heaviside(X, X[0, :2]), ['threshold', '[3]', '[2]']),
    'gates': (lambda: d.gated(X, X[:2]), ['gate', 'magnitude', '[4, 3]', '[2, 3]']),
    'not square': (lambda: d.nearest_orthogonal(X), ['square', '[4, 3]']),
    'hull': (lambda: d.near_hull(X, X, X), ['weights', 'points', 'relaxation']),
    'reconstruction': (lambda: d.explained_variance(X, X[:2]), ['inputs', 'reconstructions', '[4, 3]', '[2, 3]']),
    'kept': (lambda: d.kept_errors(X, X, X[:3], X[0], kept=(4,)), ['kept', '0 to 3', '[3, 3]']),
    'kept codes': (lambda: d.kept_errors(X, X, X, X[0], kept=(1,)), ['codes [4, 3]', 'atoms [4, 3]']),
    'power law': (lambda: d.power_law(np.array([1.0, 0.0, 2.0])), ['values', 'at least 3', '2']),
    'rows': (lambda: d.mean_correlation(X, X[:2]), ['truth', 'found', '[4, 3]', '[2, 3]']),
    'matched width': (lambda: d.stability(ATOMS, ATOMS[:, :2]), ['[5, 3]', '[5, 2]']),
}  # fmt: skip


@pytest.mark.parametrize('name', REFUSED)
def test_bad_input_is_refused_in_one_line(name, own_checks):
    call, words = REFUSED[name]
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    message = str(caught.value)
    assert '\n' not in message and all(word in message for word in words), message


def test_every_public_name_is_documented():
    for name in d.__all__:
        doc = getattr(d, name).__doc__
        assert doc and doc.split('\n')[0].endswith(('.', ':')), name

"""Convolutional, guided, streamed and factorised dictionaries: references, optimality conditions, planted recovery."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import hadamard
from scipy.signal import convolve
from selfsup import dictionaries as d
from tolerances import FLOAT64

KEY = jax.random.key(0)
SHAPES = {'series': ((9,), (4,)), 'images': ((7, 6), (3, 2))}  # space and window
OPTIMAL = 1e-6  # distance of a gradient from the subdifferential after the steps of the tests


def random_case(kind, channels=2, units=3, rows=2):
    space, window = SHAPES[kind]
    rng = np.random.default_rng(0)
    places = tuple(n - w + 1 for n, w in zip(space, window, strict=True))
    arrays = ((rows, *space, channels), (units, *window, channels), (rows, *places, units))
    return [rng.normal(size=shape) for shape in arrays]


@pytest.mark.parametrize('kind', SHAPES)
def test_synthesis_is_a_full_convolution_and_correlation_its_adjoint(kind, x64):
    signals, atoms, codes = random_case(kind)
    expected = np.zeros_like(signals)
    for row in range(2):
        for channel in range(2):
            expected[row, ..., channel] = sum(convolve(codes[row, ..., u], atoms[u, ..., channel]) for u in range(3))
    found = d.conv_synthesis(codes, atoms)
    np.testing.assert_allclose(found, expected, atol=FLOAT64)
    adjoint = (np.asarray(d.conv_correlation(signals, atoms)) * codes).sum()
    np.testing.assert_allclose(adjoint, (expected * signals).sum(), rtol=FLOAT64)


def not_optimal(slope, codes, penalty):
    """How far the slope of the smooth part is from minus a subgradient of λ‖z‖₁, at most."""
    slope, codes = np.asarray(slope), np.asarray(codes)
    return np.where(codes != 0, np.abs(slope + penalty * np.sign(codes)), np.maximum(np.abs(slope) - penalty, 0)).max()


@pytest.mark.parametrize('kind', [pytest.param('series'), pytest.param('images', marks=pytest.mark.slow)])
def test_convolutional_codes_are_optimal(kind, x64):
    signals, atoms, _ = random_case(kind)
    largest = float(jnp.abs(d.conv_correlation(signals, atoms)).max())
    codes = d.conv_fista(signals, atoms, penalty=0.2 * largest, iterations=3000)
    slope = d.conv_correlation(np.asarray(d.conv_synthesis(codes, atoms)) - signals, atoms)
    assert 0 < (np.asarray(codes) != 0).mean() < 0.5 and not_optimal(slope, codes, 0.2 * largest) < OPTIMAL
    assert not np.asarray(d.conv_fista(signals, atoms, penalty=1.001 * largest, iterations=3)).any()
    # Windows as wide as the signals leave one place, and the problem of `fista`.
    whole = signals[:, : atoms.shape[1], ..., :] if kind == 'series' else signals[:, :3, :2]
    flat = whole.reshape(2, -1), atoms.reshape(3, -1)
    one = d.conv_fista(whole, atoms, penalty=0.3, iterations=2000).reshape(2, 3)
    np.testing.assert_allclose(one, d.fista(*flat, penalty=0.3, iterations=2000), atol=OPTIMAL)


@pytest.mark.slow
@pytest.mark.parametrize('kind', SHAPES)
def test_atoms_go_down_where_they_are_trusted_and_stay_in_the_ball(kind, x64):
    signals, atoms, codes = random_case(kind)
    atoms = atoms / 10
    trusted = np.ones(signals.shape[:-1])
    trusted[0] = 0
    spoilt = signals.copy()
    spoilt[0] = 1e3  # what is not trusted is not seen

    def error(found):
        return (np.asarray(trusted)[..., None] * (signals - np.asarray(d.conv_synthesis(codes, found))) ** 2).sum()

    found = d.conv_atoms_step(signals, atoms, codes, trusted=trusted, updates=30)
    np.testing.assert_allclose(found, d.conv_atoms_step(spoilt, atoms, codes, trusted=trusted, updates=30), atol=1e-8)
    assert error(found) < error(atoms)
    assert np.linalg.norm(np.asarray(found).reshape(3, -1), axis=1).max() <= 1 + 1e-9


@pytest.mark.slow
def test_positions_of_costly_windows_are_outliers(x64):
    rng = np.random.default_rng(0)
    signals = 0.1 * rng.normal(size=(1, 60, 1))
    signals[0, 30:33] += 5
    atoms, codes = rng.normal(size=(2, 4, 1)), np.zeros((1, 57, 2))
    found = np.flatnonzero(d.conv_outliers(signals, atoms, codes, penalty=0.1, level=50.0)[0])
    assert found.tolist() == list(range(27, 36))  # every window of 4 that touches the burst
    share = d.conv_outliers(signals, atoms, codes, penalty=0.1, rule='quantile', level=0.05)
    assert set(np.flatnonzero(share[0])) <= set(range(27, 36)) and share.any()


def test_shifted_atoms_are_recovered():
    truth = np.zeros((2, 5, 1))
    truth[0, 1:3, 0], truth[1, :3, 0] = (1, 2), (3, -1, 1)
    moved = np.roll(truth[::-1], 1, axis=1)
    assert d.conv_recovered(truth, -moved) == 1
    assert d.conv_recovered(truth, np.random.default_rng(0).normal(size=(2, 5, 1))) < 1


MOTIFS = {'series': (8, (120,), 12, 6), 'images': (4, (28, 28), 7, 4)}  # rows, space, sides of windows and of motifs


def planted_motifs(kind, seed, share, space=None):
    """Signals of three motifs in the middle of windows, that stand at a share of all places, and the windows."""
    rows, size, side, inner = MOTIFS[kind]
    space = space or size
    rng = np.random.default_rng(seed)
    axes = len(space)
    motifs = np.zeros((3, *[side] * axes, 1))
    middle = slice((side - inner) // 2, (side - inner) // 2 + inner)
    motifs[(slice(None), *[middle] * axes, 0)] = rng.normal(size=(3, *[inner] * axes))
    motifs /= np.linalg.norm(motifs.reshape(3, -1), axis=1).reshape(3, *[1] * (axes + 1))
    shape = (rows, *(n - side + 1 for n in space), 3)
    codes = (rng.random(shape) < share) * rng.uniform(0.5, 1.5, shape) * rng.choice([-1, 1], shape)
    signals = np.asarray(d.conv_synthesis(codes, motifs))
    return (signals + 0.01 * rng.normal(size=signals.shape)).astype(np.float32), motifs


def found_motifs(kind, seed, share, starts):
    """Share of the motifs that the start of least objective finds, and the shares of all starts."""
    signals, motifs = planted_motifs(kind, seed, share)
    window = motifs.shape[1:-1]
    first = d.windows_as_atoms(KEY, signals, units=3, window=window)
    penalty = 0.1 * float(jnp.abs(d.conv_correlation(signals, first)).max())
    told = []
    for start in range(starts):
        atoms, codes = d.fit_convolutional(
            jax.random.key(start), signals, units=3, window=window, penalty=penalty, code_steps=40
        )
        error = 0.5 * jnp.sum((signals - d.conv_synthesis(codes, atoms)) ** 2)
        told.append((float(error + penalty * jnp.abs(codes).sum()), d.conv_recovered(motifs, atoms)))
    return min(told)[1], [share for _, share in told]


@pytest.mark.slow
@pytest.mark.parametrize('kind', MOTIFS)
def test_planted_motifs_are_recovered_where_they_stand_apart(kind):
    for seed in range(2 if kind == 'series' else 1):
        best, shares = found_motifs(kind, seed, 0.01, starts=3)
        assert best == 1, shares
    assert found_motifs(kind, 0, 0.3, starts=1)[0] == 0  # at every third place they overlap, and any atoms do


def with_bursts(signals, seed, side):
    """The signals with a burst of noise of deviation 30, half a window wide, in every other one, and where they are."""
    rng = np.random.default_rng(100 + seed)
    spoilt, where = signals.copy(), np.zeros(signals.shape[:-1], bool)
    for row in range(0, len(signals), 2):
        at = [rng.integers(0, n - side // 2 + 1) for n in signals.shape[1:-1]]
        place = (row, *(slice(a, a + side // 2) for a in at))
        spoilt[place] += 30 * rng.normal(size=spoilt[place].shape)
        where[place] = True
    return spoilt, where


def found_in_spoilt(seed, rule, starts=3):
    """The motifs that the start of least objective over trusted positions finds, and the bursts that it does not trust."""
    signals, motifs = planted_motifs('series', seed, 0.01, space=(400,))
    spoilt, where = with_bursts(signals, seed, motifs.shape[1])
    how = {'penalty': 0.15, 'rule': rule, 'level': 0.03}
    told = []
    for start in range(starts):
        fitted = d.fit_convolutional(jax.random.key(start), spoilt, units=3, window=(12,), code_steps=40, **how)
        trusted = np.ones(where.shape) if rule is None else ~np.asarray(d.conv_outliers(spoilt, *fitted, **how))
        codes = d.conv_fista(spoilt, fitted[0], penalty=0.15, trusted=trusted)
        error = 0.5 * (trusted[..., None] * np.asarray(spoilt - d.conv_synthesis(codes, fitted[0])) ** 2).sum()
        value = float(error + 0.15 * jnp.abs(codes).sum())
        told.append((value, d.conv_recovered(motifs, fitted[0]), (trusted[where] == 0).mean()))
    return min(told)[1:]


@pytest.mark.slow
def test_the_robust_loss_finds_motifs_that_bursts_hide_from_the_plain_one():
    plain, _ = found_in_spoilt(0, None)
    robust, seen = found_in_spoilt(0, 'quantile')
    assert robust == 1 and seen == 1 and plain < 0.5, (robust, seen, plain)


@pytest.mark.slow
@pytest.mark.parametrize('kind', SHAPES)
def test_codes_do_not_see_what_is_not_trusted(kind, x64):
    signals, atoms, _ = random_case(kind)
    trusted = np.random.default_rng(1).random(signals.shape[:-1]) < 0.7
    spoilt = np.where(trusted[..., None], signals, 1e3)
    how = {'penalty': 1.0, 'iterations': 3000}
    codes = d.conv_fista(spoilt, atoms, trusted=trusted, **how)
    np.testing.assert_allclose(codes, d.conv_fista(signals, atoms, trusted=trusted, **how), atol=OPTIMAL)
    residual = trusted[..., None] * (np.asarray(d.conv_synthesis(codes, atoms)) - signals)
    assert not_optimal(d.conv_correlation(residual, atoms), codes, 1.0) < OPTIMAL < np.abs(codes).max()
    everywhere = d.conv_fista(signals, atoms, trusted=np.ones_like(trusted), **how)
    np.testing.assert_allclose(everywhere, d.conv_fista(signals, atoms, **how), atol=OPTIMAL)


@pytest.mark.slow
def test_the_first_step_of_a_stream_is_the_batch_step_and_the_next_lie_between(x64):
    p = d.planted(KEY, rows=60, dim=5, units=5, active=2, orthogonal=True)
    first = d.nearest_orthogonal(jax.random.normal(jax.random.key(1), (5, 5)))
    one = d.stream_step(d.stream_begin(first), p.signals[:30])
    np.testing.assert_allclose(one.dictionary, d.lp_step(first, p.signals[:30], power=3), atol=FLOAT64)
    two = d.stream_step(one, p.signals[30:], forget=0.5, move=0.75)
    slope = lambda s, x: np.asarray(x * jnp.abs(x)).T @ s / len(s)  # noqa: E731
    codes = [p.signals[:30] @ first.T, p.signals[30:] @ one.dictionary.T]
    rho, gamma = 2**-0.5, 2**-0.75
    mean = (1 - rho) * slope(p.signals[:30], codes[0]) + rho * slope(p.signals[30:], codes[1])
    u, _, v = np.linalg.svd(mean)
    expected = np.asarray(one.dictionary) + gamma * (u @ v - np.asarray(one.dictionary))
    np.testing.assert_allclose(two.dictionary, expected, atol=1e-10)
    assert np.linalg.norm(np.asarray(two.dictionary), 2) <= 1 + 1e-9


@pytest.mark.slow
def test_a_stream_finds_a_planted_orthogonal_dictionary_where_codes_are_sparse():
    def found(active):
        p = d.planted(KEY, rows=6400, dim=20, units=20, active=active, noise=0.01, orthogonal=True)
        first = d.nearest_orthogonal(jax.random.normal(jax.random.key(1), (20, 20)))
        state = d.stream_begin(first)
        for start in range(0, 6400, 64):
            state = d.stream_step(state, p.signals[start : start + 64])
        return d.recovered(p.dictionary, d.nearest_orthogonal(state.dictionary))

    assert found(3) == 1 and found(20) < 0.2


def test_factors_keep_the_largest_entries_of_rows_and_columns():
    factor = np.array([[3.0, 1, 0.5], [0.2, 0.1, 2], [0.3, 0.4, 4]])
    kept = np.array([[1, 1, 0], [0, 0, 1], [0, 0, 1]], bool)
    expected = np.where(kept, factor, 0) / np.linalg.norm(factor[kept])
    np.testing.assert_allclose(d.sparse_rows_and_columns(factor, 1), expected, rtol=1e-6)


@pytest.mark.slow
def test_a_hadamard_matrix_is_a_product_of_sparse_factors(x64):
    target = hadamard(16) / 4.0
    found = d.fast_transform(target, factors=4)
    np.testing.assert_allclose(found.dense(), target, atol=1e-6)
    assert found.numbers() == 4 * 2 * 16 and all(abs(float((f**2).sum()) - 1) < 1e-9 for f in found.factors)
    # A random orthogonal matrix has no such factors.
    other = np.linalg.qr(np.random.default_rng(0).normal(size=(16, 16)))[0]
    error = np.linalg.norm(np.asarray(d.fast_transform(other, factors=4).dense()) - other) / 4
    assert error > 0.3


@pytest.mark.slow
def test_codes_on_a_graph_are_optimal_and_without_one_those_of_the_lasso(x64):
    p = d.planted(KEY, rows=12, dim=5, units=7, active=2, noise=0.1)
    rng = np.random.default_rng(0)
    affinity = np.triu((rng.random((12, 12)) < 0.3).astype(float), 1)
    laplacian = np.asarray(d.graph_laplacian(affinity + affinity.T))
    z = rng.normal(size=(12, 7))
    pairs = sum(affinity[i, j] * ((z[i] - z[j]) ** 2).sum() for i in range(12) for j in range(12))
    np.testing.assert_allclose(np.trace(z.T @ laplacian @ z), pairs, rtol=FLOAT64)
    codes = np.asarray(d.graph_fista(p.signals, p.dictionary, laplacian, penalty=0.2, smoothness=0.5, iterations=5000))
    slope = (codes @ p.dictionary - p.signals) @ p.dictionary.T + 0.5 * laplacian @ codes
    assert 0 < (codes != 0).mean() < 1 and not_optimal(slope, codes, 0.2) < OPTIMAL
    free = d.graph_fista(p.signals, p.dictionary, laplacian, penalty=0.2, smoothness=0.0, iterations=5000)
    np.testing.assert_allclose(free, d.fista(p.signals, p.dictionary, penalty=0.2, iterations=5000), atol=OPTIMAL)


def classes_of_atoms(rows=240, noise=0.1):
    """Signals of three classes, each of two atoms of its own and one that all share."""
    rng = np.random.default_rng(0)
    atoms = rng.normal(size=(7, 10))
    labels = rng.integers(0, 3, rows)
    weights = np.zeros((rows, 7))
    weights[np.arange(rows), 2 * labels + rng.integers(0, 2, rows)] = rng.uniform(0.5, 1.0, rows)
    weights[:, 6] = rng.uniform(1, 2, rows)
    return weights @ atoms + noise * rng.normal(size=(rows, 10)), labels


@pytest.mark.slow
def test_a_label_consistent_dictionary_says_the_class(x64):
    signals, labels = classes_of_atoms()
    train, test = slice(0, 160), slice(160, None)
    fitted = d.fit_label_consistent(KEY, signals[train], labels[train], each=3, active=3, iterations=20)
    np.testing.assert_allclose(jnp.linalg.norm(fitted.dictionary, axis=1), 1, rtol=1e-9)
    right = np.asarray(d.label_scores(fitted, signals[test], active=3)).argmax(1) == labels[test]
    assert right.mean() > 0.9, right.mean()
    # Without labels it is K-SVD from the same atoms.
    plain = d.fit_label_consistent(
        KEY, signals, labels, each=3, active=2, consistency=0.0, error=0.0, iterations=1
    ).dictionary
    keys = jax.random.split(KEY, 3)
    first = jnp.concatenate([d.rows_as_atoms(k, signals[labels == c], 3) for c, k in enumerate(keys)])
    np.testing.assert_allclose(plain, d.ksvd_step(signals, first, active=2)[0], atol=1e-8)


@pytest.mark.parametrize(
    ('call', 'words'),
    [
        (lambda x: d.conv_fista(x[:, :4], x, penalty=1.0), ['signals', 'atoms', '[2, 4, 1]', 'no larger']),
        (lambda x: d.conv_fista(x.at[0, 0].set(jnp.nan), x[:, :2], penalty=1.0), ['signals [2, 6, 1]', 'not finite']),
        (lambda x: d.conv_outliers(x, x[:, :2], x[:, :5], penalty=1.0, rule='mean'), ['rule', 'mad', "'mean'"]),
        (lambda x: d.conv_atoms_step(x, x[:, :2], x[:, :5], trusted=x), ['trusted', '[2, 6]', '[2, 6, 1]']),
        (lambda x: d.conv_recovered(x, x[:, :2]), ['truth', '[2, 6, 1]', '[2, 2, 1]']),
        (lambda x: d.palm(x[0], numbers=(1, 1)), ['target', 'square', '[6, 1]']),
        (lambda x: d.palm(jnp.eye(3), numbers=(4,)), ['numbers', '4']),
        (lambda x: d.stream_step(d.stream_begin(jnp.eye(2)), x[..., 0]), ['signals', '[2, 6]', '[2, 2]']),
        (lambda x: d.stream_step(d.stream_begin(jnp.eye(6)), x[..., 0], power=2), ['power', '2']),
        (lambda x: d.graph_laplacian(x[..., 0]), ['affinity', 'square', '[2, 6]']),
        (lambda x: d.graph_laplacian(-jnp.eye(2)), ['affinity', 'not negative']),
        (
            lambda x: d.graph_fista(x[..., 0], x[..., 0], jnp.eye(3), penalty=1.0, smoothness=1.0),
            ['laplacian', '[3, 3]'],
        ),
        (lambda x: d.fit_label_consistent(KEY, x[..., 0], np.zeros(3, int), each=1, active=1), ['labels', '[2, 6]']),
    ],
)
def test_bad_input_is_refused_in_one_line(call, words, own_checks):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 1)), jnp.float32)
    with pytest.raises(ValueError) as caught:
        call(x)
    assert all(word in str(caught.value) for word in words) and '\n' not in str(caught.value), caught.value

"""Evaluations against scikit-learn, SciPy and brute force."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tolerances
from scipy import stats
from selfsup import evals
from selfsup.data.sources import open_source
from selfsup.errors import UserError
from selfsup.evals import Features
from selfsup.evals.clustering import adjusted_rand_index, matched, normalized_mutual_information
from selfsup.evals.features import check, draw_per_class, unit_rows
from selfsup.evals.few_shot import draw_episodes
from selfsup.evals.knn import predict, predict_grid
from selfsup.evals.linear import wrong_labels
from selfsup.evals.logistic import logistic_path
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score, average_precision_score, normalized_mutual_info_score
from sklearn.neighbors import KNeighborsClassifier


@pytest.fixture(scope='module')
def digits():
    return tuple(
        Features(s.images().reshape(len(s), -1).astype(np.float32) / 255, s.labels) for s in open_source('digits')
    )


def test_standardisation_uses_train_and_drops_constants(digits):
    x, x_test = evals.standardized(*digits)
    deviation = x.std(axis=0)
    assert set(np.unique(deviation.round(3))) <= {0.0, 1.0} and (deviation == 0).any()
    assert abs(x_test.mean()) < 0.05 and np.isfinite(x_test).all()


def test_knn_equals_scikit_learn(digits):
    train, test = digits
    bank, query = unit_rows(train.features), unit_rows(test.features)
    ks, temperatures = (1, 20, 50), (0.07, 1.0)
    ours = predict_grid(train, test.features, neighbours=ks, temperatures=temperatures, chunk=100)
    for (i, k), (j, temperature) in itertools.product(enumerate(ks), enumerate(temperatures)):
        theirs = KNeighborsClassifier(k, weights=lambda d, t=temperature: np.exp((1 - d**2 / 2) / t)).fit(
            bank, train.labels
        )
        assert (ours[i, j] == theirs.predict(query)).mean() > 0.997  # ties
    np.testing.assert_array_equal(predict(train, test.features, k=20, temperature=0.07), ours[1, 0])
    assert evals.knn(train, test)['knn'] == np.mean(ours[1, 0] == test.labels)


@pytest.mark.slow
def test_the_order_of_the_grid_is_the_callers(digits):
    train, test = digits
    forth = predict_grid(train, test.features[:50], neighbours=(1, 20), temperatures=(0.07,))
    back = predict_grid(train, test.features[:50], neighbours=(20, 1), temperatures=(0.07,))
    np.testing.assert_array_equal(forth, back[::-1])


def test_logistic_regression_equals_scikit_learn(digits):
    """Coefficients up to C = 1; beyond, where the optimum is flat, the objective."""
    train, test = digits
    train = Features(train.features[::3], train.labels[::3])
    x, _ = evals.standardized(train, test)
    strengths = (1e-3, 0.1, 1.0, 100.0)
    path = jax.jit(lambda a, b, c: logistic_path(a, b, c, classes=10))(x, train.labels, np.array(strengths, np.float32))

    def objective(kernel, bias, c):
        logits = x.astype(np.float64) @ kernel + bias
        top = logits.max(axis=1, keepdims=True)
        log_sum = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
        return 0.5 * (kernel**2).sum() + c * (log_sum - logits[np.arange(len(x)), train.labels]).sum()

    for c, kernel, bias in zip(strengths, *(np.asarray(a, np.float64) for a in path), strict=True):
        theirs = LogisticRegression(C=c, tol=1e-10, max_iter=20000).fit(x.astype(np.float64), train.labels)
        if c <= 1:
            np.testing.assert_allclose(kernel.T, theirs.coef_, atol=tolerances.LOGISTIC_COEFFICIENT)
            shift = bias - theirs.intercept_  # a constant added to every intercept changes nothing
            np.testing.assert_allclose(shift - shift.mean(), 0, atol=tolerances.LOGISTIC_COEFFICIENT)
        best = objective(theirs.coef_.T, theirs.intercept_, c)
        assert objective(kernel, bias, c) < best * (1 + tolerances.LOGISTIC_OBJECTIVE)


def test_weights_count_samples_and_few_samples_of_many_dimensions_have_the_same_optimum():
    """Weight 2 is a copy, weight 0 is absence; with more columns than rows the optimum is found in their span."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 12)).astype(np.float32), np.arange(8) % 2
    fit = jax.jit(lambda a, b, w: evals.logistic_regression(a, b, classes=2, weights=w))
    weights = np.array([2, 1, 1, 1, 1, 0, 0, 0], np.float32)
    ours = fit(x, y, weights)
    difference = np.asarray(ours.kernel[:, 1] - ours.kernel[:, 0], np.float64)
    np.testing.assert_allclose(difference, _binary(x, y, weights), atol=tolerances.LOGISTIC_COEFFICIENT)


def _binary(x, y, weights):
    """The difference w of two softmax weights: ½·½‖w‖² + Σ weight·log(1 + exp(∓ w·x)), by SciPy."""
    from scipy.optimize import minimize

    sign = 2.0 * y - 1

    def objective(w):
        return 0.25 * (w[:-1] ** 2).sum() + (weights * np.logaddexp(0, -sign * (x @ w[:-1] + w[-1]))).sum()

    return minimize(objective, np.zeros(x.shape[1] + 1), method='BFGS', options={'gtol': 1e-9}).x[:-1]


@pytest.mark.slow
def test_probes_agree_and_padding_is_free(digits):
    train, test = digits
    small = Features(train.features[:200, 20:40], train.labels[:200])
    query = Features(test.features[:, 20:40], test.labels)
    plain = evals.linear_probe(small, query, label_counts=(2,), draws=2)
    wide = evals.linear_probe(small, query, label_counts=(2,), draws=2, width=32)
    for name in plain:
        np.testing.assert_allclose(plain[name], wide[name], atol=0.006)  # two of 359 decisions
    few = evals.low_label(small, query, label_counts=(2,), shares=(), draws=2)
    assert few['low_label_2'] == pytest.approx(plain['linear_2'], abs=0.006)
    assert few['low_label_2_std'] > 0


@pytest.mark.slow
def test_sgd_reaches_logistic_regression(digits):
    # L-BFGS takes most steps at the largest C of those side by side.
    exact = evals.linear_logistic(*digits, inverse_regularizations=(1e-5, 1e-2, 0.1))
    found = {**exact, **evals.linear_sgd(*digits, epochs=20, learning_rates=(1e-3, 1e-2, 0.1))}
    assert found['linear_logistic'] > 0.94 and abs(found['linear_sgd'] - found['linear_logistic']) < 0.02
    assert found['chosen_C'] in (1e-2, 0.1)


def test_draws_are_balanced_and_reproducible(digits):
    labels = digits[0].labels
    chosen = draw_per_class(labels, 3, seed=1)
    assert np.bincount(labels[chosen]).tolist() == [3] * 10
    np.testing.assert_array_equal(chosen, draw_per_class(labels, 3, seed=1))
    assert set(chosen) != set(draw_per_class(labels, 3, seed=2))
    with pytest.raises(UserError, match='class 0 has'):
        draw_per_class(labels, 10**6, seed=0)
    with pytest.raises(UserError, match='do not match'):
        check(Features(digits[0].features[:5], labels[:4]), 'x')


@pytest.mark.parametrize('rate', [0.0, 0.3, 1.0])
def test_wrong_labels_are_so_many_and_none_by_chance(rate):
    labels = np.repeat([2, 5, 7], 40)
    noisy = wrong_labels(labels, rate, seed=0)
    assert np.sum(noisy != labels) == round(rate * 120) and set(noisy) <= {2, 5, 7}
    if rate == 1.0:
        assert np.abs(np.bincount(noisy, minlength=8)[[2, 5, 7]] - 40).max() < 20  # uniform over the others


@pytest.mark.slow
def test_noise_hurts_the_probe(digits):
    found = evals.label_noise(*digits, rates=(0.0, 0.8), draws=1)
    assert found['label_noise_0'] > 0.93 and found['label_noise_0.8'] < found['label_noise_0'] - 0.02
    assert found['label_noise_kept'] == pytest.approx(found['label_noise_0.8'] / found['label_noise_0'])


def test_clustering_measures_equal_scikit_learn():
    rng = np.random.default_rng(0)
    for first, second in [(3, 5), (4, 4), (1, 3), (1, 1)]:
        a, b = rng.integers(0, first, 200), rng.integers(0, second, 200)
        for x, y in ((a, b), (a, a)):
            ours = normalized_mutual_information(x, y), adjusted_rand_index(x, y)
            theirs = normalized_mutual_info_score(x, y), adjusted_rand_score(x, y)
            np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_matching_is_the_best_of_all_permutations():
    rng = np.random.default_rng(0)
    clusters, labels = rng.integers(0, 4, 60), rng.integers(0, 4, 60)
    best = max(np.mean(np.array(p)[clusters] == labels) for p in itertools.permutations(range(4)))
    named = matched(clusters, labels, count=4, classes=4)
    assert np.mean(named[clusters] == labels) == best
    assert sorted(matched(clusters, labels % 2, count=4, classes=2)) == [-1, -1, 0, 1]


def test_clusters_are_as_tight_as_scikit_learns(digits):
    train, test = digits
    found = evals.clustering(train, test)
    theirs = KMeans(10, n_init=10, random_state=0).fit(unit_rows(train.features))
    labels = theirs.predict(unit_rows(test.features))
    assert abs(found['cluster_nmi'] - normalized_mutual_info_score(labels, test.labels)) < 0.05
    assert found['cluster_accuracy'] <= found['cluster_accuracy_matched'] + 1e-9


@pytest.mark.parametrize('itself', [False, True])
def test_retrieval_equals_average_precision(digits, itself):
    train, test = (Features(p.features[:120], p.labels[:120]) for p in digits)
    train = test if itself else train
    found = evals.retrieval(train, test, ks=(1, 5), chunk=50)
    cosine = unit_rows(test.features).astype(np.float64) @ unit_rows(train.features).astype(np.float64).T
    if itself:
        np.fill_diagonal(cosine, -np.inf)
    precisions, recalls = [], []
    for row, label in zip(cosine, test.labels, strict=True):
        keep = np.isfinite(row)
        relevant = (train.labels == label)[keep]
        precisions.append(average_precision_score(relevant, row[keep]))
        order = np.argsort(-row[keep], kind='stable')
        recalls.append([relevant[order[:k]].any() for k in (1, 5)])
    np.testing.assert_allclose(found['mAP'], np.mean(precisions), rtol=1e-5)
    np.testing.assert_allclose([found['recall@1'], found['recall@5']], np.mean(recalls, axis=0), atol=1e-6)


def test_episodes_are_disjoint_balanced_and_fixed_by_the_seed():
    labels = np.arange(100) % 5
    draw = {'ways': 3, 'shots': 2, 'queries': 4, 'episodes': 6, 'same': True}
    support, query = draw_episodes(labels, labels, seed=0, **draw)
    assert support.shape == (6, 3, 2) and query.shape == (6, 3, 4)
    for rows, asked in zip(support, query, strict=True):
        assert not set(rows.ravel()) & set(asked.ravel())
        assert (labels[rows] == labels[rows][:, :1]).all() and len(set(labels[rows][:, 0])) == 3
        assert (labels[asked] == labels[rows][:, :1]).all()
    np.testing.assert_array_equal(support, draw_episodes(labels, labels, seed=0, **draw)[0])


def test_few_shot_equals_scikit_learn_and_is_at_chance_without_classes(digits):
    train, test = digits
    settings = {'ways': 5, 'queries': 5, 'episodes': 40, 'chunk': 40}
    found = evals.few_shot(train, test, shots=(5,), **settings)
    support, query = draw_episodes(
        train.labels, test.labels, shots=5, seed=0, same=False, ways=5, queries=5, episodes=40
    )
    x, x_test, truth = unit_rows(train.features), unit_rows(test.features), np.repeat(np.arange(5), 5)
    hits = []
    for rows, asked in zip(support, query, strict=True):
        model = LogisticRegression(C=1.0, tol=1e-8, max_iter=2000).fit(x[rows].reshape(25, -1), truth)
        hits.append(np.mean(model.predict(x_test[asked].reshape(25, -1)) == truth))
    assert found['few_shot_5'] == pytest.approx(np.mean(hits), abs=2 / 1000)  # two of a thousand questions
    interval = stats.t.interval(0.95, 39, scale=stats.sem(hits))
    assert found['few_shot_5_ci'] == pytest.approx(interval[1], abs=2e-3)
    for classifier in ('centre', 'cosine'):
        near = evals.few_shot(train, test, shots=(5,), classifier=classifier, **settings)
        assert abs(near['few_shot_5'] - found['few_shot_5']) < 0.1
    noise = Features(train.features, np.random.default_rng(0).permutation(train.labels))
    chance = evals.few_shot(noise, test, shots=(5,), classifier='centre', **settings)
    assert abs(chance['few_shot_5'] - 0.2) < 0.06


@pytest.mark.slow
def test_feet_is_the_three_columns_and_their_gains(digits):
    train, test = (Features(p.features[:, 20:40], p.labels) for p in digits)
    found = evals.feet(train, test, shots=(2, 10_000), draws=2, fine_tuned=0.99)
    assert 'feet_shot_10000' not in found
    for name in ('shot_2', 'fine_tuned'):
        gain = 100 * (found[f'feet_{name}'] - found['feet_frozen']) / found['feet_frozen']
        assert found[f'delta_{name}'] == pytest.approx(gain)


@pytest.fixture(scope='module')
def images():
    parts = open_source('digits')
    return tuple(Features(p.images()[:n], p.labels[:n]) for p, n in zip(parts, (500, 150), strict=True))


def identity_views(key, rows, positions):
    return (rows.astype(jnp.float32) / 255,), ()


def prepare(rows):
    return jnp.asarray(rows).astype(jnp.float32) / 255


def flat(rows):
    return rows.reshape(rows.shape[0], -1)


def test_online_probe_of_unaugmented_pixels_is_the_cached_probe(images):
    settings = {'epochs': 10, 'learning_rates': (0.01, 0.1), 'batch_size': 64}
    found = evals.linear_online(*images, encode=flat, augment=identity_views, prepare=prepare, **settings)
    cached = evals.linear_sgd(*(Features(np.asarray(flat(prepare(p.features))), p.labels) for p in images), **settings)
    assert found['linear_online'] > 0.85
    assert abs(found['linear_online'] - cached['linear_sgd']) < 0.04  # one learns from nine tenths, in another order


def test_online_probe_draws_new_views_in_every_epoch(images):
    seen = []

    def views(key, rows, positions):
        jax.debug.callback(lambda k: seen.append(tuple(np.asarray(k).tolist())), jax.random.key_data(key))
        return identity_views(key, rows, positions)

    few = Features(images[0].features[:40], images[0].labels[:40])
    evals.linear_online(few, images[1], encode=flat, augment=views, prepare=prepare, epochs=3, batch_size=16)
    jax.effects_barrier()
    assert len(set(seen)) == len(seen) == 3  # one of each class is held out; the rest makes one batch an epoch


def test_fine_tuning_learns_what_a_frozen_encoder_cannot_tell(images):
    """A linear encoder of two features: frozen it cannot tell ten digits apart, tuned it can do much better."""
    params = {'w': jnp.asarray(np.random.default_rng(0).normal(size=(64, 16)).astype(np.float32) * 0.1)}

    def encode(p, rows):
        return jax.nn.relu(flat(rows) @ p['w'])

    found = evals.fine_tune(
        *images, encode=encode, params=params, augment=identity_views, prepare=prepare,
        learning_rates=(1e-4, 1e-2), epochs=8, batch_size=64,
    )  # fmt: skip
    assert found['chosen_fine_tune_rate'] == pytest.approx(1e-2) and found['fine_tuned'] > 0.85
    np.testing.assert_array_equal(params['w'], np.random.default_rng(0).normal(size=(64, 16)).astype(np.float32) * 0.1)
    shuffled = Features(images[1].features, np.random.default_rng(0).permutation(images[1].labels))
    other = evals.fine_tune(
        *(images[0], shuffled), encode=encode, params=params, augment=identity_views, prepare=prepare,
        learning_rates=(1e-4, 1e-2), epochs=8, batch_size=64,
    )  # fmt: skip
    assert other['chosen_fine_tune_rate'] == found['chosen_fine_tune_rate'] and other['fine_tuned'] < 0.25

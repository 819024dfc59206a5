"""Evaluations by unit: sparse and intrinsic probes, rescaled features, ranks of pairs."""

import numpy as np
import pytest
from scipy import integrate, stats
from selfsup import evals
from selfsup.errors import UserError
from selfsup.evals import Features
from selfsup.evals.intrinsic_probe import GaussianClasses, chosen_dimensions, log_posterior
from selfsup.evals.sparse_probe import ranked_features, rated
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score


def planted(count, seed, dim=12):
    """Two classes that dimensions 7 and 3 tell apart, the first better; the others are noise."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % 5 == 0).astype(np.int32)
    rows = rng.normal(size=(count, dim))
    rows[:, 7] += 3 * labels
    rows[:, 3] += 1.5 * labels
    return Features(rows.astype(np.float32), labels)


@pytest.mark.slow
def test_a_sparse_probe_is_scikit_learns_balanced_regression_of_the_best_features():
    train, test = planted(400, 0), planted(300, 1)
    found = evals.sparse_probe(train, test, features=(1, 2, 40))
    mean, deviation = train.features.mean(axis=0), train.features.std(axis=0)
    x, x_test = ((part.features - mean) / deviation for part in (train, test))
    order = ranked_features(x, train.labels == 1)
    assert order[:2].tolist() == [7, 3]
    for count, name in ((1, '1'), (2, '2'), (12, 'all')):
        model = LogisticRegression(C=1.0, class_weight='balanced', tol=1e-8, max_iter=1000)
        predicted = model.fit(x[:, order[:count]], train.labels).predict(x_test[:, order[:count]])
        # Both classes against the other are one question, so their mean is its balanced accuracy.
        assert found[f'sparse_probe_{name}'] == pytest.approx(balanced_accuracy_score(test.labels, predicted), abs=1e-6)
        f1 = np.mean([f1_score(test.labels, predicted, pos_label=c) for c in (0, 1)])
        assert found[f'sparse_probe_f1_{name}'] == pytest.approx(f1, abs=1e-6)
    assert found['sparse_probe_random_1'] < found['sparse_probe_1'] and 'sparse_probe_40' not in found
    with pytest.raises(UserError, match='positive numbers of features'):
        evals.sparse_probe(train, test, features=(0,))


def test_balanced_accuracy_and_f1_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    truth, predicted = rng.random(50) < 0.3, rng.random(50) < 0.5
    assert rated(truth, predicted) == pytest.approx(
        (balanced_accuracy_score(truth, predicted), f1_score(truth, predicted))
    )
    assert rated(np.zeros(3, bool), np.zeros(3, bool)) == (0.5, 0.0)


def test_gaussian_classes_are_those_of_scipy_on_any_part_of_the_dimensions():
    train = planted(200, 0, dim=5 + 3)
    x = train.features.astype(np.float64)
    model = GaussianClasses(x, train.labels, 2)
    rows = x[train.labels == 1]
    scatter = (rows - rows.mean(0)).T @ (rows - rows.mean(0))
    shift = rows.mean(0) - x.mean(0)
    scatter += 0.01 * 40 / 40.01 * np.outer(shift, shift)
    np.testing.assert_allclose(model.covariances[1], (np.diag(x.var(0)) + scatter) / (10 + 40 + 10), rtol=1e-10)
    np.testing.assert_allclose(model.means[1], (0.01 * x.mean(0) + 40 * rows.mean(0)) / 40.01, rtol=1e-10)
    order = chosen_dimensions(model, x[:50], train.labels[:50], 3)
    scores = []
    for j in range(8):  # the second choice by a density of two dimensions for each candidate
        some = [order[0], j]
        density = np.stack(
            [
                model.log_priors[c]
                + stats.multivariate_normal(
                    model.means[c][some], model.covariances[c][np.ix_(some, some)], allow_singular=True
                ).logpdf(x[:50][:, some])
                for c in (0, 1)
            ]
        )
        scores.append(log_posterior(density)[train.labels[:50], np.arange(50)].mean() if j != order[0] else -np.inf)
    assert order[0] == 7 and order[1] == int(np.argmax(scores))


def test_intrinsic_probing_finds_the_planted_dimensions_and_their_information():
    train, test = planted(4000, 0), planted(4000, 1)
    found = evals.intrinsic_probe(train, test, dimensions=(1, 2, 50, 12))
    assert (
        found['intrinsic_half'] == 1
        and found['intrinsic_mi_1'] < found['intrinsic_mi_2']
        and 'intrinsic_mi_50' not in found
    )
    # Dimension 7 alone: I(C; x) of two unit Gaussians 3 apart with priors 0.8 and 0.2, by integration.
    priors, entropy = np.array([0.8, 0.2]), -np.sum(np.array([0.8, 0.2]) * np.log([0.8, 0.2]))

    def integrand(x):
        joint = priors * stats.norm.pdf(x, [0, 3])
        posterior = joint / joint.sum()
        return -joint.sum() * np.sum(posterior * np.log(np.maximum(posterior, 1e-300)))

    information = 1 - integrate.quad(integrand, -9, 12, limit=200)[0] / entropy
    assert found['intrinsic_mi_1'] == pytest.approx(information, abs=0.03)  # 4,000 rows: 0.01 of sampling
    assert found['intrinsic_mi_12'] == pytest.approx(found['intrinsic_mi_2'], abs=0.03)
    shuffled = Features(train.features, np.random.default_rng(0).permutation(train.labels))
    assert abs(evals.intrinsic_probe(shuffled, test, dimensions=(1,))['intrinsic_mi_1']) < 0.1


def test_a_class_of_one_sample_has_no_covariance():
    train = planted(40, 0)
    labels = train.labels.copy()
    labels[0] = 2
    with pytest.raises(UserError, match='class 2 has 1 samples, fewer than the 2'):
        evals.intrinsic_probe(Features(train.features, labels), planted(40, 1))


def test_pairs_are_ranked_among_all_rows_but_themselves():
    rng = np.random.default_rng(0)
    first, second, more = rng.normal(size=(3, 20, 5)).astype(np.float32)
    found = evals.pair_rank(first, second, background=more)
    pool = np.concatenate([first, second, more]).astype(np.float64)
    pool -= pool.mean(axis=0)
    pool /= np.linalg.norm(pool, axis=1, keepdims=True)
    ranks = []
    for i in range(20):
        cosines = pool @ pool[i]
        rivals = np.delete(cosines, [i, i + 20])
        ranks.append(1 + np.sum(rivals > cosines[i + 20]))
    expected = [np.mean(1 / np.array(ranks)), np.mean(np.array(ranks) <= 3), np.mean(ranks)]
    assert [found[f'pair_{name}'] for name in ('mrr', 'hits@3', 'mean_rank')] == pytest.approx(expected)
    assert evals.pair_rank(first, first)['pair_mrr'] == 1
    with pytest.raises(UserError, match=r'two sides \[pairs, dim\]'):
        evals.pair_rank(first, second[:-1])


@pytest.mark.slow
def test_a_stretched_dimension_moves_raw_neighbours_and_not_standardised_ones():
    train, test = planted(300, 0), planted(300, 1)
    stretched = [
        Features(part.features * np.where(np.arange(12) == 0, 100, 1).astype(np.float32), part.labels)
        for part in (train, test)
    ]
    plain, found = evals.rescaling(train, test), evals.rescaling(*stretched)
    assert found['rescaling_standardised'] == pytest.approx(plain['rescaling_standardised'], abs=0.02)
    assert found['rescaling_raw'] < plain['rescaling_raw'] - 0.01
    assert found['rescaling_spread'] == pytest.approx(
        max(found.values()) - min(v for k, v in found.items() if 'spread' not in k)
    )

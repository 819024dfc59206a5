"""Evaluations against scikit-learn, and exactness under a padded last batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from selfsup import evals
from selfsup.data.sources import open_source
from selfsup.errors import UserError
from selfsup.evals.features import check
from selfsup.evals.knn import predict
from selfsup.evals.linear import draw_per_class
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier


@pytest.fixture(scope='module')
def digits():
    return tuple(
        evals.Features(s.images().reshape(len(s), -1).astype(np.float32) / 255, s.labels) for s in open_source('digits')
    )


def test_padding_of_the_last_batch_changes_nothing():
    images = np.random.default_rng(0).normal(size=(37, 4, 4, 1)).astype(np.float32)
    encode = jax.jit(lambda x: {'features': x.reshape(len(x), -1) ** 2})
    out = evals.extract(encode, images, batch_size=16)
    np.testing.assert_allclose(out['features'], images.reshape(37, -1) ** 2, rtol=1e-6)
    traces = encode._cache_size()
    assert traces == 1


def test_standardisation_uses_train_and_drops_constants(digits):
    x, x_test = evals.standardized(*digits)
    deviation = x.std(axis=0)
    assert set(np.unique(deviation.round(3))) <= {0.0, 1.0} and (deviation == 0).any()
    assert abs(x_test.mean()) < 0.05 and np.isfinite(x_test).all()


def test_knn_equals_scikit_learn(digits):
    train, test = digits

    def unit(f):
        return f / np.linalg.norm(f, axis=1, keepdims=True)

    def weights(distance):
        return np.exp((1 - distance**2 / 2) / 0.07)

    theirs = KNeighborsClassifier(20, weights=weights).fit(unit(train.features), train.labels)
    ours = predict(train, test.features, k=20, temperature=0.07, chunk=100)
    assert (ours == theirs.predict(unit(test.features))).mean() > 0.997  # ties
    accuracy = evals.knn(train, test)['knn']
    assert accuracy == np.mean(ours == test.labels)


@pytest.mark.parametrize('strength', [0.1, 1.0])
def test_logistic_regression_equals_scikit_learn(digits, strength):
    train, test = digits
    x, _ = evals.standardized(train, test)
    theirs = LogisticRegression(C=strength, tol=1e-10, max_iter=10000).fit(x.astype(np.float64), train.labels)
    ours = evals.logistic_regression(
        jnp.asarray(x), jnp.asarray(train.labels), classes=10, inverse_regularization=strength
    )
    # float32 stops where the gradient drowns in rounding; the objective there is exact to 1e-6.
    np.testing.assert_allclose(ours.kernel.T, theirs.coef_, atol=3e-3)

    def objective(kernel, bias):
        logits = x.astype(np.float64) @ kernel + bias
        top = logits.max(axis=1, keepdims=True)
        log_sum = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
        return 0.5 * (kernel**2).sum() + strength * (log_sum - logits[np.arange(len(x)), train.labels]).sum()

    best = objective(theirs.coef_.T, theirs.intercept_)
    assert objective(np.asarray(ours.kernel, np.float64), np.asarray(ours.bias, np.float64)) < best * (1 + 1e-6)


def test_linear_probe_of_separable_features_is_perfect_and_padding_is_free(digits):
    labels = np.repeat(np.arange(4), 12)
    features = np.eye(4, dtype=np.float32)[labels] + 0.01 * np.random.default_rng(0).normal(size=(48, 4)).astype(
        np.float32
    )
    data = evals.Features(features, labels.astype(np.int32))
    scores = evals.linear_probe(data, data)
    assert scores == {'linear_1': 1.0, 'linear_10': 1.0, 'linear': 1.0}
    train, test = digits
    small = evals.Features(train.features[:200, 20:40], train.labels[:200])
    query = evals.Features(test.features[:, 20:40], test.labels)
    plain = evals.linear_probe(small, query, label_counts=(1,), draws=2)
    wide = evals.linear_probe(small, query, label_counts=(1,), draws=2, width=32)
    for name in plain:
        np.testing.assert_allclose(plain[name], wide[name], atol=0.006)  # two of 359 decisions


def test_draws_are_balanced_and_reproducible(digits):
    labels = digits[0].labels
    chosen = draw_per_class(labels, 3, seed=1)
    assert np.bincount(labels[chosen]).tolist() == [3] * 10
    np.testing.assert_array_equal(chosen, draw_per_class(labels, 3, seed=1))
    assert set(chosen) != set(draw_per_class(labels, 3, seed=2))


def test_test_labels_choose_nothing(digits):
    """Random test labels leave every prediction as it was: only the count of hits changes."""
    train, test = digits
    shuffled = evals.Features(test.features, np.random.default_rng(0).permutation(test.labels))
    np.testing.assert_array_equal(predict(train, test.features), predict(train, shuffled.features))
    assert abs(evals.linear_probe(train, shuffled, label_counts=())['linear'] - 0.1) < 0.06


def test_bad_features(digits):
    train, test = digits
    broken = train.features.copy()
    broken[[3, 7], 0] = np.nan
    with pytest.raises(UserError, match='train: 2 rows of features are not finite, the first is 3'):
        evals.knn(evals.Features(broken, train.labels), test)
    with pytest.raises(UserError, match='two classes'):
        evals.linear_probe(evals.Features(train.features, np.zeros_like(train.labels)), test)
    with pytest.raises(UserError, match='20 neighbours are more than the 5 samples'):
        predict(evals.Features(train.features[:5], train.labels[:5]), test.features)
    with pytest.raises(UserError, match='class 0 has'):
        draw_per_class(train.labels, 10**6, seed=0)
    with pytest.raises(UserError, match='do not match'):
        check(evals.Features(train.features[:5], train.labels[:4]), 'x')

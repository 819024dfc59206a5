"""Relative representations and stitching against scikit-learn and invariances."""

import numpy as np
import pytest
from programs import diagnostics
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.metrics.pairwise import cosine_similarity
from tolerances import FLOAT64


def cloud(n=60, d=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def test_relative_representation_equals_scikit_learn(x64):
    np.testing.assert_allclose(
        diagnostics.relative_representation(cloud(), cloud(7, seed=1)),
        cosine_similarity(cloud(), cloud(7, seed=1)),
        rtol=1e-9,
    )


def test_relative_representation_forgets_rotation_and_scale(x64):
    turn, _ = np.linalg.qr(cloud(5, 5, 3))
    mine = diagnostics.relative_representation(cloud(), cloud()[:7])
    theirs = diagnostics.relative_representation(3 * cloud() @ turn, 3 * cloud()[:7] @ turn)
    np.testing.assert_allclose(mine, theirs, atol=1e-12)
    same = diagnostics.latent_similarity(mine, theirs)
    assert all(abs(float(v) - 1) < 1e-9 for v in same.values()), same


def test_latent_similarity_equals_a_loop(x64):
    x = cloud(30)
    y = x + cloud(30, seed=1)
    cosines = cosine_similarity(x, y)
    rank = [1 + np.sum(cosines[i] > cosines[i, i]) for i in range(30)]

    def sets(z):
        c = cosine_similarity(z)
        np.fill_diagonal(c, -np.inf)
        return [set(np.argsort(-row)[:4]) for row in c]

    overlap = [len(a & b) / len(a | b) for a, b in zip(sets(x), sets(y), strict=True)]
    ours = diagnostics.latent_similarity(x, y, k=4)
    np.testing.assert_allclose(ours['cosine'], np.diag(cosines).mean(), rtol=FLOAT64)
    np.testing.assert_allclose(ours['mrr'], np.mean(1 / np.array(rank)), rtol=FLOAT64)
    np.testing.assert_allclose(ours['jaccard'], np.mean(overlap), rtol=FLOAT64)


def test_stitch_equals_scikit_learn(x64):
    x, y = cloud() + 3, cloud(60, 4, 1) - 2
    y += x[:, :4]
    reference = LinearRegression().fit(x[:40], y[:40])
    stitch = diagnostics.fit_stitch(x[:40], y[:40])
    np.testing.assert_allclose(stitch.weights, reference.coef_.T, rtol=1e-8)
    np.testing.assert_allclose(stitch.bias, reference.intercept_, rtol=1e-8)
    score = r2_score(y[40:], reference.predict(x[40:]), multioutput='variance_weighted')
    np.testing.assert_allclose(diagnostics.stitching_score(x[:40], y[:40], x[40:], y[40:]), score, rtol=1e-8)
    penalty = 0.1 * 40 * x[:40].var(0).mean()
    ridge = Ridge(alpha=penalty).fit(x[:40], y[:40])
    np.testing.assert_allclose(diagnostics.fit_stitch(x[:40], y[:40], ridge=0.1).weights, ridge.coef_.T, rtol=1e-8)


def test_stitch_of_deficient_and_collapsed_sides(x64):
    x, y = cloud(), cloud(60, 4, 1)
    twice = np.concatenate([x, x], axis=1)
    shortest = np.linalg.lstsq(twice - twice.mean(0), y - y.mean(0), rcond=None)[0]
    np.testing.assert_allclose(diagnostics.fit_stitch(twice, y).weights, shortest, atol=1e-10)
    point = diagnostics.fit_stitch(np.zeros((60, 5)), y)
    assert (np.asarray(point.weights) == 0).all()
    np.testing.assert_allclose(point.bias, y.mean(0))
    assert float(diagnostics.stitching_score(x, y, x, np.ones((60, 4)))) == 0
    map_ = cloud(5, 4, 2)
    assert abs(float(diagnostics.stitching_score(x[:40], x[:40] @ map_, x[40:], x[40:] @ map_)) - 1) < 1e-9


BAD = {
    'anchors': (lambda: diagnostics.relative_representation(cloud(), cloud(3, 4)), r'\[60, 5\] and \[3, 4\]'),
    'rows': (lambda: diagnostics.fit_stitch(cloud(5), cloud(6)), r'\[5, 5\] and \[6, 5\]'),
    'width': (lambda: diagnostics.stitching_score(cloud(), cloud(), cloud(5, 4), cloud(5)), r'\[5, 4\]'),
    'spaces': (lambda: diagnostics.latent_similarity(cloud(), cloud(60, 4)), r'\[60, 5\] and \[60, 4\]'),
}


@pytest.mark.parametrize('call, message', BAD.values(), ids=BAD.keys())
def test_bad_input(call, message, own_checks):
    with pytest.raises(ValueError, match=message):
        call()

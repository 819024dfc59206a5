"""Estimates of mutual information as losses."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from programs import compiled, losses, with_gradients
from selfsup import losses as plain
from tolerances import FLOAT64, GOLDEN_FLOAT64

from experiments.tables import mutual_information as bed

# The code of Song and Ermon on scores 2·X Yᵀ of the golden inputs: the estimate, and its gradient along W. Of JSD the
# gradient alone: their estimate is NWJ's at f, ours at f + 1.
GOLDEN = {
    'mi_info_nce': ({}, 2.2700520532 - 7.6244e-9, 0.0185590326),  # their log(16) is of float32
    'mi_nwj': ({}, 1.4341170641, 0.3863861177),
    'mi_dv': ({}, 3.1313202984, 0.1302734266),
    'mi_jsd': ({}, None, -0.0005985447),
    'mi_smile': ({'clip': 5.0}, 3.4144873036, -0.0005985447),
    'mi_smile, 1': ({'clip': 1.0}, 5.3672893947, -0.0005985447),
    'mi_smile, none': ({'clip': None}, 3.1313202984, -0.0005985447),
}
W = np.cos(np.arange(16.0)[:, None] * 0.7 + np.arange(16.0)[None] * 1.9)
BOUNDS = ('mi_info_nce', 'mi_nwj', 'mi_dv', 'mi_jsd', 'mi_smile')


def scores_of(golden):
    return 2 * golden[0] @ golden[1].T


@pytest.mark.parametrize('name', GOLDEN)
def test_golden(name, golden, x64):
    keywords, expected, slope = GOLDEN[name]
    function = getattr(plain, name.split(',')[0])
    found, (gradient,) = with_gradients(function, of=(0,), **keywords)(scores_of(golden))
    if expected is not None:
        assert abs(float(found) + expected) < GOLDEN_FLOAT64
    assert abs(float(np.sum(gradient * W)) + slope) < GOLDEN_FLOAT64


def test_mine_divides_its_gradient_by_an_average(golden, x64):
    loss = jax.jit(jax.value_and_grad(plain.mi_mine, has_aux=True))
    (found, average), gradient = loss(scores_of(golden), np.log(3.0))
    assert abs(float(found) + 3.1313202984) < GOLDEN_FLOAT64
    assert abs(float(np.sum(gradient * W)) + 0.2889383142) < GOLDEN_FLOAT64
    mean = np.exp(scores_of(golden))[~np.eye(16, dtype=bool)].mean()
    np.testing.assert_allclose(average, np.log(0.9 * 3.0 + 0.1 * mean), rtol=FLOAT64)
    # The first batch is its own average, and the gradient that of DV.
    (_, average), gradient = loss(scores_of(golden), -np.inf)
    np.testing.assert_allclose(average, np.log(mean), rtol=FLOAT64)
    _, (expected,) = with_gradients(plain.mi_dv, of=(0,))(scores_of(golden))
    np.testing.assert_allclose(gradient, expected, atol=1e-14)


def test_info_nce_is_the_loss_of_the_same_name(golden, x64):
    x, y = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in golden)
    expected = losses.info_nce_in_batch(*golden, temperature=0.2) - np.log(16)
    np.testing.assert_allclose(losses.mi_info_nce(x @ y.T / 0.2), expected, rtol=FLOAT64)


def test_jsd_reports_nwj_at_the_logits_of_its_classifier(golden, x64):
    scores = scores_of(golden)
    np.testing.assert_allclose(losses.mi_jsd(scores), losses.mi_nwj(scores + 1), rtol=FLOAT64)


@pytest.mark.parametrize('name', BOUNDS)
def test_a_critic_that_sees_nothing_finds_nothing(name):
    shift = 1.0 if name == 'mi_nwj' else 0.0
    found = compiled(getattr(plain, name))(np.full((8, 8), shift, np.float32))
    np.testing.assert_allclose(found, 0, atol=1e-6)


@pytest.mark.parametrize('name', BOUNDS)
def test_scores_beyond_any_exponential_are_finite(name):
    scores = np.float32(200) * np.eye(8, dtype=np.float32) - 100
    found, (gradient,) = with_gradients(getattr(plain, name), of=(0,))(scores)
    assert np.isfinite(found) and np.isfinite(gradient).all()


def test_estimates_at_the_true_ratio_are_near_the_truth():
    """Correlated Gaussians of 0.51 nats; a thousand pairs."""
    x, noise = np.random.default_rng(0).normal(size=(2, 1000, 4)).astype(np.float32)
    rho = 0.475
    y = rho * x + np.sqrt(1 - rho**2) * noise
    squares = ((y[None] - rho * x[:, None]) ** 2).sum(-1) / (1 - rho**2)
    scores = 0.5 * (np.sum(y**2, axis=1)[None] - squares) - 2 * np.log(1 - rho**2)
    truth = -2 * np.log(1 - rho**2)
    for name in BOUNDS:
        at = jnp.asarray(scores + (name == 'mi_nwj'), jnp.float32)
        assert abs(float(compiled(getattr(plain, name))(at)) + truth) < 0.08, name


def test_the_true_scores_are_those_of_scipy(x64):
    x, y = np.random.default_rng(3).normal(size=(2, 5, 3))
    rho = bed.rho_of(1.2, 3)
    np.testing.assert_allclose(-1.5 * np.log(1 - rho**2), 1.2, rtol=FLOAT64)
    found = bed.true_scores(jnp.asarray(x), jnp.asarray(y), rho)
    joint = scipy.stats.multivariate_normal(np.zeros(2), [[1, rho], [rho, 1]])
    for i in range(5):
        for j in range(5):
            pairs = np.stack([x[i], y[j]], axis=1)
            expected = np.sum(joint.logpdf(pairs) - scipy.stats.norm.logpdf(pairs).sum(1))
            np.testing.assert_allclose(found[i, j], expected, rtol=1e-9)


def test_the_page_says_what_is_recorded():
    docs = Path(bed.__file__).parent.parent.parent / 'docs'
    recorded, page = (docs / f'mutual_information.{kind}' for kind in ('json', 'md'))
    for critic in bed.TRUTHS:
        assert bed.table(json.loads(recorded.read_text()), critic) in page.read_text()

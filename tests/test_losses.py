"""Every loss through the same rows. A new loss is a new entry of LOSSES."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads
from selfsup import losses
from tolerances import BFLOAT16, FLOAT32, FLOAT64, GOLDEN_FLOAT64, GRADIENT


def unit(z):
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def log_sum_exp(x, axis=-1):
    top = x.max(axis=axis, keepdims=True)
    return (top + np.log(np.exp(x - top).sum(axis=axis, keepdims=True))).squeeze(axis)


def barlow_reference(z1, z2, lambd=5.1e-3):
    n, d = z1.shape
    z1, z2 = ((z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5) for z in (z1, z2))
    total = 0.0
    for i in range(d):
        for j in range(d):
            c = np.dot(z1[:, i], z2[:, j]) / n
            total += (c - 1) ** 2 if i == j else lambd * c**2
    return total


def vicreg_reference(z1, z2):
    _, d = z1.shape
    total = 25 * np.mean((z1 - z2) ** 2)
    for z in (z1, z2):
        total += 25 * np.mean(np.maximum(0, 1 - np.sqrt(z.var(0, ddof=1) + 1e-4))) / 2
        covariance = np.cov(z, rowvar=False)
        total += np.sum((covariance - np.diag(np.diag(covariance))) ** 2) / d
    return total


def ntxent_reference(z1, z2, temperature=0.1):
    z = unit(np.concatenate([z1, z2]))
    n = len(z1)
    total = 0.0
    for i in range(2 * n):
        others = [j for j in range(2 * n) if j != i]
        logits = np.array([z[i] @ z[j] for j in others]) / temperature
        total += log_sum_exp(logits) - z[i] @ z[(i + n) % (2 * n)] / temperature
    return total / (2 * n)


QUEUE = np.random.default_rng(7).normal(size=(24, 6))


def info_nce(z1, z2, **kwargs):
    queue = jnp.asarray(QUEUE[:, : np.shape(z1)[1]], dtype=jnp.result_type(z1))
    return losses.info_nce(z1, z2, queue, **kwargs)


def info_nce_reference(z1, z2, temperature=0.2):
    total = 0.0
    for q, k in zip(unit(z1), unit(z2), strict=True):
        logits = np.array([q @ k, *[q @ row for row in unit(QUEUE)]]) / temperature
        total += log_sum_exp(logits) - logits[0]
    return total / len(z1)


def info_nce_in_batch_reference(query, key, temperature=0.2):
    logits = unit(query) @ unit(key).T / temperature
    return np.mean([log_sum_exp(logits[i]) - logits[i, i] for i in range(len(logits))])


def moco_v3_reference(query, key):
    return 2 * 1.0 * info_nce_in_batch_reference(query, key, 1.0)


def nnclr(p, z, **kwargs):
    return losses.nnclr(p, z, jnp.asarray(QUEUE[:, : np.shape(z)[1]], dtype=jnp.result_type(z)), **kwargs)


def nnclr_reference(p, z, temperature=0.1):
    queue, p = unit(QUEUE), unit(p)
    total = 0.0
    for i, row in enumerate(unit(z)):
        neighbour = queue[np.argmin(((queue - row) ** 2).sum(1))]  # on the sphere the nearest has the largest cosine
        logits = np.array([neighbour @ other for other in p]) / temperature
        total += log_sum_exp(logits) - logits[i]
    return total / len(p)


def ressl(query, key, **kwargs):
    return losses.ressl(query, key, jnp.asarray(QUEUE[:, : np.shape(key)[1]], dtype=jnp.result_type(key)), **kwargs)


def ressl_reference(query, key):
    total = 0.0
    for q, k in zip(unit(query), unit(key), strict=True):
        student, teacher = (np.array([z @ row for row in unit(QUEUE)]) for z in (q, k))
        target = np.exp(teacher / 0.04) / np.exp(teacher / 0.04).sum()
        total -= np.sum(target * (student / 0.1 - log_sum_exp(student / 0.1)))
    return total / len(query)


def simsiam_reference(p, z):
    return -np.mean([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(p, z, strict=True)])


def byol(p, z):
    """Both directions: each view's prediction against the other's target."""
    return losses.byol(p, p[::-1], z[::-1], z)


def byol_reference(p, z):
    return 2 * np.mean([np.sum((a - b) ** 2) for a, b in zip(unit(p), unit(z), strict=True)])


def same_label(z1, z2, norm):
    """Two classes that neither the order, the scale nor a rotation of the rows changes."""
    size = norm(z1, axis=1) * norm(z2, axis=1)
    return (size > np.median(size) if isinstance(size, np.ndarray) else size > jnp.median(size)).astype(int)


def supcon(z1, z2, **kwargs):
    sizes = (jnp.asarray(z, jnp.promote_types(jnp.result_type(z), jnp.float32)) for z in (z1, z2))
    return losses.supcon(z1, z2, same_label(*sizes, jnp.linalg.norm), **kwargs)


def supcon_reference(z1, z2, temperature=0.1, sum_inside=False):
    labels = np.tile(same_label(z1, z2, np.linalg.norm), 2)
    z, n = unit(np.concatenate([z1, z2])), len(labels)
    total = 0.0
    for i in range(n):
        logits = np.array([z[i] @ z[j] for j in range(n) if j != i]) / temperature
        positives = np.array([labels[j] == labels[i] for j in range(n) if j != i])
        chosen = log_sum_exp(logits[positives]) if sum_inside else logits[positives].mean()
        total += log_sum_exp(logits) - chosen
    return total / n


def decoupled_reference(z1, z2, temperature=0.1, sigma=None):
    z, n = unit(np.concatenate([z1, z2])), len(z1)
    total = 0.0
    for start in (0, n):
        positive = np.array([z[i] @ z[(i + n) % (2 * n)] for i in range(start, start + n)])
        weights = np.ones(n) if sigma is None else 2 - n * np.exp(positive / sigma) / np.exp(positive / sigma).sum()
        for i in range(n):
            logits = np.array([z[start + i] @ z[j] for j in range(2 * n) if j % n != i]) / temperature
            total += log_sum_exp(logits) - weights[i] * positive[i] / temperature
    return total / (2 * n)


def debiased_reference(z1, z2, temperature=0.5, prior=0.1, concentration=0.0):
    z, n = unit(np.concatenate([z1, z2])), len(z1)
    total, count = 0.0, 2 * n - 2
    for i in range(2 * n):
        negatives = np.exp(np.array([z[i] @ z[j] for j in range(2 * n) if j % n != i % n]) / temperature)
        weights = negatives**concentration
        positive = np.exp(z[i] @ z[(i + n) % (2 * n)] / temperature)
        reweighted = np.sum(weights * negatives) / weights.mean()
        g = max((reweighted - prior * count * positive) / (1 - prior), count * np.exp(-1 / temperature))
        total -= np.log(positive / (positive + g))
    return total / (2 * n)


def w_mse(z1, z2, **kwargs):
    """Blocks of more rows than columns as in the paper; with fewer, ε makes them sound."""
    few = np.shape(z1)[0] <= np.shape(z1)[1]
    return losses.w_mse(z1, z2, **{**({'eps': 0.1} if few else {}), **kwargs})


def whitened(z, eps):
    z = z - z.mean(0)
    covariance = (1 - eps) * np.cov(z, rowvar=False) + eps * np.eye(z.shape[1])
    return np.stack([np.linalg.solve(np.linalg.cholesky(covariance), row) for row in z])


def w_mse_reference(z1, z2):
    eps = 0.1 if len(z1) <= z1.shape[1] else 0.0
    return np.mean([2 - 2 * a @ b for a, b in zip(unit(whitened(z1, eps)), unit(whitened(z2, eps)), strict=True)])


def vibcreg_reference(z1, z2):
    total = 25 * np.mean((z1 - z2) ** 2)
    for z in (z1, z2):
        total += 25 * np.mean(np.maximum(0, 1 - np.sqrt(z.var(0, ddof=1) + 1e-4)))
        correlation = np.corrcoef(z, rowvar=False)
        total += 200 * np.mean((correlation - np.diag(np.diag(correlation))) ** 2)
    return total


COVARIANCE = QUEUE.T @ QUEUE / len(QUEUE)


def tico(z1, z2, **kwargs):
    dim = np.shape(z1)[1]
    return losses.tico(z1, z2, jnp.asarray(COVARIANCE[:dim, :dim], jnp.float32), **kwargs)[0]


def tico_reference(z1, z2):
    z1, z2, n = unit(z1), unit(z2), len(z1)
    old = COVARIANCE.astype(np.float32).astype(float)
    covariance = 0.9 * old + 0.1 * sum(np.outer(z, z) for z in z1) / n
    return 1 - np.mean([a @ b for a, b in zip(z1, z2, strict=True)]) + 20 * np.mean([z @ covariance @ z for z in z1])


def mmcr_reference(z1, z2, lambd=0.0):
    z1, z2 = unit(z1), unit(z2)
    own = [np.linalg.svd(np.stack([a, b]), compute_uv=False).sum() for a, b in zip(z1, z2, strict=True)]
    return lambd * np.mean(own) - np.linalg.svd((z1 + z2) / 2, compute_uv=False).sum()


def sigreg(z1, z2):
    directions = jnp.asarray(QUEUE[:5, : np.shape(z1)[1]], jnp.float32)
    return (losses.sigreg(z1, directions) + losses.sigreg(z2, directions)) / 2


def sigreg_reference(z1, z2):
    total = 0.0
    for z in (z1, z2):
        for direction in unit(QUEUE[:5].astype(np.float32).astype(float)):
            x = z @ direction
            for k in range(17):
                t, gauss = 3 * k / 16, float(np.float32(np.exp(-((3 * k / 16) ** 2) / 2)))
                weight = float(np.float32((2 if 0 < k < 16 else 1) * 3 / 16 * gauss))
                total += len(z) * weight * ((np.cos(t * x).mean() - gauss) ** 2 + np.sin(t * x).mean() ** 2) / 10
    return total


def lejepa(z1, z2, **kwargs):
    return losses.lejepa(z1, z2, directions=jnp.asarray(QUEUE[:5, : np.shape(z1)[1]], jnp.float32), **kwargs)


def lejepa_reference(z1, z2):
    return 0.95 * np.mean((z1 - z2) ** 2) / 4 + 0.05 * sigreg_reference(z1, z2)


def empty_space(n):
    """The Epps–Pulley statistic of a point mass at zero, per example and direction."""
    t, step = np.linspace(0, 3, 17), 3 / 16
    inside = np.exp(-(t**2) / 2) * (1 - np.exp(-(t**2) / 2)) ** 2
    return n * step * (2 * inside.sum() - inside[0] - inside[-1])


def swav(p, z, **kwargs):
    """One direction: `z` is assigned, `p` predicts."""
    prototypes = jnp.asarray(unit(QUEUE[:12, : np.shape(p)[1]]), jnp.float32)
    return losses.swav(z, p, prototypes=prototypes, assign=1, **kwargs)


def swav_reference(p, z):
    prototypes = unit(QUEUE[:12]).astype(np.float32).astype(float)
    q = np.exp(unit(z) @ prototypes.T / 0.05)
    for _ in range(3):
        q = q / q.sum(0, keepdims=True) / q.shape[1]
        q = q / q.sum(1, keepdims=True) / q.shape[0]
    logits = unit(p) @ prototypes.T / 0.1
    return -np.mean(np.sum(q * len(z) * (logits - log_sum_exp(logits)[:, None]), axis=1))


def dino(p, z, **kwargs):
    """The same prediction and target for both crops."""
    return losses.dino((p, p), (z, z), jnp.arange(np.shape(p)[1], dtype=jnp.float32) / 16, **kwargs)


def dino_reference(p, z):
    target = (z - np.arange(z.shape[1]) / 16) / 0.04
    target = np.exp(target - log_sum_exp(target)[:, None])
    return -np.mean(np.sum(target * (p / 0.1 - log_sum_exp(p / 0.1)[:, None]), axis=1))


def centroids(dim):
    return np.stack([unit(QUEUE[:5, :dim]), unit(QUEUE[5:10, :dim])]).astype(np.float32)


def deepcluster(p, z, **kwargs):
    """`p` predicts the clusters of `z`."""
    prototypes = jnp.asarray(centroids(np.shape(p)[1]))
    clusters = jnp.argmax(jnp.einsum('bd,hkd->bhk', jnp.asarray(z, jnp.float32), prototypes), axis=-1)
    return losses.deepcluster(p, prototypes=prototypes, assignments=clusters, **kwargs)


def deepcluster_reference(p, z):
    total = 0.0
    for prototypes in centroids(p.shape[1]).astype(float):
        for a, b in zip(unit(p), z, strict=True):
            logits = prototypes @ a / 0.1
            total += log_sum_exp(logits) - logits[np.argmax(prototypes @ b)]
    return total / (2 * len(p))


def two_places(z):
    return (jnp if isinstance(z, jax.Array) else np).stack([z, -0.5 * z[:, ::-1]], axis=1)


def vicregl_local(z1, z2, **kwargs):
    n = len(z1)
    places = jnp.broadcast_to(jnp.asarray([[0.0, 0.0], [0.0, 4.0]])[None], (n, 2, 2))
    return losses.vicregl_local(two_places(z1), two_places(z2), places, places + 1.0, matches=(1, 1), **kwargs)


def vicregl_local_reference(z1, z2):
    """Positions differ by the same shift everywhere: place 1 of map 1 is nearest to place 0 of map 2 by √2, ..."""
    places = [np.array([[0.0, 0.0], [0.0, 4.0]]), np.array([[1.0, 1.0], [1.0, 5.0]])]
    maps, total = [two_places(z1), two_places(z2)], 0.0
    for here in (0, 1):
        x, y, n, dim = maps[here], maps[1 - here], len(z1), z1.shape[1]
        content, position = np.empty_like(x), []
        for i in range(n):
            for a in range(2):
                content[i, a] = y[i, np.argmin(((y[i] - x[i, a]) ** 2).sum(1))]
        apart = ((places[here][:, None] - places[1 - here][None]) ** 2).sum(-1)
        a = np.argmin(apart.min(1))
        position = (x[:, [a]], y[:, [np.argmin(apart[a])]])
        for u, v in ((x, content), position):
            total += 25 * np.mean((u - v) ** 2) / 2
            for w in (u, v):
                for place in range(w.shape[1]):
                    covariance = np.cov(w[:, place], rowvar=False)
                    hinge = np.mean(np.maximum(0, 1 - np.sqrt(np.diag(covariance) + 1e-4)))
                    off = np.sum((covariance - np.diag(np.diag(covariance))) ** 2) / dim
                    total += (25 * hinge + off) / w.shape[1] / 4
    return total


class Row(NamedTuple):
    """What is known of a loss of two views."""

    loss: Callable
    reference: Callable
    golden: tuple[dict, float] | None  # keywords, value on the golden inputs
    collapse: Callable | None  # (n, d) -> value when every embedding is the same
    aligned: Callable | None  # (z) -> value for two equal views, where it has a closed form
    scale_free: bool  # unchanged when a view is multiplied by a constant
    rotation_free: bool  # unchanged when both views are rotated alike
    swap_free: bool  # unchanged when the views change places
    stopped: bool = False  # no gradient reaches the second argument
    at_collapse: Callable | None = None  # (z) -> the loss there, where more than the two views must be one point


LOSSES = {
    'barlow_twins': Row(
        losses.barlow_twins, barlow_reference, ({}, 0.0200166120), lambda n, d: d, None, False, False, True
    ),
    'vicreg': Row(
        losses.vicreg, vicreg_reference, ({}, 8.3672975509), lambda n, d: 25 * (1 - 0.01), None, False, False, True
    ),
    'ntxent': Row(
        losses.ntxent,
        ntxent_reference,
        ({'temperature': 0.5}, 1.8772075433),
        lambda n, d: np.log(2 * n - 1),
        None,
        True,
        True,
        True,
    ),
    'info_nce': Row(
        info_nce,
        info_nce_reference,
        None,
        lambda n, d: np.log(6),
        None,
        True,
        False,
        False,
        at_collapse=lambda z: losses.info_nce(z, z, z[:5]),
    ),
    'info_nce_in_batch': Row(
        losses.info_nce_in_batch, info_nce_in_batch_reference, None, lambda n, d: np.log(n), None, True, True, False
    ),
    'moco_v3': Row(
        losses.moco_v3,
        moco_v3_reference,
        ({'temperature': 0.2}, 0.2149645394),
        lambda n, d: 2 * np.log(n),
        None,
        True,
        True,
        False,
        stopped=True,
    ),
    'nnclr': Row(nnclr, nnclr_reference, None, lambda n, d: np.log(n), None, True, False, False, stopped=True),
    'ressl': Row(
        ressl,
        ressl_reference,
        None,
        lambda n, d: np.log(5),
        None,
        True,
        False,
        False,
        stopped=True,
        at_collapse=lambda z: losses.ressl(z, z, z[:5]),
    ),
    'simsiam': Row(
        losses.simsiam,
        simsiam_reference,
        ({}, -0.9581446559),
        lambda n, d: -1,
        lambda z: -1,
        True,
        True,
        True,
        stopped=True,
    ),
    'byol': Row(byol, byol_reference, ({}, 0.1674213762), lambda n, d: 0, lambda z: 0, True, True, True, stopped=True),
    'supcon': Row(supcon, supcon_reference, None, lambda n, d: np.log(2 * n - 1), None, True, True, True),
    'supcon, sum inside': Row(
        partial(supcon, sum_inside=True),
        partial(supcon_reference, sum_inside=True),
        None,
        lambda n, d: 0,  # nothing is larger than the median: one class, and every other view is a positive
        None,
        True,
        True,
        True,
    ),
    'decoupled': Row(
        losses.decoupled,
        decoupled_reference,
        ({}, -0.7292225363),
        lambda n, d: np.log(2 * n - 2),
        None,
        True,
        True,
        True,
    ),
    'decoupled, weighted': Row(
        partial(losses.decoupled, sigma=0.5),
        partial(decoupled_reference, sigma=0.5),
        ({'symmetric': False}, -0.6723331951),
        lambda n, d: np.log(2 * n - 2),
        None,
        True,
        True,
        True,
    ),
    'debiased': Row(
        losses.debiased,
        debiased_reference,
        ({}, 1.3344017558),
        lambda n, d: np.log(2 * n - 1),
        None,
        True,
        True,
        True,
    ),
    'debiased, hard negatives': Row(
        partial(losses.debiased, concentration=1.0),
        partial(debiased_reference, concentration=1.0),
        ({}, 2.2731648213),
        lambda n, d: np.log(2 * n - 1),
        None,
        True,
        True,
        True,
    ),
    'w_mse': Row(w_mse, w_mse_reference, ({}, 0.1598540715), lambda n, d: 0, lambda z: 0, True, False, True),
    'vibcreg': Row(losses.vibcreg, vibcreg_reference, None, lambda n, d: 2 * 25 * (1 - 0.01), None, False, False, True),
    'tico': Row(
        tico,
        tico_reference,
        None,
        lambda n, d: 20,
        None,
        True,
        False,
        False,
        at_collapse=lambda z: losses.tico(z, z, jnp.full((6, 6), 1 / 6))[0],
    ),
    'mmcr': Row(losses.mmcr, mmcr_reference, ({}, -9.0995771708), lambda n, d: -np.sqrt(n), None, True, True, True),
    'mmcr, own norms': Row(
        partial(losses.mmcr, lambd=0.1),
        partial(mmcr_reference, lambd=0.1),
        ({}, -8.9393117950),
        lambda n, d: 0.1 * np.sqrt(2) - np.sqrt(n),
        None,
        True,
        True,
        True,
    ),
    'sigreg': Row(
        sigreg,
        sigreg_reference,
        None,
        lambda n, d: empty_space(n),
        None,
        False,
        False,
        True,
        at_collapse=lambda z: sigreg(0 * z, 0 * z),
    ),
    'lejepa': Row(
        lejepa,
        lejepa_reference,
        None,
        lambda n, d: 0.05 * empty_space(n),
        None,
        False,
        False,
        True,
        at_collapse=lambda z: lejepa(0 * z, 0 * z),
    ),
    'swav': Row(
        swav,
        swav_reference,
        None,
        lambda n, d: np.log(5),
        None,
        True,
        False,
        False,
        stopped=True,
        at_collapse=lambda z: losses.swav(z, z, prototypes=z[:5]),
    ),
    'dino': Row(dino, dino_reference, None, lambda n, d: np.log(d), None, False, False, False, stopped=True),
    'deepcluster': Row(
        deepcluster,
        deepcluster_reference,
        None,
        lambda n, d: np.log(5),
        None,
        True,
        False,
        False,
        stopped=True,
        at_collapse=lambda z: losses.deepcluster(
            z, prototypes=jnp.ones((2, 5, 6)), assignments=jnp.zeros((len(z), 2), int)
        ),
    ),
    'vicregl_local': Row(
        vicregl_local, vicregl_local_reference, None, lambda n, d: 2 * 25 * (1 - 0.01), None, False, False, True
    ),
}
each = pytest.mark.parametrize('row', LOSSES.values(), ids=LOSSES.keys())


def views(n=12, d=6, dtype=np.float64):
    rng = np.random.default_rng(0)
    z1 = rng.normal(size=(n, d))
    return z1.astype(dtype), (z1 + 0.5 * rng.normal(size=(n, d))).astype(dtype)


@each
@pytest.mark.parametrize('shape', [(12, 6), (3, 6)], ids=['feature form', 'sample form'])
def test_equals_a_loop_in_numpy(row, shape, x64):
    z1, z2 = views(*shape)
    np.testing.assert_allclose(row.loss(z1, z2), row.reference(z1, z2), rtol=FLOAT64)


@each
def test_golden_value(row, golden, x64):
    if row.golden is None:
        np.testing.assert_allclose(row.loss(*golden), row.reference(*golden), rtol=FLOAT64)
        return
    keywords, value = row.golden
    assert abs(float(row.loss(*golden, **keywords)) - value) < GOLDEN_FLOAT64
    single = row.loss(*(jnp.asarray(z, jnp.float32) for z in golden), **keywords)
    np.testing.assert_allclose(single, value, rtol=FLOAT32)


@each
def test_gradient(row, x64):
    z1, z2 = views(6, 4)
    if row.stopped:
        check_grads(lambda z: row.loss(z, z2), (z1,), order=1, modes=['rev'], atol=GRADIENT, rtol=GRADIENT)
        assert not np.any(jax.grad(row.loss, argnums=1)(z1, jnp.asarray(z2)))
    else:
        check_grads(row.loss, (z1, z2), order=1, modes=['rev'], atol=GRADIENT, rtol=GRADIENT)


@each
def test_value_at_collapse(row):
    same = jnp.ones((8, 6))
    if row.collapse is not None:
        value = row.loss(same, same) if row.at_collapse is None else row.at_collapse(same)
        np.testing.assert_allclose(value, row.collapse(8, 6), rtol=FLOAT32, atol=FLOAT32)


def test_value_at_perfect_alignment(x64):
    orthogonal = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0]
    centred = orthogonal[:, 1:5] - orthogonal[:, 1:5].mean(0)
    decorrelated = np.linalg.qr(centred)[0] * 4
    assert float(losses.vicreg(decorrelated, decorrelated)) < 1e-12  # aligned, spread, uncorrelated
    spread = decorrelated * 100  # ε of the standardisation no longer shows
    assert float(losses.barlow_twins(spread, spread)) < 1e-12
    assert float(losses.ntxent(orthogonal, orthogonal, temperature=0.01)) < 1e-12
    assert float(losses.info_nce(orthogonal[:4], orthogonal[:4], orthogonal[4:], temperature=0.01)) < 1e-12
    assert float(losses.info_nce_in_batch(orthogonal, orthogonal, temperature=0.01)) < 1e-12
    assert float(losses.nnclr(orthogonal, orthogonal, orthogonal, temperature=0.01)) < 1e-12
    assert float(losses.supcon(orthogonal, orthogonal, np.arange(8), temperature=0.01)) < 1e-12
    assert float(losses.debiased(orthogonal, orthogonal, temperature=0.01, positive_prior=0.0)) < 1e-12
    np.testing.assert_allclose(losses.decoupled(orthogonal, orthogonal), np.log(14) - 10, rtol=FLOAT64)
    assert float(losses.vibcreg(decorrelated, decorrelated)) < 1e-12
    assert float(losses.w_mse(decorrelated, decorrelated @ np.diag([1.0, 2.0, 3.0, 4.0]))) < 1e-12


@each
def test_invariances(row, x64):
    z1, z2 = views()
    base = row.loss(z1, z2)
    order = np.random.default_rng(2).permutation(len(z1))
    np.testing.assert_allclose(row.loss(z1[order], z2[order]), base, rtol=FLOAT64)
    if row.swap_free:
        np.testing.assert_allclose(row.loss(z2, z1), base, rtol=FLOAT64)
    if row.rotation_free:
        turn = np.linalg.qr(np.random.default_rng(3).normal(size=(6, 6)))[0]
        np.testing.assert_allclose(row.loss(z1 @ turn, z2 @ turn), base, rtol=FLOAT64)
    if row.scale_free:
        np.testing.assert_allclose(row.loss(3.0 * z1, 0.2 * z2), base, rtol=FLOAT64)


DEGENERATE = {
    'zeros': jnp.zeros((8, 6)),
    'duplicates': jnp.ones((8, 6)) * jnp.arange(6.0)[None],
    'one-hot': jnp.eye(8, 6),
    'huge': 1e18 * jnp.asarray(views(8, 6, np.float32)[0]),
    'tiny': 1e-18 * jnp.asarray(views(8, 6, np.float32)[0]),
    'bfloat16': jnp.asarray(views(8, 6, np.float32)[0], jnp.bfloat16),
}


@each
@pytest.mark.parametrize('z', DEGENERATE.values(), ids=DEGENERATE.keys())
def test_finite_at_degenerate_inputs(row, z, request):
    if 'huge' in request.node.name and not row.scale_free:
        z = z / 1e15  # squares of squares: 1e3 is huge for a loss that keeps the scale
    value, gradients = jax.value_and_grad(row.loss, argnums=(0, 1))(z, z[::-1])
    assert value.dtype == jnp.float32
    assert np.isfinite(value)
    assert all(np.isfinite(np.asarray(g, np.float32)).all() for g in gradients)


@each
def test_half_precision_is_promoted(row):
    z1, z2 = (jnp.asarray(z, jnp.float32) for z in views())
    half = row.loss(z1.astype(jnp.bfloat16), z2.astype(jnp.bfloat16))
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, row.loss(z1, z2), rtol=BFLOAT16)


@each
def test_jit_equals_eager_with_one_trace(row):
    traces = []

    @jax.jit
    def compiled(z1, z2):
        traces.append(None)
        return row.loss(z1, z2)

    z1, z2 = (jnp.asarray(z, jnp.float32) for z in views())
    for shift in (0.0, 1.0):
        np.testing.assert_allclose(compiled(z1 + shift, z2), row.loss(z1 + shift, z2), rtol=FLOAT32)
    assert len(traces) == 1


def test_hyper_parameters_may_be_traced():
    z1, z2 = (jnp.asarray(z, jnp.float32) for z in views())
    temperatures = jnp.array([0.1, 0.5])
    many = jax.vmap(lambda t: losses.ntxent(z1, z2, temperature=t))(temperatures)
    for value, temperature in zip(many, (0.1, 0.5), strict=True):
        np.testing.assert_allclose(value, losses.ntxent(z1, z2, temperature=temperature), rtol=FLOAT32)


def test_ntxent_equals_optax(x64):
    z1, z2 = views()
    labels = np.tile(np.arange(len(z1)), 2)
    outside = optax.losses.ntxent(np.concatenate([z1, z2]), labels, temperature=0.3)
    np.testing.assert_allclose(losses.ntxent(z1, z2, temperature=0.3), outside, rtol=1e-6)


def test_terms_add_up(x64):
    z1, z2 = views()
    parts = losses.barlow_twins_terms(z1, z2)
    total = parts['on_diagonal'] + 0.01 * parts['off_diagonal']
    np.testing.assert_allclose(losses.barlow_twins(z1, z2, lambd=0.01), total, rtol=FLOAT64)
    np.testing.assert_allclose(losses.barlow_twins(z1, z2, lambd=0.01, scale=0.1), 0.1 * total, rtol=FLOAT64)


def test_vicreg_parts_and_dialect(golden, x64):
    parts = losses.vicreg_terms(*golden)
    expected = {'invariance': 0.0451698298, 'variance': 0.2835962905, 'covariance': 0.1481445408}
    for name, value in expected.items():
        assert abs(float(parts[name]) - value) < GOLDEN_FLOAT64
    # solo-learn sums the views' hinges, so its weight 25 is 50 here.
    solo = losses.vicreg(*golden, halve_variance=False)
    np.testing.assert_allclose(solo, losses.vicreg(*golden, variance_weight=50.0), rtol=FLOAT64)


def test_aligned_views(x64):
    for row in LOSSES.values():
        if row.aligned is not None:
            z = views()[0]
            np.testing.assert_allclose(row.loss(z, z), row.aligned(z), rtol=FLOAT64, atol=FLOAT64)


def test_losses_that_generalise_ntxent_return_to_it(x64):
    z1, z2 = views()
    expected = losses.ntxent(z1, z2, temperature=0.3)
    unknown = np.full(len(z1), -1)
    np.testing.assert_allclose(losses.supcon(z1, z2, unknown, temperature=0.3), expected, rtol=FLOAT64)
    np.testing.assert_allclose(losses.supcon(z1, z2, unknown, temperature=0.3, sum_inside=True), expected, rtol=FLOAT64)
    plain = losses.debiased(z1, z2, temperature=0.3, positive_prior=0.0)
    np.testing.assert_allclose(plain, expected, rtol=FLOAT64)


def test_debiased_is_exact_at_a_low_temperature(x64):
    z1, z2 = views()
    for temperature in (0.02, 0.005):  # exp(1/τ) is 1e86 in the second, beyond float32
        exact = debiased_reference(z1, z2, temperature, concentration=1.0)
        single = (jnp.asarray(z, jnp.float32) for z in (z1, z2))
        value = losses.debiased(*single, temperature=temperature, concentration=1.0)
        np.testing.assert_allclose(value, exact, rtol=1e-4)


def test_debiased_negatives_get_no_gradient_at_the_floor(x64):
    """Aligned pairs among opposite negatives: corrected, the negatives' share would be below its floor."""
    z1 = jnp.asarray([[1.0, 0.0], [-1.0, 0.1]])
    z2 = z1 + jnp.asarray([[0.0, 0.1]])

    def at_the_floor(a):
        direction = a / jnp.linalg.norm(a, axis=1, keepdims=True)
        other = z2 / jnp.linalg.norm(z2, axis=1, keepdims=True)
        positive = jnp.exp(jnp.sum(direction * other, axis=1) / 0.5)
        return -jnp.mean(jnp.log(positive / (positive + 2 * jnp.exp(-1 / 0.5))))

    whole = jax.grad(lambda a: losses.debiased(a, z2, positive_prior=0.5))(z1)
    np.testing.assert_allclose(whole, jax.grad(at_the_floor)(z1), rtol=FLOAT64)


def test_weights_of_decoupled_may_be_stopped(x64):
    z1, z2 = views()
    free, stopped = (partial(losses.decoupled, sigma=0.5, stop_weights=stop) for stop in (False, True))
    np.testing.assert_allclose(free(z1, z2), stopped(z1, z2), rtol=FLOAT64)
    assert np.abs(jax.grad(free)(z1, z2) - jax.grad(stopped)(z1, z2)).max() > 1e-3


def test_simsiam_without_its_stop_gradient():
    z1, z2 = views()
    assert np.any(jax.grad(partial(losses.simsiam, stop_gradient=False), argnums=1)(z1, z2))


def test_nnclr_passes_no_gradient_to_the_queue():
    z1, z2 = (jnp.asarray(z, jnp.float32) for z in views())
    assert not np.any(jax.grad(losses.nnclr, argnums=2)(z1, z2, jnp.asarray(QUEUE, jnp.float32)))


def test_golden_values_of_other_signatures(golden, x64):
    x, y = golden
    code = losses.sinkhorn(unit(x) @ unit(y[:5]).T)
    assert abs(float(jnp.sum(code**2)) - 14.3797625223) < GOLDEN_FLOAT64
    assert abs(float(losses.dino((x, y), (y, x), np.zeros(6))) - 0.1941507438) < GOLDEN_FLOAT64
    assert abs(float(losses.sigreg(x, np.eye(6))) - 0.600698838) < GOLDEN_FLOAT64
    x, y = (jnp.asarray(z, jnp.float32) for z in golden)
    code = losses.sinkhorn(jnp.asarray(unit(x) @ unit(y[:5]).T))
    np.testing.assert_allclose(jnp.sum(code**2), 14.3797625223, rtol=FLOAT32)
    np.testing.assert_allclose(losses.dino((x, y), (y, x), jnp.zeros(6)), 0.1941507438, rtol=FLOAT32)
    np.testing.assert_allclose(losses.sigreg(x, jnp.eye(6)), 0.600698838, rtol=FLOAT32)


def test_w_mse_blocks_are_shared_by_the_views_and_pairs_are_averaged(x64):
    z1, z2 = views(24, 4)
    z3 = z2[:, ::-1] + z1
    order = np.stack([np.random.default_rng(s).permutation(24) for s in range(2)])
    for normalized in (True, False):
        expected = []
        for rows in order.reshape(2, 3, 8).reshape(6, 8):
            w = [whitened(z[rows], 0.0) for z in (z1, z2, z3)]
            w = [unit(x) for x in w] if normalized else w
            share = 1 if normalized else 4
            expected += [np.mean(np.sum((w[i] - w[j]) ** 2, 1)) / share for i, j in ((0, 1), (0, 2), (1, 2))]
        value = losses.w_mse(z1, z2, z3, order=order, block=8, normalized=normalized)
        np.testing.assert_allclose(value, np.mean(expected), rtol=1e-9)


def test_w_mse_whitens_a_singular_block():
    z = jnp.asarray(views(16, 3)[0], jnp.float32)
    copied = jnp.concatenate([z, z], axis=1)  # rank 3 of 6
    value, gradient = jax.value_and_grad(losses.w_mse)(copied, copied[:, ::-1] + 0.1 * copied**2)
    assert 0 <= float(value) <= 4
    assert np.isfinite(gradient).all()


def test_tico_moves_its_covariance(x64):
    z1, z2 = views()
    moment = unit(z1).T @ unit(z1) / len(z1)
    _, new = losses.tico(z1, z2, COVARIANCE, beta=0.7)
    np.testing.assert_allclose(new, 0.7 * COVARIANCE + 0.3 * moment, rtol=FLOAT64)
    assert not np.any(jax.grad(lambda c: losses.tico(z1, z2, c)[0])(COVARIANCE))
    centred = losses.tico(z1, z2, COVARIANCE, centred=True)[0]
    np.testing.assert_allclose(centred, losses.tico(z1 - z1.mean(0), z2 - z2.mean(0), COVARIANCE)[0], rtol=FLOAT64)


def test_mmcr_of_repeated_singular_values_and_many_views(x64):
    orthogonal = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0]
    gradient = jax.grad(losses.mmcr)(orthogonal, orthogonal)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(losses.mmcr(orthogonal, orthogonal), -8, rtol=FLOAT64)
    z1, z2 = views()
    check_grads(lambda a: losses.mmcr(a, z2, z1, lambd=0.3), (z1,), order=1, modes=['rev'], atol=1e-5, rtol=1e-5)
    centre = (2 * unit(z1) + unit(z2)) / 3
    expected = -np.linalg.svd(centre, compute_uv=False).sum()
    np.testing.assert_allclose(losses.mmcr(z1, z2, z1), expected, rtol=FLOAT64)


def test_sigreg_is_smallest_for_a_standard_normal():
    z = jnp.asarray(np.random.default_rng(0).normal(size=(512, 6)), jnp.float32)
    directions = jnp.asarray(QUEUE, jnp.float32)
    normal = float(losses.sigreg(z, directions))
    assert normal < 2  # of order 1 whatever the size of the sample
    for other in (0.5 * z, 2 * z, z + 1, jnp.sign(z), z * jnp.arange(6.0)[None]):
        assert float(losses.sigreg(other, directions)) > 3 * normal


def test_lejepa_may_be_drawn_to_the_global_views_alone(x64):
    z1, z2 = views()
    terms = losses.lejepa_terms(z1, z2, z1 + z2, directions=QUEUE, centres=2)
    centre = (z1 + z2) / 2
    expected = np.mean([(z - centre) ** 2 for z in (z1, z2, z1 + z2)])
    np.testing.assert_allclose(terms['invariance'], expected, rtol=FLOAT64)


def test_sinkhorn_balances_and_ignores_rows_that_do_not_count(x64):
    scores = np.random.default_rng(4).uniform(-1, 1, size=(12, 4))
    code = np.asarray(losses.sinkhorn(scores, iterations=500))
    np.testing.assert_allclose(code.sum(1), 1, rtol=FLOAT64)
    np.testing.assert_allclose(code.sum(0), 3, rtol=1e-6)
    valid = np.arange(12) % 3 != 0
    part = losses.sinkhorn(scores, valid=valid)
    np.testing.assert_allclose(np.asarray(part)[valid], losses.sinkhorn(scores[valid]), rtol=FLOAT64)
    far = losses.sinkhorn(jnp.asarray(100 * scores, jnp.float32))  # exp(2000) is beyond any float
    assert np.isfinite(far).all()


def test_swav_averages_pairs_and_takes_the_queue_along(x64):
    z1, z2 = views()
    z3, prototypes = z1 - z2, unit(QUEUE[:7])
    one = partial(losses.swav, prototypes=prototypes, assign=1)
    expected = np.mean([one(z1, z2), one(z1, z3), one(z2, z1), one(z2, z3)])
    np.testing.assert_allclose(losses.swav(z1, z2, z3, prototypes=prototypes), expected, rtol=FLOAT64)
    queue = unit(np.random.default_rng(5).normal(size=(8, 6)))[None]
    empty = one(z1, z2, queue=queue, queue_valid=False)
    np.testing.assert_allclose(empty, one(z1, z2), rtol=FLOAT64)
    code = losses.sinkhorn(np.concatenate([queue[0], unit(z1)]) @ prototypes.T)[8:]
    logits = unit(z2) @ prototypes.T / 0.1
    full = -np.mean(np.sum(np.asarray(code) * (logits - log_sum_exp(logits)[:, None]), axis=1))
    np.testing.assert_allclose(one(z1, z2, queue=queue), full, rtol=FLOAT64)


def test_dino_pairs_every_crop_with_the_other_global_ones(x64):
    rng = np.random.default_rng(6)
    student, teacher, centre = rng.normal(size=(4, 5, 7)), rng.normal(size=(2, 5, 7)), rng.normal(size=7)
    expected = []
    for i, t in enumerate((teacher - centre) / 0.04):
        target = np.exp(t - log_sum_exp(t)[:, None])
        for v, s in enumerate(student / 0.1):
            if v != i:
                expected.append(-np.mean(np.sum(target * (s - log_sum_exp(s)[:, None]), axis=1)))
    np.testing.assert_allclose(losses.dino(list(student), list(teacher), centre), np.mean(expected), rtol=FLOAT64)
    new = losses.dino_centre(centre, list(teacher), rate=0.8)
    np.testing.assert_allclose(new, 0.8 * centre + 0.2 * teacher.mean((0, 1)), rtol=FLOAT64)


def test_deepcluster_leaves_out_what_has_no_cluster(x64):
    z = views()[0]
    prototypes, clusters = centroids(6).astype(float), np.random.default_rng(8).integers(0, 5, size=(12, 2))
    some = clusters.copy()
    some[6:] = -1
    value = losses.deepcluster(z, prototypes=prototypes, assignments=some)
    part = losses.deepcluster(z[:6], prototypes=prototypes, assignments=clusters[:6])
    np.testing.assert_allclose(value, part, rtol=FLOAT64)
    assert float(losses.deepcluster(z, prototypes=prototypes, assignments=np.full((12, 2), -1))) == 0
    passed = jax.grad(lambda p: losses.deepcluster(z, prototypes=p, assignments=clusters))(prototypes)
    assert not np.any(passed)


BAD = {
    'other batch': (lambda: losses.vicreg(jnp.ones((4, 3)), jnp.ones((5, 3))), ['z1', 'z2', '[4, 3]', '[5, 3]']),
    'other width': (lambda: losses.ntxent(jnp.ones((4, 3)), jnp.ones((4, 2))), ['[4, 3]', '[4, 2]']),
    'one row': (lambda: losses.barlow_twins(jnp.ones((1, 3)), jnp.ones((1, 3))), ['z1', '2 row', '[1, 3]']),
    'empty': (lambda: losses.ntxent(jnp.ones((0, 3)), jnp.ones((0, 3))), ['z1', '[0, 3]']),
    'rank': (lambda: losses.ntxent(jnp.ones((2, 2, 3)), jnp.ones((2, 2, 3))), ['z1', '[2, 2, 3]']),
    'integers': (lambda: losses.ntxent(jnp.ones((4, 3), int), jnp.ones((4, 3))), ['z1', 'int']),
    'temperature': (lambda: losses.ntxent(jnp.ones((4, 3)), jnp.ones((4, 3)), temperature=0.0), ['temperature', '0.0']),
    'queue width': (
        lambda: losses.info_nce(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.ones((8, 2))),
        ['queue', '[8, 2]', '[4, 3]'],
    ),
    'neighbours queue width': (
        lambda: losses.nnclr(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.ones((8, 2))),
        ['queue', '[8, 2]', '[4, 3]'],
    ),
    'relations queue width': (
        lambda: losses.ressl(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.ones((8, 2))),
        ['queue', '[8, 2]', '[4, 3]'],
    ),
    'teacher temperature': (
        lambda: losses.ressl(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.ones((8, 3)), teacher_temperature=-1.0),
        ['teacher_temperature', '-1.0'],
    ),
    'prediction and target': (
        lambda: losses.simsiam(jnp.ones((4, 3)), jnp.ones((4, 2))),
        ['p', 'z', '[4, 3]', '[4, 2]'],
    ),
    'byol, second target': (
        lambda: losses.byol(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.ones((5, 3)), jnp.ones((4, 3))),
        ['p2', 'z1', '[4, 3]', '[5, 3]'],
    ),
    'byol, directions': (
        lambda: losses.byol(jnp.ones((4, 3)), jnp.ones((5, 3)), jnp.ones((5, 3)), jnp.ones((4, 3))),
        ['p1', 'p2', '[4, 3]', '[5, 3]'],
    ),
    'label count': (
        lambda: losses.supcon(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.ones(5, int)),
        ['labels', '[5]', '[4, 3]'],
    ),
    'label type': (lambda: losses.supcon(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.ones(4)), ['labels', 'float']),
    'no other image': (lambda: losses.decoupled(jnp.ones((1, 3)), jnp.ones((1, 3))), ['z1', '2 row', '[1, 3]']),
    'prior': (
        lambda: losses.debiased(jnp.ones((4, 3)), jnp.ones((4, 3)), positive_prior=1.0),
        ['positive_prior', '1.0'],
    ),
    'third view': (
        lambda: losses.mmcr(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.ones((4, 2))),
        ['z1', 'z3', '[4, 3]', '[4, 2]'],
    ),
    'block': (lambda: losses.w_mse(jnp.ones((12, 3)), jnp.ones((12, 3)), block=5), ['block=5', '[12, 3]']),
    'small block': (lambda: losses.w_mse(jnp.ones((4, 4)), jnp.ones((4, 4))), ['4 rows', '4 dims', '[4, 4]']),
    'order': (
        lambda: losses.w_mse(jnp.ones((4, 3)), jnp.ones((4, 3)), order=jnp.arange(4)),
        ['order', '[4, 3]', '[4]'],
    ),
    'covariance': (
        lambda: losses.tico(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.eye(2)),
        ['covariance', '[3, 3]', '[2, 2]'],
    ),
    'directions': (lambda: losses.sigreg(jnp.ones((4, 3)), jnp.ones((5, 2))), ['directions', '[5, 2]', '[4, 3]']),
    'prototypes': (
        lambda: losses.swav(jnp.ones((4, 3)), jnp.ones((4, 3)), prototypes=jnp.ones((5, 2))),
        ['prototypes', '[5, 2]', '[4, 3]'],
    ),
    'queue of codes': (
        lambda: losses.swav(jnp.ones((4, 3)), jnp.ones((4, 3)), prototypes=jnp.ones((5, 3)), queue=jnp.ones((2, 8, 2))),
        ['queue', '[2, 8, 2]', '[4, 3]'],
    ),
    'epsilon': (lambda: losses.sinkhorn(jnp.ones((4, 3)), epsilon=0.0), ['epsilon', '0.0']),
    'crops': (lambda: losses.dino([jnp.ones((4, 3))], [jnp.ones((4, 3))], jnp.zeros(3)), ['2 student', '1 and 1']),
    'scores': (
        lambda: losses.dino([jnp.ones((4, 3)), jnp.ones((4, 2))], [jnp.ones((4, 3))], jnp.zeros(3)),
        ['student[1]', '[4, 3]', '[4, 2]'],
    ),
    'centre': (lambda: losses.dino([jnp.ones((4, 3))] * 2, [jnp.ones((4, 3))], jnp.zeros(2)), ['centre', '[3]', '[2]']),
    'clusters': (
        lambda: losses.deepcluster(
            jnp.ones((4, 3)), prototypes=jnp.ones((2, 5, 3)), assignments=jnp.zeros((5, 2), int)
        ),
        ['assignments', '[4, 3]', '[2, 5, 3]', '[5, 2]'],
    ),
    'maps': (
        lambda: losses.vicregl_local(
            jnp.ones((4, 9, 3)), jnp.ones((4, 9, 2)), jnp.ones((4, 9, 2)), jnp.ones((4, 9, 2))
        ),
        ['maps1', 'maps2', '[4, 9, 3]', '[4, 9, 2]'],
    ),
    'positions': (
        lambda: losses.vicregl_local(
            jnp.ones((4, 9, 3)), jnp.ones((4, 9, 3)), jnp.ones((4, 8, 2)), jnp.ones((4, 9, 2))
        ),
        ['positions1', '[4, 9, 3]', '[4, 8, 2]'],
    ),
}


@pytest.mark.parametrize('call, words', BAD.values(), ids=BAD.keys())
def test_bad_input_is_named(call, words, own_checks):
    with pytest.raises((ValueError, TypeError)) as error:
        call()
    for word in words:
        assert word in str(error.value)


def test_every_public_loss_is_tested_and_documented():
    parts = {'sinkhorn', 'dino_centre'}  # tested on their own
    names = {n for n in losses.__all__ if not n.endswith('_terms')} - parts
    assert names == {n.split(',')[0] for n in LOSSES}  # 'name, variant' is another row of `name`
    for name in losses.__all__:
        function = getattr(losses, name)
        for section in ('Args:', 'Returns:', 'References:'):
            assert section in function.__doc__, (name, section)
        for parameter in inspect.signature(function).parameters.values():
            arrays = (
                'z1',
                'z2',
                'query',
                'key',
                'queue',
                'p',
                'z',
                'p1',
                'p2',
                'labels',
                'more',
                'covariance',
                'directions',
                'scores',
                'student',
                'teacher',
                'centre',
                'maps1',
                'maps2',
                'positions1',
                'positions2',
            )
            assert parameter.name in arrays or parameter.kind == parameter.KEYWORD_ONLY, (name, parameter)

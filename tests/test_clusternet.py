"""ClusterNet: pairs, centres and a step of the method against loops in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from programs import compiled
from selfsup import losses, models
from selfsup.errors import UserError
from tolerances import FLOAT32, FLOAT64

KEY = jax.random.key(3)


def numbers(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def probabilities(logits):
    p = np.exp(logits - logits.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def divergence(p, q):
    return float((p * np.log(p / q)).sum())


def pairs_reference(logits, labels, margin=2.0):
    p, near, far = probabilities(logits), [], []
    for i in range(len(p)):
        for j in range(i):
            if min(labels[i], labels[j]) >= 0:
                both = divergence(p[i], p[j]), divergence(p[j], p[i])
                if labels[i] == labels[j]:
                    near.append(sum(both))
                else:
                    far.append(sum(max(margin - d, 0) for d in both))
    return sum(np.mean(x) if x else 0.0 for x in (near, far))


def test_pairs_are_told_apart_by_their_divergence(x64):
    logits, labels = 2 * numbers((9, 4)), np.asarray([0, 1, 1, 2, 0, -1, 2, 2, -1])
    found = compiled(losses.pair_divergence)
    np.testing.assert_allclose(found(logits, labels), pairs_reference(logits, labels), rtol=FLOAT64)
    wide = compiled(losses.pair_divergence, margin=5.0)(logits, labels)
    np.testing.assert_allclose(wide, pairs_reference(logits, labels, 5.0), rtol=FLOAT64)
    np.testing.assert_allclose(found(0 * logits, labels), 4.0, rtol=FLOAT64)  # at collapse
    assert float(found(logits, np.full(9, -1))) == 0
    sure = 1e6 * np.eye(4)[np.arange(9) % 4]
    value, gradient = jax.value_and_grad(losses.pair_divergence)(jnp.asarray(sure), labels)
    assert np.isfinite(value) and np.isfinite(gradient).all()
    gradient = jax.grad(losses.pair_divergence)(jnp.asarray(logits), labels)
    assert (np.asarray(gradient)[[5, 8]] == 0).all()


def test_centres_are_the_means_of_all_rows_they_had(x64):
    z, member = numbers((30, 3)), np.random.default_rng(1).integers(-1, 4, 30)
    member[member == 2] = 3  # the third centre has no row
    weights = np.random.default_rng(2).uniform(size=30)
    centres, counts = np.full((4, 3), 7.0), np.zeros(4)
    call = compiled(losses.moved_centres)
    for rows in np.split(np.arange(30), 3):
        centres, counts = call(centres, counts, z[rows], member[rows], weights=weights[rows])
    for k in range(4):
        own = member == k
        np.testing.assert_allclose(counts[k], weights[own].sum(), rtol=FLOAT64)
        expected = np.average(z[own], axis=0, weights=weights[own]) if own.any() else np.full(3, 7.0)
        np.testing.assert_allclose(centres[k], expected, rtol=FLOAT64)
    logits = compiled(losses.centre_logits)(z, centres, known=counts > 0)
    apart = ((z[:, None] - np.asarray(centres)[None]) ** 2).sum(2)
    np.testing.assert_allclose(logits[:, [0, 1, 3]], -apart[:, [0, 1, 3]], rtol=FLOAT64)
    assert (np.argmax(logits, axis=1) != 2).all() and np.isfinite(logits).all()
    held = member >= 0
    expected = apart[np.arange(30), np.maximum(member, 0)][held].mean()
    np.testing.assert_allclose(compiled(losses.centre_distance)(z, centres, member), expected, rtol=FLOAT64)
    assert float(losses.centre_distance(jnp.asarray(z), centres, np.full(30, -1))) == 0


def begun(**changes):
    method, rows = small.make('clusternet', **changes), small.batch()
    return (method, rows, *small.initial(method, rows))


@pytest.mark.parametrize('step, grown', [(0, 0.0), (5, 0.25), (30, 1.0)])
def test_a_step_is_the_sum_of_the_terms(step, grown):
    method, rows, params, extra = begun(start_steps=5, ramp_steps=4, pair_weight=0.5, centre_weight=2.0)
    rows = {**rows, 'step': jnp.asarray(step)}
    outputs, new = small.embed(method, params, extra, rows, KEY)
    value, (after, metrics) = small.criterion(method, params, outputs, new, rows, KEY)
    root = jax.random.key(0)
    lots = np.asarray([jax.random.uniform(jax.random.fold_in(root, int(i))) for i in rows['index']])
    labels = np.where(lots < 0.5, rows['label'], -1)
    assert 2 < (labels >= 0).sum() < 14
    np.testing.assert_allclose(metrics['labelled_rows'], (labels >= 0).mean(), rtol=FLOAT32)
    views = [np.asarray(z, np.float64) for z in outputs['embeddings']]
    there = np.unique(labels[labels >= 0])
    means = np.stack([views[0][labels == k].mean(0) for k in there])

    def guess(z, centres):
        nearest = ((z[:, None] - centres[None]) ** 2).sum(2).argmin(1)
        return np.where(labels < 0, there[nearest], -1)

    first = guess(views[0], means)
    centres = []
    for k, mean in zip(there, means, strict=True):
        n, m = (labels == k).sum(), grown * (first == k).sum()
        more = views[0][first == k].sum(0) * grown
        centres.append((n * mean + more) / (n + m))
    centres = np.stack(centres)
    np.testing.assert_allclose(after['centres'][there], centres, rtol=1e-4, atol=1e-5)
    expected = 0.0
    for z, x, target in zip(views, outputs['reconstructions'], outputs['targets'], strict=True):
        apart, own = ((z[:, None] - centres[None]) ** 2).sum(2), guess(z, centres)
        place = {k: number for number, k in enumerate(there)}

        def distance(member, apart=apart, place=place):
            return np.mean([apart[i, place[k]] for i, k in enumerate(member) if k >= 0])

        pairs = pairs_reference(-apart, labels) + grown * pairs_reference(-apart, own)
        near = distance(labels) + grown * distance(own)
        expected += (0.5 * pairs + 2.0 * near + np.mean((np.asarray(x) - np.asarray(target)) ** 2)) / 2
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    scores = np.asarray(method.assign(params, after, {'embeddings': outputs['embeddings'][0]}))
    np.testing.assert_allclose(
        scores[:, there], -((views[0][:, None] - centres[None]) ** 2).sum(2), rtol=1e-3, atol=1e-4
    )


def test_at_first_the_autoencoder_learns_alone():
    method, rows, params, extra = begun(pretrain_steps=3)
    for step in (2, 3):
        outputs, new = small.embed(method, params, extra, rows, KEY)
        value, (after, metrics) = small.criterion(
            method, params, outputs, new, {**rows, 'step': jnp.asarray(step)}, KEY
        )
        alone = float(value) == pytest.approx(float(metrics['reconstruction']))
        assert alone == (step == 2) == (not after['counts'].any()) == (not after['centres'].any())


def test_labels_are_of_a_share_of_the_images_and_of_none_where_none_is_asked():
    found = []
    for share in (0.0, 0.5, 1.0):
        method, rows, params, extra = begun(labelled=share)
        outputs, new = small.embed(method, params, extra, rows, KEY)
        value, (_, metrics) = small.criterion(method, params, outputs, new, rows, KEY)
        found.append(float(metrics['labelled_rows']))
        assert np.isfinite(value)
    assert found[0] == 0 < found[1] < 1 == found[2]
    method, rows, params, extra = begun(clusters=4, labelled=1.0)  # labels of four classes and up are unknown
    outputs, new = small.embed(method, params, extra, rows, KEY)
    metrics = small.criterion(method, params, outputs, new, rows, KEY)[1][1]
    np.testing.assert_allclose(metrics['labelled_rows'], np.mean(np.asarray(rows['label']) < 4), rtol=FLOAT32)


def test_another_decoder_and_crops_are_refused():
    method, rows, params, extra = begun()
    views = (rows['views'][0], rows['views'][1][:, 1:7, 1:7])
    with pytest.raises(UserError, match=r'clusternet takes views of one size, not .*8, 8, 1.*6, 6, 1'):
        small.embed(method, params, extra, {**rows, 'views': views}, KEY)
    with pytest.raises(UserError, match="clusternet needs a decoder of kind 'mlp', not LinearDecoder"):
        small.methods.METHODS['clusternet'](small.ENCODER, small.PROJECTOR, models.LinearDecoder())

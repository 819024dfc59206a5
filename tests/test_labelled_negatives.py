"""ClusterNS' centroids and what its loss becomes, and metric learning as a method: triples, mixtures, proxies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from loss_references import unit
from programs import losses
from selfsup.errors import UserError
from selfsup.methods.contrastive.cluster_ns import far_rows
from selfsup.methods.contrastive.metric import hardest_triples
from test_method_contracts import KEY, begun, one_step, zero
from tolerances import FLOAT32

RNG = np.random.default_rng(4)


def test_first_centroids_are_those_of_the_authors_loop():
    z1, z2 = (RNG.normal(size=(12, 5)).astype(np.float32) for _ in range(2))
    cosines = unit(z1) @ unit(z2).T
    last = int(jax.random.randint(KEY, (), 0, 12, jnp.int32))
    taken = [last]
    for _ in range(5):
        cosines[:, last] = 100
        last = int(np.argmin(cosines[last]))
        taken.append(last)
    np.testing.assert_allclose(far_rows(KEY, z1, z2, 6), unit(z1)[taken], rtol=FLOAT32, atol=1e-6)
    with pytest.raises(UserError, match='method.clusters=13 cannot be chosen from a batch of 12'):
        far_rows(KEY, z1, z2, 13)


def test_centroids_are_made_once_and_then_move_before_the_loss():
    method, rows, params, extra = begun('cluster_ns')
    plain, outputs, before, made, metrics = one_step(method, rows, params, extra)
    z1, z2 = outputs['embeddings']
    np.testing.assert_allclose(plain, losses.info_nce_in_batch(z1, z2, temperature=0.2), rtol=FLOAT32)
    assert not before['started'] and made['started'] and float(metrics['started']) == 0
    np.testing.assert_allclose(made['centroids'], far_rows(KEY, z1, z2, 4), rtol=FLOAT32, atol=1e-6)
    value, outputs, _, later, _ = one_step(method, rows, params, made)
    moved = losses.moved_centroids(z1, made['centroids'], rate=0.05)
    np.testing.assert_allclose(later['centroids'], moved, rtol=FLOAT32, atol=1e-6)
    expected = losses.cluster_negatives(z1, z2, moved, temperature=0.2, weight=0.1)
    np.testing.assert_allclose(value, expected, rtol=FLOAT32)
    never = small.make('cluster_ns', start_cosine=-1.0)
    assert zero(one_step(never, rows, params, extra)[3]['centroids'])
    with pytest.raises(UserError, match='method.clusters=17 cannot be chosen from a batch of 16'):
        wide = small.make('cluster_ns', clusters=17)
        one_step(wide, rows, *small.initial(wide, rows))


def test_triples_are_of_a_class_and_the_nearest_other():
    z, labels = RNG.normal(size=(9, 4)).astype(np.float32), np.array([0, 1, 0, 2, 1, -1, 1, 0, 3])
    drawn = set()
    for number in range(20):
        positives, hardest, counted = hardest_triples(jax.random.key(number), jnp.asarray(z), jnp.asarray(labels))
        np.testing.assert_array_equal(counted, [True, True, True, False, True, False, True, True, False])
        for i in np.flatnonzero(counted):
            assert positives[i] != i and labels[positives[i]] == labels[i]
            others = [j for j in range(9) if labels[j] >= 0 and labels[j] != labels[i]]
            assert hardest[i] == others[int(np.argmax(unit(z)[others] @ unit(z)[i]))]
        drawn.add(int(positives[0]))
    assert drawn == {2, 7}


def test_metrix_is_pairs_and_weighted_mixtures():
    method, rows, params, extra = begun('metric', mixed_weight=0.7)
    value, outputs, _, _, metrics = one_step(method, rows, params, extra)
    z, labels = np.concatenate(outputs['embeddings']), np.tile(rows['label'], 2)
    clean = losses.pair_margin(z, labels, positive_margin=0.0, negative_margin=1.0)
    np.testing.assert_allclose(metrics['clean'], clean, rtol=FLOAT32)
    keys = jax.random.split(KEY, 3)
    positives, hardest, counted = hardest_triples(keys[0], jnp.asarray(z), jnp.asarray(labels))
    other = z if jax.random.bernoulli(keys[1]) else z[positives]
    shares = np.full(len(z), jax.random.beta(keys[2], 2.0, 2.0))
    mixed = losses.mixed_pairs(z, other, z[hardest], shares, counted=counted, positive_margin=0.0, negative_margin=1.0)
    np.testing.assert_allclose(value, clean + 0.7 * mixed, rtol=FLOAT32)
    assert float(mixed) > 0
    plain = small.make('metric', objective='pairs')
    np.testing.assert_allclose(one_step(plain, rows, params, extra)[0], clean, rtol=FLOAT32)


def test_proxies_are_parameters_of_their_own():
    method, rows, params, extra = begun('metric', objective='proxies', classes=12)
    np.testing.assert_allclose(np.linalg.norm(params['prototypes'], axis=1), np.ones(12), rtol=FLOAT32)
    value, outputs, *_ = one_step(method, rows, params, extra)
    z, labels = np.concatenate(outputs['embeddings']), np.tile(rows['label'], 2)
    expected = losses.proxy_anchor(z, params['prototypes'], labels, scale=32.0, margin=0.1)
    np.testing.assert_allclose(value, expected, rtol=FLOAT32)
    (_, _), gradients = small.loss_and_gradient(method, params, extra, rows, KEY)
    assert not zero(gradients['prototypes']) and not zero(gradients['encoder'])

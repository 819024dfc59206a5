"""Attention through layers, concepts by directional derivatives, and the end of a network on earlier layers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from scipy.special import softmax
from selfsup import config, diagnostics, evals
from selfsup.data.sources import from_arrays, open_source
from selfsup.engine import build, evaluations, inside_evals, layers
from selfsup.engine.encoder import Encoder
from selfsup.errors import UserError
from selfsup.evals import Features, concepts
from selfsup.methods.base import backbone

RNG = np.random.default_rng(0)


def test_weights_are_a_softmax_of_products_over_keys(x64):
    qkv = RNG.normal(size=(2, 5, 3 * 6))
    q, k = (qkv[..., at : at + 6].reshape(2, 5, 2, 3).transpose(0, 2, 1, 3) for at in (0, 6))
    expected = softmax(q @ k.transpose(0, 1, 3, 2) / np.sqrt(3), axis=-1)
    np.testing.assert_allclose(diagnostics.attention_weights(qkv, heads=2), expected, rtol=1e-12)


def test_rollout_is_the_product_of_mixed_layers(x64):
    weights = softmax(RNG.normal(size=(3, 2, 4, 5, 5)), axis=-1)
    found = np.asarray(diagnostics.attention_rollout(weights))
    for row in range(2):
        expected = np.eye(5)
        for layer in range(3):
            expected = (0.5 * weights[layer, row].mean(axis=0) + 0.5 * np.eye(5)) @ expected
        np.testing.assert_allclose(found[row], expected, rtol=1e-12)
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-12)
    np.testing.assert_array_equal(diagnostics.attention_rollout(weights, residual=1.0)[0], np.eye(5))


@pytest.mark.parametrize(
    'call, message',
    [
        (
            lambda: diagnostics.attention_weights(np.ones((2, 5, 8)), heads=2),
            r'\[batch, length, 3·dim\].*not \[2, 5, 8\]',
        ),
        (lambda: diagnostics.attention_rollout(np.ones((2, 1, 1, 3, 4))), r'not \[2, 1, 1, 3, 4\]'),
        (lambda: diagnostics.attention_rollout(np.ones((2, 1, 1, 3, 3)), residual=2.0), 'residual must lie in'),
    ],
)
def test_attention_of_another_shape_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_class_that_depends_on_a_concept_is_told_from_one_that_does_not():
    """The score of the class is the square of the first coordinate; concepts shift the first or the second one."""
    rng = np.random.default_rng(2)
    others = rng.normal(size=(200, 6))
    shifts = {'first': 3.0 * np.eye(6)[0], 'second': 3.0 * np.eye(6)[1]}
    rows = rng.normal(size=(80, 6)) + np.eye(6)[0]
    gradients = np.asarray(jax.vmap(jax.grad(lambda x: x[0] ** 2))(jnp.asarray(rows, jnp.float32)))
    control = np.asarray(concepts.tcav(gradients, concepts.directions(None, others, runs=40, seed=1).vectors))
    found = {}
    for name, shift in shifts.items():
        vectors = concepts.directions(rng.normal(size=(100, 6)) + shift, others)
        np.testing.assert_allclose(np.linalg.norm(vectors.vectors, axis=1), 1, rtol=1e-5)
        assert float(vectors.accuracy.mean()) > 0.9 and np.abs(np.asarray(vectors.vectors) @ shift).min() > 0.7 * 3
        ours = np.asarray(concepts.tcav(gradients, vectors.vectors))
        found[name] = ours.mean(), concepts.concept_test(ours, control)
    share = (rows[:, 0] > 0).mean()  # of rows whose score rises with the first coordinate
    assert found['first'][0] == pytest.approx(share, abs=0.05) and found['first'][1] < 0.01 < 0.2 < found['second'][1]


def test_the_test_is_welchs():
    from scipy.stats import ttest_ind

    a, b = RNG.uniform(size=9), RNG.uniform(size=30)
    assert concepts.concept_test(a, b) == pytest.approx(ttest_ind(a, b, equal_var=False).pvalue, rel=1e-9)


def test_equal_scores_have_no_difference_and_constant_unequal_ones_have_one():
    assert concepts.concept_test(np.ones(4), np.ones(6)) == 1.0
    assert concepts.concept_test(np.ones(4), np.zeros(6)) == 0.0


@pytest.mark.parametrize(
    'change, message',
    [
        ({'concept': np.ones((20, 3))}, '50 of either side; there are 20'),
        ({'rows': 5}, 'need 10 rows a run or more'),
        ({'others': np.full((60, 3), np.nan)}, 'must be finite'),
    ],
)
def test_too_few_rows_and_other_numbers_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        concepts.directions(**{'concept': np.ones((60, 3)), 'others': np.ones((60, 3)), **change})


def test_the_lens_is_one_probe_on_several_features():
    rng = np.random.default_rng(1)
    labels = np.arange(90) % 3
    train = Features((np.eye(3, 5)[labels] + 0.1 * rng.normal(size=(90, 5))).astype(np.float32), labels)
    tests = {'end': train, 'turned': train._replace(features=train.features[:, [1, 2, 0, 3, 4]])}
    assert evals.lens(train, tests) == {'end': 1.0, 'turned': 0.0}
    # Rows without a label are left out, on either side.
    blank = Features(np.full((4, 5), 9.0, np.float32), np.full(4, -1))
    padded = [
        Features(*(np.concatenate(pair) for pair in zip(blank, part, strict=True))) for part in (train, tests['turned'])
    ]
    assert evals.lens(padded[0], {'end': train, 'turned': padded[1]}) == {'end': 1.0, 'turned': 0.0}
    assert evals.lens(train, tests)['end'] == evals.linear_probe(train, train, label_counts=())['linear']


@functools.cache
def vit(source='digits', **fields):
    """An untrained vision transformer of two blocks, as an encoder of a run."""
    overrides = ['model.name=vit_ti', 'model.dim=8', 'model.depth=2', 'model.heads=2', 'model.patch=4', 'data.pad=0']
    given = [f'{name}={value}' for name, value in fields.items()]
    made = config.load(
        'experiments/digits/simclr.py', [*overrides, f'data.source={source}', 'evaluate.batch_size=32', *given]
    )
    method = backbone(build.build_encoder(made))
    channels = 1 if source == 'digits' else 3
    side = 8 if source == 'digits' else 64
    shape = jnp.zeros((1, side, side, channels))
    params, extra = jax.jit(lambda x: method.init(jax.random.key(0), {'views': (x,)}))(shape)
    return Encoder(made, method, params, extra, 0, channels=channels)


def test_maps_of_attention_are_shares_of_patches():
    encoder = vit()
    images = (255 * np.asarray(small.images(3))).astype(np.uint8)
    found = inside_evals.attention_maps(encoder)(images)
    assert {name: value.shape for name, value in found.items()} == {'rollout': (3, 4), 'last': (3, 4)}
    total = np.asarray(found['rollout']).sum(axis=1)
    assert (total < 1).all() and (total > 0).all()  # the class token keeps a part


def test_attention_on_objects_is_compared_with_chance_and_with_the_untrained_encoder(monkeypatch):
    monkeypatch.setattr(inside_evals, 'RENDERED', {'test': (6, 1)})
    monkeypatch.setattr(inside_evals, 'untrained_backbone', lambda encoder, source: encoder)
    encoder = vit()
    rows = from_arrays('made', (255 * np.asarray(small.images(4))).astype(np.uint8), np.arange(4) % 2)
    found = inside_evals.of_rollout(encoder, {'train': rows, 'test': rows})
    assert set(found) == {
        'rollout_inside_chance',
        *(f'{m}_{of}{n}' for m in ('rollout', 'last') for of in ('', 'untrained_') for n in ('inside', 'auc')),
    }
    images, masks = inside_evals.render(6, (8, 8), channels=1, seed=1)
    share = (masks > 0).reshape(6, 2, 4, 2, 4).mean(axis=(2, 4)).reshape(6, 4)
    maps = np.asarray(inside_evals.attention_maps(encoder)(images)['rollout'])
    assert found['rollout_inside'] == pytest.approx(((maps * share).sum(1) / maps.sum(1)).mean(), rel=1e-4)
    assert found['rollout_untrained_inside'] == found['rollout_inside']
    assert found['rollout_inside_chance'] == pytest.approx(share.mean())


def test_the_lens_of_the_last_block_is_the_encoder(monkeypatch):
    encoder = vit()
    rows = from_arrays('made', (255 * np.asarray(small.images(40))).astype(np.uint8), np.arange(40) % 2)
    found = layers.lens(encoder, rows, ['embedded', 'block0', 'block1'])
    np.testing.assert_allclose(found['block1'], encoder(rows.images()), rtol=1e-4, atol=1e-5)
    assert np.abs(found['block0'] - found['block1']).max() > 1e-3 and found['embedded'].shape == found['block1'].shape


@pytest.mark.slow
def test_concepts_of_rendered_factors_have_a_number_each(monkeypatch):
    monkeypatch.setattr(inside_evals, 'POOL', 60)
    data = dict(zip(('train', 'test'), open_source('shapes:700'), strict=True))
    encoder = vit('shapes:700')
    found = evaluations.of_encoder(encoder, data, ('concepts',), tap='block0')
    for factor in ('shape', 'colour', 'size', 'row', 'column'):
        for kind in ('', '_significant', '_told'):
            assert 0 <= found[f'concept_{factor}{kind}'] <= 1
    assert 0 <= found['concept_random'] <= 1 and 'concept_angle' not in found
    with pytest.raises(UserError, match="'block7' is no tap of the encoder"):
        evaluations.of_encoder(encoder, data, ('concepts',), tap='block7')


def test_concepts_need_known_factors():
    rows = from_arrays('made', (255 * np.asarray(small.images(4))).astype(np.uint8), np.arange(4) % 2)
    with pytest.raises(UserError, match='--only=concepts needs images with known factors, and made has none'):
        evaluations.of_encoder(vit(), {'train': rows, 'test': rows}, ('concepts',))

"""Features of tokens by name, the attentive probe, feature maps of encoders, and the picture of patches."""

import functools
import importlib

import jax
import numpy as np
import pytest
import small
from PIL import Image
from selfsup import config, diagnostics, evals, models
from selfsup.data.sources import from_arrays
from selfsup.engine import build, evaluations, patch_evals, patches, pictures
from selfsup.engine.encoder import Encoder
from selfsup.errors import UserError
from selfsup.evals import Features
from selfsup.evals.attentive import Probe, attentive_logits
from selfsup.methods.base import backbone
from sklearn.decomposition import PCA

VIT = models.ViT(dim=8, depth=3, heads=2, patch=4, positions='sincos', pool='token', registers=1)
IMAGES = np.asarray(small.noise((3, 8, 8, 1), 1.0))


def test_features_by_name_are_the_tokens_after_the_last_norm():
    @jax.jit
    def found(images):
        variables = VIT.init(jax.random.key(0), images)
        norm = variables['params']['norm']
        variables['params']['norm'] = {'scale': norm['scale'] + np.arange(8.0), 'bias': norm['bias'] + 0.5}
        blocks = VIT.apply(variables, images, method='tokens', blocks=3, of='block')
        whole = VIT.apply(variables, images, method='tokens')
        return evals.summaries(VIT, variables, images), blocks, whole

    named, blocks, whole = jax.device_get(found(IMAGES))
    assert set(named) == {'mean', 'token', 'blocks3'}
    normed = []
    for block in np.asarray(blocks, np.float64):
        centred = block - block.mean(axis=2, keepdims=True)
        normed.append(centred / np.sqrt(block.var(axis=2, keepdims=True) + 1e-6) * (1 + np.arange(8.0)) + 0.5)
    np.testing.assert_allclose(normed[-1], whole, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(named['token'], whole[:, 0], rtol=1e-6)
    np.testing.assert_allclose(named['mean'], whole[:, 2:].mean(axis=1), rtol=1e-4, atol=1e-5)
    joined = np.concatenate([block[:, 0] for block in normed], axis=1)
    np.testing.assert_allclose(named['blocks3'], joined, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    'fields, widths',
    [
        ({'pool': 'mean', 'class_token': False}, {'mean': 8, 'blocks3': 24}),
        ({'depth': 1}, {'mean': 8, 'token': 8}),
        ({'depth': 6}, {'mean': 8, 'token': 8, 'blocks4': 32}),
    ],
)
def test_a_network_has_the_names_of_what_it_has(fields, widths):
    module = VIT.clone(**fields)
    variables = jax.eval_shape(module.init, jax.random.key(0), IMAGES)
    found = jax.eval_shape(functools.partial(evals.summaries, module), variables, IMAGES)
    assert {name: x.shape for name, x in found.items()} == {name: (3, width) for name, width in widths.items()}


def test_each_number_of_tokens_says_of_which_feature_it_is(monkeypatch):
    module = importlib.import_module('selfsup.evals.tokens')
    sizes = []

    def near(train, test):
        sizes.append((len(train.labels), len(test.labels)))
        return {'knn': 1.0, 'chosen_knn_k': 2.0, 'chosen_knn_temperature': 3.0, 'knn_1_0.07': 4.0}

    linear = {'linear_logistic': 5.0, 'chosen_C': 6.0, 'held_out_accuracy': 7.0}
    monkeypatch.setattr(module, 'knn_grid', near)
    monkeypatch.setattr(module, 'linear_logistic', lambda train, test: linear)
    pair = (Features(np.zeros((3, 2)), np.array([0, 1, -1])), Features(np.zeros((2, 2)), np.array([-1, 1])))
    found = evals.tokens({'mean': pair, 'token': pair})
    assert sizes == [(2, 1), (2, 1)]
    assert {name: value for name, value in found.items() if name.endswith('_token')} == {
        'knn_token': 1.0, 'linear_token': 5.0, 'chosen_knn_k_token': 2.0, 'chosen_knn_temperature_token': 3.0,
        'chosen_C_token': 6.0, 'held_out_accuracy_token': 7.0,
    }  # fmt: skip
    assert len(found) == 12


def test_the_attentive_probe_is_a_loop_over_heads():
    rng = np.random.default_rng(0)
    dim, heads, classes = 6, 2, 3
    shapes = [(dim,), (dim, dim), (dim,), (dim, dim), (dim,), (dim, classes), (classes,)]
    probe, tokens = Probe(*(rng.normal(size=s).astype(np.float32) for s in shapes)), rng.normal(size=(4, 5, dim))
    pooled = np.zeros((4, dim))
    for number, head in np.ndindex(4, heads):
        part = slice(head * 3, head * 3 + 3)
        keys = (tokens[number] @ probe.key_kernel + probe.key_bias)[:, part]
        values = (tokens[number] @ probe.value_kernel + probe.value_bias)[:, part]
        weights = np.exp(keys @ probe.query[part] / np.sqrt(3))
        pooled[number, part] = weights @ values / weights.sum()
    found = jax.jit(functools.partial(attentive_logits, heads=heads))(probe, tokens.astype(np.float32))
    np.testing.assert_allclose(found, pooled @ probe.kernel + probe.bias, rtol=1e-3, atol=1e-4)


def hidden_class(count, seed):
    """Tokens of which one, anywhere, is marked and tells the class; the mean of the others hides it."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    tokens = rng.normal(size=(count, 6, 4))
    tokens[..., 0], place = 0.0, rng.integers(0, 6, count)
    tokens[np.arange(count), place, 0] = 4.0
    tokens[np.arange(count), place, 1] = 3.0 * (2 * labels - 1)
    tokens[..., 2] = 7.0  # a dimension that is constant
    return Features(tokens.astype(np.float32), labels)


@pytest.mark.slow
def test_the_attentive_probe_finds_the_token_that_tells_whatever_its_units():
    train, test = hidden_class(120, 0), hidden_class(80, 1)
    settings = {'heads': 2, 'learning_rates': (3e-2, 1e-5), 'epochs': 30, 'batch_size': 36}
    found = evals.attentive(train, test, **settings)
    assert found['attentive'] > 0.95 and found['chosen_attentive_rate'] == pytest.approx(0.03)
    assert set(found) == {'attentive', 'chosen_attentive_rate', 'held_out_attentive'}
    moved = [Features(5 + 8 * part.features, part.labels) for part in (train, test)]
    again = evals.attentive(*moved, **settings)
    np.testing.assert_allclose(again['attentive'], found['attentive'], atol=0.02)
    # Labels of test decide nothing; tokens of test may be made a batch at a time.
    halves = Features(test.features / 2, 1 - test.labels)
    wrong = evals.attentive(train, halves, encode=lambda rows: 2 * rows, **settings)
    np.testing.assert_allclose(wrong.pop('attentive'), 1 - found.pop('attentive'), atol=1e-9)
    assert wrong == found


BAD = {
    'features': (np.zeros((4, 6)), [0, 1, 0, 1], 2, r'2 heads needs tokens \[n, tokens, dim\], not \[4, 6\]'),
    'heads': (np.zeros((4, 2, 6)), [0, 1, 0, 1], 4, r'4 heads needs tokens .* not \[4, 2, 6\]'),
    'not finite': (np.full((4, 2, 6), np.inf), [0, 1, 0, 1], 2, 'train: 4 rows of features are not finite'),
    'one class': (np.zeros((4, 2, 6)), [1, 1, 1, 1], 2, 'at least 2 classes'),
}


@pytest.mark.parametrize('tokens, labels, heads, message', BAD.values(), ids=BAD.keys())
def test_what_an_attentive_probe_cannot_use_is_refused(tokens, labels, heads, message):
    part = Features(tokens.astype(np.float32), np.array(labels))
    with pytest.raises(UserError, match=message):
        evals.attentive(part, part, heads=heads)


CONFIGS = {
    'mae': ['model.dim=8', 'model.depth=2', 'model.heads=2', 'decoder.dim=8', 'decoder.heads=2'],
    'simclr': ['model.widths=(8, 16)', 'data.pad=0'],
}


@functools.cache
def encoder_of(name):
    """An untrained encoder of a config, and the method that it is evaluated as."""
    fields = config.load(f'experiments/digits/{name}.py', CONFIGS[name])
    method = backbone(build.build_encoder(fields))
    params, extra = jax.jit(lambda x: method.init(jax.random.key(0), {'views': (x,)}))(IMAGES)
    return Encoder(fields, method, params, extra, 0, channels=1)


def source(count=12):
    return from_arrays('made', (255 * np.asarray(small.images(count))).astype(np.uint8), np.arange(count) % 2)


@pytest.mark.parametrize('name, shape', [('mae', (4, 4, 8)), ('simclr', (4, 4, 16))])
def test_the_mean_over_a_feature_map_is_the_feature(name, shape):
    encoder, rows = encoder_of(name), source(5).images()
    found = np.asarray(patches.checked(encoder, patches.feature_maps(encoder))(rows))
    assert found.shape == (5, *shape) and patches.has_tokens(encoder) == (name == 'mae')
    np.testing.assert_allclose(found.mean(axis=(1, 2)), encoder(rows), rtol=1e-4, atol=1e-5)


def test_encoders_and_images_without_tokens_are_refused():
    data = {'train': source(), 'test': source()}
    for name in evaluations.OF_TOKENS:
        with pytest.raises(UserError, match=f'--only={name} reads the tokens of patches, and convnet makes none; take'):
            evaluations.of_encoder(encoder_of('simclr'), data, (name,))
    nothing = {part: rows.unlabelled() for part, rows in data.items()}
    with pytest.raises(UserError, match=r'--only=attentive: made has no labels'):
        evaluations.of_encoder(encoder_of('mae'), nothing, ('attentive',))
    odd = {part: from_arrays('odd', np.zeros((4, 9, 9), np.uint8), [0, 1, 0, 1]) for part in data}
    for name in (*evaluations.OF_TOKENS, 'dense', 'dse'):
        with pytest.raises(UserError, match='images of 9x9x1 do not fit the encoder: patches of 2 do not tile'):
            evaluations.of_encoder(encoder_of('mae'), odd, (name,))
    everything = evaluations.chosen('all', images=True)
    assert evaluations.possible(encoder_of('mae'), everything) == tuple(
        n for n in everything if n not in ('composition', 'dictionary')
    )
    assert set(everything) - set(evaluations.possible(encoder_of('simclr'), everything)) == {
        'tokens', 'attentive', 'rollout', 'gradients', 'composition', 'dictionary'
    }  # fmt: skip
    with pytest.raises(UserError, match='--only=dense passes images through an encoder; it needs --workdir'):
        evaluations.chosen('knn,dense', images=False)


def test_the_structure_of_patches_is_that_of_whole_groups_of_test_images():
    encoder, rows = encoder_of('mae'), source(21)
    found = evaluations.of_encoder(encoder, {'train': rows, 'test': rows}, ('dse',))
    tokens = np.asarray(patches.feature_maps(encoder)(rows.images()[:16])).reshape(16, 16, -1)
    expected = diagnostics.dense_structure(jax.random.key(0), tokens)
    expected = {'dse' if name == 'dse' else f'dse_{name}': float(value) for name, value in expected.items()}
    assert found == pytest.approx(expected, rel=1e-3)
    with pytest.raises(UserError, match='--only=dse needs 8 images to test on, and made holds 5'):
        evaluations.of_encoder(encoder, {'train': rows, 'test': source(5)}, ('dse',))


def test_tokens_above_the_limit_are_those_of_an_even_draw(monkeypatch, capsys):
    given = {}
    monkeypatch.setattr(patch_evals, 'HELD_VALUES', 6 * 16 * 8)
    monkeypatch.setattr(evals, 'attentive', lambda train, test, **k: given.update(train=train, test=test, **k) or {})
    rows = source(12)
    assert patch_evals.of_attention(encoder_of('mae'), {'train': rows, 'test': rows}) == {}
    assert given['train'].features.shape == (6, 16, 8) and sorted(given['train'].labels) == [0, 0, 0, 1, 1, 1]
    assert given['encode'](given['test'].features[:2]).shape == (2, 16, 8) and given['heads'] == 2
    assert 'attentive: 6 of 12 images of train, evenly from the classes' in capsys.readouterr().out


def test_segmentation_compares_the_encoder_with_the_untrained_one_and_with_pixels(monkeypatch):
    monkeypatch.setattr(patch_evals, 'RENDERED', {'train': (3, 0), 'test': (2, 1)})
    adapted, given = [], {}
    monkeypatch.setattr(patch_evals.untrained, 'of_encoder', lambda *both: adapted.extend(both) or both[0])
    monkeypatch.setattr(
        evals, 'segmentation', lambda *sets, name, classes: given.update({name: sets}) or {name: classes}
    )
    encoder, rows = encoder_of('mae'), source()
    found = patch_evals.of_dense(encoder, {'train': rows, 'test': rows})
    assert list(given) == ['dense', 'dense_untrained', 'dense_pixels'] and found['dense'] == 6
    assert {'dense_background_miou', 'dense_background_accuracy'} <= set(found)
    images, masks = patch_evals.render(3, (8, 8), channels=1, seed=0)
    for train, test in given.values():
        assert train.features.shape[:3] == (3, 4, 4) and test.features.shape[:3] == (2, 4, 4)
        np.testing.assert_array_equal(train.masks, masks)
    np.testing.assert_allclose(given['dense'][0].features.mean(axis=(1, 2)), encoder(images), rtol=1e-4, atol=1e-5)
    assert adapted[1] is rows and adapted[0].method.views == 2 and set(adapted[0].params) == {'encoder'}
    pixels = given['dense_pixels'][0].features
    np.testing.assert_allclose(pixels[1, 2, 3], images[1, 4:6, 6:8].ravel() / 255, rtol=1e-6)


def test_colours_are_principal_components():
    maps = np.random.default_rng(0).normal(size=(2, 3, 4, 5)) * np.array([5, 1, 3, 0.2, 0.1])
    found = pictures.principal_colours(maps).reshape(-1, 3)
    expected = PCA(3).fit_transform(maps.reshape(-1, 5))
    expected *= np.sign([found[:, i] @ (expected[:, i] - expected[:, i].mean()) for i in range(3)])
    expected = (expected - expected.min(axis=0)) / np.ptp(expected, axis=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(pictures.principal_colours(np.ones((1, 2, 2, 2))), np.full((1, 2, 2, 3), 0.5))


def test_the_picture_of_patches_is_of_encoders_with_tokens(tmp_path):
    encoder, rows = encoder_of('mae'), source(4).images()
    assert pictures.plot_patches(encoder, rows, tmp_path / 'patches.png')
    with Image.open(tmp_path / 'patches.png') as picture:
        assert picture.size == (4 * 100, 2 * 100) and picture.mode == 'RGB'
        shown = np.asarray(picture)
    np.testing.assert_allclose(shown[10, 10], np.broadcast_to(rows[0, 0, 0], 3), atol=1)
    assert (shown[104:128, 4:28] == shown[104, 4]).all()  # a patch has one colour
    assert not pictures.plot_patches(encoder_of('simclr'), rows, tmp_path / 'none.png')
    assert not (tmp_path / 'none.png').exists()
    broken = Encoder(
        encoder.config, encoder.method, jax.tree.map(lambda x: x * np.nan, encoder.params), encoder.extra, 0
    )
    with pytest.raises(UserError, match='not finite'):
        pictures.plot_patches(broken, rows, tmp_path / 'none.png')

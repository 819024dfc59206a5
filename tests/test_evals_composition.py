"""Composition of operators on embeddings: analytic ones, random ones, and through `evaluate --only=composition`."""

import jax.numpy as jnp
import numpy as np
import pytest
from selfsup import config, evals
from selfsup.data.sources import from_arrays
from selfsup.engine import evaluations, view_evals
from selfsup.engine.encoder import Encoder
from selfsup.errors import UserError
from selfsup.methods.base import backbone
from selfsup.methods.equivariant.filmr import operate
from selfsup.models import ConvNet

RNG = np.random.default_rng(0)
SIDE = 24


def turned(z, angle):
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    return np.concatenate([cos * z[:, :4] - sin * z[:, 4:], sin * z[:, :4] + cos * z[:, 4:]], axis=1)


def test_an_equivariant_embedding_composes_and_random_ones_are_as_far_apart_as_other_images():
    z, (a, b) = RNG.normal(size=(400, 8)), RNG.uniform(-3, 3, size=(2, 400))
    end = turned(z, a + b)
    found = evals.composition(z, turned(z, a + b), turned(turned(z, a), b), turned(z, np.roll(a + b, 1)), end)
    assert max(found[f'composition_{name}'] for name in ('operators', 'once', 'twice')) < 1e-6
    assert 0.8 < found['composition_none'] < 1.2 and 0.8 < found['composition_wrong'] < 1.2
    chance = evals.composition(*RNG.normal(size=(5, 400, 8)))
    np.testing.assert_allclose(list(chance.values()), 1, atol=0.05)
    half = evals.composition(z, end, turned(z, a + b + 0.5), z, end)
    # ‖R(a + b + ½)z − R(a + b)z‖² = 2(1 − cos ½)‖z‖², and that of different images is about 2‖z‖².
    np.testing.assert_allclose(half['composition_operators'], 1 - np.cos(0.5), rtol=0.05)


def test_one_point_is_no_composition_and_shapes_are_checked():
    point = np.ones((5, 8))
    assert set(evals.composition(*[point] * 5).values()) == {1.0}
    with pytest.raises(UserError, match=r'twice \[4, 8\] must have the shape \[images, dim\] of end \[5, 8\]'):
        evals.composition(point, point, point[:4], point, point)
    with pytest.raises(UserError, match='start'):
        evals.composition(*[point[:1]] * 5)


def spots(count):
    """Images with one smooth spot each, well inside the circle that a turn keeps."""
    angle, radius = RNG.uniform(0, 2 * np.pi, count), RNG.uniform(2, 6, count)
    rows = np.arange(SIDE) - (SIDE - 1) / 2
    y, x = radius * np.sin(angle), radius * np.cos(angle)
    squared = (rows[None, :, None] - y[:, None, None]) ** 2 + (rows[None, None, :] - x[:, None, None]) ** 2
    return (255 * np.exp(-squared / 6)).round().astype(np.uint8)[..., None]


def centre_of_mass(network, images):
    """(column, row) of the centre of mass from the middle: a turn of the image turns it."""
    rows = jnp.arange(SIDE) - (SIDE - 1) / 2
    mass = images[..., 0] / jnp.sum(images[..., 0], axis=(1, 2), keepdims=True)
    x, y = (jnp.sum(mass * r, axis=(1, 2)) for r in (rows[None, None, :], rows[None, :, None]))
    return {'features': jnp.stack([x, y], axis=1), 'embeddings': jnp.stack([x, y], axis=1)}


@pytest.fixture
def encoder():
    """Of first moments, which an operator turns by minus the angle: rows grow downwards."""
    settings = config.load(
        'experiments/digits/filmr.py',
        ['augment.mean=(0.0,)', 'augment.std=(1.0,)', 'data.pad=0', 'evaluate.batch_size=64'],
    )
    with settings.unlocked():
        settings.augment.views = {'both': {'size': SIDE, 'count': 2, 'rotation': {'degrees': 90.0}}}
    operator = {'frequencies': jnp.array([[-1.0]]), 'rates': jnp.zeros((1, 1)), 'centre': jnp.zeros(2)}

    def move(params, embeddings, view_params):
        first, second = (p['rotation']['angle'] for p in view_params)
        return operate(embeddings, jnp.deg2rad(second - first)[:, None], params['operator'])

    method = backbone(ConvNet(widths=(4,)))._replace(encode=centre_of_mass, move=move)
    return Encoder(settings, method, {'operator': operator}, {'batch_stats': {}}, 0, channels=1)


def test_centres_of_mass_turn_with_the_images(encoder):
    data = {part: from_arrays(part, spots(100), np.arange(100) % 2) for part in ('train', 'test')}
    found = evaluations.of_encoder(encoder, data, ('composition',))
    assert found['composition_operators'] < 1e-10
    assert max(found['composition_once'], found['composition_twice']) < 1e-3
    assert min(found['composition_none'], found['composition_wrong']) > 0.3
    assert 'composition' in evaluations.possible(encoder, ('composition', 'views'))


def test_methods_without_an_operator_are_refused(encoder):
    encoder.method = encoder.method._replace(move=None)
    assert evaluations.possible(encoder, ('composition', 'views')) == ('views',)
    with pytest.raises(UserError, match=r'needs a method that moves embeddings by a known change \(filmr, sie\)'):
        view_evals.of_composition(encoder, {})

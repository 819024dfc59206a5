"""DetCon: which region a place lies in, what is drawn and averaged, and its step against loops in float64."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from programs import losses
from selfsup import methods, models
from selfsup.errors import UserError
from selfsup.methods.contrastive.detcon import ROW, cell_numbers, drawn_regions, region_means
from test_gradient import both_ways, close, noisy
from test_method_contracts import begun, one_step
from tolerances import FLOAT32

HEAD = models.MLP(widths=(16, 8), hidden_norm=False)


class Maps(nn.Module):
    """One convolution without batch-norm, whose map can be seen."""

    maps: bool = False

    @nn.compact
    def __call__(self, images, train=False):
        x = nn.relu(nn.Conv(8, (3, 3), strides=(2, 2), name='conv')(images))
        return x if self.maps else x.mean((1, 2))


def test_places_fall_into_squares_of_the_original_image():
    at = jnp.asarray([[[0.5, 0.5], [2.9, 3.0], [3.1, 2.9], [11.5, 7.5]]])
    np.testing.assert_array_equal(cell_numbers(at, 3.0)[0], [0, 1, ROW, 3 * ROW + 2])


def test_every_region_is_drawn_as_often_however_many_places_it_has():
    numbers = jnp.asarray([5, 5, 5, 5, 5, 9, 2])
    found = np.asarray(drawn_regions(jax.random.key(0), numbers, 3000))
    shares = [np.mean(found == n) for n in (5, 9, 2)]
    # The deviation of a share of a third over 3,000 draws is 0.009.
    np.testing.assert_allclose(shares, 1 / 3, atol=0.04)


def test_a_region_is_the_mean_of_its_places():
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(2, 6, 3)).astype(np.float32)
    numbers, chosen = np.array([[0, 0, 1, 1, 1, 7], [4, 4, 4, 4, 2, 2]]), np.array([[1, 7], [2, 4]])
    expected = [[maps[b][numbers[b] == c].mean(0) for c in chosen[b]] for b in range(2)]
    found = region_means(*map(jnp.asarray, (maps, numbers, chosen)))
    np.testing.assert_allclose(found, expected, rtol=FLOAT32)


def test_a_step_is_the_loss_of_the_drawn_regions():
    method, rows, params, extra = begun('detcon')
    value, outputs, _, after, metrics = one_step(method, rows, params, extra)
    expected = losses.detcon(*outputs['predictions'], *outputs['targets'], *outputs['regions'], temperature=0.1)
    np.testing.assert_allclose(value, expected, rtol=FLOAT32)
    assert outputs['predictions'][0].shape == (small.BATCH, 4, 16)
    first, second = map(np.asarray, outputs['regions'])
    shared = np.mean([np.isin(a, b).mean() for a, b in zip(first, second, strict=True)])
    np.testing.assert_allclose(metrics['shared_regions'], shared, rtol=FLOAT32)
    # Boxes of 3 to 5 pixels at most 3 from the corner: all places lie in the first three cells.
    assert {int(n) for n in np.concatenate([first, second]).ravel()} <= {
        r * ROW + c for r in range(3) for c in range(3)
    }
    moved = small.tree_distance(after['target']['batch_stats'], extra['target']['batch_stats'])
    assert moved > 1e-3
    assert small.tree_distance(after['target']['params'], extra['target']['params']) == 0


@pytest.mark.slow
def test_one_region_an_image_needs_no_boxes_that_agree():
    """With one cell for the whole image and equal draws, the loss is that of one region, as often as it was drawn."""
    method, rows, params, extra = begun('detcon', cell=100.0)
    value, outputs, *_ = one_step(method, rows, params, extra)
    assert float(one_step(method, rows, params, extra)[4]['shared_regions']) == 1.0
    (p1, p2), (t1, t2) = outputs['predictions'], outputs['targets']
    np.testing.assert_allclose(p1, np.broadcast_to(p1[:, :1], p1.shape), rtol=FLOAT32, atol=1e-6)
    zeros = jnp.zeros((small.BATCH, 1), jnp.int32)
    single = losses.detcon(*(z[:, :1] for z in (p1, p2, t1, t2)), zeros, zeros)
    # Each of the four draws is among the 4 · (2 · 16 − 1) candidates, its four equal positives too, with weight ¼.
    np.testing.assert_allclose(value, (single + 2 * np.log(4)) / 4, rtol=FLOAT32)


@pytest.mark.slow
def test_microbatches_are_exact(x64):
    def views(key, images, positions, sources):
        seen, (known, _) = noisy(key, images, positions, sources)
        corner = (positions % 4).astype(jnp.float64)
        boxes = [jnp.stack([corner / (v + 1), corner, corner + 3, corner + 4], axis=1) for v in range(2)]
        return seen, tuple({**known, 'box': b, 'flip': positions % 2 == v} for v, b in enumerate(boxes))

    method = methods.detcon(Maps(), HEAD, HEAD, cell=3.0, regions=4, momentum=0.9)
    close(*both_ways(method, method, views=views))


def test_what_is_refused():
    with pytest.raises(UserError, match='detcon needs an encoder that gives feature maps, and ViT does not'):
        methods.detcon(small.VIT, HEAD, HEAD)
    method, rows, params, extra = begun('detcon')
    without = {**rows, 'view_params': ({}, {})}
    with pytest.raises(UserError, match='detcon needs views with a crop box'):
        small.embed(method, params, extra, without, jax.random.key(0))

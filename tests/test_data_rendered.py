"""Rendered images and masks: the same bytes everywhere, and what the description of them says."""

import hashlib

import numpy as np
import pytest
from selfsup.data import rendered
from selfsup.data.rendered import CLASSES, INSIDE, render
from selfsup.errors import UserError

DIGESTS = {
    ((6, (24, 32)), ()): ('8b414c7a1f280123', 'e0873159bdc48b36'),
    ((4, (9, 9)), (('channels', 1), ('seed', 3))): ('49f702969727ce3c', 'be2fa6c7f4e9da19'),
}


@pytest.mark.parametrize('given, digests', DIGESTS.items())
def test_bytes_are_those_that_were_recorded(given, digests):
    found = render(*given[0], **dict(given[1]))
    assert tuple(hashlib.sha256(array.tobytes()).hexdigest()[:16] for array in found) == digests


def test_an_image_depends_on_its_number_and_the_seed_alone():
    images, masks = render(5, (16, 16))
    fewer = render(3, (16, 16))
    np.testing.assert_array_equal(images[:3], fewer[0])
    np.testing.assert_array_equal(masks[:3], fewer[1])
    other, _ = render(5, (16, 16), seed=1)
    assert len({image.tobytes() for image in (*images, *other)}) == 10
    assert (images.shape, images.dtype, masks.shape, masks.dtype) == ((5, 16, 16, 3), np.uint8, (5, 16, 16), np.uint8)


def test_all_classes_occur_and_the_background_most():
    shares = np.bincount(render(100, (16, 16))[1].ravel(), minlength=len(CLASSES)) / (100 * 256)
    assert len(shares) == len(CLASSES) == len(INSIDE) + 1
    assert 0.6 < shares[0] < 0.85 and shares[1:].min() > 0.02


def test_masks_are_the_classes_of_the_shapes_and_edges_are_between_the_colours(monkeypatch):
    """Without texture and grain a whole pixel has the colour of its shape or of the background, and others lie between."""
    monkeypatch.setattr(rendered, '_texture', lambda *_: (np.full((32, 32, 1), 40), np.full(1, 40.0)))
    monkeypatch.setattr(rendered, 'MOST_SHAPES', 1)
    images, masks = render(20, (32, 32), channels=1)
    for image, mask in zip(images[..., 0].astype(int), masks, strict=True):
        values, counts = np.unique(image[mask > 0], return_counts=True)
        colour = values[np.argmax(counts)]
        assert (
            len(np.unique(mask[mask > 0])) == 1 and min(abs(colour - 40), 256 - abs(colour - 40)) >= rendered.CONTRAST
        )
        assert image.min() >= min(40, colour) and image.max() <= max(40, colour)
        points = np.rint((image - 40) / (colour - 40) * 16)  # of the shape, of the 16 of a pixel
        np.testing.assert_array_equal(mask > 0, points > 8)
        assert np.any((points > 0) & (points < 16))


AREAS = {'disc': np.pi, 'square': 1.8**2, 'triangle': 0.75 * np.sqrt(3) * 1.3**2, 'ring': 0.64 * np.pi, 'cross': 2.04}


@pytest.mark.parametrize('name', INSIDE)
def test_shapes_have_their_areas(name):
    side = (np.arange(600) + 0.5) / 150 - 2
    inside = INSIDE[name](side[None], side[:, None])
    np.testing.assert_allclose(inside.mean() * 16, AREAS[name], rtol=0.01)
    assert not inside[:, [0, -1]].any() and not inside[[0, -1]].any()
    x, y = np.meshgrid(side, side)
    assert np.hypot(x, y)[inside].max() < 1.5  # what is looked at around a shape's centre


@pytest.mark.parametrize('given', [{'count': 0}, {'size': (0, 8)}, {'channels': 0}, {'seed': -1}])
def test_numbers_that_are_none_are_refused(given):
    arguments = {'count': 1, 'size': (8, 8), **given}
    with pytest.raises(UserError, match='rendering needs a count, sides and channels of at least 1'):
        render(**arguments)

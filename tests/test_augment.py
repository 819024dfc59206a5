"""Augmentations against Pillow and closed forms, and the independence of examples."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.stats import ks_2samp
from selfsup import augment
from selfsup.augment import colour, geometry

RESAMPLING = {'bilinear': Image.Resampling.BILINEAR, 'bicubic': Image.Resampling.BICUBIC}
# Pillow rounds to 1/255 after each axis; the cubic kernel overshoots and doubles that.
PILLOW = {'bilinear': 1.01 / 255, 'bicubic': 2.01 / 255}


def picture(height=40, width=48, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def as_float(image):
    return jnp.asarray(image, jnp.float32) / 255


@pytest.mark.parametrize('method', RESAMPLING)
@pytest.mark.parametrize(
    'box, size', [((3, 5, 30, 21), 16), ((0, 0, 40, 48), 64), ((10, 2, 7, 9), 32), ((1, 1, 1, 1), 8)]
)
def test_crop_equals_pillow(method, box, size):
    image = picture()
    top, left, height, width = box
    expected = Image.fromarray(image[top : top + height, left : left + width]).resize((size, size), RESAMPLING[method])
    ours = augment.crop_and_resize(as_float(image), jnp.array(box, jnp.float32), size, method=method)
    assert np.abs(np.asarray(ours) - np.asarray(expected) / 255).max() < PILLOW[method]
    mirrored = augment.crop_and_resize(as_float(image), jnp.array(box, jnp.float32), size, flip=True, method=method)
    np.testing.assert_allclose(mirrored, ours[:, ::-1], atol=1e-6)


def crop_by_tries(rng, height, width):
    for _ in range(10):
        area = height * width * rng.uniform(0.08, 1.0)
        aspect = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        w, h = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return rng.integers(0, height - h + 1), rng.integers(0, width - w + 1), h, w
    return 0, 0, height, width


def test_boxes_lie_inside_with_the_asked_area_and_ratio():
    keys = jax.random.split(jax.random.key(0), 4000)
    boxes = np.asarray(jax.vmap(lambda k: augment.sample_crop(k, 32, 32))(keys))
    top, left, height, width = boxes.T
    assert (boxes == boxes.round()).all()
    assert (height >= 1).all() and (width >= 1).all()
    assert (top >= 0).all() and (left >= 0).all() and (top + height <= 32).all() and (left + width <= 32).all()
    # The same distribution as torchvision's loop of tries: two-sample Kolmogorov-Smirnov tests.
    theirs = np.array([crop_by_tries(np.random.default_rng(seed), 32, 32) for seed in range(4000)])
    for ours, reference in zip(boxes.T, theirs.T, strict=True):
        assert ks_2samp(ours, reference).pvalue > 1e-3


def test_impossible_ratio_falls_back_to_the_centre():
    box = augment.sample_crop(jax.random.key(0), 10, 100, scale=(1.0, 1.0))
    np.testing.assert_array_equal(box, [0, 43, 10, 13])


def test_blur_equals_a_convolution_with_a_gaussian():
    from scipy.ndimage import gaussian_filter

    image = picture() / 255
    for sigma in (0.1, 0.8, 2.0):
        expected = gaussian_filter(image, (sigma, sigma, 0), mode='nearest', truncate=8)
        np.testing.assert_allclose(
            augment.gaussian_blur(jnp.asarray(image, jnp.float32), jnp.float32(sigma)), expected, atol=1e-4
        )


def test_hue_equals_colorsys():
    image = picture(8, 8) / 255
    ours = np.moveaxis(np.asarray(colour._shift_hue(jnp.moveaxis(jnp.asarray(image, jnp.float32), -1, 0), 0.2)), 0, -1)
    for pixel, expected in zip(ours.reshape(-1, 3), image.reshape(-1, 3), strict=True):
        h, s, v = colorsys.rgb_to_hsv(*expected)
        np.testing.assert_allclose(pixel, colorsys.hsv_to_rgb((h + 0.2) % 1, s, v), atol=1e-5)


def naive_jitter(image, factors, order):
    """The four operations one after the other, as torchvision defines them."""
    luma = np.array(colour.LUMA)
    for operation in order:
        if operation == colour.HUE:
            turned = [colorsys.rgb_to_hsv(*p) for p in image.reshape(-1, 3)]
            image = np.array([colorsys.hsv_to_rgb((h + factors[3]) % 1, s, v) for h, s, v in turned]).reshape(
                image.shape
            )
            continue
        grey = (image @ luma)[..., None]
        other = {colour.BRIGHTNESS: 0.0, colour.CONTRAST: grey.mean(), colour.SATURATION: grey}[operation]
        image = np.clip(factors[operation] * image + (1 - factors[operation]) * other, 0, 1)
    return image


def test_jitter_equals_one_operation_after_the_other_in_every_order():
    image = picture(8, 8) / 255
    factors = np.array([1.3, 0.7, 1.6, -0.08])
    together = jax.jit(
        jax.vmap(lambda o: colour.jitter(jnp.asarray(image, jnp.float32), jnp.asarray(factors, jnp.float32), o))
    )
    for order, ours in zip(colour._ORDERS, together(colour._ORDERS), strict=True):
        np.testing.assert_allclose(ours, naive_jitter(image, factors, order), atol=2e-5)


def test_small_operations():
    image = as_float(picture())
    key = jax.random.key(0)
    np.testing.assert_allclose(augment.color_jitter(key, image, p=0.0), image, atol=1e-6)
    grey = augment.grey_scale(image)
    np.testing.assert_allclose(grey[..., 0], grey[..., 2])
    solar = augment.solarise(image)
    assert float(solar.max()) < 128 / 255
    np.testing.assert_allclose(augment.random_flip(key, image, p=1.0), image[:, ::-1])
    np.testing.assert_allclose(augment.affine(image, jnp.eye(2), jnp.zeros(2)), image, atol=1e-6)
    moved = augment.affine(image, jnp.eye(2), jnp.array([2.0, 0.0]))
    np.testing.assert_allclose(moved[:-2], image[2:], atol=1e-6)
    assert float(jnp.abs(moved[-2:]).max()) == 0
    quarter = augment.affine(image[:40, :40], jnp.array([[0.0, -1.0], [1.0, 0.0]]), jnp.zeros(2))
    np.testing.assert_allclose(quarter, jnp.rot90(image[:40, :40], -1), atol=1e-5)


@pytest.mark.parametrize('name', augment.RECIPES)
def test_recipes_give_finite_views_of_their_size(name):
    channels = 1 if name.startswith('digits') else 3
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, channels), np.uint8)
    specs = augment.RECIPES[name](16)
    for view, spec in specs.items():
        augment.check_spec(view, spec)
    views, sampled = jax.jit(augment.make_views(specs))(jax.random.key(0), images, jnp.arange(4))
    sizes = [spec.get('size', 16) for spec in specs.values() for _ in range(spec.get('count', 1))]
    assert len(views) == len(sizes) == len(sampled) and sizes == sorted(sizes, reverse=True)
    for view, size in zip(views, sizes, strict=True):
        assert view.shape == (4, size, size, channels) and view.dtype == jnp.float32
        assert np.isfinite(view).all()
    assert not np.allclose(views[0], views[1])


def test_a_view_depends_on_step_position_and_view_alone():
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)
    views = jax.jit(augment.make_views(augment.RECIPES['simclr'](16)))
    key = jax.random.key(3)
    whole, _ = views(key, images, jnp.arange(8))
    half, _ = views(key, images[4:], jnp.arange(4, 8))
    for a, b in zip(whole, half, strict=True):
        np.testing.assert_allclose(a[4:], b, atol=1e-6)
    other, _ = views(jax.random.fold_in(key, 1), images, jnp.arange(8))
    assert not np.allclose(whole[0], other[0])
    same_image, _ = views(key, np.repeat(images[:1], 8, axis=0), jnp.arange(8))
    assert len(np.unique(np.asarray(same_image[0]).round(4).reshape(8, -1), axis=0)) == 8


def test_dropping_an_operation_leaves_the_others_draws():
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)
    spec = {'size': 16, 'crop': {'scale': (0.2, 1.0)}, 'flip': 0.5}
    with_noise = augment.make_views({'a': {**spec, 'noise': {'deviation': 0.0}}})
    a, _ = augment.make_views({'a': spec})(jax.random.key(0), images, jnp.arange(4))
    b, _ = with_noise(jax.random.key(0), images, jnp.arange(4))
    np.testing.assert_allclose(a[0], b[0], atol=1e-6)


def test_evaluation_resizes_crops_and_normalises():
    image = picture(40, 48)
    prepare = augment.make_evaluation(resize=20, crop=16, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), method='bilinear')
    ours = prepare(image[None])[0]
    ours = np.asarray(ours) * [0.2, 0.3, 0.4] + [0.5, 0.4, 0.3]
    expected = np.asarray(Image.fromarray(image).resize((24, 20), RESAMPLING['bilinear']))[2:18, 4:20] / 255
    assert np.abs(np.asarray(ours) - expected).max() < PILLOW['bilinear']


BAD = {
    'operation': ({'blurr': {'p': 1.0}}, 'a.blurr is no operation'),
    'field': ({'blur': {'q': 1.0}}, 'a.blur.q is unknown'),
    'probability': ({'flip': 1.5}, r'a.flip is a probability and must lie in \[0, 1\], not 1.5'),
    'range': ({'size': 8, 'crop': {'scale': (1.0, 0.1)}}, 'a.crop.scale must be a range'),
    'size': ({'crop': {'scale': (0.1, 1.0)}}, 'a.crop needs a.size'),
    'count': ({'count': 0}, 'a.count must be a positive integer'),
    'hue': ({'jitter': {'hue': 0.7}}, 'a.jitter.hue'),
}


@pytest.mark.parametrize('spec, message', BAD.values(), ids=BAD.keys())
def test_bad_specifications(spec, message):
    with pytest.raises(ValueError, match=message):
        augment.check_spec('a', spec)


def test_bad_images(own_checks):
    with pytest.raises(ValueError, match=r'colour operations need an image \[height, width, 3\]'):
        augment.color_jitter(jax.random.key(0), jnp.zeros((8, 8, 1)))
    with pytest.raises(TypeError, match='uint8'):
        augment.to_float(np.zeros((2, 2), np.int32))
    with pytest.raises(ValueError, match='crop of 20 does not fit into images of 16x16'):
        augment.make_evaluation(crop=20)(np.zeros((1, 16, 16, 3), np.uint8))
    with pytest.raises(ValueError, match='method must be one of'):
        geometry.resize_matrix(0.0, 8.0, 8, 4, method='lanczos')

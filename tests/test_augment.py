"""Augmentations against Pillow and closed forms, and the independence of examples."""

import colorsys
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
import tolerances
from ml_collections import ConfigDict
from PIL import Image
from scipy.ndimage import gaussian_filter
from selfsup import augment, config
from selfsup.augment import colour, geometry, pipeline, warp


def picture(height=40, width=48, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def as_float(image):
    return jnp.asarray(image, jnp.float32) / 255


def test_impossible_ratio_falls_back_to_the_centre():
    box = augment.sample_crop(jax.random.key(0), 10, 100, scale=(1.0, 1.0))
    np.testing.assert_array_equal(box, [0, 43, 10, 13])


def test_sampled_blur_equals_a_convolution_with_a_gaussian():
    image = picture() / 255
    for sigma in (0.1, 0.8, 2.0):
        expected = gaussian_filter(image, (sigma, sigma, 0), mode='mirror', radius=(15, 15, 0))
        ours = augment.gaussian_blur(jnp.asarray(image, jnp.float32), sigma, dialect='gaussian', kernel=31)
        np.testing.assert_allclose(ours, expected, atol=tolerances.FLOAT32)


def test_box_blur_equals_repeated_sums():
    rng = np.random.default_rng(0)
    line = rng.random(12)
    for sigma in (0.3, 1.0, 3.0, 8.0):
        radius = boxes_radius(sigma)
        expected = line
        for _ in range(3):
            padded = np.pad(expected, 30, mode='edge')
            weights = np.clip(radius + 1 - np.abs(np.arange(-30, 31)), 0, 1)
            expected = np.convolve(padded, weights / weights.sum(), mode='valid')
        ours = augment.gaussian_blur(jnp.asarray(np.tile(line[:, None, None], (1, 3, 1)), jnp.float32), sigma)
        np.testing.assert_allclose(ours[:, 1, 0], expected, atol=tolerances.FLOAT32)


def boxes_radius(sigma):
    """The radius whose three extended boxes have the variance σ²: a whole part and a fraction, by bisection."""
    low, high = 0.0, 60.0
    for _ in range(60):
        radius = (low + high) / 2
        offsets = np.arange(-70, 71)
        weights = np.clip(radius + 1 - np.abs(offsets), 0, 1)
        low, high = (radius, high) if (weights * offsets**2).sum() / weights.sum() < sigma**2 / 3 else (low, radius)
    return radius


def test_hue_equals_colorsys():
    image = picture(8, 8) / 255
    ours = np.asarray(augment.shift_hue(jnp.asarray(image, jnp.float32), 0.2))
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


# Tasks on parts of an image stand in test_augment_pretext.py.
IMAGE_RECIPES = sorted(
    set(augment.RECIPES)
    - {'scarf', 'simcse', 'jigclu', 'digits_quarters', 'jigsaw', 'relative_patch', 'rotation', 'colourisation'}
)
# Each recipe compiles its own views, for seconds: three stand for all in the quick suite.
QUICK = ('byol', 'digits_multicrop', 'mae')


@pytest.mark.parametrize('name', [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in IMAGE_RECIPES])
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
    assert len(views) < 2 or not np.allclose(views[0], views[1])


@pytest.mark.parametrize('name', [n for n, recipe in augment.RECIPES.items() if len(recipe(56)) > 1])
def test_global_crops_come_before_local_ones_though_a_config_sorts_its_groups(name):
    """As of a config that was read: ml_collections keeps groups in alphabetical order, 'local' before 'whole'."""
    specs = ConfigDict(augment.RECIPES[name](56)).to_dict()
    assert list(specs) == sorted(specs)
    sizes = [spec.get('size', 56) for spec in augment.expand(specs).values()]
    assert sizes == sorted(sizes, reverse=True) and len(sizes) == sum(spec.get('count', 1) for spec in specs.values())
    local = {'dino': (24,), 'dinov2': (24,), 'dinov2_14': (24, 25), 'swav': (24,), 'digits_multicrop': range(56)}
    if name in local:
        assert sizes[:2] == [56, 56] and sizes[2] in local[name]


@pytest.mark.parametrize(
    'name, first',
    [
        ('cifar10/pirl', 'image'),
        ('cifar10/ressl', 'strong'),
        ('continued/cifar10_scan_self_label', 'weak'),
        ('continued/digits_scan_self_label', 'weak'),
        ('imagenet/ibot', 'first'),
    ],
)
def test_methods_whose_views_differ_get_them_in_their_order(name, first):
    views = list(augment.expand(config.load(name).augment.views.to_dict()))
    assert views[0] == (first, 0)
    assert views[1][0] == {'image': 'tiles', 'strong': 'weak', 'weak': 'strong', 'first': 'second'}[first]


def test_a_view_depends_on_step_position_and_view_alone():
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)
    views = jax.jit(augment.make_views(augment.RECIPES['simclr'](16)))
    key = jax.random.key(3)
    whole, _ = views(key, images, jnp.arange(8))
    half, _ = views(key, images[4:], jnp.arange(4, 8))
    for a, b in zip(whole, half, strict=True):
        np.testing.assert_allclose(a[4:], b, atol=tolerances.FLOAT32)
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
    # A reduction by two averages four pixels with weights 1, 3, 3, 1 on each axis.
    weights = np.array([1, 3, 3, 1]) / 8
    padded = np.pad(image / 255, ((1, 1), (1, 1), (0, 0)))[:, :, :]
    expected = sum(weights[i] * weights[j] * padded[i : i + 40 : 2, j : j + 48 : 2] for i in range(4) for j in range(4))
    np.testing.assert_allclose(ours, expected[2:18, 4:20], atol=tolerances.FLOAT32)


def torchvision_geometry(height, width, size, crop):
    """The rules of `Resize(size)` and `CenterCrop(crop)`, one side at a time, in whole numbers."""
    short, long = sorted((height, width))
    stretched = size * long // short
    sides = [size if side == short else stretched for side in (height, width)]
    starts = []
    for side in sides:
        half, odd = divmod(side - crop, 2)
        starts.append(half + (odd and half % 2))  # a half goes to the even number
    return sides, starts


def test_evaluation_rounds_as_torchvision():
    rng = np.random.default_rng(0)
    for height, width in rng.integers(32, 2000, (2000, 2)).tolist():
        size = int(rng.integers(16, 300))
        crop = int(rng.integers(8, size + 1))
        new, start = pipeline.evaluation_geometry(height, width, resize=size, crop=crop)
        assert ([*new], [*start]) == torchvision_geometry(height, width, size, crop), (height, width, size, crop)
    assert pipeline.evaluation_geometry(10, 13) == ((10, 13), (0, 0))
    # Through the images: 1 x 1 pixels show their place. A side of 13 keeps 10 from 2 (1.5 to even), of 15 from 2.
    place = jnp.arange(13 * 15, dtype=jnp.float32).reshape(1, 13, 15, 1)
    cut = augment.make_evaluation(crop=10, mean=(0.0,), std=(1.0,))(place)
    np.testing.assert_array_equal(cut, place[:, 2:12, 2:12])
    assert augment.make_evaluation(resize=8)(jnp.zeros((1, 9, 17, 1))).shape == (1, 8, 15, 1)


def test_crops_of_w_mse_are_those_of_its_authors():
    assert augment.RECIPES['solo_w_mse'](32)['both']['crop']['scale'] == (0.2, 1.0)


BAD = {
    'operation': ({'blurr': {'p': 1.0}}, 'unknown operation a.blurr'),
    'field': ({'blur': {'q': 1.0}}, 'unknown field a.blur.q'),
    'probability': ({'flip': 1.5}, r'a.flip is a probability and must lie in \[0, 1\], not 1.5'),
    'range': ({'size': 8, 'crop': {'scale': (1.0, 0.1)}}, 'a.crop.scale must be a range'),
    'size': ({'crop': {'scale': (0.1, 1.0)}}, 'a.crop needs a.size'),
    'count': ({'count': 0}, 'a.count must be a positive integer'),
    'hue': ({'jitter': {'hue': 0.7}}, 'a.jitter.hue'),
    'large crop': ({'size': 8, 'crop': {'scale': (0.5, 1.5)}}, 'crops larger than the image'),
    'dialect': ({'blur': {'dialect': 'opencv'}}, r"a.blur.dialect must be 'pillow' or 'gaussian', not 'opencv'"),
    'negative': ({'jitter': {'contrast': -1.0}}, 'a.jitter.contrast must not be negative'),
    'bare': ({'grey': -0.1}, 'a.grey is a probability'),
    'regions': ({'quantise': {'regions': 0}}, 'a.quantise.regions must be a positive integer'),
    'share': ({'affine': {'translate': 2.0}}, r'a.affine.translate must lie in \[0, 1\]'),
}


@pytest.mark.parametrize('spec, message', BAD.values(), ids=BAD.keys())
def test_bad_specifications(spec, message):
    with pytest.raises(ValueError, match=message):
        augment.check_spec('a', spec)


KEY = jax.random.key(0)
GREY = jnp.zeros((8, 8, 1))
COLOURS = jnp.zeros((8, 8, 3))
BAD_CALLS = {
    'grey jitter': (lambda: augment.color_jitter(KEY, GREY), r'colour operations need an image \[height, width, 3\]'),
    'grey grey': (lambda: augment.random_grey(KEY, GREY), 'colour operations need'),
    'grey policy': (lambda: augment.rand_augment(KEY, GREY), 'colour operations need'),
    'grey recipe': (
        lambda: augment.make_views(augment.RECIPES['simclr'](8))(KEY, GREY[None], jnp.arange(1)),
        'jitter needs images of 3 channels, and these have 1',
    ),
    'probability': (
        lambda: augment.random_flip(KEY, GREY, p=1.2),
        r'p is a probability and must lie in \[0, 1\], not 1.2',
    ),
    'sigma': (lambda: augment.random_blur(KEY, GREY, sigma=(2.0, 0.1)), 'sigma must be at least 0 and in order'),
    'kernel': (lambda: augment.gaussian_blur(GREY, 1.0, dialect='gaussian', kernel=4), 'kernel must be odd'),
    'dialect': (lambda: augment.gaussian_blur(GREY, 1.0, dialect='opencv'), 'dialect must be one of pillow, gaussian'),
    'hue': (lambda: augment.color_jitter(KEY, COLOURS, hue=0.6), r'hue must be \[0, 0.5\], not 0.6'),
    'box': (lambda: augment.crop_and_resize(GREY, jnp.array([0.0, 0, 9, 9]), 4), 'is larger than the image'),
    'empty box': (
        lambda: augment.crop_and_resize(GREY, jnp.array([0.0, 0, 0, 9]), 4),
        'must not start before 0 or be empty',
    ),
    'scale': (lambda: augment.sample_crop(KEY, 8, 8, scale=(0.5, 2.0)), r'scale must be \[0, 1\] and in order'),
    'method': (lambda: geometry.resize_matrix(0.0, 8.0, 8, 4, method='lanczos'), 'method must be one of'),
    'evaluation': (
        lambda: augment.make_evaluation(crop=20)(np.zeros((1, 16, 16, 3), np.uint8)),
        'crop of 20 does not fit into images of 16x16',
    ),
    'grid': (lambda: augment.random_patch_shuffle(KEY, GREY, grid=3), 'grid=3 does not divide the image'),
    'turns': (lambda: augment.random_turns(KEY, GREY[:4]), r'needs square images, not \[4, 8\]'),
    'part': (lambda: augment.random_part_turn(KEY, GREY, part='half'), 'part must be one of quadrant, square'),
    'least': (lambda: augment.random_part_turn(KEY, GREY, least=5), 'needs an even side of at least twice least=5'),
    'copies': (lambda: augment.random_turns(KEY, GREY, copies=5), 'copies=5 is more than the 4 turns'),
    'permutations': (
        lambda: augment.random_jigsaw(KEY, GREY, grid=2, permutations=25),
        r'must lie in 1 ... 24, those of 4',
    ),
    'tiles': (lambda: augment.random_jigsaw(KEY, GREY, grid=4), 'of 1 to 9 tiles, not of 16'),
    'jigsaw': (lambda: augment.random_jigsaw(KEY, GREY, permutations=6), 'grid=3 does not divide the image'),
    'patch': (
        lambda: augment.random_patch_pair(KEY, GREY, patch=2, gap=1, jitter=1),
        'needs 10 pixels a side, and the',
    ),
    'tile': (lambda: augment.jigsaw_tiles(KEY, GREY, grid=2, tile=5), 'tile=5 is larger than the cells'),
    'side': (lambda: augment.random_cutout(KEY, GREY, side=0), 'side must lie in'),
    'bits': (lambda: augment.posterise(GREY, bits=9), r'bits must be \[0, 8\], not 9'),
    'normalisation': (lambda: augment.normalise(COLOURS, (0.1, 0.2), (1.0, 1.0)), 'for images of 3 channels'),
}


@pytest.mark.parametrize('call, message', BAD_CALLS.values(), ids=BAD_CALLS.keys())
def test_bad_calls(own_checks, call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_integers_are_no_images(own_checks):
    with pytest.raises(TypeError, match='uint8'):
        augment.to_float(np.zeros((2, 2), np.int32))


OF_VECTORS = ('random_corruption', 'random_dropout')
RANDOM = sorted(
    n
    for n in augment.__all__
    if (n.startswith('random_') or n in ('color_jitter', 'rand_augment', 'jigsaw_tiles', 'cell_colours'))
    and n not in OF_VECTORS
)
NEEDED = {
    'random_resized_crop': {'size': 6},
    'random_cutout': {'side': 3},
    'jigsaw_tiles': {'grid': 2},
    'cell_colours': {'cells': 2},
    'random_jigsaw': {'grid': 2, 'permutations': 6},
    'random_patch_pair': {'patch': 2},
    'random_quarter': {'place': 3, 'side': 8},
}


@pytest.mark.parametrize('name', RANDOM)
def test_random_operations_share_one_signature(name):
    function = getattr(augment, name)
    first, second, *rest = inspect.signature(function).parameters.values()
    assert (first.name, second.name) == ('key', 'image')
    assert all(p.kind is p.KEYWORD_ONLY for p in rest) and 'report' in {p.name for p in rest}
    image = jnp.asarray(picture(8, 12)[:, :8])
    call = jax.jit(lambda key, image: function(key, image, **NEEDED.get(name, {}), report=True))
    result, drawn = call(jax.random.key(1), image)
    assert jnp.issubdtype(result.dtype, jnp.floating) and isinstance(drawn, dict)
    # uint8 stands for the same values in [0, 1].
    np.testing.assert_allclose(result, call(jax.random.key(1), as_float(image))[0], atol=tolerances.FLOAT32)


# Operations with given parameters, each as an array of the widest type, which must not decide the image's.
WIDE = {
    'affine': lambda f, x: f(x, jnp.eye(2), jnp.ones(2), fill=0.5),
    'autocontrast': lambda f, x: f(x),
    'crop_and_resize': lambda f, x: f(x, jnp.array([0.0, 0.0, 6.0, 6.0]), 4, method='bicubic'),
    'cutmix': lambda f, x: f(KEY, x[None])[0],
    'equalise': lambda f, x: f(x),
    'four_turns': lambda f, x: f(x),
    'erase': lambda f, x: f(x, jnp.array([0.0, 0.0, 2.0, 2.0]), jnp.asarray(0.5)),
    'gaussian_blur': lambda f, x: (f(x, jnp.asarray(0.5)), f(x, jnp.asarray(0.5), dialect='gaussian', kernel=3)),
    'grey_scale': lambda f, x: f(x),
    'jitter': lambda f, x: f(x, jnp.array([1.1, 0.9, 1.2, 0.1]), jnp.arange(4)),
    'mixup': lambda f, x: f(KEY, x[None])[0],
    'normalise': lambda f, x: f(augment.to_float(x), (0.5,), (jnp.asarray(0.5),)),
    'posterise': lambda f, x: f(x, bits=jnp.asarray(4.0)),
    'quantise': lambda f, x: f(x, jnp.linspace(0, 1, 12).reshape(3, 4), jnp.linspace(0, 1, 9).reshape(3, 3)),
    'rotate': lambda f, x: f(x, jnp.asarray(10.0), fill=0.5),
    'sharpen': lambda f, x: f(x, jnp.asarray(1.5)),
    'shift_hue': lambda f, x: f(x, jnp.asarray(0.1)),
    'shuffle_patches': lambda f, x: f(x, jnp.arange(4), grid=2),
    'solarise': lambda f, x: f(x, threshold=jnp.asarray(0.5)),
    'to_float': lambda f, x: f(x),
    'to_lab': lambda f, x: f(x),
    'turn_part': lambda f, x: f(x, jnp.array([1, 2]), jnp.asarray(3), jnp.asarray(1)),
}
NO_IMAGE = {
    'NORMALISATION',
    'OPERATIONS',
    'RECIPES',
    'affine_map',
    'colour_bins',
    'hamming_permutations',
    'check_spec',
    'expand',
    'make_evaluation',
    'make_view',
    'make_views',
    *OF_VECTORS,
    'sample_crop',
}


def dtypes(function, dtype):
    image = jax.ShapeDtypeStruct((8, 8, 3), dtype)
    return {str(leaf.dtype) for leaf in jax.tree.leaves(jax.eval_shape(function, image))}


def test_every_operation_is_in_one_of_the_tables():
    assert set(augment.__all__) == {*WIDE, *RANDOM, *NO_IMAGE}


@pytest.mark.parametrize('name', [*WIDE, *RANDOM])
def test_the_type_of_an_image_stays_in_double_precision(name, x64):
    function = getattr(augment, name)
    call = WIDE.get(name, lambda f, x: f(KEY, x, **NEEDED.get(name, {})))
    for dtype, expected in (('uint8', 'float32'), ('float32', 'float32'), ('float64', 'float64')):
        assert dtypes(lambda x: call(function, x), dtype) == {expected}, dtype


@small.each(IMAGE_RECIPES, quick=('byol', 'dino', 'mae'))
def test_the_type_of_views_stays_in_double_precision(name, x64):
    views = augment.make_views(augment.RECIPES[name](8))
    prepare = augment.make_evaluation(resize=6, crop=4)
    for dtype in ('float32', 'float64'):
        assert dtypes(lambda x: views(KEY, x[None], jnp.arange(1))[0], dtype) == {dtype}
        assert dtypes(lambda x: prepare(x[None]), dtype) == {dtype}


def test_rand_augment_runs_in_double_precision(x64):
    image = as_float(picture(8, 8))
    single = jax.jit(lambda k, x: augment.rand_augment(k, x, operations=3))(KEY, image)
    assert single.dtype == jnp.float32 and np.isfinite(single).all()


def test_quantisation():
    image = as_float(picture(16, 16))
    for seed, spacing in enumerate(('random', 'uniform')):
        ours, drawn = augment.random_quantise(jax.random.key(seed), image, regions=5, spacing=spacing, report=True)
        for channel in range(3):
            before, after = np.asarray(image[..., channel]).ravel(), np.asarray(ours[..., channel]).ravel()
            edges, values = np.asarray(drawn['edges'][channel]), np.asarray(drawn['values'][channel])
            region = np.clip(np.searchsorted(edges, before, side='right') - 1, 0, 4)
            np.testing.assert_array_equal(after, values[region])
            assert (np.diff(after[np.argsort(before, kind='stable')]) >= 0).all()
            assert before.min() <= after.min() and after.max() <= before.max()
            assert ((values >= edges[:-1]) & (values <= edges[1:])).all()
            if spacing == 'uniform':
                np.testing.assert_allclose(np.diff(edges), np.ptp(before) / 5, atol=tolerances.FLOAT32)


def test_shuffled_patches_are_the_same_patches():
    image = as_float(picture(8, 12))
    shuffled, drawn = augment.random_patch_shuffle(jax.random.key(2), image, grid=4, report=True)
    order = np.asarray(drawn['permutation'])
    assert sorted(order) == list(range(16)) and (order != np.arange(16)).any()
    cell = lambda x, i: np.asarray(x)[2 * (i // 4) : 2 * (i // 4) + 2, 3 * (i % 4) : 3 * (i % 4) + 3]  # noqa: E731
    for place in range(16):
        np.testing.assert_array_equal(cell(shuffled, place), cell(image, order[place]))
    back = augment.shuffle_patches(shuffled, jnp.argsort(drawn['permutation']), grid=4)
    np.testing.assert_array_equal(back, image)


def test_jigsaw_tiles_lie_in_their_cells():
    height = width = 24
    place = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing='ij'), -1).astype(jnp.float32)
    tiles, drawn = jax.jit(lambda k: augment.jigsaw_tiles(k, place, grid=3, tile=5, report=True))(jax.random.key(0))
    assert tiles.shape == (9, 5, 5, 2)
    for tile, cell in zip(np.asarray(tiles), np.asarray(drawn['permutation']), strict=True):
        np.testing.assert_array_equal(tile // 8, np.broadcast_to([cell // 3, cell % 3], tile.shape))
        np.testing.assert_array_equal(tile, tile[0, 0] + np.stack(np.meshgrid(range(5), range(5), indexing='ij'), -1))


@pytest.mark.slow
def test_mixtures():
    images = jnp.asarray(np.random.default_rng(0).random((6, 8, 10, 3), np.float32))
    mixed, drawn = augment.mixup(jax.random.key(0), images, alpha=0.4)
    share, partner = np.asarray(drawn['share'])[:, None, None, None], np.asarray(drawn['partner'])
    np.testing.assert_allclose(mixed, share * images + (1 - share) * images[partner], atol=tolerances.FLOAT32)
    assert len(np.unique(share)) == 6
    assert len(np.unique(augment.mixup(jax.random.key(0), images, shared=True)[1]['share'])) == 1
    mixed, drawn = augment.cutmix(jax.random.key(1), images)
    partner = np.asarray(drawn['partner'])
    for i in range(6):
        top, left, height, width = np.asarray(drawn['box'][i]).astype(int)
        expected = np.array(images[i])
        expected[top : top + height, left : left + width] = images[partner[i]][top : top + height, left : left + width]
        np.testing.assert_array_equal(mixed[i], expected)
        np.testing.assert_allclose(drawn['share'][i], 1 - height * width / 80, atol=tolerances.FLOAT32)


def test_erasing_and_cutout_write_their_box():
    image = as_float(picture(16, 16))
    for function, fields in ((augment.random_erasing, {'p': 1.0}), (augment.random_cutout, {'side': 6})):
        out, drawn = function(jax.random.key(3), image, value=0.5, report=True, **fields)
        top, left, height, width = np.asarray(drawn['box']).astype(int)
        inside = np.zeros((16, 16), bool)
        inside[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)] = True
        assert inside.any() and not inside.all()
        np.testing.assert_array_equal(np.asarray(out), np.where(inside[..., None], 0.5, image))


def test_gathered_interpolation_equals_the_dense_product():
    image = as_float(picture(32, 36))
    matrix, translation = augment.affine_map(25.0, (3.0, -2.0), 0.8, (5.0, 0.0))
    dense = augment.affine(image, matrix, translation, fill=0.3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warp, '_DENSE_SIDE', 0)
        np.testing.assert_allclose(augment.affine(image, matrix, translation, fill=0.3), dense, atol=1e-5)


SHORT = {'both': {'size': 8, 'count': 2, 'crop': {'scale': (0.2, 1.0)}, 'flip': 0.5, 'grey': 0.5}}


def test_views_do_not_depend_on_devices():
    images = np.random.default_rng(0).integers(0, 256, (16, 10, 12, 3), np.uint8)
    make = jax.jit(augment.make_views(SHORT))
    one, drawn = make(jax.random.key(3), images, jnp.arange(16))
    mesh = jax.make_mesh((8,), ('data',), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec('data'))
    placed = jax.device_put(images, sharding), jax.device_put(np.arange(16), sharding)
    eight, again = make(jax.random.key(3), *placed)
    for a, b in zip(one, eight, strict=True):
        np.testing.assert_allclose(a, b, atol=tolerances.FLOAT32)
    jax.tree.map(np.testing.assert_array_equal, drawn, again)


def test_views_of_images_cropped_elsewhere():
    """What a worker cropped with the device's box becomes the device's view."""
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (4, 10, 12, 3), np.uint8))
    make = jax.jit(augment.make_views(SHORT))
    whole, drawn = make(jax.random.key(3), images, jnp.arange(4))
    crop = jax.jit(jax.vmap(lambda image, box: augment.crop_and_resize(image, box, 8)))
    boxes = [d['box'] for d in drawn]
    given = augment.pipeline.Crops(tuple(crop(images, b) for b in boxes), tuple(boxes))
    again, also = make(jax.random.key(3), given, jnp.arange(4))
    for a, b in zip(whole, again, strict=True):
        np.testing.assert_allclose(a, b, atol=tolerances.FLOAT32)
    np.testing.assert_array_equal(also[1]['box'], boxes[1])


def test_dropout_of_a_vector_keeps_its_mean():
    vector = jnp.arange(1.0, 4001.0)
    changed, drawn = jax.jit(lambda key: augment.random_dropout(key, vector, rate=0.25, report=True))(KEY)
    dropped = np.asarray(drawn['dropped'])
    assert abs(dropped.mean() - 0.25) < 0.03
    np.testing.assert_allclose(changed, np.where(dropped, 0, np.asarray(vector) / 0.75), rtol=1e-6)
    views, _ = augment.make_views({'a': {'count': 2, 'drop': {}}}, mean=(0.0,), std=(1.0,))(
        KEY, jnp.ones((3, 64)), jnp.arange(3)
    )
    assert views[0].shape == (3, 64) and (np.asarray(views[0]) != np.asarray(views[1])).any(axis=1).all()
    with pytest.raises(ValueError, match='rate'):
        augment.random_dropout(KEY, vector, rate=1.0)


@pytest.mark.slow
def test_corruption_takes_features_from_their_own_columns():
    """SCARF: a share of the features, each replaced by that of some row of the training set."""
    reference = jnp.asarray(np.arange(7)[:, None] * 100.0 + np.arange(10)[None], jnp.float32)
    vector = jnp.full(10, -1.0)
    changed, drawn = augment.random_corruption(KEY, vector, rate=0.65, reference=reference, report=True)
    corrupted = np.asarray(drawn['corrupted'])
    assert corrupted.sum() == 6
    np.testing.assert_array_equal(changed[~corrupted], -1.0)
    np.testing.assert_array_equal(np.asarray(changed)[corrupted] % 100, np.arange(10)[corrupted])
    views, sampled = augment.make_views(
        {'a': {'corrupt': {'rate': 0.5}}}, mean=(0.0,), std=(1.0,), reference=reference
    )(KEY, jnp.zeros((3, 10)), jnp.arange(3))
    assert views[0].shape == (3, 10) and (np.asarray(sampled[0]['corrupt']['corrupted']).sum(axis=1) == 5).all()
    assert len({row.tobytes() for row in np.asarray(views[0])}) == 3
    with pytest.raises(ValueError, match='corrupt needs examples with 1 axes'):
        augment.make_views({'a': {'corrupt': {'rate': 0.5}}}, reference=reference)(
            KEY, jnp.zeros((1, 8, 8, 1)), jnp.arange(1)
        )

"""Operations that set a task: what they do, what they report, and the sets of permutations against the authors'."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from selfsup import augment
from selfsup.augment.pretext import NEIGHBOURS

KEY = jax.random.key(0)
SIDE = 24
# Each pixel shows where it stands.
PLACES = jnp.stack(jnp.meshgrid(jnp.arange(SIDE), jnp.arange(SIDE), indexing='ij'), -1).astype(jnp.float32)


def drawn(operation, count=64, **fields):
    """`count` draws of an operation on the picture of places, as NumPy."""
    call = jax.jit(jax.vmap(lambda key: operation(key, PLACES, **fields, report=True)))
    return jax.tree.map(np.asarray, call(jax.random.split(KEY, count)))


def test_turns_are_those_of_the_authors():
    """`rotate_img` of RotNet's dataloader, in NumPy; each copy stands beside its own answer, in random order."""
    copies, report = drawn(augment.random_turns)
    image = np.asarray(PLACES)
    turned = [
        image,
        np.flipud(np.transpose(image, (1, 0, 2))),
        np.fliplr(np.flipud(image)),
        np.transpose(np.flipud(image), (1, 0, 2)),
    ]
    numbers = report['answer'].argmax(axis=2)
    assert (np.sort(numbers, axis=1) == np.arange(4)).all() and len({*map(tuple, numbers)}) > 12
    for shown, answers in zip(copies[:8], numbers, strict=False):
        for copy, number in zip(shown, answers, strict=True):
            np.testing.assert_array_equal(copy, turned[number])
    np.testing.assert_array_equal(augment.four_turns(PLACES), turned)


def test_one_turn_of_each_image():
    copies, report = drawn(augment.random_turns, copies=1)
    assert copies.shape == (64, 1, SIDE, SIDE, 2) and report['answer'].shape == (64, 1, 4)
    assert {*report['answer'].argmax(axis=2).ravel()} == {0, 1, 2, 3}


# The loop of bbrattoli/JigsawPuzzlePytorch's select_permutations.py, its first draw replaced by that number.
AUTHORS = {
    (40, 0): ('012345678', '103254786', '230167845', '321078564', '325814076'),
    (25, 123456): ('305481267', '012345678', '120534786', '231067845', '645270813'),
}


@pytest.mark.parametrize('asked', AUTHORS)
def test_permutations_are_those_of_the_authors(asked):
    found = augment.hamming_permutations(9, asked[0], first=asked[1])
    rows = [''.join(map(str, row)) for row in found]
    assert (*rows[:4], rows[-1]) == AUTHORS[asked]


def test_permutations_are_distinct_and_greedily_the_farthest():
    """By whole numbers in plain loops, up to all permutations of four tiles."""
    found = augment.hamming_permutations(4, 24)
    every = list(itertools.permutations(range(4)))
    assert sorted(map(tuple, found)) == every
    for count in range(1, 24):
        before = found[:count]
        distance = {p: int((before != np.array(p)).sum()) for p in every if p not in {*map(tuple, before)}}
        assert distance[tuple(found[count])] == max(distance.values())
    # A derangement of the first comes second.
    assert (found[0] != found[1]).all()


def test_tiles_stand_in_the_order_that_is_reported():
    tiles, report = drawn(augment.random_jigsaw, grid=3, tile=5, permutations=6)
    assert tiles.shape == (64, 9, 5, 5, 2) and report['answer'].shape == (64, 6)
    numbers = report['answer'].argmax(axis=1)
    assert {*numbers} == set(range(6))
    cells = (tiles // 8).reshape(64, 9, -1, 2)  # of 8 pixels
    assert (cells == cells[:, :, :1]).all()  # no tile leaves its cell
    shown = (3 * cells[:, :, 0, 0] + cells[:, :, 0, 1]).astype(int)
    np.testing.assert_array_equal(shown, augment.hamming_permutations(9, 6)[numbers])
    corners = tiles[:, :, 0, 0] % 8
    assert {*corners.ravel()} == {0, 1, 2, 3}  # every place in the cell


def test_a_pair_of_patches_stands_as_reported():
    """Patches of 5, a gap of 2 and a jitter of 1: the grid needs 21 of 24 pixels."""
    pairs, report = drawn(augment.random_patch_pair, count=512, patch=5, gap=2, jitter=1)
    assert pairs.shape == (512, 2, 5, 5, 2) and report['answer'].shape == (512, 8)
    step = pairs[:, 1, 0, 0] - pairs[:, 0, 0, 0]
    nominal = 7 * np.array(NEIGHBOURS)[report['answer'].argmax(axis=1)]
    moved = step - nominal
    assert np.abs(moved).max() == 2  # each of the two by up to one pixel
    assert (np.unique(moved).size, {*report['answer'].argmax(axis=1)}) == (5, set(range(8)))
    assert np.ptp(pairs, axis=(2, 3)).max() == np.ptp(pairs, axis=(2, 3)).min() == 4  # nothing is stretched
    first = pairs[:, 0, 0, 0]
    assert first.min() == 7 and first.max() == 12  # 1 + 5 + 2 − 1, and three places and the jitter beyond


def test_a_quadrant_is_turned_as_by_the_authors():
    """`ood_lorot-E.py`: quadrants row by row, turned in place, the answer 4·quadrant + quarters."""
    images, report = drawn(augment.random_part_turn)
    numbers = report['answer'].argmax(axis=1)
    assert report['answer'].shape == (64, 16) and len({*numbers}) > 12
    for image, number in zip(images, numbers, strict=True):
        expected = np.array(PLACES)
        rows, columns = (slice(0, 12) if at == 0 else slice(12, 24) for at in divmod(number // 4, 2))
        expected[rows, columns] = np.rot90(expected[rows, columns], number % 4)
        np.testing.assert_array_equal(image, expected)


def test_a_square_of_any_size_and_place_is_turned():
    images, report = drawn(augment.random_part_turn, count=512, part='square', least=2)
    numbers = report['answer'].argmax(axis=1)
    sides = set()
    for image, number in zip(images, numbers, strict=True):
        changed = (image != np.asarray(PLACES)).any(axis=2)
        if number == 0:
            assert not changed.any()
            continue
        rows, columns = (np.flatnonzero(changed.any(axis=1 - axis)) for axis in (0, 1))
        assert len(rows) == len(columns)  # a square; the middle pixel of an odd one stays where it is
        square = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        np.testing.assert_array_equal(image[square], np.rot90(np.asarray(PLACES)[square], number))
        sides.add(len(rows))
    assert sides == set(range(2, 13)) and {*numbers} == {0, 1, 2, 3}


def test_a_quarter_is_a_crop_of_its_part_of_the_image():
    """Without scaling the patch shows the places of its box; with an overlap of a quarter the parts have 18 of 24."""
    for place in range(4):
        patches, report = drawn(augment.random_quarter, place=place, side=18, overlap=0.25, scale=(1.0, 1.0), flip=0.5)
        top, left = 6 * (place // 2), 6 * (place % 2)
        np.testing.assert_array_equal(report['box'], np.broadcast_to([top, left, 18, 18], (64, 4)))
        own = np.clip(np.asarray(PLACES)[top : top + 18, left : left + 18], 0, 1)
        mirrored = [np.array_equal(patch, own[:, ::-1]) for patch in patches]
        assert all(m or np.array_equal(patch, own) for m, patch in zip(mirrored, patches, strict=True))
        assert place % 2 or 10 < sum(mirrored) < 54  # else the clipped picture is its own mirror image
        assert (report['answer'].argmax(axis=1) == place).all()
    _, report = drawn(augment.random_quarter, place=3, side=4, scale=(0.2, 1.0))
    box = report['box']
    assert (
        (box[:, :2] >= 24 - round(0.8 * 24)).all() and (box[:, :2] + box[:, 2:] <= 24).all() and len(set(box[:, 2])) > 4
    )


@small.each(['jigclu', 'digits_quarters'], quick=())
def test_recipes_of_quarters_give_them_in_their_order(name):
    channels = 1 if name.startswith('digits') else 3
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, channels), np.uint8)
    views, sampled = jax.jit(augment.make_views(augment.RECIPES[name](16)))(KEY, images, jnp.arange(4))
    assert [v.shape for v in views] == [(4, 8, 8, channels)] * 4
    assert [int(s['quarter']['answer'][0].argmax()) for s in sampled] == [0, 1, 2, 3]
    assert len({float(v.sum()) for v in views}) == 4


@small.each(['jigsaw', 'relative_patch', 'rotation'], quick=('rotation',))
def test_recipes_of_tasks_give_parts_and_answers(name):
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    specs = augment.RECIPES[name](32)
    augment.check_spec('only', specs['only'])
    (view,), (sampled,) = jax.jit(augment.make_views(specs))(KEY, images, jnp.arange(4))
    shape, answers = {
        'jigsaw': ((9, 9, 9), (100,)),
        'relative_patch': ((2, 8, 8), (8,)),
        'rotation': ((4, 32, 32), (4, 4)),
    }[name]
    assert view.shape == (4, *shape, 3) and view.dtype == jnp.float32 and np.isfinite(view).all()
    (operation,) = {'turns', 'jigsaw', 'patch_pair'} & sampled.keys()
    answer = sampled[operation]['answer']
    assert answer.shape == (4, *answers) and (answer.sum(axis=-1) == 1).all()


# scikit-image's `rgb2lab` and the tables of sRGB's primaries give these.
LAB = {
    (1.0, 0.0, 0.0): (53.2408, 80.0925, 67.2032),
    (0.0, 1.0, 0.0): (87.7347, -86.1827, 83.1793),
    (0.0, 0.0, 1.0): (32.2970, 79.1875, -107.8602),
    (1.0, 1.0, 1.0): (100.0, 0.0, 0.0),
    (0.0, 0.0, 0.0): (0.0, 0.0, 0.0),
}


def test_lab_is_that_of_the_primaries():
    found = augment.to_lab(jnp.asarray(list(LAB))[None])[0]
    np.testing.assert_allclose(found, list(LAB.values()), atol=2e-3)
    gradient = jax.grad(lambda x: augment.to_lab(x).sum())(jnp.zeros((1, 1, 3)))
    assert np.isfinite(gradient).all()


def test_cells_are_told_their_nearest_colour():
    bins = augment.colour_bins(10)
    assert len(bins) == 260 and (np.diff(bins[:, 0]) >= 0).all() and [0, 0] in bins.tolist()
    colours = jnp.asarray([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [0.5, 0.5, 0.5]])
    image = colours.reshape(2, 1, 2, 1, 3).repeat(3, axis=1).repeat(3, axis=3).reshape(6, 6, 3)
    same, report = augment.cell_colours(KEY, image, cells=2, report=True)
    np.testing.assert_array_equal(same, image)
    found = bins[report['answer'].argmax(axis=-1).reshape(-1)]
    np.testing.assert_array_equal(found, [[80, 70], [-90, 80], [80, -110], [0, 0]])


@pytest.mark.parametrize(
    'spec, message',
    [
        ({'turns': {'copies': 0}}, 'only.turns.copies must be a positive integer'),
        ({'jigsaw': {'tile': -1}}, 'only.jigsaw.tile must be an integer from 0, not -1'),
        ({'part_turn': {'part': 'half'}}, "only.part_turn.part must be 'quadrant' or 'square', not 'half'"),
        ({'quarter': {'place': -1}}, 'only.quarter.place must be an integer from 0, not -1'),
        ({'quarter': {'flip': 2}}, r'only.quarter.flip is a probability and must lie in \[0, 1\]'),
        ({'colours': {'cells': 0}}, 'only.colours.cells must be a positive integer'),
        ({'patch_pair': {'patch': 2.5}}, 'only.patch_pair.patch must be a positive integer'),
        ({'patch_pair': {'patch': 4, 'jitter': 0.5}}, 'only.patch_pair.jitter must be an integer from 0, not 0.5'),
        ({'jigsaw': {'permutation': 6}}, 'unknown field only.jigsaw.permutation; jigsaw takes grid, tile, perm'),
    ],
)
def test_fields_of_tasks_are_checked(spec, message):
    with pytest.raises(ValueError, match=message):
        augment.check_spec('only', spec)


def test_there_are_as_many_permutations_as_there_are():
    assert len(augment.hamming_permutations(3, math.factorial(3))) == 6
    with pytest.raises(ValueError, match=r'permutations=7 must lie in 1 ... 6, those of 3 tiles'):
        augment.hamming_permutations(3, 7)

"""Masks of patches: static counts, and distributions against the authors' samplers."""

import functools

import chex
import jax
import jax.numpy as jnp
import masking_references as reference
import numpy as np
import pytest
from programs import called
from selfsup.augment import masking

DRAWS = 600  # of a reference sampler; ours draws as often as it is compared with


def keys(count=DRAWS, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def drawn(sampler, count=DRAWS, seed=0):
    """A sampler of keys, compiled: operation by operation it takes ten times as long."""
    return jax.jit(sampler)(keys(count, seed))


def parameters(table, *, slow):
    """The rows of a table; those of `slow` are left out of the quick suite."""
    return [pytest.param(*row, id=name, marks=[pytest.mark.slow] * (name in slow)) for name, row in table.items()]


def close(ours, theirs, width=4.5):
    """Two samples of one distribution: means over draws agree within `width` standard errors, in every column."""
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    error = np.sqrt(ours.var(0) / len(ours) + theirs.var(0) / len(theirs)) + 1e-9
    assert (np.abs(ours.mean(0) - theirs.mean(0)) / error).max() < width, (ours.mean(0), theirs.mean(0))


def neighbours(hidden, grid):
    """Share of neighbouring pairs of patches of which both are hidden or both are not: how blocky a mask is."""
    x = np.asarray(hidden).reshape(-1, *grid)
    return np.stack([(x[:, 1:] == x[:, :-1]).mean((1, 2)), (x[:, :, 1:] == x[:, :, :-1]).mean((1, 2))], axis=1)


def edges(hidden, grid):
    """Share hidden of the border and of the rest."""
    x = np.asarray(hidden).reshape(-1, *grid)
    inner = x[:, 1:-1, 1:-1].reshape(len(x), -1)
    border = (x.sum((1, 2)) - inner.sum(1)) / (grid[0] * grid[1] - inner.shape[1])
    return np.stack([border, inner.mean(1)], axis=1)


# iBOT's mean mask, DINOv2's upper half, data2vec's 120 of 196, and small grids.
BLOCKS = {
    'ibot 14': ((14, 14), 58, {'least': 16}),
    'dinov2 14': ((14, 14), 98, {'least': 4, 'most': 98}),
    'data2vec 14': ((14, 14), 120, {'least': 16}),
    'ibot 8': ((8, 8), 19, {'least': 4}),
    'wide 4x6': ((4, 6), 12, {'least': 1}),
    'flat 8': ((8, 8), 20, {'least': 4, 'aspect': (0.25, 0.5)}),
}


@pytest.mark.parametrize('grid, count, fields', parameters(BLOCKS, slow=('ibot 14', 'data2vec 14')))
def test_blocks_are_those_of_the_authors(grid, count, fields):
    ours = np.asarray(drawn(lambda k: masking.block(k, grid, count, **fields)))
    rng = np.random.default_rng(1)
    theirs = np.stack([reference.block(rng, grid, count, **fields) for _ in range(DRAWS)])
    assert ours.sum(1).max() <= count
    close((ours.sum(1) == count)[:, None], (theirs.sum(1) == count)[:, None])
    close(ours.sum(1)[:, None], theirs.sum(1)[:, None])
    close(neighbours(ours, grid), neighbours(theirs, grid))
    close(edges(ours, grid), edges(theirs, grid))


def boxes(hidden, grid):
    """Rows, columns and patches of the smallest rectangle around what is hidden, and whether it is full."""
    x = np.asarray(hidden).reshape(-1, *grid)
    high, wide = x.any(2).sum(1), x.any(1).sum(1)
    return np.stack([high, wide, high * wide, x.sum((1, 2)) == high * wide], axis=1)


def test_a_single_block_has_the_authors_sides_and_ratios():
    """With one attempt a mask is one rectangle or nothing."""
    ours = np.asarray(drawn(lambda k: masking.block(k, (14, 14), 60, least=16, attempts=1), 4000))
    found = boxes(ours[ours.any(1)], (14, 14))
    sides = []
    rng = np.random.default_rng(0)
    for _ in range(800):
        reference.block(rng, (14, 14), 60, least=16, blocks=(own := []))
        sides.append(own[0])
    theirs = np.array(sides)
    assert found[:, 3].all() and found[:, :2].max() <= 13 and ours.sum(1).max() <= 60
    ratios = lambda s: np.log(s[:, :1] / s[:, 1:2])  # noqa: E731
    close(found[:, :2], theirs)
    close(np.abs(ratios(found)), np.abs(ratios(theirs)))
    # An area of 16 to 60 at a ratio of 0.3 to 3.33, sides rounded.
    assert np.abs(ratios(found)).max() <= np.abs(ratios(theirs)).max() + 0.2


def test_exact_masks_have_their_count_and_counts_may_be_traced():
    draw = jax.jit(chex.assert_max_traces(lambda k, n: masking.block(k, (8, 8), n, exact=True), n=1))
    counts = jnp.asarray(np.arange(400) % 40)
    for seed in range(3):
        np.testing.assert_array_equal(draw(keys(400, seed), counts).sum(1), counts)
    plain = drawn(lambda k: masking.block(k, (8, 8), counts), 400)
    assert (plain.sum(1) <= counts).all() and (plain.sum(1)[counts == 0] == 0).all()


INVERSE = {
    'square 14': ((14, 14), 0.8, {}, 39),
    'square 16': ((16, 16), 0.8, {}, 51),
    'square 8': ((8, 8), 0.8, {}, 12),
    'blocks of 2': ((8, 8), 0.75, {'length': 2, 'adjust': 0.1}, 16),
}


@pytest.mark.parametrize('grid, ratio, fields, kept', parameters(INVERSE, slow=('square 14', 'square 16')))
def test_inverse_blocks_are_those_of_the_authors(grid, ratio, fields, kept):
    keep, hidden = drawn(lambda k: masking.inverse_block(k, grid, ratio, **fields))
    assert keep.shape == (DRAWS, kept)
    np.testing.assert_array_equal(np.sort(keep, axis=1), [np.flatnonzero(~row) for row in np.asarray(hidden)])
    rng = np.random.default_rng(0)
    theirs = np.stack([reference.inverse_block(rng, grid, ratio, **fields) for _ in range(DRAWS)])
    close(edges(hidden, grid), edges(theirs, grid))
    close(neighbours(hidden, grid), neighbours(theirs, grid))
    whole = lambda x: np.asarray(~np.asarray(x)).reshape(-1, *grid)  # noqa: E731
    close(whole(hidden).mean(2), whole(theirs).mean(2))  # each row of patches


def test_units_are_hidden_whole_and_uniformly():
    keep, hidden = jax.device_get(drawn(lambda k: masking.units(k, (14, 14), 0.6, 2), 2000))
    assert keep.shape == (2000, 196 - 120) and (hidden.sum(1) == 120).all()
    units = np.asarray(hidden).reshape(-1, 7, 2, 7, 2)
    assert (units == units[:, :, :1, :, :1]).all()
    np.testing.assert_allclose(units.mean(0), 30 / 49, atol=0.05)  # deviation 0.011
    np.testing.assert_array_equal(np.sort(keep, axis=1)[:5], [np.flatnonzero(~row) for row in hidden[:5]])
    # 10 of 16 units and 39 of 64 patches, as the authors count.
    counts = [called(masking.units, keys(1), grid=(8, 8), ratio=0.6, unit=unit)[1].sum() for unit in (2, 1)]
    assert counts == [40, 39]


def whole(blocks, patches):
    """Targets as masks `[images, blocks, patches]`, from their numbers and flags."""
    mask = np.zeros((*blocks.targets.shape[:2], patches), bool)
    for image, (numbers, valid) in enumerate(zip(*map(np.asarray, blocks[2:]), strict=True)):
        for block, (own, real) in enumerate(zip(numbers, valid, strict=True)):
            assert len(set(own[real])) == real.sum() and set(own) == set(own[real])
            mask[image, block, own[real]] = True
    return mask


SCHEMES = {
    'I-JEPA 14': ((14, 14), 55, {}),
    'I-JEPA 8': ((8, 8), 16, {}),
    'V-JEPA short': ((14, 14), 40, {'blocks': 8, 'scale': (0.15, 0.15), 'context_scale': (1.0, 1.0)}),
    'V-JEPA long': ((14, 14), 30, {'blocks': 2, 'scale': (0.7, 0.7), 'context_scale': (1.0, 1.0), 'least': 1}),
    'wide 4x6': ((4, 6), 6, {'blocks': 2, 'least': 1}),
}


@pytest.mark.parametrize('grid, context, fields', parameters(SCHEMES, slow=('I-JEPA 14', 'V-JEPA short')))
def test_multi_blocks_are_those_of_the_authors(grid, context, fields):
    """Blocks, their overlaps and what they leave, against V-JEPA's sampler with one frame."""
    made = drawn(lambda k: masking.multi_block(k, grid, context, **fields))
    patches = grid[0] * grid[1]
    blocks, scale = fields.get('blocks', 4), fields.get('scale', (0.15, 0.2))
    assert made.context.shape == made.context_valid.shape == (DRAWS, context)
    assert made.targets.shape == made.targets_valid.shape and made.targets.shape[:2] == (DRAWS, blocks)
    ours = whole(made, patches)
    assert ours.sum(2).max() <= made.targets.shape[2]
    rng = np.random.default_rng(0)
    theirs = [reference.multi_block(rng, grid, blocks=blocks, scale=scale, aspect=(0.75, 1.5)) for _ in range(DRAWS)]
    theirs, free = (np.stack(part) for part in zip(*theirs, strict=True))
    assert made.targets.shape[2] >= theirs.sum(2).max()
    close(ours.sum(2)[:, :1], theirs.sum(2)[:, :1])  # patches of a block
    x, y = (m.reshape(DRAWS, blocks, *grid) for m in (ours, theirs))
    close(x.any(3).sum(2)[:, :1], y.any(3).sum(2)[:, :1])  # its height
    close(x.any(2).sum(2)[:, :1], y.any(2).sum(2)[:, :1])  # its width
    assert (x.any(3).sum(2) * x.any(2).sum(2) == x.sum((2, 3))).all()  # it is a rectangle
    close(ours.any(1).sum(1)[:, None], theirs.any(1).sum(1)[:, None])  # overlaps: patches of the union
    close(edges(ours.any(1), grid), edges(theirs.any(1), grid))
    # The context: real entries are different patches outside every target, repetitions are among them.
    for numbers, valid, taken in zip(*map(np.asarray, (made.context, made.context_valid)), ours.any(1), strict=True):
        assert valid[0] and len(set(numbers[valid])) == valid.sum() and set(numbers) == set(numbers[valid])
        assert not taken[numbers].any()
    if 'context_scale' in fields:  # what is left of the whole grid, so far as it was asked for
        close(made.context_valid.sum(1)[:, None], np.minimum(free.sum(1), context)[:, None])


def test_sixteen_context_patches_are_always_left_on_a_small_grid():
    made = drawn(lambda k: masking.multi_block(k, (8, 8), 16, context_scale=(1.0, 1.0)), 4000)
    assert made.context_valid.all()


def test_the_context_reaches_every_patch_evenly():
    made = drawn(lambda k: masking.multi_block(k, (8, 8), 12), 6000)
    seen = np.zeros(64)
    np.add.at(seen, np.asarray(made.context)[np.asarray(made.context_valid)], 1)
    seen = seen.reshape(8, 8) / seen.sum()
    for other in (seen[::-1], seen[:, ::-1], seen.T):
        np.testing.assert_allclose(seen, other, atol=0.004)  # of 0.016 on average; the deviation is 0.0005
    assert seen.min() > 0.005


def test_targets_that_cover_the_grid_leave_a_context_all_the_same():
    """Two blocks of nearly everything: no set of blocks leaves ten patches, and the first block is kept free."""
    fields = {'blocks': 40, 'scale': (0.5, 0.5), 'context_scale': (1.0, 1.0)}
    made = drawn(lambda k: masking.multi_block(k, (4, 4), 4, **fields, least=4), 200)
    first = whole(made, 16)[:, 0]
    assert not np.take_along_axis(first, np.asarray(made.context), axis=1).any()


GROUPS = {
    'noise': ((48, 48), (0.5, 0.75), {}),
    'images': ((48, 48), (0.3, 0.3), {}),
    'patches': ((48, 48), (0.5, 0.75), {'align': 4, 'largest': 0.4}),
    'digits': ((8, 8), (0.3, 0.5), {'largest': 0.5}),
    'wide': ((24, 48), (0.4, 0.6), {}),
}


@pytest.mark.parametrize('size, share, fields', parameters(GROUPS, slow=('noise', 'images', 'wide')))
def test_groups_are_those_of_the_authors(size, share, fields):
    ours = np.asarray(drawn(lambda k: masking.group(k, size, share, **fields), 300))
    rng = np.random.default_rng(0)
    theirs = np.stack([reference.group(rng, size, share, **fields) for _ in range(300)])
    assert ours.mean((1, 2)).min() >= share[0]
    flat = lambda x: x.reshape(len(x), -1)  # noqa: E731
    close(flat(ours).mean(1)[:, None], flat(theirs).mean(1)[:, None])
    close(neighbours(ours, size), neighbours(theirs, size))
    close(edges(ours, size), edges(theirs, size))
    if 'align' in fields:
        cells = ours.reshape(-1, size[0] // 4, 4, size[1] // 4, 4)
        assert (cells == cells[:, :, :1, :, :1]).all()


def test_places_are_the_marked_patches_and_flags_say_which_are_real():
    marked = np.asarray([[0, 1, 0, 1, 1], [0, 0, 0, 0, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], bool)
    numbers, valid = called(masking.places, marked, count=3)
    np.testing.assert_array_equal(valid, [[1, 1, 1], [1, 0, 0], [1, 1, 1], [0, 0, 0]])
    found = [list(map(int, n[v])) for n, v in zip(np.asarray(numbers), np.asarray(valid), strict=True)]
    assert found == [[1, 3, 4], [4], [0, 1, 2], []]


def test_chosen_are_marked_patches_at_random():
    marked = jnp.asarray([[0, 1, 0, 1, 1], [0, 0, 1, 0, 0]], bool)
    drawn = jnp.stack([masking.chosen(keys(2, seed=s), marked, 2) for s in range(200)])
    assert {tuple(map(int, row)) for row in drawn[:, 0]} == {(a, b) for a in (1, 3, 4) for b in (1, 3, 4) if a != b}
    assert (drawn[:, 1, 0] == 2).all()


@pytest.mark.parametrize('grid, ratio', [((8, 8), 0.65), ((14, 14), 0.65), ((4, 6), 0.4)])
def test_torus_blocks_are_rolled_rectangles_of_the_authors_shapes(grid, ratio):
    keep, hidden = drawn(lambda k: masking.torus_block(k, grid, ratio))
    count = grid[0] * grid[1] - int(grid[0] * grid[1] * ratio)
    shown = ~np.asarray(hidden).reshape(-1, *grid)
    assert keep.shape[1] == count and (shown.sum(axis=(1, 2)) == count).all()
    for row, seen in zip(np.asarray(keep[:50]), shown, strict=False):
        np.testing.assert_array_equal(row, np.flatnonzero(seen))
    # All patches alike; and the heights and widths of the sampler of the authors' code, as often.
    share = count / (grid[0] * grid[1])
    np.testing.assert_allclose(shown.mean(axis=0), share, atol=4.5 * np.sqrt(share * (1 - share) / len(shown)))
    rng = np.random.default_rng(0)
    theirs = [reference.torus_block(rng, grid, ratio) for _ in range(len(shown))]
    sizes = [[(m.any(1).sum(), m.any(0).sum()) for m in masks] for masks in (shown, theirs)]
    for size in {*sizes[0], *sizes[1]}:
        ours, other = (np.mean([s == size for s in found]) for found in sizes)
        assert abs(ours - other) < 0.05, (size, ours, other)


SAMPLERS = {
    'torus_block': lambda k: masking.torus_block(k, (8, 8), 0.65),
    'chosen': lambda k: masking.chosen(k, jnp.arange(64)[None] % 3 > jnp.zeros((len(k), 1)), 20),
    'block': lambda k: masking.block(k, (8, 8), 20),
    'inverse_block': lambda k: masking.inverse_block(k, (8, 8), 0.8),
    'units': lambda k: masking.units(k, (8, 8), 0.6, 2),
    'multi_block': lambda k: masking.multi_block(k, (8, 8), 12),
    'group': lambda k: masking.group(k, (8, 8), (0.3, 0.5), largest=0.5),
}


@functools.cache
def draw_of(sampler):
    """A program for two sizes of a batch, and what it gives for 32 keys, which two tests compare."""
    draw = jax.jit(chex.assert_max_traces(sampler, n=2))
    return draw, jax.device_get(draw(keys(32)))


@pytest.mark.parametrize('sampler', SAMPLERS.values(), ids=SAMPLERS.keys())
def test_a_mask_depends_on_its_own_key_alone_and_one_program_makes_them_all(sampler):
    draw, whole = draw_of(sampler)
    parts = [draw(keys(32)[i : i + 16]) for i in (0, 16)]
    joined = jax.tree.map(lambda *x: np.concatenate(x), *parts)
    jax.tree.map(np.testing.assert_array_equal, whole, joined)
    other = draw(keys(32, seed=3))
    assert any(np.any(np.asarray(a) != b) for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(other), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize('sampler', SAMPLERS.values(), ids=SAMPLERS.keys())
def test_masks_are_the_same_in_double_precision(sampler):
    _, single = draw_of(sampler)
    with jax.enable_x64(True):
        double = drawn(sampler, 32)
    jax.tree.map(np.testing.assert_array_equal, single, double)


K = jax.random.split(jax.random.key(0), 2)
REFUSED = {
    'torus, nothing': (lambda: masking.torus_block(K, (4, 4), 0.0), '0.0 leaves 16'),
    'torus, everything': (lambda: masking.torus_block(K, (4, 4), 1.0), '1.0 leaves 0'),
    'torus, aspect': (lambda: masking.torus_block(K, (4, 4), 0.5, aspect=(2, 1)), r'aspect .* not \(2, 1\)'),
    'chosen, none': (lambda: masking.chosen(K, jnp.ones((2, 9), bool), 0), 'count must be from 1 to 9, .*, not 0'),
    'block, nothing': (lambda: masking.block(K, (8, 8), 0), 'at least one of 64 patches and not all, not 0'),
    'block, everything': (lambda: masking.block(K, (8, 8), 64), 'not all, not 64'),
    'block, small grid': (lambda: masking.block(K, (4, 4), 8, least=16), 'grid of 4x4 patches is too small for blocks'),
    'block, one row': (lambda: masking.block(K, (1, 16), 8), 'grid of 1x16 patches is too small'),
    'block, aspect': (lambda: masking.block(K, (8, 8), 8, aspect=(2, 1)), r'aspect .* in order, not \(2, 1\)'),
    'inverse, everything': (lambda: masking.inverse_block(K, (4, 4), 0.99), '0.99 leaves 0'),
    'inverse, nothing': (lambda: masking.inverse_block(K, (4, 4), 0.0), '0.0 leaves 16'),
    'inverse, small grid': (lambda: masking.inverse_block(K, (4, 4), 0.8), 'too small for visible blocks of 3x3'),
    'units, tiles': (lambda: masking.units(K, (7, 7), 0.6, 2), 'units of 2x2 patches do not tile a grid of 7x7'),
    'units, everything': (lambda: masking.units(K, (4, 4), 0.9, 2), 'one of 4 units and not all, and 0.9 hides 4'),
    'units, nothing': (lambda: masking.units(K, (4, 4), 0.0, 2), '0.0 hides 0'),
    'multi, small grid': (lambda: masking.multi_block(K, (2, 2), 1), 'grid of 2x2 patches is too small for blocks'),
    'multi, all': (lambda: masking.multi_block(K, (4, 4), 4, scale=(0.9, 1.0)), 'the largest block leaves'),
    'multi, context': (lambda: masking.multi_block(K, (8, 8), 65), 'context from 1 to 64, not 65'),
    'multi, scale': (lambda: masking.multi_block(K, (8, 8), 9, scale=(0.2, 0.1)), r'scale .* not \(0.2, 0.1\)'),
    'multi, blocks': (lambda: masking.multi_block(K, (8, 8), 9, blocks=0), 'blocks must be at least 1, not 0'),
    'group, everything': (lambda: masking.group(K, (8, 8), (0.5, 1.0)), r'below 1, not \(0.5, 1.0\)'),
    'group, nothing': (lambda: masking.group(K, (8, 8), (0.0, 0.5)), r'above 0 and below 1, not \(0.0, 0.5\)'),
    'group, small': (lambda: masking.group(K, (4, 4)), 'a side of 4 is too short for groups'),
    'places': (lambda: masking.places(jnp.zeros((2, 4), bool), 5), 'count must be from 1 to 4'),
}


@pytest.mark.parametrize('call, message', REFUSED.values(), ids=REFUSED.keys())
def test_masks_that_cannot_be_drawn_are_refused(call, message, own_checks):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert '\n' not in str(caught.value)

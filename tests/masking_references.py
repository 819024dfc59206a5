"""Samplers of masks as the authors' codes have them, in NumPy: loops of unknown length, one image at a time."""

import math

import numpy as np


def block(rng, grid, count, *, least, most=None, aspect=(0.3, 1 / 0.3), blocks=None):
    """BEiT's sampler, which iBOT and DINOv2 take over; `blocks` collects (height, width) of accepted rectangles."""
    rows, columns = grid
    mask = np.zeros(grid, bool)
    while mask.sum() < count:
        left = min(count - mask.sum(), most or count)
        for _ in range(10):
            area = rng.uniform(min(least, left), max(least, left))
            ratio = math.exp(rng.uniform(*np.log(aspect)))
            h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if h >= rows or w >= columns:
                continue
            top, side = rng.integers(0, rows - h + 1), rng.integers(0, columns - w + 1)
            new = h * w - mask[top : top + h, side : side + w].sum()
            if 0 < new <= left:
                mask[top : top + h, side : side + w] = True
                if blocks is not None:
                    blocks.append((h, w))
                break
        else:
            return mask.reshape(-1)
    return mask.reshape(-1)


def inverse_block(rng, grid, ratio, *, length=3, adjust=0.07):
    """Patches that data2vec 2.0 hides."""
    rows, columns = grid
    count, centres = int(rows * columns * (1 - ratio)), int(rows * columns * (1 - ratio + adjust) / length**2)
    seen = np.zeros(grid, bool)
    for centre in rng.integers(0, rows * columns, centres):
        for down in range(length):
            for across in range(length):
                row = np.clip(centre // columns + down - length // 2, 0, rows - 1)
                column = np.clip(centre % columns + across - length // 2, 0, columns - 1)
                seen[row, column] = True
    seen = seen.reshape(-1)
    for wrong, number in ((True, seen.sum() - count), (False, count - seen.sum())):
        if number > 0:
            seen[rng.choice(np.flatnonzero(seen == wrong), number, replace=False)] = not wrong
    return ~seen


def torus_block(rng, grid, ratio, *, aspect=(0.5, 2.0)):
    """Patches that CAPI's encoder sees."""
    rows, columns = grid
    count = rows * columns - int(rows * columns * ratio)
    low = max(math.log(aspect[0]), math.log(count / columns**2))
    high = min(math.log(aspect[1]), math.log(rows**2 / (count + 1e-5)))
    drawn = math.exp(rng.uniform(low, high))
    h, w = math.ceil(math.sqrt(count * drawn)), math.ceil(math.sqrt(count / drawn))
    top, left = rng.integers(0, rows - h + 1), rng.integers(0, columns - w + 1)
    seen = np.zeros(grid, bool)
    seen[top : top + h, left : left + w] = True
    flat = np.zeros(rows * columns, bool)
    flat[np.flatnonzero(seen)[:count]] = True
    return np.roll(flat.reshape(grid), (rng.integers(rows), rng.integers(columns)), (0, 1))


def multi_block(rng, grid, *, blocks, scale, aspect):
    """V-JEPA's sampler for one image: the target blocks `[blocks, patches]` and the context's patches."""
    rows, columns = grid
    area = int(rows * columns * rng.uniform(*scale))
    ratio = rng.uniform(*aspect)
    h = min(round(math.sqrt(area * ratio)), rows)
    w = min(round(math.sqrt(area / ratio)), columns)
    while True:
        targets = np.zeros((blocks, rows, columns), bool)
        for target in targets:
            top, left = rng.integers(0, rows - h + 1), rng.integers(0, columns - w + 1)
            target[top : top + h, left : left + w] = True
        if not targets.any(0).all():
            return targets.reshape(blocks, -1), ~targets.any(0).reshape(-1)


def group(rng, size, share, *, largest=0.3, align=1):
    """GMML's rectangles of pixels."""
    rows, columns = size
    wanted = rng.uniform(*share) * rows * columns
    covered = np.zeros(size, bool)
    while covered.sum() < wanted:
        top = rng.integers(0, rows - align) // align * align
        left = rng.integers(0, columns - align) // align * align
        h = round(min(rng.integers(align, int(rows * largest)), rows - top) / align) * align
        w = round(min(rng.integers(align, int(columns * largest)), columns - left) / align) * align
        covered[top : top + h, left : left + w] = True
    return covered

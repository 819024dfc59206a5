"""Draws docs/augmentations.png, every recipe of images applied to one photograph: `python docs/augmentations.py`.

The photograph is scikit-learn's `china.jpg`; the digits' recipes get a digit. A row is a recipe: the image, then
draws of each of its kinds of view, named above them. Where a view is several images (tiles, turns), they stand side by
side. Recipes of vectors are left out.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
from selfsup import augment
from selfsup.augment import operations
from sklearn.datasets import load_digits, load_sample_image

# Each recipe is compiled to be run once.
jax.config.update('jax_disable_most_optimizations', True)

FILE = Path(__file__).parent / 'augmentations.png'
SIZE = 96
COLUMNS = 6  # spread over the kinds of view of a recipe
SIDE = 2  # recipes side by side


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """A photograph, shorter side 160, and a padded digit, both uint8."""
    photograph = load_sample_image('china.jpg')
    height, width, _ = photograph.shape
    rows = augment.geometry.resize_matrix(0.0, float(height), height, 160)
    columns = augment.geometry.resize_matrix(0.0, float(width), width, 160 * width // height)
    small = augment.geometry.resample(augment.to_float(photograph), rows, columns)
    digit = np.pad(load_digits().images[3], 2)[..., None] * (255 / 16)
    return np.asarray(small * 255).astype(np.uint8), digit.astype(np.uint8)


def views(name: str, image: np.ndarray, size: int) -> list[tuple[str, np.ndarray]]:
    """(view's name, image in [0, 1]) for the columns of a row."""
    specs = augment.RECIPES[name](size)
    found: list[tuple[str, np.ndarray]] = []
    for number, (view, spec) in enumerate(specs.items()):
        share = COLUMNS // len(specs) + (number < COLUMNS % len(specs))
        draw = jax.jit(jax.vmap(augment.make_view(spec), in_axes=(0, None)))
        keys = jax.random.split(jax.random.fold_in(jax.random.key(0), number), share)
        drawn = np.asarray(draw(keys, jnp.asarray(image))[0])
        drawn = drawn.reshape(-1, *drawn.shape[-3:])[:share]
        found += [(view, np.clip(x, 0, 1)) for x in drawn]
    return found


def of_images(spec: dict) -> bool:
    """Whether a view's specification is one of images."""
    return all(operations.OPERATIONS[name].rank == 3 for name in spec if name in operations.OPERATIONS)


def main() -> None:
    photograph, digit = pictures()
    names = [
        name for name in sorted(augment.RECIPES) if all(of_images(s) for s in augment.RECIPES[name](SIZE).values())
    ]
    rows = -(-len(names) // SIDE)
    wide = COLUMNS + 3  # the image, its views, and room for the next recipe's name
    figure, axes = plt.subplots(rows, SIDE * wide, figsize=(SIDE * wide, 1.06 * rows))
    for axis in axes.flat:
        axis.set_axis_off()
    for place, name in enumerate(names):
        row = axes[place % rows, place // rows * wide + 2 :][: COLUMNS + 1]
        is_digit = name.startswith('digits')
        image, size = (digit, 12) if is_digit else (photograph, SIZE)
        row[0].imshow(image.squeeze(), cmap='gray')
        row[0].text(-0.1, 0.5, name, transform=row[0].transAxes, ha='right', va='center', fontsize=9)
        for axis, (view, x) in zip(row[1:], views(name, image, size), strict=True):
            axis.imshow(x.squeeze(), cmap='gray', vmin=0, vmax=1)
            axis.set_title(view, fontsize=5, pad=1)
    figure.subplots_adjust(left=0.0, right=0.995, top=0.985, bottom=0.005, wspace=0.04, hspace=0.16)
    figure.savefig(FILE, dpi=90)
    print(FILE)


if __name__ == '__main__':
    main()

"""Draws docs/augmentations.png, every recipe applied to one photograph: `python docs/augmentations.py`.

The photograph is scikit-learn's `china.jpg`; the digits' recipes get a digit. A row is a recipe: the image, then
draws of each of its kinds of view, named above them.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
from selfsup import augment
from sklearn.datasets import load_digits, load_sample_image

# Each recipe is compiled to be run once.
jax.config.update('jax_disable_most_optimizations', True)

FILE = Path(__file__).parent / 'augmentations.png'
SIZE = 96
COLUMNS = 6  # a multiple of the kinds of view of every recipe


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
    share = COLUMNS // len(specs)
    found: list[tuple[str, np.ndarray]] = []
    for number, (view, spec) in enumerate(specs.items()):
        draw = jax.jit(jax.vmap(augment.make_view(spec), in_axes=(0, None)))
        keys = jax.random.split(jax.random.fold_in(jax.random.key(0), number), share)
        found += [(view, np.clip(x, 0, 1)) for x in draw(keys, jnp.asarray(image))[0]]
    return found


def main() -> None:
    photograph, digit = pictures()
    figure, axes = plt.subplots(len(augment.RECIPES), COLUMNS + 1, figsize=(COLUMNS + 1, 1.06 * len(augment.RECIPES)))
    for row, name in zip(axes, sorted(augment.RECIPES), strict=True):
        is_digit = name.startswith('digits')
        image, size = (digit, 12) if is_digit else (photograph, SIZE)
        row[0].imshow(image.squeeze(), cmap='gray')
        row[0].set_ylabel(name, rotation=0, ha='right', va='center', fontsize=8)
        for axis, (view, x) in zip(row[1:], views(name, image, size), strict=True):
            axis.imshow(x.squeeze(), cmap='gray', vmin=0, vmax=1)
            axis.set_title(view, fontsize=5, pad=1)
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
    figure.subplots_adjust(left=0.2, right=0.995, top=0.985, bottom=0.005, wspace=0.04, hspace=0.16)
    figure.savefig(FILE, dpi=110)
    print(FILE)


if __name__ == '__main__':
    main()

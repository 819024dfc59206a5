"""scikit-learn's handwritten digits."""

import numpy as np

from .arrays import from_arrays
from .base import Options, Source, split


def open_digits(rest: str, options: Options) -> tuple[Source, Source]:
    """The 1,797 digits of 8×8 pixels: 1,438 to train, 359 to test, the same share of each class."""
    from sklearn.datasets import load_digits

    flat, labels = load_digits(return_X_y=True)
    images = np.round(flat.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    return split(from_arrays('digits', images, np.asarray(labels)), 0.2, seed=0, parts=('train', 'test'))

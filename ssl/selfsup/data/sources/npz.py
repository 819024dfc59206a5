"""Images in an npz file."""

import numpy as np

from ...errors import UserError
from ...files import expanded, read_arrays
from .arrays import from_arrays, integers, renumbered, unread
from .base import Options, Source, split

IMAGES, LABELS = ('train_images', 'x_train', 'images'), ('train_labels', 'y_train', 'labels')
TEST_IMAGES, TEST_LABELS = ('test_images', 'x_test'), ('test_labels', 'y_test')


def open_npz(path: str, options: Options) -> tuple[Source, Source]:
    """The images of an npz file.

    It holds `train_images` (or `x_train`, `images`) and may hold `train_labels` (`y_train`, `labels`), `test_images`
    (`x_test`) and `test_labels` (`y_test`). Without test images the test set is set apart from the others. Arrays that
    are not read are named.
    """
    name = f'npz:{path}'
    arrays = read_arrays(expanded(path), f'data.source={name}')
    picked: list[str] = []

    def pick(names: tuple[str, ...]) -> np.ndarray | None:
        found = next((n for n in names if n in arrays), None)
        picked.extend([found] if found else [])
        return arrays[found] if found else None

    images = pick(IMAGES)
    if images is None:
        raise UserError(
            f'{path} holds {", ".join(arrays) or "nothing"}; it needs train_images (and train_labels, test_images, '
            f'test_labels), or images and labels'
        )
    if images.shape[:1] == (0,):
        raise UserError(f'{path} holds no images')
    labels, test_images = pick(LABELS), pick(TEST_IMAGES)
    test_labels = None if test_images is None else pick(TEST_LABELS)
    notes = unread(
        name, arrays, picked, f'arrays are called {", ".join((*IMAGES, *LABELS, *TEST_IMAGES, *TEST_LABELS))}'
    )
    train = from_arrays(name, images, labels, notes=notes)
    if test_images is None:
        return split(train, options.test_fraction, seed=0, parts=('train', 'test'))
    test = from_arrays(f'{name}[test]', test_images, test_labels)
    if not len(test):
        raise UserError(f'{test.name} holds no images; leave the array out, and a part of train is set apart')
    if labels is None and test_labels is None:
        return train, test
    given = [integers(y, len(part), part.name) for y, part in ((labels, train), (test_labels, test))]
    (train_numbers, test_numbers), names = renumbered(*given)
    return (
        train.replace(labels=train_numbers, class_names=names if (train_numbers >= 0).any() else ()),
        test.replace(labels=test_numbers, class_names=names if (test_numbers >= 0).any() else ()),
    )

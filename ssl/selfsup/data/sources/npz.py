"""Images in an npz file."""

import numpy as np

from ...errors import UserError
from ...files import expanded, read_arrays
from .arrays import from_arrays, integers, renumbered
from .base import Options, Source, split


def open_npz(path: str, options: Options) -> tuple[Source, Source]:
    """The images of an npz file.

    It holds `train_images` (or `x_train`, `images`) and may hold `train_labels` (`y_train`, `labels`), `test_images`
    (`x_test`) and `test_labels` (`y_test`). Without test images the test set is set apart from the others.
    """
    name = f'npz:{path}'
    arrays = read_arrays(expanded(path), f'data.source={name}')

    def pick(*names: str) -> np.ndarray | None:
        return next((arrays[n] for n in names if n in arrays), None)

    images = pick('train_images', 'x_train', 'images')
    if images is None:
        raise UserError(
            f'{path} holds {", ".join(arrays) or "nothing"}; it needs train_images (and train_labels, test_images, '
            f'test_labels), or images and labels'
        )
    if images.shape[:1] == (0,):
        raise UserError(f'{path} holds no images')
    labels = pick('train_labels', 'y_train', 'labels')
    train = from_arrays(name, images, labels)
    test_images, test_labels = pick('test_images', 'x_test'), pick('test_labels', 'y_test')
    if test_images is None:
        return split(train, options.test_fraction, seed=0, parts=('train', 'test'))
    test = from_arrays(f'{name}[test]', test_images, test_labels)
    if labels is None and test_labels is None:
        return train, test
    given = [integers(y, len(part), part.name) for y, part in ((labels, train), (test_labels, test))]
    (train_numbers, test_numbers), names = renumbered(*given)
    return (
        train.replace(labels=train_numbers, class_names=names if (train_numbers >= 0).any() else ()),
        test.replace(labels=test_numbers, class_names=names if (test_numbers >= 0).any() else ()),
    )

"""Black images, where there are no data yet: to plan or time a run."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ...errors import UserError
from ..pictures import as_picture
from .base import MOST_CLASSES, Options, Source

MOST_IMAGES, MOST_SIDE = 10**9, 2**14
# Images and classes of public training sets in TFDS, as their sources publish them, and the shape of an image (of
# ImageNet's many sizes the mean). Planning takes them, and needs no copy of the set.
PUBLISHED = {
    'cifar10': '50000x32x32x3/10',
    'cifar100': '50000x32x32x3/100',
    'stl10': '5000x96x96x3/10',
    'imagenet2012': '1281167x400x469x3/1000',
}


@dataclass(frozen=True)
class Blank:
    """Reader of one black image."""

    shape: tuple[int, int, int]

    def array(self, index: int) -> np.ndarray:
        return np.zeros(self.shape, np.uint8)

    def picture(self, index: int) -> Image.Image:
        return as_picture(self.array(index))

    def name(self, index: int) -> str:
        return ''


def open_blank(text: str, options: Options) -> tuple[Source, Source]:
    """`<images>x<height>x<width>x<channels>/<classes>`: so many to train, and `data.test_fraction` of them to test."""
    found = re.fullmatch(r'(\d{1,10})x(\d{1,6})x(\d{1,6})x([13])/(\d{1,7})', text)
    numbers = tuple(map(int, found.groups())) if found else (0,) * 5
    count, height, width, channels, classes = numbers
    if not 1 <= count <= MOST_IMAGES or not 1 <= min(height, width) <= max(height, width) <= MOST_SIDE:
        raise UserError(
            f"data.source='blank:{text}' must be blank:<images>x<height>x<width>x<1 or 3>/<classes>, "
            f'such as blank:{PUBLISHED["cifar10"]}'
        )
    if not 1 <= classes <= min(count, MOST_CLASSES):
        raise UserError(f"data.source='blank:{text}': {classes} classes of {count} images; set 1 to {count}")
    reader: Any = Blank((height, width, channels))
    names = [str(c) for c in range(classes)]

    def part(name: str, size: int) -> Source:
        return Source(name, reader, np.arange(size) % classes, names, f'blank-{text}')

    return part(f'blank:{text}', count), part(f'blank:{text}[test]', max(round(options.test_fraction * count), classes))


def published(source: str) -> str:
    """The `blank:` source with the size of a TFDS set whose size is known, or ''."""
    kind, _, name = source.partition(':')
    return f'blank:{PUBLISHED[name]}' if kind == 'tfds' and name in PUBLISHED else ''

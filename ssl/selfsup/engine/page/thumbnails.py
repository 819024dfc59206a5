"""Small copies of images as data URIs whose size is bounded."""

import base64
import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from ...data.sources import Source
from ..images import decoded

QUALITIES = (90, 75, 50, 25)  # of JPEG, tried in turn until a picture is small enough


def picture_of(image: np.ndarray, side: int) -> Image.Image:
    """An image no longer than `side` pixels; smaller ones keep their size.

    Args:
      image: uint8 or float in [0, 1], `[height, width, channels]`. Of other than 1 or 3 channels the first 3 are
        shown, or the first alone where there are 2.
      side: pixels.
    """
    channels = image.shape[2]
    image = image[..., :3] if channels >= 3 else image[..., :1]
    if image.dtype != np.uint8:
        image = np.round(255 * np.clip(np.nan_to_num(image.astype(np.float64)), 0, 1)).astype(np.uint8)
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    picture.thumbnail((side, side), Image.Resampling.BOX)
    return picture


def montage(parts: np.ndarray) -> np.ndarray:
    """Parts of an image `[parts, height, width, channels]`, row by row in about a square, white lines between them."""
    columns = math.ceil(len(parts) ** 0.5)
    missing = -len(parts) % columns
    framed = np.pad(parts, ((0, missing), (0, 1), (0, 1), (0, 0)), constant_values=1.0)
    rows = framed.reshape(-1, columns, *framed.shape[1:]).swapaxes(1, 2)
    return rows.reshape(-1, columns * framed.shape[2], parts.shape[3])[:-1, :-1]


def thumbnails(source: Source, rows: Sequence[int] | np.ndarray, side: int) -> dict[int, Image.Image]:
    """Number -> small copy of those images of a source that can be decoded; one whole image is held at a time."""
    wanted = sorted({int(row) for row in rows})
    return {number: picture_of(image, side) for number, image in decoded(source, wanted)}


def data_uri(picture: Image.Image, most: int = 2**14) -> str:
    """A picture as a data URI of at most about `most` bytes: as PNG, else as JPEG of falling quality and then size."""
    best = _encoded(picture, 'PNG')
    kind = 'png'
    while 4 * len(best) > 3 * most:
        kind = 'jpeg'
        for quality in QUALITIES:
            best = _encoded(picture, 'JPEG', quality=quality, subsampling=0)
            if 4 * len(best) <= 3 * most:
                break
        else:
            if max(picture.size) <= 8:
                break
            picture = picture.resize((max(picture.width // 2, 1), max(picture.height // 2, 1)), Image.Resampling.BOX)
    return f'data:image/{kind};base64,{base64.b64encode(best).decode()}'


def _encoded(picture: Image.Image, kind: str, **options: int) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **({'optimize': True} if kind == 'PNG' else options))
    return stream.getvalue()


def sprite(pictures: Sequence[Image.Image | None], tile: int, columns: int) -> Image.Image:
    """Pictures in the middle of square tiles, row by row; None leaves its tile grey."""
    mode = 'RGB' if any(p is not None and p.mode == 'RGB' for p in pictures) else 'L'
    sheet = Image.new(mode, (columns * tile, -(-len(pictures) // columns) * tile), 'grey' if mode == 'RGB' else 128)
    for number, picture in enumerate(pictures):
        if picture is not None:
            row, column = divmod(number, columns)
            left, top = (tile - picture.width) // 2, (tile - picture.height) // 2
            sheet.paste(picture, (column * tile + left, row * tile + top))
    return sheet

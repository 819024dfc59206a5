"""The rows of a step, read in one process: what a batch consists of, and how views are cut from full images."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..errors import UserError
from . import crop_boxes
from .pictures import as_array, decoded
from .readers import Reader, called
from .sampler import batch_indices
from .sources import Source, Spec, readable

_METHODS = {'bilinear': Image.Resampling.BILINEAR, 'bicubic': Image.Resampling.BICUBIC}
Batch = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """Everything that decides the rows of a step that one process reads.

    Attributes:
      reader, name: the rows of the source, and what it is called in errors.
      count, spec: number of rows, and shape and type of the first, which all have unless they are cropped.
      seed, batch_size: of the run; the batch is global.
      rows: which rows of every batch, first and one past the last.
      crops: the crop of each view, whose box is drawn on reading; empty gives the whole row.
      canvas: 0 cuts the views out; else the image is handed on with the boxes, in the corner of a square of this side.
      channels: 1 or 3 converts, 0 takes what the first image has.
      on_corrupt: 'stop' or 'skip', see :func:`.sources.readable`.
    """

    reader: Reader
    name: str
    count: int
    spec: Spec
    seed: int
    batch_size: int
    rows: tuple[int, int]
    crops: Sequence[crop_boxes.Crop] = ()
    channels: int = 0
    on_corrupt: str = 'stop'
    canvas: int = 0


def work_on(source: Source, *, seed: int, batch_size: int, rows: tuple[int, int], **how: Any) -> Work:
    """The :class:`Work` of a source; `how` are `crops`, `channels` and `canvas`."""
    return Work(
        reader=source.reader,
        name=source.name,
        count=len(source),
        spec=source.spec,
        seed=seed,
        batch_size=batch_size,
        rows=rows,
        on_corrupt=source.on_corrupt,
        **how,
    )


def cut(picture: Image.Image, name: str, boxes: list[tuple], crops: Sequence[crop_boxes.Crop], channels: int) -> list:
    """The boxes of a picture, each resized to its view's size, uint8 `[size, size, channels]`.

    A JPEG is decoded at a half, a quarter or an eighth where every box still has at least as many pixels
    as its view: the decoder then skips most of its work.
    """
    full = picture.size
    reduction = 1
    if picture.format == 'JPEG':
        room = min(min(h, w) / crop.size for (_, _, h, w), crop in zip(boxes, crops, strict=True))
        reduction = max((r for r in (2, 4, 8) if r <= room), default=1)
    if reduction > 1:
        picture.draft(None, (full[0] // reduction, full[1] // reduction))
    small = decoded(picture, name, channels)
    views = []
    for (top, left, height, width), crop in zip(boxes, crops, strict=True):
        across, down = small.size[0] / full[0], small.size[1] / full[1]
        box = (left * across, top * down, (left + width) * across, (top + height) * down)
        whole = (int(box[0]), int(box[1]), -int(-box[2] // 1), -int(-box[3] // 1))
        part = small.crop(whole)
        inside = (box[0] - whole[0], box[1] - whole[1], box[2] - whole[0], box[3] - whole[1])
        views.append(as_array(part.resize((crop.size, crop.size), _METHODS[crop.method], box=inside)))
    return views


def uncut(picture: Image.Image, name: str, boxes: list[tuple], canvas: int, channels: int) -> tuple[np.ndarray, list]:
    """The picture, no longer than `canvas` pixels, as uint8 `[height, width, channels]`, and the boxes in its pixels.

    A longer one is reduced to that length (bicubic), of a JPEG by the decoder as far as a power of two will do.
    """
    full = picture.size
    if max(full) > canvas and picture.format == 'JPEG':
        width, height = (max(1, side * canvas // max(full)) for side in full)
        picture.draft(None, (width, height))
    small = decoded(picture, name, channels)
    if max(small.size) > canvas:
        small.thumbnail((canvas, canvas), Image.Resampling.BICUBIC)
    (across, down), limits = (small.size[0] / full[0], small.size[1] / full[1]), (small.size[1], small.size[0])
    found = []
    for top, left, height, width in boxes:
        # At least one pixel, which may be more than the box: a view of none could not be resampled.
        sides = max(height * down, 1.0), max(width * across, 1.0)
        start = (
            min(at, limit - side) for at, limit, side in zip((top * down, left * across), limits, sides, strict=True)
        )
        found.append((*start, *sides))
    return as_array(small), found


Layout = dict[str, tuple[tuple[int, ...], str]]


def layout(work: Work) -> Layout:
    """Shape and type of every array of a :class:`Work`'s batches, in order."""
    rows = work.rows[1] - work.rows[0]
    shapes: Layout = {'index': ((rows,), '<i4'), 'used': ((rows,), '<i8')}
    if not work.crops:
        return {**shapes, 'input': ((rows, *work.spec.shape), work.spec.dtype.str)}
    shapes['boxes'] = ((rows, len(work.crops), 4), '<f4')
    channels = work.channels or work.spec.shape[-1]
    if work.canvas:
        return {**shapes, 'canvas': ((rows, work.canvas, work.canvas, channels), '|u1')}
    for view, crop in enumerate(work.crops):
        shapes[f'crop{view}'] = ((rows, crop.size, crop.size, channels), '|u1')
    return shapes


class Rows:
    """The rows of any step of a :class:`Work`, read in this process."""

    def __init__(self, work: Work, threads: int = 0):
        self.work = work
        self.skipped: dict[int, str] = {}
        self._pool = ThreadPoolExecutor(threads) if threads else None
        self._shapes = layout(work)

    def _views(self, index: int, row: int, drawn: list[crop_boxes.Draws]) -> dict[str, np.ndarray]:
        work = self.work
        with work.reader.picture(index) as picture:
            width, height = picture.size
            boxes = [crop_boxes.box(d, row, height, width, c) for d, c in zip(drawn, work.crops, strict=True)]
            name = work.reader.name(index) or f'{work.name} number {index}'
            if work.canvas:
                image, boxes = uncut(picture, name, boxes, work.canvas, work.channels)
                return {'canvas': image, 'boxes': np.array(boxes)}
            views = cut(picture, name, boxes, work.crops, work.channels)
        return {f'crop{number}': view for number, view in enumerate(views)} | {'boxes': np.array(boxes)}

    def __call__(self, step: int, out: Batch | None = None) -> Batch:
        """The arrays of a step's rows.

        Args:
          step: its number.
          out: arrays of the :func:`layout` to write into; else they are made. Rows are written where
            they are wanted as they are decoded: stacking them afterwards costs a fifth of their decoding.

        Returns:
          `index` and `used` (the same but where a corrupt image is replaced) `[rows]`; and `input`
          `[rows, *shape]`, or the views `crop0` … and their `boxes` `[rows, views, 4]`; or `canvas`
          `[rows, side, side, channels]` and `boxes`. Outside its image a canvas holds what was there: no crop sees it.
        """
        work = self.work
        first, last = work.rows
        out = out or {name: np.empty(shape, kind) for name, (shape, kind) in self._shapes.items()}
        out['index'][...] = batch_indices(work.seed, step, 1, work.count, work.batch_size)[0][first:last]
        drawn = crop_boxes.draw(work.seed, step, np.arange(first, last), len(work.crops)) if work.crops else []

        def one(row: int) -> None:
            def look(index: int) -> dict[str, np.ndarray]:
                return self._views(index, row, drawn) if work.crops else {'input': work.reader.array(index)}

            at, found = readable(int(out['index'][row]), work.count, look, work.on_corrupt, self.skipped)
            out['used'][row] = at
            for name, array in found.items():
                place = out[name][row]
                if name == 'canvas':
                    place = place[: array.shape[0], : array.shape[1]]
                if array.shape != place.shape:
                    raise UserError(
                        f'{work.name} cannot be batched: {called(work.reader, at)} is {list(array.shape)} and the '
                        f'first image {list(out[name].shape[1:])}; set data.image_size (and data.channels) to bring '
                        f'its images to one shape'
                    )
                if name == 'input' and array.dtype != place.dtype:
                    raise UserError(
                        f'{work.name} cannot be batched: {called(work.reader, at)} is {array.dtype} and the first row '
                        f'{place.dtype}'
                    )
                place[...] = array

        numbers = range(last - first)
        list(self._pool.map(one, numbers) if self._pool else map(one, numbers))
        return out

"""Packs an image folder or a TFDS set into array_record shards of small JPEGs that decode fast."""

import hashlib
import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from . import cli
from .errors import UserError, command
from .files import expanded, make_folders, placed, read_text, remove_empty

USAGE = """usage: selfsup pack --data=SOURCE --out=FOLDER [--short-side=256] [--quality=90] ...

  --data=SOURCE     folder:<path>, list:<file>, tfds:<name> or npz:<file>
  --out=FOLDER      gets the shards; it must be empty or not exist
  --data-dir=DIR    where TFDS keeps its data sets; by default TFDS's own
  --classes=FILE    keep only the classes named in this file, one a line (e.g. the 100 of ImageNet-100)
  --short-side=N    images with a longer shorter side are reduced to N pixels; 0 leaves all as they are
  --quality=Q       of the JPEGs, 1 to 95; images that need no change and are JPEGs already are copied
  --on-corrupt=...  an image that cannot be decoded or is too long for a JPEG: stop, or skip
  --background=...  alpha is dropped (none), or blended with white or black
  --orientation=... pixels as they are stored, or turned as the exif orientation says

Read the result with --config.data.source=shards:FOLDER."""

LONGEST = 65500  # pixels of a side of a JPEG, the limit of libjpeg
SHARD_IMAGES = 4096  # about 120 MB of 256-pixel JPEGs


def encode(picture: Any, name: str, *, short_side: int, quality: int) -> bytes:
    """A Pillow image as JPEG bytes, its shorter side at most `short_side`.

    A JPEG that is small enough already is passed on as it is, byte by byte, after a look at whether it
    can be decoded. Reduction is bicubic with antialiasing; a large JPEG is decoded at a reduced scale
    of at least twice what is needed. An EXIF orientation stays, as the pixels do.

    Raises:
      CorruptImage: if it cannot be decoded, or is too long for a JPEG.
    """
    from PIL import Image

    from .data.pictures import ORIENTATION, CorruptImage, decoded

    width, height = picture.size
    shrink = short_side / min(width, height) if short_side else 1.0
    if shrink >= 1 and picture.format == 'JPEG' and picture.mode in ('L', 'RGB'):
        stream = picture.fp
        stream.seek(0)
        content = stream.read()
        decoded(picture, name)
        return content
    if shrink < 0.5:
        picture.draft(None, (round(2 * width * shrink), round(2 * height * shrink)))
    small = decoded(picture, name)
    if shrink < 1:
        small = small.resize((max(1, round(width * shrink)), max(1, round(height * shrink))), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    if max(small.size) > LONGEST:
        raise CorruptImage(f'{name} is {small.size[0]} x {small.size[1]} pixels, and JPEG holds {LONGEST:,} a side')
    turned = picture.getexif().get(ORIENTATION, 1)
    exif = Image.Exif()
    if turned != 1:  # as a copied JPEG keeps it
        exif[ORIENTATION] = turned
    small.save(out, 'JPEG', quality=quality, **({'exif': exif} if turned != 1 else {}))
    return out.getvalue()


def pack(source: Any, part: str, out: Path, *, short_side: int, quality: int, on_corrupt: str) -> dict[str, Any]:
    """Writes one part of a set; returns its entry of meta.json. Images keep their order."""
    import numpy as np
    from array_record.python.array_record_module import ArrayRecordWriter

    from .data.pictures import CorruptImage

    def one(index: int) -> tuple[int, bytes | CorruptImage]:
        try:
            with source.reader.picture(index) as picture:
                name = source.reader.name(index) or f'{source.name} number {index}'
                return index, encode(picture, name, short_side=short_side, quality=quality)
        except CorruptImage as error:
            return index, error

    files: list[str] = []
    labels: list[int] = []
    skipped: list[str] = []
    digest = hashlib.sha256()
    total = 0
    writer: Any = None
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, len(source), 1024):  # in pieces, so that encoded images do not pile up in memory
            for index, content in pool.map(one, range(start, min(start + 1024, len(source)))):
                if isinstance(content, CorruptImage):
                    if on_corrupt == 'stop':
                        raise content
                    skipped.append(str(content))
                    continue
                if len(labels) % SHARD_IMAGES == 0:
                    if writer is not None:
                        writer.close()
                    files.append(f'{part}-{len(files):05d}.array_record')
                    writer = ArrayRecordWriter(str(out / files[-1]), 'group_size:1,uncompressed')
                writer.write(content)
                digest.update(hashlib.sha256(content).digest())
                labels.append(int(source.labels[index]))
                total += len(content)
    if writer is None:
        raise UserError(f'{source.name} has no image that can be packed')
    writer.close()
    np.save(out / f'{part}-labels.npy', np.array(labels, np.int32))
    for message in skipped:
        print(f'skipped: {message}')
    print(
        f'{part}: {len(labels)} images, {total / 1e9:.3f} GB, {total / len(labels) / 1e3:.1f} kB each, '
        f'{len(files)} shards, {len(skipped)} skipped'
    )
    digest.update(np.array(labels, np.int32).tobytes())
    return {'files': files, 'count': len(labels), 'bytes': total, 'fingerprint': digest.hexdigest()[:16]}


def keep_classes(source: Any, names: list[str], where: str) -> Any:
    """The images of the named classes, labels renumbered in the order of the names."""
    import numpy as np

    missing = [n for n in names if n not in source.class_names]
    if missing:
        raise UserError(f'{where} names {missing[0]}, and {source.name} has no such class ({len(missing)} are missing)')
    number = {source.class_names.index(name): new for new, name in enumerate(names)}
    kept = source.select(np.flatnonzero(np.isin(source.labels, list(number))), f'{len(names)} classes')
    labels = np.array([number[int(label)] for label in kept.labels])
    return kept.replace(labels=labels, class_names=names)


def main(arguments: list[str]) -> int:
    defaults = {'data': None, 'out': None, 'data-dir': '', 'classes': '', 'short-side': '256', 'quality': '90',
                'on-corrupt': 'stop', 'background': 'none', 'orientation': 'stored'}  # fmt: skip
    values, overrides = cli.parse(arguments, defaults, USAGE)
    if overrides:
        raise UserError('pack has no config; --config fields have no effect here')
    short_side, quality = cli.integer('short-side', values['short-side']), cli.integer('quality', values['quality'])
    if not 1 <= quality <= 95:
        raise UserError(f'--quality={quality} must lie in 1 ... 95')
    if short_side < 0:
        raise UserError(f'--short-side={short_side} must not be negative; 0 leaves every image as it is')
    if values['on-corrupt'] not in ('stop', 'skip'):
        raise UserError(f'--on-corrupt={values["on-corrupt"]} must be stop or skip')
    from .data.pictures import BACKGROUNDS, ORIENTATIONS

    for option, choices in (('background', tuple(BACKGROUNDS)), ('orientation', ORIENTATIONS)):
        if values[option] not in choices:
            raise UserError(f'--{option}={values[option]} must be {", ".join(choices[:-1])} or {choices[-1]}')
    from .data import shards, sources

    out = expanded(values['out'])
    shards.check_name(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f'--out={out} is not empty; name another folder or empty it')
    kind, _, place = values['data'].partition(':')
    if kind == 'folder' and Path(os.path.realpath(out)).is_relative_to(os.path.realpath(expanded(place))):
        raise UserError(f'--out={out} lies in {values["data"]}, which would hold it as a class without images')
    treatment = sources.Treatment(values['background'], values['orientation'])
    parts = tuple(
        sources.treated(part, treatment) for part in sources.open_source(values['data'], data_dir=values['data-dir'])
    )
    for line in dict.fromkeys(line for part in parts for line in part.notes):
        print(line)
    if values['classes']:
        listing = Path(values['classes'])
        if not listing.is_file():
            raise UserError(f'--classes={listing}: there is no such file')
        known = parts[0].class_names  # names may begin, end, or be nothing but spaces
        lines = [line if line in known else line.strip() for line in read_text(listing).split('\n')]
        names = [line for line in lines if line]
        parts = tuple(keep_classes(part, names, str(listing)) for part in parts)
    for part in parts:
        spec = part.heeding(values['on-corrupt']).spec
        if not spec.is_image or spec.shape[-1] not in (1, 3):
            raise UserError(
                f'{part.name} holds rows {list(spec.shape)} {spec.dtype}; pack takes images of 1 or 3 channels'
            )
    made = make_folders(out)
    options: dict[str, Any] = {'short_side': short_side, 'quality': quality, 'on_corrupt': values['on-corrupt']}
    try:
        entries = {name: pack(part, name, out, **options) for name, part in zip(('train', 'test'), parts, strict=True)}
    except BaseException:
        for file in [*out.glob('*.array_record'), *out.glob('*-labels.npy')]:  # the folder was empty before
            file.unlink()
        remove_empty(made)
        raise
    meta = {'source': values['data'], 'short_side': short_side, 'quality': quality, 'parts': entries,
            'class_names': list(max((part.class_names for part in parts), key=len))}  # fmt: skip
    # Written last: a folder without it was not finished.
    with placed(out / shards.META) as temporary:
        temporary.write_text(json.dumps(meta, indent=1))
    print(f'read it with --config.data.source=shards:{out}')
    return 0


if __name__ == '__main__':
    command(main)()

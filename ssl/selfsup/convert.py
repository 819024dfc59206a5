"""Brings encoders in from other code bases' files, and out under other code bases' names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import cli
from .errors import UserError, command, nearest
from .files import are_numbers, expanded, read_results
from .weights.names import NAMINGS, ORIGINS

USAGE = f"""usage: selfsup convert --from=PLACE --to=PLACE [options]

  --from=PLACE      a file (.pth, .pth.tar, .safetensors), a run, or an encoder folder
  --to=PLACE        a folder (model.safetensors, config.json, README.md, as the Hugging Face hub lays them out),
                    or a file that ends in .safetensors, with a .json beside it
  --names=NAMES     of the parameters written: {' or '.join(NAMINGS)}; by default timm
  --origin=NAME     whose packing the file has: {', '.join(ORIGINS)}; by default recognised
  --prefix=PREFIX   of the encoder's names in the file: backbone., or state_dict_ema/backbone. with the dictionary's
                    key, / for the top of the file; by default found where there is one encoder
  --stem=NAME       of a residual network: imagenet, cifar or cifar_pad2; by default by the kernel's size
  --heads=N         attention heads of a vision transformer; by default the origin's
  --image-size=N    side of the images; positions are brought to it
  --mean=A,B,C      subtracted from images in [0, 1], and
  --std=A,B,C       divided by; by default the origin's
  --step=N          which checkpoint of a run; by default the newest"""


def _numbers(name: str, text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(',')) if text else ()
    except ValueError:
        raise UserError(f'--{name} must be numbers with commas between, not {text!r}') from None
    if not are_numbers(values, positive=name == 'std'):
        raise UserError(f'--{name}={text} must be finite{", positive" if name == "std" else ""} numbers')
    return values


def main(arguments: list[str]) -> int:
    options = {
        'from': None, 'to': None, 'names': 'timm', 'origin': 'auto', 'prefix': '', 'stem': 'auto', 'heads': '0',
        'image-size': '0', 'mean': '', 'std': '', 'step': 'newest',
    }  # fmt: skip
    values, overrides = cli.parse(arguments, options, USAGE)
    if overrides:
        raise UserError('convert takes no config; --config fields have no effect here')
    cli.prepare()
    from .engine import export
    from .weights.folder import write
    from .weights.values import resize_for

    if not expanded(values['from']).exists():
        raise UserError(f'--from={values["from"]}: there is no such file or folder')
    side = cli.integer('image-size', values['image-size'])
    for name, known in (('names', NAMINGS), ('origin', ('auto', *ORIGINS))):
        if values[name] not in known:
            raise UserError(f'--{name}={values[name]} is unknown{nearest(values[name], known)}')
    if values['stem'] not in ('auto', 'imagenet', 'cifar', 'cifar_pad2'):
        raise UserError(f'--stem={values["stem"]} is unknown; imagenet, cifar and cifar_pad2 are known')
    reading = {
        'origin': values['origin'],
        'prefix': values['prefix'],
        'stem': values['stem'],
        'heads': cli.integer('heads', values['heads']),
        'mean': _numbers('mean', values['mean']),
        'std': _numbers('std', values['std']),
    }
    step = None if values['step'] == 'newest' else cli.integer('step', values['step'])
    weights = export.source(values['from'], step=step, **reading)
    arrays = write(
        weights, values['to'], names=values['names'], image_size=side, scores=_scores(values['from'], weights.about)
    )
    count = sum(int(np.prod(a.shape)) for n, a in arrays.items() if not n.endswith('num_batches_tracked'))
    fields = ', '.join(f'{k}={weights.model[k]}' for k in ('stem', 'patch', 'heads', 'positions') if k in weights.model)
    resize, crop = (resize_for(side), side) if side else (weights.resize, weights.crop)
    sides = f'resized to {resize}, cropped to {crop}' if crop else 'at their own size'
    print(
        f'{values["to"]}: {weights.model["name"]} ({fields}) of {weights.origin or "selfsup"}, {len(arrays)} arrays of '
        f'{count:,} numbers as {values["names"]} names them; images {sides}, mean {weights.mean}, std {weights.std}'
    )
    for field, what in (('taken_from', 'taken from'), ('left_out', 'left out')):
        if field in weights.about:
            print(f'{what}: {weights.about[field]}')
    return 0


def _scores(place: str, about: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The scores that a run was last evaluated with, if they are those of the same step."""
    file = Path(place) / 'results.json'
    if not file.is_file():
        return {}
    step, scores = read_results(file)
    return scores if step == about.get('step', 0) else {}


if __name__ == '__main__':
    command(main)()

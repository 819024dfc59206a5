"""Writes the features of a data set, from a trained encoder, to an npz file."""

from pathlib import Path
from typing import Any

from . import cli
from .errors import UserError, command
from .files import expanded

USAGE = """usage: python -m selfsup.embed --workdir=FOLDER --out=FILE.npz [--data=SOURCE] [--step=N]

  --workdir=FOLDER  a run, or an encoder of selfsup.convert
  --out=FILE.npz    gets train_features, train_labels, test_features, test_labels, class_names
  --data=SOURCE     digits, tfds:<name>, npz:<file> or folder:<path>; by default the run's own
  --step=N          which checkpoint; by default the newest"""


def main(arguments: list[str]) -> int:
    values, overrides = cli.parse(arguments, {'workdir': None, 'out': None, 'data': 'own', 'step': 'newest'}, USAGE)
    if overrides:
        raise UserError('embed takes its config from the workdir; --config fields have no effect here')
    if not values['out'].endswith('.npz') or not Path(values['out']).parent.is_dir():
        raise UserError(f'--out={values["out"]} must be a file ending in .npz in a folder that exists')
    cli.prepare()
    import numpy as np

    from .engine import build, encoder

    step = None if values['step'] == 'newest' else cli.integer('step', values['step'])
    trained = encoder.load(values['workdir'], step=step)
    spec = trained.config.data.source if values['data'] == 'own' else values['data']
    if spec.startswith('npz:') and expanded(spec.removeprefix('npz:')).resolve() == Path(values['out']).resolve():
        raise UserError(f'--out={values["out"]} is where the images come from; name another file')
    data = build.open_data(trained.config, None if values['data'] == 'own' else values['data'])
    arrays: dict[str, Any] = {}
    for part, source in (('train', data.labelled), ('test', data.test)):
        images, arrays[f'{part}_labels'], _ = source.arrays()
        arrays[f'{part}_features'] = trained(images)
    arrays['class_names'] = np.array(data.labelled.class_names, dtype=np.str_)
    # Into place when it is whole: a file of that name may be there already.
    out = Path(values['out'])
    temporary = out.with_name(f'.{out.name}.new')
    with temporary.open('wb') as file:
        np.savez(file, **arrays)
    temporary.replace(out)
    shapes = ', '.join(f'{name} {list(a.shape)}' for name, a in arrays.items())
    print(f'{values["out"]}: {shapes}')
    return 0


if __name__ == '__main__':
    command(main)()

"""Writes the features of a data set, from a trained encoder, to an npz file."""

import os
from pathlib import Path
from typing import Any

from . import cli
from .errors import UserError, command
from .files import check_place, expanded, folder_exists, write_arrays

USAGE = """usage: selfsup embed --workdir=FOLDER --out=FILE.npz [--data=SOURCE] [--step=N] [--image-size=N]
                              [--channels=N]

  --workdir=FOLDER  a run, or an encoder of selfsup.convert
  --out=FILE.npz    gets train_features, train_labels, train_index, test_features, test_labels, test_index and
                    class_names; `features`, `labels` and `index` for other data without a test set of its own.
                    `index` is the number of each row's image in the source, in its order; images that cannot be decoded
                    have no row where data.on_corrupt=skip. `files` (train_files, test_files) names each row's file.
                    `origin` says how the images were opened, so that a dictionary of the features can show them
  --data=SOURCE     digits, tfds:<name>, npz:<file>, folder:<path>, list:<file>, shards:<folder>, shapes:<n>,
                    vectors:<name> or features:<npz>; by default the run's own. One image is enough
  --step=N          which checkpoint; by default the newest
  --image-size=N    brings images to N x N pixels (shorter side to N, centre crop); by default the run's data.image_size
  --channels=N      1 for grey, 3 for RGB; by default the run's data.channels"""


def main(arguments: list[str]) -> int:
    options: cli.Options = {'workdir': None, 'out': None, 'data': 'own', 'step': 'newest'}
    options = {**options, 'image-size': '', 'channels': ''}
    values, overrides = cli.parse(arguments, options, USAGE)
    if overrides:
        raise UserError('embed takes its config from the workdir; --config fields have no effect here')
    if not values['out'].endswith('.npz') or not folder_exists(Path(values['out']).parent):
        raise UserError(f'--out={values["out"]} must be a file ending in .npz in a folder that exists')
    check_place(Path(values['out']), f'--out={values["out"]}')
    cli.prepare()
    import numpy as np

    from .engine import build, encoder, images, origin

    step = None if values['step'] == 'newest' else cli.integer('step', values['step'])
    trained = encoder.load(values['workdir'], step=step)
    images.set_fields(trained.config, image_size=values['image-size'], channels=values['channels'])
    spec = trained.config.data.source if values['data'] == 'own' else values['data']
    for read in (spec, trained.config.data.probe_source):
        kind, _, place = read.partition(':')
        if kind in ('npz', 'features') and os.path.realpath(expanded(place)) == os.path.realpath(values['out']):
            raise UserError(f'--out={values["out"]} is where the images come from; name another file')
    check_place(Path(values['out']), f'--out={values["out"]}', cli.holds_features)
    if values['data'] == 'own':
        data = build.open_data(trained.config)
        parts = {'train': data.labelled, 'test': data.test}
    else:
        parts = images.open_parts(trained.config, spec)
    arrays: dict[str, Any] = {}
    for part, source in parts.items():
        features, kept = images.encoded(trained, source, batch_size=trained.config.evaluate.batch_size)
        found = {'features': features, 'labels': source.labels[kept], 'index': kept}
        files = images.file_names(source.reader)
        if files is not None:
            found['files'] = np.array(files, np.str_)[kept]
        if len(kept) < len(source):
            print(f'{source.name}: {len(source) - len(kept)} of {len(source)} images cannot be decoded and have no row')
        arrays |= {f'{part}_{name}' if part else name: array for name, array in found.items()}
    # One of two parts may be without labels, and so without names.
    names = max((source.class_names for source in parts.values()), key=len)
    arrays['class_names'] = np.array(names, dtype=np.str_)
    described = origin.described(trained.config, None if values['data'] == 'own' else spec)
    arrays[origin.FIELD] = np.array(described, np.str_)
    write_arrays(Path(values['out']), arrays)
    shapes = ', '.join(f'{name} {list(a.shape)}' for name, a in arrays.items())
    print(f'{values["out"]}: {shapes}')
    return 0


if __name__ == '__main__':
    command(main)()

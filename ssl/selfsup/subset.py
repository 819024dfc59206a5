"""Chooses which rows of a training set to keep, by features of all of them, for `data.subset`."""

from pathlib import Path

from . import cli
from .errors import UserError, command, nearest
from .files import check_place, expanded, folder_exists, read_arrays, write_arrays

USAGE = """usage: selfsup subset --features=FEATURES.npz --share=S --out=SUBSET.npz [--by=NAME]
                               [--classes=N|labels] [--seed=N]

  --features=FILE.npz  of selfsup embed --workdir=RUN, without --data: features of the rows that RUN trained on
  --share=S            of the rows to keep, above 0 and at most 1
  --out=FILE.npz       gets `index`, numbers of rows; train on them with data.subset=FILE.npz and the same data.source
  --by=sas             sas (most alike the others of their latent class, greedily), sas_authors (in the order of the
                       authors' code), balanced (as many random rows of each latent class) or random
  --classes=10         latent classes: so many clusters by k-means, or `labels`
  --seed=0             of k-means, balanced and random"""


def main(arguments: list[str]) -> int:
    options: cli.Options = {'features': None, 'share': None, 'out': None, 'by': 'sas', 'classes': '10', 'seed': '0'}
    values, overrides = cli.parse(arguments, options, USAGE)
    if overrides:
        raise UserError('subset has no config; --config fields have no effect here')
    out = Path(values['out'])
    if out.suffix != '.npz' or not folder_exists(out.parent):
        raise UserError(f'--out={out} must be a file ending in .npz in a folder that exists')
    check_place(out, f'--out={out}', cli.holds_arrays('index', 'fingerprint'))
    share, seed = cli.positive('share', values['share']), cli.integer('seed', values['seed'])
    by_labels = values['classes'] == 'labels'
    count = 0 if by_labels else cli.integer('classes', values['classes'])
    name = f'--features={values["features"]}'
    arrays = read_arrays(expanded(values['features']), name)
    for field in ('origin', 'train_features', 'train_index'):
        if field not in arrays:
            raise UserError(f'{name} has no {field}, as selfsup embed writes it')
    cli.prepare()
    import numpy as np

    from . import evals
    from .data.subsets import arrays_of
    from .engine import build, origin
    from .evals.subsets import SELECTIONS

    if values['by'] not in SELECTIONS:
        raise UserError(f'--by={values["by"]} is unknown{nearest(values["by"], SELECTIONS)}')
    source, config = origin.read(str(arrays[origin.FIELD]), name, 'embed again')
    if source is not None:
        raise UserError(f"{name} holds features of {source}, not of the run's own data: embed without --data")
    whole, _ = build.training_set(config)
    features, index = np.asarray(arrays['train_features'], np.float32), origin.numbers(arrays, 'train_index', name)
    if len(index) != len(features) or (len(index) and index.max() >= len(whole)):
        raise UserError(f'{name} has {len(features)} rows, and {whole.name}, which they are of, has {len(whole)}')
    labels = whole.labels[index]
    if by_labels and (labels < 0).any():
        raise UserError(f'--classes=labels: {int((labels < 0).sum())} rows of {whole.name} have none; give a number')
    classes = labels if by_labels else evals.latent_classes(features, count, seed=seed)
    kept = index[evals.subset(features, classes, share=share, by=values['by'], seed=seed)]
    write_arrays(out, arrays_of(whole, kept, by=values['by'], share=share))
    sizes = np.bincount(np.unique(classes, return_inverse=True)[1])
    of_classes = f'{len(sizes)} classes of {sizes.min()} to {sizes.max()} rows'
    print(f'{out}: {len(kept)} of {len(whole)} rows of {whole.name}, {of_classes}')
    return 0


if __name__ == '__main__':
    command(main)()

"""Chooses which rows of a training set to keep, by features or by what two runs memorised, for `data.subset`."""

from pathlib import Path
from typing import Any

from . import cli
from .errors import UserError, command, nearest
from .files import check_place, expanded, folder_exists, read_arrays, write_arrays

USAGE = """usage: selfsup subset --features=FEATURES.npz --share=S --out=SUBSET.npz [--by=NAME]
                               [--classes=N|N,M,...|labels] [--seed=N] [--rest=REST.npz]
       selfsup subset --by=memorised --workdir=RUN --with=OTHER --share=S --out=SUBSET.npz [--rest=REST.npz]

  --features=FILE.npz  of selfsup embed --workdir=RUN, without --data: features of the rows that RUN trained on
  --share=S            of the rows to keep, above 0 and at most 1
  --out=FILE.npz       gets `index`, numbers of rows; train on them with data.subset=FILE.npz and the same data.source
  --by=sas             sas (most alike the others of their latent class, greedily), sas_authors (in the order of the
                       authors' code), balanced (as many random rows of each latent class), hierarchical (as many of
                       each cluster of clusters), random; or memorised (of largest SSLMem), which reads no features
  --classes=10         latent classes: so many clusters by k-means, or `labels`; with hierarchical numbers of clusters
                       from the finest level to the coarsest, such as 160,40,10
  --seed=0             of k-means and of the draws
  --workdir, --with    with --by=memorised: runs of one config on two subsets of one set, best on --out and --rest of
                       a random half; a row that one of them has trained on is scored by how much better that one aligns
                       its views
  --rest=FILE.npz      gets the rows that are not kept, likewise"""
MEMORISED = 'memorised'


def by_features(values: dict[str, str]) -> tuple[Any, Any, str]:
    """The whole training set, the numbers of the rows kept, and a line about their latent classes."""
    import numpy as np

    from . import evals
    from .engine import build, origin

    share, seed = cli.positive('share', values['share']), cli.integer('seed', values['seed'])
    by_labels = values['classes'] == 'labels'
    counts = [] if by_labels else [cli.integer('classes', text) for text in values['classes'].split(',')]
    if len(counts) > 1 and values['by'] != 'hierarchical':
        raise UserError(f'--classes={values["classes"]} is of --by=hierarchical; give one number, or labels')
    name = f'--features={values["features"]}'
    arrays = read_arrays(expanded(values['features']), name)
    for field in ('origin', 'train_features', 'train_index'):
        if field not in arrays:
            raise UserError(f'{name} has no {field}, as selfsup embed writes it')
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
    if by_labels:
        classes = labels
    elif values['by'] == 'hierarchical':
        classes = evals.latent_tree(features, counts, seed=seed)
    else:
        classes = evals.latent_classes(features, counts[0], seed=seed)
    kept = index[evals.subset(features, classes, share=share, by=values['by'], seed=seed)]
    coarsest = classes.reshape(len(classes), -1)[:, -1]
    sizes = np.bincount(np.unique(coarsest, return_inverse=True)[1])
    return whole, kept, f'{len(sizes)} classes of {sizes.min()} to {sizes.max()} rows'


def by_memory(values: dict[str, str]) -> tuple[Any, Any, str]:
    """The same by SSLMem of two runs; the line says how many rows they can tell of."""
    from .engine import encoder, memorised
    from .evals.subsets import check_share, highest

    share = cli.positive('share', values['share'])
    check_share(share)
    whole, scores, told = memorised.scores(encoder.load(values['workdir']), encoder.load(values['with']))
    return whole, highest(scores, share), f'{told} of them scored'


def main(arguments: list[str]) -> int:
    options: cli.Options = {'features': '', 'share': None, 'out': None, 'by': 'sas', 'classes': '10', 'seed': '0'}
    options = {**options, 'workdir': '', 'with': '', 'rest': ''}
    values, overrides = cli.parse(arguments, options, USAGE)
    if overrides:
        raise UserError('subset has no config; --config fields have no effect here')
    places = {name: Path(values[name]) for name in ('out', 'rest') if values[name]}
    for name, place in places.items():
        if place.suffix != '.npz' or not folder_exists(place.parent):
            raise UserError(f'--{name}={place} must be a file ending in .npz in a folder that exists')
        check_place(place, f'--{name}={place}', cli.holds_arrays('index', 'fingerprint'))
    if len({place.resolve() for place in places.values()}) < len(places):
        raise UserError(f'--rest={places["rest"]} is the file of --out; name another')
    wanted = ('workdir', 'with') if values['by'] == MEMORISED else ('features',)
    for name in ('features', 'workdir', 'with'):
        if bool(values[name]) != (name in wanted):
            needed = f'needs --{" and --".join(wanted)}'
            raise UserError(f'--by={values["by"]} {needed}' + (f', and does not read --{name}' if values[name] else ''))
    cli.prepare()
    import numpy as np

    from .data.subsets import arrays_of
    from .evals.subsets import SELECTIONS

    if values['by'] not in (*SELECTIONS, MEMORISED):
        raise UserError(f'--by={values["by"]} is unknown{nearest(values["by"], (*SELECTIONS, MEMORISED))}')
    whole, kept, told = (by_memory if values['by'] == MEMORISED else by_features)(values)
    rest = np.setdiff1d(np.arange(len(whole)), kept)
    if 'rest' in places and not len(rest):
        raise UserError(f'--share={values["share"]} keeps all rows, and leaves none to --rest={values["rest"]}')
    for name, rows in (('out', kept), ('rest', rest)):
        if name in places:
            write_arrays(places[name], arrays_of(whole, rows, by=values['by'], share=float(values['share'])))
    print(f'{places["out"]}: {len(kept)} of {len(whole)} rows of {whole.name}, {told}')
    return 0


if __name__ == '__main__':
    command(main)()

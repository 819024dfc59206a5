"""Numbers of a run, of an encoder, or of features in a file; without --only it repeats a run's table and report."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import cli
from .errors import UserError, command
from .files import check_place, folder_exists, placed, read_jsonl, write_json

USAGE = """usage: selfsup evaluate --workdir=FOLDER [--step=N] [--data=SOURCE] [--only=a,b] [--out=FILE.json]
                                 [--with=FOLDER] [--images=SOURCE] [--parents=0,0,1] [--tap=NAME]
                                 [--image-size=N] [--channels=N]
       selfsup evaluate --workdir=FOLDER --layers=all [--step=N] [--data=SOURCE] [--out=FILE.json] [...]
       selfsup evaluate --features TRAIN.npz TEST.npz [--with TRAIN.npz TEST.npz] [--only=a,b] [--out=FILE.json]

  --workdir=FOLDER  a run, or an encoder of selfsup.convert; without --only its table and report
  --step=N          which checkpoint; by default the newest
  --data=SOURCE     digits, tfds:<name>, npz:<file>, folder:<path>, list:<file>, shards:<folder>, shapes:<n>,
                    vectors:<name> or features:<npz>; by default the run's own (transfer: another)
  --features A B    npz files with `features` [n, dim] and `labels` [n]; or one file of selfsup.embed
  --only=a,b        knn, logistic, sgd, low_label, few_shot, clustering (and assigned_..., of a method that assigns
                    clusters), novel_classes (in steps, without labels), retrieval, label_noise, ranks, widths, feet,
                    geometry (spread, dimension, hubs, neural collapse), hubs (k-NN with fewer hubs), rescaling (k-NN
                    of whitened features), sparse_probe and intrinsic_probe (how few features say a class); and, of a
                    --workdir, online, fine_tune, views (alignment and LiDAR of augmented views), composition (of the
                    operators that filmr and sie apply to embeddings), dense (segmentation of rendered images), dse
                    (structure of patches, without labels), factors (R2, DCI, MIG; of shapes:<images>) and concepts
                    (TCAV of the same factors), of a vision transformer tokens (mean patch, class token, last
                    blocks), attentive (a probe of the patch tokens), rollout (attention on objects of rendered
                    images) and gradients (k-NN with gradients of losses beside the features), of a dictionary
                    dictionary (error, sparsity, controls, and in units.png the test images that turn units on most);
                    or all that it has, less those that the data do not allow. Of --features by default
                    knn,logistic,clustering,ranks
  --with=OTHER      with --only: a second encoder, for relative (alike spaces, stitching; of features: --with A B) and
                    memorisation (SSLMem: OTHER has not seen the training images); --with=A,B: for concatenated, the
                    features of all side by side
  --images=SOURCE   with --only=dictionary, of a dictionary of features: the images that they are features of, for the
                    picture units.png; by default those that the file of selfsup embed names
  --parents=0,0,1   with --only=dictionary: the wide concept of each class, in the order of the labels, for how much of
                    one is split between units, and absorbed by units of its classes
  --tap=NAME        with --only=concepts: the place in the network; by default its middle layer
  --layers=all      a row for each layer (probe, k-NN, CKA to the features, CCA to pixels and labels, dimension,
                    hubness; of a vision transformer the final probe's accuracy on earlier blocks) in layers.json, and
                    their picture in layers.png; or names of taps, between commas
  --out=FILE.json   also writes the numbers there
  --image-size=N    with --only: brings images to N x N pixels (shorter side to N, centre crop); by default the run's
                    data.image_size
  --channels=N      with --only: 1 for grey, 3 for RGB; by default the run's data.channels

Samples without a label (-1) are left out of all numbers but ranks and geometry, and the probes of layers."""


def show(results: dict[str, float]) -> None:
    """The numbers as a table on the terminal."""
    from rich.console import Console
    from rich.table import Table

    out = Table()
    out.add_column('number')
    out.add_column('value', justify='right')
    for name, value in results.items():
        out.add_row(name, f'{value:.4g}')
    Console().print(out)


def write(results: Any, file: Path) -> None:
    """The numbers as JSON; null where one is not finite."""
    write_json(file, results)
    print(f'numbers: {file}', flush=True)


def show_layers(rows: list[dict[str, Any]]) -> None:
    """The rows of :func:`selfsup.evals.layers` as a table on the terminal."""
    from rich.console import Console
    from rich.table import Table

    columns = list(dict.fromkeys(name for row in rows for name in row if name not in ('layer', 'samples')))
    out = Table()
    for name in ('layer', *columns):
        out.add_column(name, justify='left' if name == 'layer' else 'right')
    for row in rows:
        out.add_row(row['layer'], *(f'{row[name]:.3g}' if name in row else '' for name in columns))
    Console(width=max(Console().width, 160)).print(out)


def of_layers(trained: Any, data: Any, text: str, file: Path) -> None:
    """Writes the table of an encoder's layers to `file`, and its picture beside it."""
    from .engine import layers, plots

    picture = file.with_suffix('.png')
    check_place(picture, str(picture))
    rows = layers.of_layers(trained, data, text)
    show_layers(rows)
    write(rows, file)
    with placed(picture) as temporary, temporary.open('wb') as stream:
        title = f'{trained.config.method.name}, {trained.config.model.name}, step {trained.step}: {data["test"].name}'
        plots.plot_layers(rows, title, stream)
    print(f'picture: {picture}', flush=True)


def show_units(trained: Any, test: Any, given: str, file: Path) -> None:
    """Draws the images of a dictionary's units, or says why there are none."""
    from .engine import dictionary_evals, unit_pictures

    images = unit_pictures.images_of(trained, test, given)
    if images is None:
        print('no picture of units: it is not known of what images these rows are; --images=SOURCE can say', flush=True)
        return
    coded = dictionary_evals.coded(trained, test)
    if unit_pictures.plot_units(coded.codes, coded.inputs, images, file):
        print(f'picture: {file}', flush=True)
    else:
        print('no picture of units: none is on in enough rows and few enough', flush=True)


def main(arguments: list[str]) -> int:
    options: cli.Options = {'workdir': '', 'features': [], 'step': 'newest', 'data': 'own', 'only': '', 'out': ''}
    options = {**options, 'image-size': '', 'channels': '', 'with': [], 'layers': ''}
    options = {**options, 'images': '', 'parents': '', 'tap': ''}
    values, overrides = cli.parse(arguments, options, USAGE)
    # One word may name both files, and a name may hold a comma.
    files, others = (
        [file for word in values[name] for file in ([word] if os.path.exists(word) else word.split(','))]
        for name in ('features', 'with')
    )
    if overrides:
        raise UserError('evaluate takes its config from the workdir; --config fields have no effect here')
    if bool(values['workdir']) == bool(files):
        raise UserError('give either --workdir=FOLDER or --features TRAIN.npz TEST.npz')
    out = values['out']
    if out and not (out.endswith('.json') and folder_exists(Path(out).parent)):
        raise UserError(f'--out={out} must be a file ending in .json in a folder that exists')
    if out:
        check_place(Path(out), f'--out={out}', cli.holds_numbers)
    if values['layers'] and (files or values['only'] or others):
        raise UserError('--layers is a table of its own, of --workdir; leave --only, --with and --features out')
    for name, reader in (('images', 'dictionary'), ('parents', 'dictionary'), ('tap', 'concepts')):
        if values[name] and reader not in values['only'].split(','):
            raise UserError(f'--{name}={values[name]} is read by --only={reader}')
    cli.prepare()
    from .engine.evaluations import WITH_OTHERS, chosen, of_features

    if others and not values['only']:
        raise UserError(f'--with is read by --only={" and --only=".join(WITH_OTHERS)}')
    if files:
        from .engine.features_files import read_features

        names = chosen(values['only'] or 'default', images=False, others=min(len(others), 1))
        sets = read_features(files)
        pairs = [read_features(others, '--with')] if others else []
        try:
            results = of_features(*sets, names, others=pairs, every=values['only'] == 'all')
        except UserError as error:
            raise UserError(f'--features {" ".join(files)}: {error}') from error
        show(results)
        if values['out']:
            write(results, Path(values['out']))
        return 0
    return of_workdir(values, others)


def of_workdir(values: dict[str, str], others: Sequence[str]) -> int:
    """The command for a run or an imported encoder."""
    from . import weights
    from .engine import build, encoder, evaluations, images, report, run, untrained

    root = Path(values['workdir'])
    names = evaluations.chosen(values['only'], images=True, others=len(others)) if values['only'] else ()
    step = None if values['step'] == 'newest' else cli.integer('step', values['step'])
    trained = encoder.load(values['workdir'], step=step)
    other = None if values['data'] == 'own' else values['data']
    beside = [encoder.load(place) for place in others]
    if not names and not values['layers'] and (values['image-size'] or values['channels']):
        raise UserError('a report is made on images as the encoder was trained on; give --only with --image-size')
    names = names if values['only'] != 'all' else evaluations.possible(trained, names)
    images.set_fields(trained.config, image_size=values['image-size'], channels=values['channels'])
    if not ((names or values['layers']) and values['out']):
        file = root / ('evaluation.json' if names else 'layers.json' if values['layers'] else 'results.json')
        check_place(file, str(file), None if file.name == 'results.json' else cli.holds_numbers)
    if values['layers']:
        place = Path(values['out'] or root / 'layers.json')
        of_layers(trained, evaluations.evaluated_parts(trained.config, other), values['layers'], place)
        return 0
    if names:
        data = evaluations.evaluated_parts(trained.config, other)
        more = {'every': values['only'] == 'all', 'parents': values['parents'], 'tap': values['tap']}
        results = evaluations.of_encoder(trained, data, names, beside, **more)
        show(results)
        place = Path(values['out'] or root / 'evaluation.json')
        write(results, place)
        if 'dictionary' in names and other is None:
            show_units(trained, data['test'], values['images'], place.with_name('units.png'))
        return 0
    if weights.is_encoder(values['workdir']):
        data = build.open_data(trained.config, other)
        trained.config.data.source = values['data']
        control = untrained.of_encoder(trained, data.train)
        report.finish(root, data, trained, control, [])
        return 0
    if other:
        with trained.config.unlocked():
            trained.config.data.source = other
    whole = run.Run(trained.config)
    if other and whole.data.fingerprint != encoder.read_run(root)[1].get('fingerprint'):
        raise UserError(
            f"a run's report is made on its own data, and --data={other} holds others; say which numbers by --only"
        )
    lines = [line for line in read_jsonl(root / 'metrics.jsonl') if line['step'] <= trained.step]
    report.finish(root, whole.data, trained, untrained.of_run(whole), lines)
    return 0


if __name__ == '__main__':
    command(main)()

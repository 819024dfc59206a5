"""Numbers of a run, of an encoder, or of features in a file; without --only it repeats a run's table and report."""

import functools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import cli
from .errors import UserError, command, nearest
from .files import check_place, placed, plain, read_arrays, read_jsonl

USAGE = """usage: selfsup evaluate --workdir=FOLDER [--step=N] [--data=SOURCE] [--only=a,b] [--out=FILE.json]
                                 [--image-size=N] [--channels=N]
       selfsup evaluate --features TRAIN.npz TEST.npz [--only=a,b] [--out=FILE.json]

  --workdir=FOLDER  a run, or an encoder of selfsup.convert; without --only its table and report
  --step=N          which checkpoint; by default the newest
  --data=SOURCE     digits, tfds:<name>, npz:<file>, folder:<path>, list:<file>, shards:<folder>, vectors:<name> or
                    features:<npz>; by default the run's own (transfer: another)
  --features A B    npz files with `features` [n, dim] and `labels` [n]; or one file of selfsup.embed
  --only=a,b        knn, logistic, sgd, low_label, few_shot, clustering, retrieval, label_noise, ranks, widths, feet;
                    and, of a --workdir, online, fine_tune, dense (segmentation of rendered images), of a vision
                    transformer tokens (mean patch, class token, last blocks) and attentive (a probe of the patch
                    tokens), of a dictionary dictionary (error, sparsity, controls); or all that it has. For
                    features: knn,logistic,clustering,ranks. clustering also scores the clusters of a method that
                    assigns some (assigned_...)
  --out=FILE.json   also writes the numbers there
  --image-size=N    with --only: brings images to N x N pixels (shorter side to N, centre crop); by default the run's
                    data.image_size
  --channels=N      with --only: 1 for grey, 3 for RGB; by default the run's data.channels

Samples without a label (-1) are left out of all numbers but ranks."""

OF_IMAGES = ('online', 'fine_tune')  # evaluations that pass images through the encoder as they learn
OF_TOKENS = ('tokens', 'attentive')  # that read tokens of patches
OF_ENCODER = (*OF_IMAGES, *OF_TOKENS, 'dense', 'dictionary')  # that need more of an encoder than its features


def read_features(files: Sequence[str]) -> tuple[Any, Any]:
    """Train and test features of two npz files, or of the one that `selfsup.embed` writes."""
    import numpy as np

    from .data.sources import integers, renumbered
    from .evals import Features

    if len(files) not in (1, 2):
        raise UserError(
            f'--features takes a file for train and one for test, or one of selfsup.embed, not {len(files)}'
        )
    prefixes = ('', '') if len(files) == 2 else ('train_', 'test_')
    found = []
    for file, prefix in zip(files if len(files) == 2 else [*files, *files], prefixes, strict=True):
        arrays = read_arrays(Path(file), f'--features: {file}')
        parts = []
        for part in (f'{prefix}features', f'{prefix}labels'):
            if part not in arrays:
                alone = '; it has no test part of its own: give a file to train on and one to test on'
                hint = alone if len(files) == 1 and 'features' in arrays else nearest(part, arrays)
                raise UserError(f'--features: {file} has no array {part!r}{hint}')
            parts.append(arrays[part])
        rows, labels = parts
        plain = np.issubdtype(rows.dtype, np.floating) and np.issubdtype(labels.dtype, np.integer)
        if not plain or rows.ndim != 2 or labels.ndim != 1:
            raise UserError(
                f'--features: {file} must hold features [n, dim] and whole-number labels [n], not '
                f'{rows.dtype} {list(rows.shape)} and {labels.dtype} {list(labels.shape)}'
            )
        found.append((np.asarray(rows, np.float32), integers(labels, len(rows), f'--features: {file}')))
    numbers, _ = renumbered(*(labels for _, labels in found))
    train, test = (Features(rows, y.astype(np.int32)) for (rows, _), y in zip(found, numbers, strict=True))
    return train, test


def chosen(text: str, *, images: bool) -> tuple[str, ...]:
    """The evaluations of --only."""
    from .evals.suite import DEFAULT, EVALUATIONS

    known = (*EVALUATIONS, 'feet', *(OF_ENCODER if images else ()))
    names = known if text == 'all' else DEFAULT if text == 'default' else tuple(text.split(','))
    for name in names:
        if name in OF_ENCODER and not images:
            raise UserError(f'--only={name} passes images through an encoder; it needs --workdir, not --features')
        if name not in known:
            raise UserError(f'--only: {name!r} is no evaluation{nearest(name, known)}')
    return names


def possible(trained: Any, names: Sequence[str]) -> tuple[str, ...]:
    """Those of `names` that an encoder has: no `OF_TOKENS` without tokens of patches, `dictionary` with codes alone."""
    from .engine.dictionary_evals import is_dictionary
    from .engine.patches import has_tokens

    absent = {*(() if has_tokens(trained) else OF_TOKENS), *(() if is_dictionary(trained) else ('dictionary',))}
    return tuple(name for name in names if name not in absent)


def of_features(train: Any, test: Any, names: Sequence[str], fine_tuned: float | None = None) -> dict[str, float]:
    """The numbers that need features alone."""
    from . import evals

    results: dict[str, float] = {}
    for name in names:
        if name == 'feet':
            results |= evals.feet(train, test, fine_tuned=fine_tuned)
        elif name not in OF_ENCODER:
            results |= evals.evaluate(train, test, only=(name,))
    return results


def of_encoder(trained: Any, data: Any, names: Sequence[str]) -> dict[str, float]:
    """The numbers of an encoder on labelled data: those that learn from images, of its features, of its patches.

    Args:
      trained: the encoder.
      data: the sources `train` and `test`, by name.
      names: which numbers.
    """
    results: dict[str, float] = {}
    if set(names) & set(OF_IMAGES):
        results |= of_images(trained, data, names)
    if set(names) - set(OF_ENCODER):
        from . import evals
        from .engine import images

        size = trained.config.evaluate.batch_size
        found = [(part, *images.encoded(trained, part, batch_size=size)) for part in (data['train'], data['test'])]
        ours, theirs = (evals.Features(features, part.labels[kept]) for part, features, kept in found)
        results |= of_features(ours, theirs, names, results.get('fine_tuned'))
    if 'clustering' in names:
        from .engine.assignments import has_clusters, of_assignments

        if has_clusters(trained):
            results |= of_assignments(trained, data)
    if set(names) & {*OF_TOKENS, 'dense'}:
        from .engine.patch_evals import PATCH_EVALUATIONS

        for name in (name for name in PATCH_EVALUATIONS if name in names):
            results |= PATCH_EVALUATIONS[name](trained, data)
    if 'dictionary' in names:
        from .engine.dictionary_evals import of_dictionary

        results |= of_dictionary(trained, data)
    return results


def of_images(trained: Any, data: Any, names: Sequence[str]) -> dict[str, float]:
    """The numbers that learn from labelled images, which are decoded as they are needed; see :func:`of_encoder`."""
    from . import augment, evals
    from .engine import build
    from .engine.images import labelled_images

    for part in data.values():
        if not part.spec.is_image:
            raise UserError(
                f'--only={",".join(set(names) & set(OF_IMAGES))} learns from crops of images, and {part.name} holds '
                f'{part.spec.unit} {list(part.spec.shape)}; take another number'
            )
        if not (part.labels >= 0).any():
            raise UserError(f'--only={",".join(names)}: {part.name} has no labels')
    images = [evals.Features(*labelled_images(data[part])) for part in ('train', 'test')]
    prepare = build.build_preparation(trained.config)
    side = min(prepare(images[0].features[:1]).shape[1:3])
    # The papers' augmentation of linear evaluation: random resized crop and flip, nothing else.
    crop = {'size': side, 'crop': {'scale': (0.08, 1.0), 'ratio': (3 / 4, 4 / 3), 'method': 'bicubic'}, 'flip': 0.5}
    views = augment.make_views({'only': crop}, mean=trained.config.augment.mean, std=trained.config.augment.std)

    results: dict[str, float] = {}
    common = {'augment': views, 'prepare': prepare}
    if 'online' in names:
        results |= evals.linear_online(
            *images, encode=functools.partial(trained.encode, trained.evaluated['params']), **common
        )
    if 'fine_tune' in names:
        results |= evals.fine_tune(*images, encode=trained.encode, params=trained.evaluated['params'], **common)
    return results


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


def write(results: dict[str, float], file: Path) -> None:
    """The numbers as JSON; null where one is not finite."""
    with placed(file) as temporary:
        temporary.write_text(json.dumps(plain(results), indent=2, allow_nan=False) + '\n')
    print(f'numbers: {file}', flush=True)


def main(arguments: list[str]) -> int:
    options: cli.Options = {'workdir': '', 'features': [], 'step': 'newest', 'data': 'own', 'only': '', 'out': ''}
    options = {**options, 'image-size': '', 'channels': ''}
    values, overrides = cli.parse(arguments, options, USAGE)
    # One word may name both files, and a name may hold a comma.
    files = [file for word in values['features'] for file in ([word] if os.path.isfile(word) else word.split(','))]
    if overrides:
        raise UserError('evaluate takes its config from the workdir; --config fields have no effect here')
    if bool(values['workdir']) == bool(files):
        raise UserError('give either --workdir=FOLDER or --features TRAIN.npz TEST.npz')
    out = values['out']
    if out and not (out.endswith('.json') and Path(out).parent.is_dir()):
        raise UserError(f'--out={out} must be a file ending in .json in a folder that exists')
    if out:
        check_place(Path(out), f'--out={out}')
    cli.prepare()
    if files:
        names = chosen(values['only'] or 'default', images=False)
        sets = read_features(files)
        try:
            results = of_features(*sets, names)
        except UserError as error:
            raise UserError(f'--features {" ".join(files)}: {error}') from error
        show(results)
        if values['out']:
            write(results, Path(values['out']))
        return 0
    return of_workdir(values)


def evaluated_parts(config: Any, spec: str | None) -> dict[str, Any]:
    """The sources `train` and `test` of a run's own data, or of others, which need not be enough to train on."""
    from .engine import build, images

    if spec is None:
        data = build.open_data(config)
        return {'train': data.labelled, 'test': data.test}
    return images.open_train_and_test(config, spec)


def of_workdir(values: dict[str, str]) -> int:
    """The command for a run or an imported encoder."""
    from . import weights
    from .engine import build, encoder, images, report, run, untrained

    root = Path(values['workdir'])
    names = chosen(values['only'], images=True) if values['only'] else ()
    step = None if values['step'] == 'newest' else cli.integer('step', values['step'])
    trained = encoder.load(values['workdir'], step=step)
    other = None if values['data'] == 'own' else values['data']
    if not names and (values['image-size'] or values['channels']):
        raise UserError('a report is made on images as the encoder was trained on; give --only with --image-size')
    names = names if values['only'] != 'all' else possible(trained, names)
    images.set_fields(trained.config, image_size=values['image-size'], channels=values['channels'])
    if not (names and values['out']):
        file = root / ('evaluation.json' if names else 'results.json')
        check_place(file, str(file))
    if names:
        results = of_encoder(trained, evaluated_parts(trained.config, other), names)
        show(results)
        write(results, Path(values['out'] or root / 'evaluation.json'))
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

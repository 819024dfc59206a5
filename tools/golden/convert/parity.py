"""Forward parity with torchvision, timm and the authors' code, both ways; prints the tables of docs/parity.md.

  python tools/golden/convert/parity.py --reference=/path/to/python-with-torch --folder=/tmp/parity [--authors=DIR]

Checkpoints are made by `reference.py` under the other interpreter, read here, and the features compared; then
encoders of ours are written, loaded there with `strict=True`, and compared again.
"""

import argparse
import gc
import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from selfsup import weights as foreign
from selfsup.weights.names import NAMINGS, rename, transposed
from selfsup.weights.values import complete, shapes

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2] / 'tests' / 'convert_golden'))
from formula import array, images  # noqa: E402


def encode(weights, x):
    """Features of prepared images."""
    variables = {'params': weights.params, 'batch_stats': weights.batch_stats}
    return np.asarray(jax.jit(weights.module().apply)(variables, x))


def difference(ours, theirs):
    """Largest absolute difference, and the largest value it may be set against."""
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return float(np.abs(ours - theirs).max()), float(np.abs(theirs).max())


def inward(folder):
    """Rows (what, side, difference, scale) of files read here."""
    for file in sorted(folder.glob('*/row.json')):
        row = json.loads(file.read_text())
        stem = 'cifar_pad2' if 'cifar_pad2' in row['name'] else 'auto'
        weights = foreign.read(file.parent / row['file'], stem=stem)
        outputs = np.load(file.parent / 'outputs.npz')
        for side in row['sides']:
            yield row['name'], side, *difference(encode(weights, images(side)), outputs[str(side)])
        del weights
        gc.collect()


def ours(model, names):
    """An encoder of ours with weights by formula, positions and class token included."""
    model = complete(model)
    naming = NAMINGS[names]['vit' if model['name'].startswith('vit') else 'resnet']
    trees = {}
    for kind, leaves in shapes(model, 3).items():
        flat = {}
        for name, shape in leaves.items():
            kernel = name.endswith('kernel')
            theirs = name if 'position' in name else rename(name, naming)
            x = array(
                'pos_embed' if 'position' in name else theirs, transposed(np.empty(shape)).shape if kernel else shape
            )
            flat[name] = transposed(x, back=True) if kernel else 0.5 * x if 'position' in name else x
        trees[kind] = unflatten_dict(flat, sep='/')
    assert flatten_dict(trees['params'])
    return foreign.Weights(model, trees['params'], trees['batch_stats'], crop=224, resize=256, origin='simclr')


def exports(only):
    """Name -> (model, names, side of the images), of the rows whose names hold `only`."""
    rows = {}
    for names in NAMINGS:
        for arch in ('resnet18', 'resnet34', 'resnet50') if 'resnet' in NAMINGS[names] else ():
            for stem, side in (('imagenet', 224), ('cifar', 32), ('cifar_pad2', 32)):
                rows[f'{names} {arch} {stem}'] = ({'name': arch, 'stem': stem}, names, side)
        for arch in ('vit_ti', 'vit_s', 'vit_b', 'vit_l'):
            model = {'name': arch, 'grid': 14, 'interpolation': names}
            for side in (224, 160):
                rows[f'{names} {arch} {side}'] = (model, names, side)
        rows[f'{names} vit_s sincos'] = ({'name': 'vit_s', 'positions': 'sincos', 'heads': 12}, names, 224)
    return {name: row for name, row in rows.items() if only in name}


def outward(folder, reference, only):
    """Rows (what, side, difference, scale) of encoders written here and loaded there."""
    features = {}
    for name, (model, names, side) in exports(only).items():
        weights = ours(model, names)
        place = folder / name.replace(' ', '_')
        content = place / 'export.json'
        foreign.write(weights, place, names=names, image_size=side)
        hub = 'architecture' in json.loads((place / 'config.json').read_text())
        row = {'name': name, 'model': weights.model, 'names': names, 'side': side, 'hub': hub}
        content.write_text(json.dumps(row))
        features[name] = encode(weights, images(side))
    subprocess.run([reference, HERE / 'reference.py', 'check', folder], check=True)
    for name, (_, _, side) in exports(only).items():
        outputs = np.load(folder / name.replace(' ', '_') / 'outputs.npz')
        for how in outputs:
            yield f'{name} ({how})', side, *difference(features[name], outputs[how])


def table(rows):
    """Markdown: an encoder a row, the worst over its image sides."""
    found = {}
    for name, side, error, scale in rows:
        sides, worst, largest = found.get(name, ((), 0.0, 0.0))
        found[name] = ((*sides, side), max(worst, error), max(largest, scale))
    print('| encoder | image sides | largest difference | largest feature |\n| --- | --- | --- | --- |')
    for name, (sides, worst, largest) in found.items():
        print(f'| {name} | {", ".join(map(str, sides))} | {worst:.1e} | {largest:.1f} |')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--reference', required=True)
    parser.add_argument('--folder', type=Path, required=True)
    parser.add_argument('--authors', default='')
    parser.add_argument('--only', default='')
    asked = parser.parse_args()
    command = [asked.reference, HERE / 'reference.py', 'files', asked.folder / 'in', f'--only={asked.only}']
    subprocess.run([*command, *([f'--authors={asked.authors}'] if asked.authors else [])], check=True)
    table(inward(asked.folder / 'in'))
    table(outward(asked.folder / 'out', asked.reference, asked.only))

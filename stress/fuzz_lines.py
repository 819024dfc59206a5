"""Mutations of command lines, and values that stand for others there."""

import random
from pathlib import Path

from fuzz_outcome import ROOT

EXTREMES = (
    '0', '-1', '1', '2', '7', '1e30', '-1e30', '1e39', '1e999', 'nan', 'inf', '-0.5', '0.5', '1.5', '', '()', '(0,)',
    '(-1,)', '(8,)', '(1e30,)', "('a',)", '(None,)', '((1,2),)', '2147483647', '2147483648', '4294967296',
    '1' + '0' * 30, '1' + '0' * 400, '-2147483649', '[]', '{}', "''",
)  # fmt: skip
WRONG = (
    'many', 'None', 'True', 'false', '(1, 2)', '[1.5]', '{"a": 1}', '"quoted"', '3', '0.25', '1+1', '__import__("os")',
    '(8, "x")', 'lambda: 0', '0x10', '1j', "b'x'", '...', '((', 'Ω', ' ', '-', '=', '--seed', '{1, 2}', '(True, False)',
)  # fmt: skip
BAD_PATHS = (
    '',
    ' ',
    '/nowhere/x',
    '/proc/x',
    '/dev/null',
    '/dev/null/x',
    '.',
    '..',
    '~nobody/x',
    'a' * 300,
    'Ω/π',
    '-',
    '--',
    '\udcff',
)


def misspelt(word: str, r: random.Random) -> str:
    at = r.randrange(len(word))
    return r.choice((
        word[:at] + word[at + 1 :], word[:at] + word[at] + word[at:], word[:at] + 'x' + word[at + 1 :], word.upper(),
        f'{word}.x', word.rsplit('.', 1)[-1], f'.{word}', word.replace('.', '..'),
    ))  # fmt: skip


def valid_lines(m: Path, out: Path) -> dict[str, list[str]]:
    """A cheap valid command line of each command."""
    return {
        'train': [f'--config={ROOT}/experiments/digits/vicreg.py', f'--workdir={out}/run'],
        'evaluate': [f'--workdir={m}/run', '--only=ranks', f'--out={out}/a.json', '--step=newest', '--data=own'],
        'evaluate features': ['--features', f'{m}/train.npz', f'{m}/test.npz', '--only=ranks,clustering',
                              f'--out={out}/a.json'],
        'embed': [f'--workdir={m}/run', f'--out={out}/features.npz', '--data=own', '--step=newest'],
        'select': [f'{m}/run', f'{m}/other', '--by=rankme', '--judge=linear', '--alarm=on'],
        'pack': [f'--data=folder:{m}/images', f'--out={out}/packed', '--short-side=8', '--quality=90',
                 '--on-corrupt=stop'],
        'convert': [f'--from={m}/encoder', f'--to={out}/encoder', '--names=timm', '--stem=auto', '--heads=0',
                    '--image-size=0', '--mean=0.5,0.5,0.5', '--std=0.2,0.2,0.2', '--origin=auto'],
    }  # fmt: skip


ADDED = ('--config.seed=1', '--dry-run', '--host-devices=1', '--step=4', '--zzz', '--config.', '--=', '--')


def mutated_line(line: list[str], material: Path, r: random.Random) -> list[str]:
    """A command line with one or two faults."""
    line = list(line)
    places = [str(p) for p in sorted(material.iterdir())]
    sources = [f'{k}:{p}' for k in ('npz', 'folder', 'shards', 'tfds') for p in places]
    values = (
        *BAD_PATHS,
        *EXTREMES,
        *WRONG,
        *places,
        *sources,
        'digits',
        'stop',
        'skip',
        'off',
        'all',
        'knn,',
        ',',
        'newest',
    )
    for _ in range(r.choice((1, 1, 2))):
        at = r.randrange(len(line)) if line else 0
        word = line[at] if line else ''
        name, value = word.partition('=')[0], r.choice(values)
        line[at : at + 1] = r.choice((
            [], [misspelt(word, r) if word else '-'], [name], [f'{name}={value}'], [f'{name}={value}'],
            [f'{name}={value}'], [word, word], [word, value], [name, value], [word, '--help'], [word, r.choice(ADDED)],
        ))  # fmt: skip
    return line

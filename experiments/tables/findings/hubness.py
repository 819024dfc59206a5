"""Hubs spoil nearest neighbours of raw pixels, and rescaled distances have fewer hubs and fewer errors."""

import numpy as np
from selfsup import diagnostics
from selfsup.data.sprites import drawn_factors, render
from selfsup.evals.hubs import REDUCTIONS, majority, neighbours

from .finding import Finding

BANK, QUERIES, SIDE, NEIGHBOURS = 3000, 1000, 32, 10
METRICS = ('euclidean', 'cosine')


def reductions(metric: str) -> list[str]:
    return [name for name in REDUCTIONS if metric == 'cosine' or name != 'csls']


def measure(seed: int) -> dict[str, float]:
    factors = drawn_factors(BANK + QUERIES, 100 + seed)
    rows = [{name: int(f.values[i]) for name, f in factors.items()} for i in range(BANK + QUERIES)]
    pixels = np.stack([render(row, SIDE).ravel() for row in rows]).astype(np.float32) / 255
    labels = factors['shape'].values
    found = {}
    for metric in METRICS:
        for name in reductions(metric):
            index = neighbours(pixels[:BANK], pixels[BANK:], k=NEIGHBOURS, reduction=name, metric=metric)
            wrong = majority(labels[:BANK], index) != labels[BANK:]
            found[f'error_{metric}_{name}'] = float(wrong.mean())
            found[f'skewness_{metric}_{name}'] = float(diagnostics.hubness_of(index, bank=BANK)['skewness'])
    return found


def draw(found: dict[str, np.ndarray], axis) -> None:
    for metric, marker in zip(METRICS, 'os', strict=True):
        for name in reductions(metric):
            x, y = found[f'skewness_{metric}_{name}'].mean(), 100 * found[f'error_{metric}_{name}'].mean()
            axis.plot(x, y, marker, color='C0' if metric == 'cosine' else 'C1')
            axis.annotate(name.replace('_', ' '), (x, y), textcoords='offset points', xytext=(5, 3), fontsize=8)
    for metric, marker, colour in (('cosine', 's', 'C0'), ('euclidean', 'o', 'C1')):
        axis.plot([], [], marker, color=colour, label=metric)
    axis.set(xlabel=f'skewness of the {NEIGHBOURS}-occurrence', ylabel='error of k-NN, %')
    axis.margins(x=0.15)
    axis.legend()


finding = Finding(
    title='Fewer hubs, fewer errors of nearest neighbours',
    paper='Nielsen & Hansen 2023, *Hubness reduction improves Sentence-BERT semantic spaces*, '
    'https://arxiv.org/abs/2311.18364; Feldbauer & Flexer 2019, https://doi.org/10.1007/s10115-018-1205-y',
    claim='In spaces of many dimensions some points are neighbours of very many others; rescaling distances by those '
    'of the neighbourhood (NICDM, local scaling, mutual proximity, DisSimLocal, CSLS) lowers the skewness of the '
    'k-occurrence and the error of k-NN.',
    setup=f'Raw pixels of sprites of {SIDE} x {SIDE} with independent shape, colour, size, angle and place; the shape '
    f'by the majority of {NEIGHBOURS} neighbours, {BANK:,} images in the bank and {QUERIES:,} queries, by Euclidean '
    'distance and by cosine.',
    measure=measure,
    asserted={
        'every reduction lowers the skewness, for both distances': lambda n: all(
            n[f'skewness_{m}_{r}'].mean() < n[f'skewness_{m}_none'].mean()
            for m in METRICS
            for r in reductions(m)
            if r != 'none'
        ),
        'NICDM lowers the error, for both distances': lambda n: all(
            n[f'error_{m}_nicdm'].mean() < n[f'error_{m}_none'].mean() for m in METRICS
        ),
    },
    reported='the errors of the other reductions (chance is an error of two thirds): all of them fall, though these '
    'images, which differ in a few factors, have few hubs to begin with.',
    draw=draw,
)

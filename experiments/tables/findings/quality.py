"""Quality of an image as its likeness to good and to bad anchors, in features of an encoder and in pixels."""

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

from .. import table, trained
from .finding import Finding, bars, lines

EPOCHS, ANCHORS = 20, 200
SEVERITIES = {'blur': (0.0, 0.4, 0.6, 0.9, 1.4), 'noise': (0.0, 0.1, 0.2, 0.3, 0.5)}  # pixels; share of the range
KINDS = {'simclr': 'SimCLR', 'untrained': 'untrained', 'pixels': 'pixels'}
LEVELS = range(5)


def corrupted(images: np.ndarray, kind: str, level: int, rng: np.random.Generator) -> np.ndarray:
    """uint8 images with a blur or with noise of one of the severities, level 0 for none."""
    severity, rows = SEVERITIES[kind][level], images / 255.0
    if kind == 'blur':
        rows = gaussian_filter(rows, sigma=(0, severity, severity, 0))
    else:
        rows = rows + severity * rng.normal(size=rows.shape)
    return np.round(255 * np.clip(rows, 0.0, 1.0)).astype(np.uint8)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def score(rows: np.ndarray, good: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """Cosine with the mean of the good anchors less that with the mean of the bad ones, one value a row."""
    return unit(rows) @ unit(unit(good).mean(axis=0)) - unit(rows) @ unit(unit(bad).mean(axis=0))


def measure(seed: int) -> dict[str, float]:
    from selfsup.engine import untrained

    run = trained.train(table.load('digits', 'simclr', [f'train.epochs={EPOCHS}', f'seed={seed}']))
    encoders = {
        'simclr': run.encoder,
        'untrained': untrained.of_run(run.run),
        'pixels': lambda images: images.reshape(len(images), -1).astype(np.float32),
    }
    rng, test, train = np.random.default_rng(seed), run.run.data.test.images(), run.run.data.labelled.images()
    anchors = train[rng.permutation(len(train))[:ANCHORS]]
    bad = {kind: corrupted(anchors, kind, LEVELS[-1], rng) for kind in SEVERITIES}
    seen = {kind: [corrupted(test, kind, level, rng) for level in LEVELS] for kind in SEVERITIES}
    severity, found = np.repeat(LEVELS, len(test)), {}
    for name, encode in encoders.items():
        good = encode(anchors)
        for of, rows in bad.items():
            low = encode(rows)
            for kind in SEVERITIES:
                scores = np.stack([score(encode(images), good, low) for images in seen[kind]])
                found[f'{name}_{of}_on_{kind}'] = float(-spearmanr(scores.ravel(), severity).statistic)
                for level in LEVELS if kind == of else ():
                    found[f'{name}_{of}_score_{level}'] = float(scores[level].mean())
    return found


def draw(found: dict[str, np.ndarray], axis) -> None:
    pairs = [(of, kind) for of in SEVERITIES for kind in SEVERITIES]
    for number, (name, label) in enumerate(KINDS.items()):
        values = [found[f'{name}_{of}_on_{kind}'] for of, kind in pairs]
        bars(axis, values, width=0.27, offset=0.27 * (number - 1), label=label)
    axis.axhline(0, color='0.4', linewidth=0.8)
    axis.set_xticks(range(len(pairs)), [f'anchors: {of}\nimages: {kind}' for of, kind in pairs], fontsize=8)
    axis.set(ylabel='Spearman of severity and −score', ylim=(-1, 1.25))
    axis.legend(fontsize=8, ncols=3, loc='upper center')


finding = Finding(
    title='Quality by anchors follows the corruption of the anchors',
    paper='Kastryulin et al. 2024, *QUASAR: quality and aesthetics scoring with advanced representations*, '
    'https://arxiv.org/abs/2403.06866, abstract',
    claim='How near the features of an image are to those of good and of bad anchor images is a score of its quality, '
    'without a fit and without text, for encoders trained without labels. That the score follows the severity of the '
    "corruption that made the anchors, and less that of another, is a third party's reading of the paper.",
    setup=f'SimCLR on digits ({EPOCHS} epochs). Good anchors are {ANCHORS} training images, bad ones the same with the '
    'strongest blur or the strongest noise; the score is the cosine with the mean of the good ones less that with the '
    'mean of the bad ones. Spearman correlation of the severity (none and four levels) with the negative score, over '
    'the 359 test images at all levels, for the corruption of the anchors and for the other one. The same for the '
    'untrained encoder and for pixels.',
    measure=measure,
    asserted={
        'the mean score of SimCLR falls with every level of the corruption of the anchors': lambda n: all(
            np.all(np.diff(lines(n, f'simclr_{of}_score_', LEVELS)) < 0) for of in SEVERITIES
        ),
        'its Spearman correlation is above 0.9 on the corruption of the anchors': lambda n: bool(
            min(n[f'simclr_{of}_on_{of}'].mean() for of in SEVERITIES) > 0.9
        ),
        'and lower on the other corruption': lambda n: bool(
            n['simclr_blur_on_noise'].mean() < n['simclr_blur_on_blur'].mean()
            and n['simclr_noise_on_blur'].mean() < n['simclr_noise_on_noise'].mean()
        ),
    },
    reported='the untrained encoder and pixels. The untrained encoder orders the corruption of the anchors better than '
    'SimCLR, and pixels order the other corruption best; on it SimCLR is on average the wrong way round.',
    draw=draw,
)

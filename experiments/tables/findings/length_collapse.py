"""More tokens make the features of different inputs more alike, and sharper attention less so."""

import jax
import jax.numpy as jnp
import numpy as np
from selfsup import models
from selfsup.data.rendered import render

from .finding import Finding

IMAGES, PATCH, DIM, DEPTH, HEADS = 64, 4, 96, 6, 3
SIDES = (16, 32, 64)  # 16, 64 and 256 tokens
TEMPERATURES = (1.0, 0.5, 0.25)
SHARPENED = 4.0


def tokens(side: int) -> int:
    return (side // PATCH) ** 2


def with_queries(params: dict, factor: float) -> dict:
    """Parameters whose queries are `factor` times as long: a softmax at temperature 1 / factor."""
    scaled = jax.tree.map(lambda x: x, params)
    for name in (n for n in params if n.startswith('block')):
        linear = scaled[name]['attn']['qkv']
        ones = jnp.concatenate([jnp.full(DIM, factor), jnp.ones(2 * DIM)])
        linear['kernel'], linear['bias'] = linear['kernel'] * ones[None], linear['bias'] * ones
    return scaled


def likeness(features: np.ndarray) -> float:
    """Mean cosine of two different rows."""
    z = features / np.linalg.norm(features, axis=1, keepdims=True)
    return float((np.square(z.sum(axis=0)).sum() - len(z)) / (len(z) * (len(z) - 1)))


def measure(seed: int) -> dict[str, float]:
    fields = {'dim': DIM, 'depth': DEPTH, 'heads': HEADS, 'patch': PATCH, 'init_kernels': 'xavier'}
    model = models.ViT(**fields, positions='sincos', pool='mean', class_token=False)
    found = {}
    for side in SIDES:
        images = jnp.asarray(render(IMAGES, (side, side), seed=seed)[0], jnp.float32) / 127.5 - 1.0
        variables = jax.jit(model.init)(jax.random.key(seed), images[:1])
        apply = jax.jit(model.apply)
        for name, start in (('', 1.0), ('sharp_', SHARPENED)):
            for temperature in TEMPERATURES:
                params = with_queries(variables['params'], start / temperature)
                features = np.asarray(apply({'params': params}, images))
                found[f'{name}{tokens(side)}_{temperature:g}'] = likeness(features)
    return found


def draw(found: dict[str, np.ndarray], axis) -> None:
    counts = [tokens(side) for side in SIDES]
    for kind, style, label in (('', '-', ''), ('sharp_', ':', f', queries x {SHARPENED:g}')):
        for number, temperature in enumerate(TEMPERATURES):
            values = [found[f'{kind}{count}_{temperature:g}'].mean() for count in counts]
            axis.plot(counts, values, f'o{style}', color=f'C{number}', label=f'temperature {temperature:g}{label}')
    axis.set(xscale='log', xlabel='tokens', ylabel='mean cosine of two images')
    axis.set_xticks(counts, [str(count) for count in counts])
    axis.minorticks_off()
    axis.legend(fontsize=8)


finding = Finding(
    title='Longer inputs have features that are more alike',
    paper='Zhou et al. 2024, *Length-induced embedding collapse in transformer-based models*, '
    'https://arxiv.org/abs/2410.24200, sections 3 and 4',
    claim='Self-attention is a low-pass filter whose strength grows with the number of tokens, so embeddings of longer '
    'inputs lie closer to one another; a softmax temperature below 1 lessens that.',
    setup=f'An untrained vision transformer ({DEPTH} blocks of width {DIM}, Xavier kernels, mean patch) on {IMAGES} '
    f'rendered images of 16, 64 and 256 patches: the mean cosine of the features of two images, with attention at '
    'temperatures 1, 0.5 and 0.25, and the same where queries are 4 times as long from the start.',
    measure=measure,
    asserted={
        'more tokens, more alike, at temperature 1': lambda n: (
            n['16_1'].mean() <= n['64_1'].mean() and n['64_1'].mean() <= n['256_1'].mean()
        ),
        'temperature 0.25 makes features of every length less alike than temperature 1': lambda n: all(
            n[f'{tokens(side)}_0.25'].mean() < n[f'{tokens(side)}_1'].mean() for side in SIDES
        ),
    },
    reported='the same from longer queries, and temperature 0.5.',
    draw=draw,
)

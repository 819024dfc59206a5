"""docs/mutual_information.md: estimates of mutual information beside the truth, which correlated Gaussians have.

    python -m experiments.tables.mutual_information --workdir=docs [--steps=1000]

Writes mutual_information.json, .png and .md there; what the first holds already is kept, so that the command can be
stopped and repeated. Two CPU cores: some ten minutes.
"""

import functools
import json
import textwrap
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from selfsup import cli, errors, losses, models

USAGE = __doc__.split('\n\n')[1]
BATCH, BATCHES, SEEDS = 64, 500, 3
DIMS = (5, 20)
TRUTHS = {'true': (1, 2, 4, 6, 8, 10), 'trained': (2, 10)}
CRITIC = (256, 256, 32)
# Name -> what it says of a batch's scores, and the offset of the critic at which it is tight.
ESTIMATES = {
    'InfoNCE': (losses.mi_info_nce, 0.0),
    'NWJ': (losses.mi_nwj, 1.0),
    'DV': (losses.mi_dv, 0.0),
    'JSD': (losses.mi_jsd, 0.0),
    'SMILE, τ = 1': (functools.partial(losses.mi_smile, clip=1.0), 0.0),
    'SMILE, τ = 5': (functools.partial(losses.mi_smile, clip=5.0), 0.0),
}
# What a critic is trained by, and the estimates that it then gives: JSD and SMILE train by one gradient.
TRAININGS = {
    'InfoNCE': ('InfoNCE',),
    'NWJ': ('NWJ',),
    'DV': ('DV',),
    'MINE': ('MINE',),
    'JSD': ('JSD', *list(ESTIMATES)[4:]),
}
Recorded = dict[str, dict[str, float]]


def rho_of(truth: float, dim: int) -> float:
    """The correlation of each of `dim` pairs of coordinates at which they have `truth` nats: −dim/2·log(1 − ρ²)."""
    return float(np.sqrt(-np.expm1(-2.0 * truth / dim)))


def drawn(key: Any, rho: Any, dim: int) -> tuple[Any, Any]:
    """A batch of the joint distribution, x and y `[BATCH, dim]`."""
    x, noise = jax.random.normal(key, (2, BATCH, dim))
    return x, rho * x + jnp.sqrt(1.0 - rho * rho) * noise


def true_scores(x: Any, y: Any, rho: Any) -> Any:
    """Log p(x, y) / p(x)p(y) of every x with every y."""
    rest = 1.0 - rho * rho
    squares = jnp.sum((y[None] - rho * x[:, None]) ** 2, axis=-1)
    return 0.5 * (jnp.sum(y * y, axis=1)[None] - squares / rest) - 0.5 * x.shape[1] * jnp.log(rest)


def summary(estimates: np.ndarray, truth: float) -> dict[str, float]:
    """Of estimates `[seeds, batches]`: bias, deviation between batches, and between seeds of their means."""
    means = estimates.mean(axis=1)
    found = {'mean': estimates.mean(), 'bias': estimates.mean() - truth, 'deviation': estimates.std(axis=1).mean()}
    if len(means) > 1:
        found['of_seeds'] = means.std(ddof=1)
    return {name: round(float(value), 4) for name, value in found.items()}


@functools.partial(jax.jit, static_argnames=('dim',))
def at_the_truth(key: Any, rho: Any, dim: int) -> dict[str, Any]:
    """Every estimate of `BATCHES` batches from the true scores."""

    def one(key: Any) -> dict[str, Any]:
        scores = true_scores(*drawn(key, rho, dim), rho)
        return {name: -loss(scores + offset) for name, (loss, offset) in ESTIMATES.items()}

    return jax.lax.map(one, jax.random.split(key, BATCHES))


@functools.partial(jax.jit, static_argnames=('dim', 'by', 'steps'))
def trained(key: Any, rho: Any, dim: int, by: str, steps: int) -> dict[str, Any]:
    """The estimates of `BATCHES` new batches from a separable critic that was trained by one of them."""
    towers = models.MLP(CRITIC, hidden_norm=False), models.MLP(CRITIC, hidden_norm=False)
    start, draw, last = jax.random.split(key, 3)
    params = tuple(t.init(k, jnp.zeros((1, dim))) for t, k in zip(towers, jax.random.split(start), strict=True))
    rule = optax.adam(5e-4)

    def scores(params: Any, x: Any, y: Any) -> Any:
        g, h = (jnp.asarray(t.apply(p, z)) for t, p, z in zip(towers, params, (x, y), strict=True))
        return jnp.matmul(g, h.T, precision=jax.lax.Precision.HIGHEST)

    def loss(params: Any, average: Any, x: Any, y: Any) -> tuple[Any, Any]:
        if by == 'MINE':
            return losses.mi_mine(scores(params, x, y), average)
        return ESTIMATES[by][0](scores(params, x, y)), average

    def step(state: tuple, key: Any) -> tuple[tuple, None]:
        params, moments, average = state
        gradient, average = jax.grad(loss, has_aux=True)(params, average, *drawn(key, rho, dim))
        updates, moments = rule.update(gradient, moments)
        return (optax.apply_updates(params, updates), moments, average), None

    state = (params, rule.init(params), jnp.asarray(-jnp.inf))
    (params, *_), _ = jax.lax.scan(step, state, jax.random.split(draw, steps))

    def one(key: Any) -> dict[str, Any]:
        found = scores(params, *drawn(key, rho, dim))
        names = ('DV',) if by == 'MINE' else TRAININGS[by]
        return {'MINE' if by == 'MINE' else name: -ESTIMATES[name][0](found) for name in names}

    return jax.lax.map(one, jax.random.split(last, BATCHES))


def measured(recorded: Recorded, file: Path, steps: int) -> Recorded:
    """Every row: critic / dim / truth / estimate."""

    def note(critic: str, dim: int, truth: float, found: dict[str, Any]) -> None:
        for name, estimates in found.items():
            recorded[f'{critic} / {dim} / {truth} / {name}'] = summary(np.asarray(estimates, np.float64), truth)
        lines = [f'{json.dumps(key, ensure_ascii=False)}: {json.dumps(row)}' for key, row in recorded.items()]
        file.write_text('{\n' + ',\n'.join(lines) + '\n}\n')

    for dim in DIMS:
        for truth in TRUTHS['true']:
            if f'true / {dim} / {truth} / DV' not in recorded:
                found = at_the_truth(jax.random.key(0), rho_of(truth, dim), dim)
                note('true', dim, truth, {name: values[None] for name, values in found.items()})
        for by, names in TRAININGS.items():
            for truth in TRUTHS['trained']:
                if f'trained / {dim} / {truth} / {names[0]}' not in recorded:
                    keys = jax.random.split(jax.random.key(1), SEEDS)
                    runs = [trained(key, rho_of(truth, dim), dim, by, steps) for key in keys]
                    note('trained', dim, truth, jax.tree.map(lambda *r: np.stack(r), *runs))
                    print(f'{dim} dimensions, {truth} nats, by {by}', flush=True)
    return recorded


def table(recorded: Recorded, critic: str) -> str:
    """One line an estimate and dimension: mean ± deviation between batches, for each truth."""
    truths = TRUTHS[critic]
    lines = [
        '| estimate | dim | ' + ' | '.join(f'{t} nats' for t in truths) + ' |',
        '| --- ' + '| ---: ' * (len(truths) + 1) + '|',
    ]
    for name in dict.fromkeys(key.split(' / ')[3] for key in recorded if key.startswith(f'{critic} ')):
        for dim in DIMS:
            rows = [recorded[f'{critic} / {dim} / {truth} / {name}'] for truth in truths]
            cells = [f'{row["mean"]:.2f} ± {row["deviation"]:.2f}' for row in rows]
            lines.append(f'| {name} | {dim} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def plot(recorded: Recorded, file: Path) -> None:
    """Estimates over the truth, one panel a critic and dimension."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(17, 4.6), layout='constrained', sharey=True)
    names = list(dict.fromkeys(key.split(' / ')[3] for key in recorded))
    panels = [(critic, dim) for critic in TRUTHS for dim in DIMS]
    for axis, (critic, dim) in zip(axes, panels, strict=True):
        truths = np.array(TRUTHS[critic], float)
        axis.plot([0, 10.5], [0, 10.5], color='black', linewidth=1, linestyle='--', label='truth')
        axis.axhline(np.log(BATCH), color='grey', linewidth=0.8, linestyle=':', label='log batch')
        for number, name in enumerate(names):
            rows = [recorded.get(f'{critic} / {dim} / {truth} / {name}') for truth in TRUTHS[critic]]
            seen = [row for row in rows if row is not None]
            if len(seen) == len(truths):
                # Beside one another, so that the bars can be told apart.
                places = truths + 0.09 * (number - len(names) / 2)
                means, bars = ([row[of] for row in seen] for of in ('mean', 'deviation'))
                axis.errorbar(places, means, bars, label=name, color=f'C{number}', marker='o', markersize=3, capsize=2)
        axis.set(title=f'{critic} critic, {dim} dimensions', xlabel='mutual information, nats', ylim=(-2, 13))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(f'estimate of a batch of {BATCH}, nats')
    handles, labels = {}, {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles[label], labels[label] = handle, label
    figure.legend(handles.values(), labels.values(), loc='outside lower center', ncols=len(labels))
    figure.savefig(file, dpi=90)
    plt.close(figure)


def page(recorded: Recorded, steps: int, minutes: float) -> str:
    """docs/mutual_information.md; every figure is of the recorded rows."""

    def says(critic: str, truth: float, name: str) -> str:
        found = recorded[f'{critic} / 20 / {truth} / {name}']
        return f'{found["mean"]:.2f} ± {found["deviation"]:.2f}'

    most = max(found['mean'] for key, found in recorded.items() if key.endswith('/ InfoNCE'))
    names = ('InfoNCE', 'NWJ', 'DV', 'MINE', 'JSD', 'SMILE, τ = 5')
    learned = [f'{name} {recorded[f"trained / 20 / 10 / {name}"]["mean"]:.1f}' for name in names]
    spent = f', {minutes:.0f} minutes' if minutes >= 1 else ''
    clipped = [says('true', 10, f'SMILE, τ = {clip}') for clip in (5, 1)]
    parts = [
        '# Mutual information',
        'x and y are standard normal, and each coordinate of one is correlated with the same of the other by ρ: their '
        'mutual information is −dim/2·log(1 − ρ²), known exactly. Each estimate sees batches of '
        f'{BATCH} pairs; the tables have its mean ± its deviation from batch to batch, over {BATCHES} batches. The '
        'estimates are losses too (`losses.mi_info_nce`, `mi_nwj`, `mi_dv`, `mi_mine`, `mi_jsd`, `mi_smile`: minus the '
        'estimate, of a matrix of scores).',
        '`python -m experiments.tables.mutual_information --workdir=docs` repeats this page '
        f'(jax {jax.__version__}, CPU{spent}).',
        '![estimates over the truth](mutual_information.png)',
        '## With the true density ratio',
        "The critic is log p(x, y) / p(x)p(y) itself, so that what is wrong is the estimate's own.",
        table(recorded, 'true'),
        f'InfoNCE never exceeds log {BATCH} = {np.log(BATCH):.2f} (largest mean: {most:.2f}), and hardly '
        f'varies. At 2 nats '
        f'in 20 dimensions NWJ gives {says("true", 2, "NWJ")}, DV {says("true", 2, "DV")}, InfoNCE '
        f'{says("true", 2, "InfoNCE")}. At 10 nats few of the {BATCH * (BATCH - 1):,} products of a batch '
        'carry the '
        f'expectation of exp f: NWJ gives {says("true", 10, "NWJ")}, DV {says("true", 10, "DV")}. '
        f'Clipping '
        f'changes both bias and deviation: SMILE gives {clipped[0]} with τ = 5 and {clipped[1]} with τ = 1. '
        f'With this critic '
        "JSD's estimate is NWJ's; the two differ in what they train.",
        '## With a trained critic',
        f'g(x)·h(y) of two networks of widths {CRITIC}, trained for {steps:,} steps of Adam (5e-4) on new '
        f'batches, {SEEDS} '
        'seeds, then measured on others. JSD and SMILE are estimates of one critic, since they train by the '
        'same gradient. '
        'MINE trains with a moving average and reports DV.',
        table(recorded, 'trained'),
        f'At 10 nats in 20 dimensions: {", ".join(learned)}. A larger estimate is no evidence of more '
        f'information: these '
        'are numbers of one distribution.',
    ]
    return '\n\n'.join(part if part[0] in '#|!' else textwrap.fill(part, 120) for part in parts) + '\n'


def main(arguments: list[str]) -> int:
    values, _ = cli.parse(arguments, {'workdir': None, 'steps': '1000'}, USAGE)
    cli.prepare()
    folder, steps = Path(values['workdir']), cli.integer('steps', values['steps'])
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / 'mutual_information.json'
    started = time.perf_counter()
    recorded = measured(json.loads(file.read_text()) if file.exists() else {}, file, steps)
    plot(recorded, folder / 'mutual_information.png')
    text = page(recorded, steps, (time.perf_counter() - started) / 60)
    (folder / 'mutual_information.md').write_text(text)
    print(text)
    return 0


if __name__ == '__main__':
    errors.command(main)()

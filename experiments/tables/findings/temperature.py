"""The temperature of a contrastive loss trades uniform embeddings for embeddings that keep classes together."""

import numpy as np
from selfsup import diagnostics, evals

from .. import label_free_selection, table
from .finding import Finding, lines, shared_legend

TEMPERATURES = (0.07, 0.2, 1.0, 5.0)
EPOCHS, LABELS = 60, 10


def measure(seed: int) -> dict[str, float]:
    from selfsup.engine import sweep

    fields = [f'train.epochs={EPOCHS}', f'seed={seed}']
    resolved = table.load('digits', 'simclr', fields)
    out = sweep.train(resolved, [{'method.temperature': temperature} for temperature in TEMPERATURES])
    test, found = out.run.data.test, {}
    images = out.run.prepare(test.images())
    for temperature, state in zip(TEMPERATURES, out.states, strict=True):
        z = np.asarray(out.encode(state, images)['embeddings'])
        probe = evals.linear_probe(*label_free_selection.probed(out, state), label_counts=(LABELS,))
        found |= {
            f'uniformity_{temperature:g}': float(diagnostics.uniformity(z)),
            f'tolerance_{temperature:g}': float(diagnostics.tolerance(z, test.labels)),
            f'rankme_{temperature:g}': float(diagnostics.rankme(z)),
            f'probe_{temperature:g}': probe[f'linear_{LABELS}'],
        }
    return found


def of(found: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Means over the seeds, one a temperature."""
    return lines(found, f'{name}_', [f'{temperature:g}' for temperature in TEMPERATURES])


def draw(found: dict[str, np.ndarray], axis) -> None:
    axis.plot(TEMPERATURES, of(found, 'uniformity'), 'o-', label='uniformity of embeddings (lower is more uniform)')
    axis.set(xscale='log', xlabel='temperature', ylabel='log mean Gaussian potential')
    axis.set_xticks(TEMPERATURES, [f'{temperature:g}' for temperature in TEMPERATURES])
    axis.minorticks_off()
    other = axis.twinx()
    other.plot(TEMPERATURES, of(found, 'tolerance'), 's-', color='C1', label='tolerance (mean cosine within a class)')
    other.plot(TEMPERATURES, of(found, 'probe'), '^--', color='C2', label=f'probe, {LABELS} labels per class')
    other.set(ylabel='cosine, accuracy', ylim=(0.5, 1.0))
    shared_legend((axis, other), loc='upper center', bbox_to_anchor=(0.5, -0.16), fontsize=8)


finding = Finding(
    title='The temperature trades uniformity for tolerance',
    paper='Wang & Liu 2021, *Understanding the behaviour of contrastive loss*, https://arxiv.org/abs/2012.09740, '
    'sections 3 and 4',
    claim='A small temperature weighs the hardest negatives and spreads embeddings evenly over the sphere; a large one '
    "weighs all negatives alike and leaves images of one class, which are each other's negatives, closer together. "
    'Features are best at a temperature in between.',
    setup=f'SimCLR on digits (`digits/simclr`, {EPOCHS} epochs), uniformity, tolerance and RankMe of the embeddings of '
    f'the 359 test images, and a linear probe of the features with {LABELS} labels per class.',
    measure=measure,
    asserted={
        'uniformity rises with every temperature (embeddings are less evenly spread)': lambda n: bool(
            np.all(np.diff(of(n, 'uniformity')) > 0)
        ),
        'tolerance is higher at the largest temperature than at the smallest': lambda n: bool(
            of(n, 'tolerance')[-1] > of(n, 'tolerance')[0]
        ),
        'the probe is best below the largest temperature': lambda n: bool(
            np.argmax(of(n, 'probe')) < len(TEMPERATURES) - 1
        ),
    },
    reported='RankMe of the embeddings. Between 0.07 and 0.2 uniformity hardly moves; from there on it follows the '
    'claim. The sentences were written after a first look at one seed with half as many epochs, where the smallest '
    'temperature had not yet spread the embeddings.',
    draw=draw,
)

"""Every method, as configured and with a stated fault, and which flags the collapse alarm raises for both.

    python -m experiments.tables.collapse [--methods=vicreg,byol] [--workdir=runs/collapse]

Each method's digits config is trained for `--epochs` (20) with and without the stated fault; the held-out
images are then measured as during training. RankMe is listed too; the alarm does not use it, since it ignores
scale and alignment. Two CPU cores: about half a minute a method.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from selfsup import cli, errors
from selfsup.methods import Method

from . import table, trained


class Fault(NamedTuple):
    """A way to break a method: overrides of its config, or a change of the method itself."""

    says: str
    overrides: tuple[str, ...] = ()
    change: Callable[[Method], Method] | None = None


def only_alike(method: Method) -> Method:
    """The method with nothing in its loss but that two views be alike: the embeddings, or a query and its key."""

    def criterion(params: Any, outputs: Any, extra: Any, batch: Any, key: Any) -> tuple:
        seen = (*outputs['embeddings'], *outputs.get('keys', ()))
        first, second = (z / (jnp.linalg.norm(z, axis=1, keepdims=True) + 1e-6) for z in seen[:2])
        return jnp.mean(jnp.sum((first - second) ** 2, axis=1)), (extra, {})

    return method._replace(criterion=criterion)


def without_predictor(method: Method) -> Method:
    """BYOL's loss on embeddings in the place of predictions."""

    def criterion(params: Any, outputs: Any, extra: Any, batch: Any, key: Any) -> tuple:
        return method.criterion(params, {**outputs, 'predictions': outputs['embeddings']}, extra, batch, key)

    return method._replace(criterion=criterion)


def one_label(method: Method) -> Method:
    """The method as it would be if every image had the same label."""

    def criterion(params: Any, outputs: Any, extra: Any, batch: Any, key: Any) -> tuple:
        return method.criterion(params, outputs, extra, {**batch, 'label': jnp.zeros_like(batch['label'])}, key)

    return method._replace(criterion=criterion)


FLAGS = ('shrunk', 'narrow', 'unaligned', 'flat')
NONE = Fault('as it should be')
NO_NEGATIVES = Fault('no negatives: views are only asked to be alike', change=only_alike)
# A batch-norm at the projector's end keeps every dimension spread, and slows the loss of rank.
NO_NEGATIVES_NO_NORM = Fault(
    'no negatives, and no batch-norm after the projector', ('projector.last_norm=none',), only_alike
)
NO_QUEUE = Fault(
    'no negatives, and a target that is the encoder itself',
    ('method.momentum=0.0', 'method.momentum_final=0.0'),
    only_alike,
)
FAULTS = {
    'all4one': Fault(
        'views are only asked to be alike, no batch-norm after the projector',
        ('projector.last_norm=none',),
        only_alike,
    ),
    'amdim': NO_NEGATIVES,
    'barlow_twins': Fault('no redundancy term', ('method.lambd=0.0',)),
    'beclr': Fault(
        'views are only asked to be alike, a target that is the encoder itself, no batch-norm after the projector',
        ('method.momentum=0.0', 'method.momentum_final=0.0', 'projector.last_norm=none'),
        only_alike,
    ),
    'byol': Fault(
        'no predictor, and a target that is the encoder itself',
        ('method.momentum=0.0', 'method.momentum_final=0.0'),
        without_predictor,
    ),
    'debiased': NO_NEGATIVES,
    'decoupled': NO_NEGATIVES,
    'deepcluster_v2': Fault('one cluster, the trivial solution', ('method.prototypes=1',)),
    'detcon': NO_QUEUE,
    'dino': Fault('no prototypes, centring or sharpening: views are only asked to be alike', change=only_alike),
    'instdisc': NO_NEGATIVES,
    'invprop': NO_NEGATIVES,
    'intl': Fault('no normalisation and no trace loss: views are only asked to be alike', change=only_alike),
    'intl_m': Fault(
        'no normalisation, and a target that is the encoder itself',
        ('method.momentum=0.0', 'method.momentum_final=0.0', 'method.iterations=0', 'method.trace_weight=0.0'),
    ),
    'esimcse': NO_NEGATIVES,
    'exemplar': NO_NEGATIVES,
    'icon': NO_NEGATIVES,
    'jigclu': Fault('no places, and patches are only asked to be alike', ('method.place_weight=0.0',), only_alike),
    'lejepa': Fault('no SIGReg', ('method.lambd=0.0',)),
    'visreg': Fault('no centre, scale and shape', ('method.lambd=0.0',)),
    'mmcr': Fault('no global nuclear norm: views are only asked to be alike', change=only_alike),
    'moco_v1': NO_QUEUE,
    'moco_v2': NO_QUEUE,
    'moco_v3': NO_NEGATIVES_NO_NORM,
    'nnclr': NO_NEGATIVES_NO_NORM,
    'pcl': NO_QUEUE,
    'pirl': NO_NEGATIVES,
    'care': NO_NEGATIVES,
    'filmr': Fault('no variance and covariance', ('method.variance_weight=0.0', 'method.covariance_weight=0.0')),
    'sie': Fault('no variance and covariance', ('method.variance_weight=0.0', 'method.covariance_weight=0.0')),
    'cluster_ns': NO_NEGATIVES,
    'co2': NO_QUEUE,
    'emp_ssl': Fault('no coding rate: views are only asked to be alike', change=only_alike),
    'frossl': Fault('no Frobenius norm: views are only asked to be alike', change=only_alike),
    'hypersphere': Fault('no uniformity', ('method.uniformity_weight=0.0',)),
    'macl': NO_NEGATIVES,
    'mochi': NO_QUEUE,
    'moco_hard': NO_QUEUE,
    'nnbyol': Fault(
        'views are only asked to be alike, and a target that is the encoder itself',
        ('method.momentum=0.0', 'method.momentum_final=0.0'),
        only_alike,
    ),
    'nnsiam': NO_NEGATIVES_NO_NORM,
    'unisiam': NO_NEGATIVES_NO_NORM,
    'ressl': Fault('a teacher that is not sharpened', ('method.teacher_temperature=10.0',)),
    'simclr': NO_NEGATIVES,
    'simsiam': Fault('no stop-gradient', ('method.stop_gradient=False',)),
    'metric': Fault('every image with the same label', change=one_label),
    'supcon': Fault('every image with the same label', change=one_label),
    'swav': Fault('no prototypes: views are only asked to be alike', change=only_alike),
    'tico': Fault('no covariance term', ('method.rho=0.0',)),
    'unsee': Fault(
        'a target that is the encoder itself, and views are only asked to be alike',
        ('method.momentum=0.0', 'method.momentum_final=0.0'),
        only_alike,
    ),
    'vibcreg': Fault(
        'neither variance nor covariance term', ('method.variance_weight=0.0', 'method.covariance_weight=0.0')
    ),
    'vicreg': Fault('no variance term', ('method.variance_weight=0.0',)),
    'vicregl': Fault('no variance term', ('method.variance_weight=0.0',)),
    'whitened_contrastive': Fault('no whitening: views are only asked to be alike', change=only_alike),
    'w_mse': Fault('no whitening: views are only asked to be alike', change=only_alike),
}


def measure(resolved: Any, change: Callable[[Method], Method] | None = None) -> dict[str, float]:
    """The monitor's numbers after training by a resolved config."""
    from selfsup.engine.monitor import scalars

    found = trained.train(resolved, change)
    return scalars(jax.device_get(found.run.monitor()(found.state)))


def raised(seen: dict[str, float]) -> list[str]:
    """The flags of the alarm; a method of one view has no pairs, and so none of their alignment."""
    return [flag for flag in FLAGS if seen.get(f'alarm/{flag}')]


def row(name: str, says: str, seen: dict[str, float]) -> str:
    """One line of the table."""
    flags = raised(seen)
    numbers = [f'{seen[key]:.2g}' if key in seen else '–' for key in ('deviation', 'deviation_normalized', 'alignment')]
    return ' | '.join(
        [f'| {name}', says, *numbers, f'{seen["rank"]:.0f}', f'{seen["rankme"]:.0f}', ', '.join(flags) or 'silent']
    ) + ' |'  # fmt: skip


HEAD = (
    '| method | | deviation | normalised | pairs / different images | rank | RankMe | alarm |\n'
    '| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |'
)


def main(arguments: list[str]) -> int:
    usage = (
        'usage: python -m experiments.tables.collapse [--methods=a,b] [--epochs=20] [--workdir=FOLDER] '
        '[--config.field=value]'
    )
    values, overrides = cli.parse(arguments, {'methods': ','.join(FAULTS), 'epochs': '20', 'workdir': ''}, usage)
    epochs = cli.integer('epochs', values['epochs'])
    overrides = [f'train.epochs={epochs}', f'optimizer.warmup_epochs={min(10, epochs // 4)}', *overrides]
    cli.prepare()
    lines = [HEAD]
    print(HEAD, flush=True)
    for name in values['methods'].split(','):
        if name not in FAULTS:
            raise errors.UserError(f'--methods: {name!r} is unknown{errors.nearest(name, FAULTS)}')
        for fault in (NONE, FAULTS[name]):
            resolved = table.load('digits', name, [*overrides, *fault.overrides])
            seen = measure(resolved, fault.change)
            lines.append(row(name, fault.says, seen))
            print(lines[-1], flush=True)
    if values['workdir']:
        workdir = Path(values['workdir'])
        workdir.mkdir(parents=True, exist_ok=True)
        (workdir / 'table.md').write_text('\n'.join(lines) + '\n')
    return 0


if __name__ == '__main__':
    errors.command(main)()

"""Evaluations put together: the whole set of them, transfer to other data, and FEET's table."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import diagnostics
from ..errors import UserError, nearest
from .clustering import clustering
from .features import Features, check, even_draw, labelled
from .few_shot import few_shot
from .geometry import geometry
from .hubs import hubs
from .intrinsic_probe import intrinsic_probe
from .knn import knn_grid
from .linear import label_noise, linear_logistic, low_label
from .novel_classes import novel_classes
from .rescaling import rescaling
from .retrieval import retrieval
from .sgd import linear_sgd
from .sparse_probe import sparse_probe
from .widths import widths


def ranks(train: Features, test: Features, *, samples: int = 25_600) -> dict[str, float]:
    """RankMe and α-ReQ of at most `samples` rows of train (as they are, α-ReQ centred).

    Where train has more, they are drawn evenly from its classes, always the same ones, see :func:`even_draw`;
    labels are not read for anything else. α-ReQ is left out where the features are too narrow for its window of ranks.
    """
    check(train, 'train')
    z = np.asarray(train.features[even_draw(train.labels, samples, seed=0)], np.float32)
    found = {'rankme': float(diagnostics.rankme(z))}
    if min(z.shape[0] - 1, z.shape[1]) >= 12:
        found['alpha_req'] = float(diagnostics.alpha_req(z))
    return found


# name -> evaluation of features, in the order in which a table shows them.
EVALUATIONS: dict[str, Callable[..., dict[str, float]]] = {
    'knn': knn_grid,
    'logistic': linear_logistic,
    'sgd': linear_sgd,
    'low_label': low_label,
    'few_shot': few_shot,
    'clustering': clustering,
    'novel_classes': novel_classes,
    'retrieval': retrieval,
    'label_noise': label_noise,
    'ranks': ranks,
    'widths': widths,
    'geometry': geometry,
    'hubs': hubs,
    'rescaling': rescaling,
    'sparse_probe': sparse_probe,
    'intrinsic_probe': intrinsic_probe,
}
WITHOUT_LABELS = ('ranks', 'geometry')  # read rows without a label too
DEFAULT = ('knn', 'logistic', 'clustering', 'ranks')


def _known(train: Features, test: Features) -> tuple[Features, Features]:
    """The labelled rows of both; one object where one is given as both."""
    ours = labelled(train)
    return ours, ours if train is test else labelled(test)


def evaluate(
    train: Features, test: Features, *, only: Sequence[str] = DEFAULT, settings: Mapping[str, Any] | None = None
) -> dict[str, float]:
    """The numbers of several evaluations together.

    Args:
      train, test: features and labels; rows without a label are left out of all but `ranks` and `geometry`.
      only: rows of :data:`EVALUATIONS`.
      settings: name -> keywords of that evaluation.
    """
    known = _known(train, test)
    results: dict[str, float] = {}
    for name in only:
        if name not in EVALUATIONS:
            raise UserError(f'{name!r} is no evaluation{nearest(name, EVALUATIONS)}')
        sets = (train, test) if name in WITHOUT_LABELS else known
        results |= EVALUATIONS[name](*sets, **dict((settings or {}).get(name, {})))
    return results


def transfer(
    sets: Mapping[str, tuple[Features, Features]],
    *,
    evaluation: Callable[..., dict[str, float]] = linear_logistic,
    number: str = 'linear_logistic',
    **settings: Any,
) -> dict[str, float]:
    """One number of one frozen encoder on several data sets, and its mean over them.

    Args:
      sets: name -> features of train and test; hyper-parameters are chosen anew on each one's train.
      evaluation: of :data:`EVALUATIONS` or your own.
      number: which of its results.
      settings: keywords of the evaluation.

    Returns:
      `transfer_<name>` for each set and `transfer_mean`.
    """
    if not sets:
        raise UserError('transfer needs at least one data set')
    found = {f'transfer_{name}': evaluation(*pair, **settings)[number] for name, pair in sets.items()}
    return {**found, 'transfer_mean': float(np.mean(list(found.values())))}


def feet(
    train: Features,
    test: Features,
    *,
    shots: Sequence[int] = (2, 4, 8, 16),
    draws: int = 5,
    fine_tuned: float | None = None,
) -> dict[str, float]:
    """FEET's row of one encoder: frozen, few-shot and fine-tuned accuracy, and what each gains over frozen.

    Args:
      train, test: features of the frozen encoder; rows without a label are left out.
      shots: labels per class of the few-shot columns, means over `draws`; those that a class lacks are left out.
      draws: random draws.
      fine_tuned: accuracy after fine-tuning (:func:`fine_tune`), where it was done.

    Returns:
      `feet_frozen` (:func:`linear_logistic`), `feet_shot_<k>`, `feet_fine_tuned`, and for the latter two
      `delta_…` = 100·(M − M_frozen)/M_frozen.

    References:
      Lee et al. 2024, https://arxiv.org/abs/2411.01322 (FEET).
    """
    train, test = _known(train, test)
    frozen = linear_logistic(train, test)['linear_logistic']
    smallest = int(np.unique(train.labels, return_counts=True)[1].min())
    possible = [k for k in shots if k <= smallest]
    few = low_label(train, test, label_counts=possible, shares=(), draws=draws)
    columns = {f'shot_{k}': few[f'low_label_{k}'] for k in possible}
    if fine_tuned is not None:
        columns['fine_tuned'] = fine_tuned
    gains = {f'delta_{name}': 100.0 * (value - frozen) / frozen for name, value in columns.items() if frozen}
    return {'feet_frozen': frozen, **{f'feet_{name}': value for name, value in columns.items()}, **gains}

"""Many tasks on many encoders: one number each, its mean by kind of task, and ranks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from ..errors import UserError, nearest
from .clustering import clustering
from .features import Features, labelled
from .few_shot import few_shot
from .knn import knn_grid
from .linear import linear_logistic, low_label
from .retrieval import retrieval

Pair = tuple[Features, Features]


class Task(NamedTuple):
    """A task: its kind, the evaluation, its keywords, and which of its numbers counts."""

    kind: str
    evaluation: Callable[..., dict[str, float]]
    number: str
    settings: Mapping[str, Any] = {}


# The kinds are MIEB's, as far as features and labels allow them; few labels are 16 a class in five draws, as there.
TASKS: dict[str, Task] = {
    'logistic': Task('classification', linear_logistic, 'linear_logistic'),
    'low_label': Task('classification', low_label, 'low_label_16', {'label_counts': (16,), 'shares': (), 'draws': 5}),
    'few_shot': Task('classification', few_shot, 'few_shot_5', {'shots': (5,), 'episodes': 200}),
    'knn': Task('neighbours', knn_grid, 'knn'),
    'clustering': Task('clustering', clustering, 'cluster_nmi'),
    'retrieval': Task('retrieval', retrieval, 'mAP'),
}


def check_task(name: str) -> None:
    """Refuses a name that is no task."""
    if name not in TASKS:
        raise UserError(f'{name!r} is no task{nearest(name, TASKS)}')


def task(train: Features, test: Features, name: str) -> float:
    """The number of one task, in [0, 1]; rows without a label are left out."""
    check_task(name)
    row, ours = TASKS[name], labelled(train)
    found = row.evaluation(ours, ours if train is test else labelled(test), **row.settings)
    if row.number not in found:
        raise UserError(f'{name} gives no {row.number} here: a class has too few samples')
    return found[row.number]


def bench(
    encoders: Mapping[str, Mapping[str, Pair]],
    *,
    tasks: Sequence[str] = tuple(TASKS),
    told: Callable[[str], None] = lambda line: None,
) -> dict[str, dict[str, float]]:
    """Every task on every data set for every encoder: encoder -> `<data>/<task>` -> number.

    Args:
      encoders: name -> data set -> train and test; all encoders have the same data sets.
      tasks: names in :data:`TASKS`.
      told: is given a line for a task that a data set is too small for; no encoder then has a number of it.

    Raises:
      UserError: no encoder; data sets that differ, or labels that do, with their names; an unknown task.
    """
    if not encoders:
        raise UserError('a bench needs at least one encoder')
    names = list(encoders)
    known = encoders[names[0]]
    for name in names[1:]:
        if list(encoders[name]) != list(known):
            raise UserError(f'{name} has the data {", ".join(encoders[name])}, and {names[0]} {", ".join(known)}')
        for data, pair in encoders[name].items():
            for part, ours, theirs in zip(('train', 'test'), known[data], pair, strict=True):
                if not np.array_equal(ours.labels, theirs.labels):
                    raise UserError(f'{names[0]} and {name} have other labels of {data} ({part}): not the same samples')
    for one in tasks:
        check_task(one)
    results: dict[str, dict[str, float]] = {name: {} for name in names}
    for data in known:
        for one in tasks:
            try:
                found = {name: task(*encoders[name][data], one) for name in names}
            except UserError as error:
                told(f'{data}/{one}: left out, {error}')
                continue
            for name, value in found.items():
                results[name][f'{data}/{one}'] = value
    return results


def summary(results: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """The row of each encoder: means by kind of task, their mean, the mean rank and Borda's count.

    Args:
      results: of :func:`bench`.

    Returns:
      encoder -> `mean_<kind>`, over the tasks of that kind on all data sets; `mean`, over the kinds, so that a kind
      with many tasks weighs no more; `rank`, mean over the tasks of 1 for the best (equals share theirs); `borda`,
      how many encoders it beats, over all tasks (half for equals). Best first by `rank`.

    References:
      Xiao et al. 2025, https://arxiv.org/abs/2504.10471 (MIEB); Colombo et al. 2022,
      https://arxiv.org/abs/2202.03799 (Borda's count).
    """
    names = list(results)
    tasks = list(results[names[0]])
    if not tasks:
        raise UserError('there is no task that the data are large enough for')
    table = np.array([[results[name][one] for one in tasks] for name in names])
    ranks = np.stack([stats.rankdata(-column, method='average') for column in table.T], axis=1)
    kinds = [TASKS[one.rsplit('/', 1)[1]].kind for one in tasks]
    rows = {}
    for number, name in enumerate(names):
        means = {
            f'mean_{kind}': float(np.mean([v for v, k in zip(table[number], kinds, strict=True) if k == kind]))
            for kind in dict.fromkeys(kinds)
        }
        own = ranks[number]
        rows[name] = {
            **means,
            'mean': float(np.mean(list(means.values()))),
            'rank': float(own.mean()),
            'borda': float(np.sum(len(names) - own)),
        }
    return dict(sorted(rows.items(), key=lambda row: row[1]['rank']))

"""A sweep whose worse combinations end early: `selfsup sweep --prune`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from ..errors import REQUEUE, UserError
from ..evals.measures import MEASURES
from ..evals.model_selection import goodness
from ..files import is_number
from . import halving
from .grid import combinations, folder_of
from .summary import SCORES, row_of
from .training import Runs, one_by_one, trained

Member = tuple[str, ...]


def rule_of(values: dict[str, Any], configs: Sequence[ConfigDict], *, whole: bool) -> halving.Rule | None:
    """The rule of a command's options; None without `--prune`.

    Args:
      values: the options.
      configs: of all runs.
      whole: whether one process trains all runs, one after another.
    """
    if not values['prune']:
        if values['rungs']:
            raise UserError(f'--rungs={values["rungs"]} goes with --prune=MEASURE, such as --prune=rankme')
        return None
    if not whole:
        raise UserError('--prune compares all runs of a sweep as they go on; leave --shard and --together out')
    if not values['rungs']:
        raise UserError('--rungs is missing: the epochs after which runs are compared, such as --rungs=10,30')
    return halving.rule(values['prune'], values['rungs'], values['keep'], configs)


def train(runs: Runs, root: Path, rule: halving.Rule, failed: list[Member]) -> int:
    """Trains all runs to the first rung, the better part to the next, and what is left to the end.

    Returns: REQUEUE after a signal, else 0; `failed` grows by the runs that failed.
    """
    groups = combinations(runs)
    places = {name: [root / folder_of(member) for member in members] for name, members in groups.items()}
    left = list(groups)
    for rung, epochs in enumerate(rule.rungs):
        for member in (m for name in left for m in groups[name] if m not in failed):
            place = root / folder_of(member)
            if _at(place, runs[member]) >= epochs:
                continue
            print(f'to epoch {epochs:g}: {" ".join(member)}', flush=True)
            code = trained(runs[member], place, ' '.join(member), until=epochs)
            if code == REQUEUE and _at(place, runs[member]) < epochs:
                return code
            failed += [member] * (code not in (0, REQUEUE))
        before, left = left, halving.survivors(places, rule, rung)
        print(f'after {epochs:g} epochs {len(left)} of {len(before)} go on by {rule.by}: {"; ".join(left)}', flush=True)
    return one_by_one({m: runs[m] for name in left for m in groups[name]}, root, failed)


def _at(place: Path, run: ConfigDict) -> float:
    """Epochs that the run in a workdir has behind it; 0 where there is none."""
    row = row_of(place, run) or {}
    total = row.get('total')
    return run.train.epochs * row.get('step', 0) / total if total else 0.0


def tell(rows: dict[Member, dict[str, Any] | None], root: Path, rule: halving.Rule) -> None:
    """Prints what pruning saves, and what it costs of the best score where all runs are finished."""
    groups = combinations(rows)
    places = {name: [root / folder_of(member) for member in members] for name, members in groups.items()}
    left = halving.survivors(places, rule, len(rule.rungs) - 1)
    epochs = max((row or {}).get('train.epochs') or 0 for row in rows.values())
    share = halving.share_trained(len(groups), rule, epochs) if epochs else float('nan')
    print(f'pruned by {rule.by} it trains {share:.0%} of the epochs, and keeps {"; ".join(left)}')
    if not all(row and row.get('done') for row in rows.values()):
        print('what that costs is known once all runs are finished: the sweep without --prune, then --table --prune')
        return
    for score in (score for score in SCORES if score not in MEASURES):
        known = {name: [(rows[m] or {}).get(score) for m in members] for name, members in groups.items()}
        if not all(is_number(value) for values in known.values() for value in values):
            continue
        means = {name: sum(values) / len(values) for name, values in known.items()}  # type: ignore[arg-type]
        merits = {name: goodness({score: value}, score) for name, value in means.items()}
        best, chosen = max(merits, key=merits.__getitem__), max(left, key=merits.__getitem__)
        lost = merits[best] - merits[chosen]
        print(
            f'{score}: best {means[best]:.3f} ({best}), of the kept {means[chosen]:.3f} ({chosen}); regret {lost:.3f}'
        )

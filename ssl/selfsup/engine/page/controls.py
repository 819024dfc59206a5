"""The control on shuffled pairs or targets, which is a run of its own: looked for beside the run of a page."""

import itertools
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from ...config import RESUMABLE
from ...config.fields import flatten
from ...config.resolve import as_flat
from ...errors import UserError
from ...files import read_json, read_results
from ..encoder import Encoder

MOST_FOLDERS = 500  # looked into
FREE = {*RESUMABLE, 'control', 'seed'} - {'train.epochs'}  # fields in which a control may differ


class Control(NamedTuple):
    """Name of a control -> its scores, empty or one row; and a sentence where there is none."""

    scores: dict[str, dict[str, float]]
    note: str


def _same_run(saved: dict[str, Any], config: ConfigDict, fingerprint: str) -> bool:
    """Whether what a `config.json` holds is the control of a run on the same data."""
    if saved.get('fingerprint') != fingerprint or not isinstance(saved.get('config'), dict):
        return False
    theirs, ours = flatten(saved['config']), as_flat(config)
    differing = {name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name)}
    return 'control' in differing and differing <= FREE


def shuffled(workdir: Path, encoder: Encoder, about: dict[str, Any]) -> Control:
    """The scores of a finished run beside `workdir` whose config differs in nothing but `control` (and the seed).

    Args:
      workdir: of the run.
      encoder: its encoder.
      about: its `config.json`.
    """
    config, fingerprint = encoder.config, about.get('fingerprint')
    if config.control != 'none' or not fingerprint:
        return Control({}, '')
    for folder in itertools.islice(sorted(workdir.resolve().parent.iterdir()), MOST_FOLDERS):
        try:
            saved = read_json(folder / 'config.json')
            if not _same_run(saved, config, fingerprint):
                continue
            row = read_results(folder / 'results.json')[1].get('trained')
        except (UserError, OSError):  # no workdir, unfinished or damaged
            continue
        if row:
            return Control({f'control {saved["config"]["control"]} ({folder.name})': row}, '')
    kind = encoder.method.control
    return Control({}, f'No control on {kind}: no finished run beside this one has its config and control={kind!r}.')

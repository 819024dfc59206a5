"""Inputs that people have: folders in every layout, names, images, labels and arrays of every kind, file systems.

Each trial makes an input of which it is known what is right by docs/data.md, and runs a command on it. It must run and
have read what is right, or be refused where that is right, in one line that names the thing; files of the user stay.
"""

import contextlib
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzz_arrays import arrays, labels, modes, rows
from fuzz_cases import OUT, Case
from fuzz_folders import layout, odd_data, odd_list, odd_npz, odd_out, odd_run, odd_workdir
from fuzz_lists import lists, odd_features
from fuzz_outcome import build_only, building_only, ended, hashes, lost, read_only
from fuzz_systems import OBEYING, system
from fuzz_table import Outcome

KINDS: dict[str, Callable[[Path, Path, random.Random], Any]] = {
    'folder layouts': layout,
    'names in a folder': odd_data,
    'names in a list': odd_list,
    'lists': lists,
    'name of an npz file': odd_npz,
    'names of features': odd_features,
    'name of a run': odd_run,
    'name of a new workdir': odd_workdir,
    'names of outputs and configs': odd_out,
    'image modes': modes,
    'labels': labels,
    'arrays of images': arrays,
    'rows of features': rows,
    'file systems': system,
}
# Those that train, or read a run.
COSTLY = ('names of features', 'name of a run', 'name of a new workdir', 'file systems', 'rows of features')
# Drawn more often: there is more to draw in them, and they are cheap.
OFTEN = ('folder layouts', 'folder layouts', 'image modes', 'labels', 'arrays of images', 'names in a folder')


def trial(seed: int, number: int, material: Path, folder: Path, kind: str = '', *, cheap: bool = False) -> Outcome:
    """One input, read by a command; the kind is drawn if it is not given, and if cheap, one without a run."""
    r = random.Random(f'inputs {seed} {number}')
    kind = kind or r.choice((*(k for k in KINDS if not (cheap and k in COSTLY)), *OFTEN))
    (folder / OUT).mkdir()
    made = KINDS[kind](material, folder, r)
    case, around = made if isinstance(made, tuple) and not isinstance(made, Case) else (made, contextlib.nullcontext())
    before = hashes(folder)
    instead = build_only if r.random() < 0.2 else read_only
    building = building_only(instead) if case.command == 'train' and not case.real else contextlib.nullcontext()
    with around, building:
        end = ended(
            case.command, case.line, apart=case.apart, before=OBEYING if case.apart and os.getuid() == 0 else ()
        )
    verdict, sentence = judged(case, end)
    gone = lost(before, hashes(folder), lambda path: path.startswith(f'{OUT}/'))
    more = sorted(hashes(folder).keys() - before.keys())
    gone += [f'{path} was written' for path in more if not path.startswith(f'{OUT}/')]
    if gone:
        verdict, sentence = 'lost file', ', '.join(gone[:3])
    return Outcome(kind, verdict, sentence, f'{case.done}; python -m selfsup.{case.command} {case.line!r}')


def judged(case: Case, end: Any) -> tuple[str, str]:
    """The verdict on how a command ended."""
    verdict, sentence = end.verdict, end.sentence
    if verdict == 'refused' and case.refused == '':
        return 'unclear', f'refused what is right: {sentence}'
    if verdict == 'refused' and case.refused and ' '.join(case.refused.split()) not in sentence:
        return 'unclear', f'not named, {case.refused!r}: {sentence}'
    if verdict == 'ran' and case.refused:
        return 'unclear', f'taken, and {case.refused!r} was to be refused'
    wrong = case.check(end.printed) if verdict == 'ran' and not case.refused else ''
    return ('unclear', f'silent: {wrong}') if wrong else (verdict, sentence)

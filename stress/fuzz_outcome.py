"""What a command did with what the fuzz gave it, judged."""

import contextlib
import hashlib
import io
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from selfsup import convert as converting
from selfsup import embed, errors, evaluate, pack, select, train
from selfsup.config import defaults

ROOT = Path(__file__).parent.parent
COMMANDS: dict[str, Callable[[list[str]], int]] = {
    'train': train.main,
    'evaluate': evaluate.main,
    'embed': embed.main,
    'select': select.main,
    'pack': pack.main,
    'convert': converting.main,
}
# A sentence that names a field, an option or a file.
FIELDS = defaults().to_dict()
GROUPS = '|'.join(['config', *(name for name, value in FIELDS.items() if isinstance(value, dict))])
ALONE = '|'.join(name for name, value in FIELDS.items() if not isinstance(value, dict))
NAMED = re.compile(
    rf'--\w|get_config|config file|(?:{GROUPS})(?:\.\w| must)|/|\.(?:npz|py|json|jsonl)\b|'
    rf'the disk is full|\b(?:{ALONE})\b|npz:|folder:|shards:|tfds:'
)


class Ended(NamedTuple):
    """How a command ended.

    Attributes:
      verdict: 'ran' for exit codes 0 and 75, 'refused' for one clear line and code 2, else 'unclear' or 'traceback'.
      sentence: as in :class:`Outcome`.
      printed: what stood on its output.
    """

    verdict: str
    sentence: str
    printed: str


# Lines on stderr that are no errors: what was skipped, warnings, what was left out of the data.
BESIDE = ('skipped', 'left out', 'warning', 'data: ')


def attempt(command: str, arguments: list[str], *, apart: bool = False) -> tuple[str, str]:
    """Runs a command, `apart` in a process of its own; returns its verdict and sentence."""
    return ended(command, arguments, apart=apart)[:2]


def ended(command: str, arguments: list[str], *, apart: bool = False, before: Sequence[str] = ()) -> Ended:
    """Runs a command, `apart` in a process of its own, there behind the words `before`."""
    code, out, err, trace = _apart(command, arguments, before) if apart else _within(command, arguments)
    if trace:
        return Ended('traceback', trace, out)
    if code in (0, errors.REQUEUE):
        return Ended('ran', '', out)
    lines = [line for line in err.splitlines() if line.strip() and not line.startswith(BESIDE)]
    if code != errors.BAD_INPUT:
        return Ended('traceback', f'exit code {code}: {" ".join(lines[-2:])}', out)
    said = [line for line in lines if line.startswith('error: ')] if apart else lines
    if len(said) != 1 or not said[0].startswith('error: ') or not NAMED.search(said[0]) or len(said[0]) > 1200:
        return Ended('unclear', ' | '.join(said or lines), out)
    return Ended('refused', said[0].removeprefix('error: '), out)


def _stream(mistakes: str) -> io.TextIOWrapper:
    """A text stream in memory that takes what a terminal would."""
    return io.TextIOWrapper(io.BytesIO(), encoding='utf-8', errors=mistakes, write_through=True)


def _within(command: str, arguments: list[str]) -> tuple[int, str, str, str]:
    out, err, old, code, trace = _stream('strict'), _stream('backslashreplace'), sys.argv, 0, ''
    sys.argv = [command, *arguments]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            errors.command(COMMANDS[command])()
    except SystemExit as end:
        code = int(end.code or 0) if not isinstance(end.code, str) else 1
    except BaseException as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if '/selfsup/' in f.filename]
        where = f'{Path(frames[-1].filename).name}:{frames[-1].lineno}' if frames else ''
        text = str(error).splitlines()
        code, trace = 1, f'{type(error).__name__} at {where}: {text[0] if text else ""}'
    finally:
        sys.argv = old
    said, wrong = (stream.buffer.getvalue().decode(errors='replace') for stream in (out, err))  # type: ignore[attr-defined]
    return code, said, wrong, trace


def _apart(command: str, arguments: list[str], before: Sequence[str]) -> tuple[int, str, str, str]:
    done = subprocess.run(
        [*before, sys.executable, '-m', f'selfsup.{command}', *arguments],
        capture_output=True, text=True, timeout=300, errors='replace',
    )  # fmt: skip
    trace = done.stderr.strip().splitlines()[-1] if 'Traceback' in done.stderr else ''
    return done.returncode, done.stdout, done.stderr, trace


def build_only(config, path: str = '', *, devices: int | None = None) -> int:
    """In the place of training: everything is built and one dispatch traced, nothing compiled or run."""
    import jax
    import jax.numpy as jnp
    from selfsup.engine.run import Run, banner

    spread = config.parallel.shard == 'fsdp' and config.data.batch_size % 2 == 0
    run = Run(config, devices=min(jax.device_count(), 2) if spread else 1)
    count = run.next_chunk(0)
    lead = (len(run.data.train),) if run.feed.resident else (count, config.data.batch_size)
    if config.data.crop != 'device':
        data, _ = run.feed(0, count)
        data = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), data)
    else:
        data = {
            'input': jax.ShapeDtypeStruct((*lead, *run.image_shape), run.data.train.spec.dtype),
            'label': jax.ShapeDtypeStruct(lead, jnp.int32),
        }
    indices = jax.ShapeDtypeStruct((count, config.data.batch_size), np.int32)
    jax.eval_shape(run.dispatch, run.state_shapes, data, indices)
    run.monitor()
    banner(run)
    print(f'{classes_read(run.data)} classes')
    if not run.feed.resident:
        run.feed.close()
    return 0


def read_only(config, path: str = '', *, devices: int | None = None) -> int:
    """In the place of training: the data are opened, and an example of each part read."""
    from selfsup.engine import build

    data = build.open_data(config)
    parts = {'to train on': data.train, 'held out': data.holdout, 'to test': data.test}
    for part in parts.values():
        part.reader.array(len(part) - 1)
    counts = [f'{len(part)} {"images " if part is data.train else ""}{what}' for what, part in parts.items()]
    print(f'{", ".join(counts)}\n{classes_read(data)} classes')
    return 0


def classes_read(data: Any) -> int:
    """How many classes the source has: a training set without labels may stand beside a test set with them."""
    return max(data.train.num_classes, data.test.num_classes)


@contextlib.contextmanager
def building_only(instead: Callable[..., int] = build_only):
    """`selfsup.train` builds and traces instead of training, or does what is given."""
    from selfsup.engine import dry_run, loop

    kept = loop.train, dry_run.dry_run
    loop.train, dry_run.dry_run = instead, instead  # type: ignore[assignment]
    try:
        yield
    finally:
        loop.train, dry_run.dry_run = kept


def hashes(folder: Path) -> dict[str, str]:
    """Every file below a folder, with a hash of its content."""
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            file = Path(place) / name
            if file.is_file():
                found[str(file.relative_to(folder))] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def lost(before: dict[str, str], after: dict[str, str], may_change: Callable[[str], bool]) -> list[str]:
    """Files that are gone or changed, but for those that may."""
    return [name for name, content in before.items() if after.get(name) != content and not may_change(name)]

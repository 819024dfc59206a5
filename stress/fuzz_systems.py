"""File systems that refuse: without locks, read-only, without room."""

import contextlib
import errno
import fcntl
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz_cases import OUT, Case, train_line

# Permissions do not hold root back unless it gives these up.
OBEYING = ('setpriv', '--bounding-set=-dac_override,-dac_read_search', '--inh-caps=-dac_override,-dac_read_search')


@contextlib.contextmanager
def replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    """A function of a module replaced for a while."""
    kept = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, kept)


def failing(number: int) -> Any:
    """A function that fails as the system call does."""

    def fails(*arguments: Any, **keywords: Any) -> None:
        raise OSError(number, os.strerror(number))

    return fails


def no_locks(material: Path, folder: Path, r: random.Random) -> tuple[Case, Any]:
    """`flock` fails as on Lustre, NFS and FUSE mounts without locks: a warning, and the run goes on."""
    number = r.choice((errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP))
    line = train_line(f'npz:{material}/grey.npz', folder / OUT / 'run', 'data.batch_size=16', 'data.image_size=0')

    def check(printed: str) -> str:
        done = (folder / OUT / 'run' / 'results.json').is_file() and 'without locks' in printed
        return '' if done else 'no results, or no word of the missing locks'

    case = Case('train', line, f'flock fails with {errno.errorcode[number]}', '', check, real=True)
    return case, replaced(fcntl, 'flock', failing(number))


def no_shared_memory(material: Path, folder: Path, r: random.Random) -> tuple[Case, Any]:
    """/dev/shm is full when worker processes ask for their memory."""
    fields = ('data.workers=1', 'data.feed=streaming')
    line = train_line(f'folder:{material}/images', folder / OUT / 'run', *fields)
    case = Case('train', line, '/dev/shm is full', 'shm', real=True)
    return case, replaced(os, 'posix_fallocate', failing(errno.ENOSPC))


def locked_folder(material: Path, folder: Path, r: random.Random) -> tuple[Case, Any]:
    """A folder that may be read and not written, of the data (right) or of what is written (refused)."""
    closed = folder / 'closed'
    shutil.copytree(material / 'images', closed / 'images')
    way = r.choice(('data', 'workdir', 'embed out', 'pack out', 'convert out', 'image', 'class'))
    spec = f'folder:{closed}/images'
    packed = Case('pack', [f'--data={spec}', f'--out={folder}/{OUT}/packed'], f'{way} closed')
    cases = {
        'data': packed,
        'workdir': Case('train', train_line(spec, closed / 'run'), '', str(closed / 'run')),
        'embed out': Case('embed', [f'--workdir={material}/run', f'--out={closed}/f.npz'], '', 'f.npz'),
        'pack out': packed._replace(line=[f'--data={spec}', f'--out={closed}/packed'], refused='packed'),
        'convert out': Case('convert', [f'--from={material}/encoder', f'--to={closed}/encoder'], '', f'{closed}'),
        'image': packed._replace(refused='0.png'),
        'class': packed._replace(refused=f'{closed}/images/a'),
    }
    for place in (closed, closed / 'images'):
        place.chmod(0o555)
    if way == 'image':
        (closed / 'images' / 'a' / '0.png').chmod(0)
    if way == 'class':
        (closed / 'images' / 'a').chmod(0)
    return cases[way]._replace(done=f'closed: {way}', apart=True), contextlib.nullcontext()


def full_disk(material: Path, folder: Path, r: random.Random) -> tuple[Case, Any]:
    """The disk is full when a result is written."""
    import numpy as np

    line = [f'--workdir={material}/run', f'--out={folder}/{OUT}/f.npz']
    case = Case('embed', line, 'the disk is full at np.savez', 'full')
    return case, replaced(np, 'savez', failing(errno.ENOSPC))


WAYS = (no_locks, no_shared_memory, locked_folder, locked_folder, locked_folder, full_disk)


def system(material: Path, folder: Path, r: random.Random) -> tuple[Case, Any]:
    """A file system that refuses something, and the context in which it does."""
    return r.choice(WAYS)(material, folder, r)

"""What this machine has and what is wrong with it, before a run finds out: `selfsup doctor`."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from . import cli
from .errors import NO_PLUGIN, UserError, command

USAGE = """usage: selfsup doctor [--data-dir=DIR]      (or python -m selfsup.doctor)

  --data-dir=DIR   where TFDS keeps its data sets; by default TFDS_DATA_DIR or ~/tensorflow_datasets

Prints Python, packages, devices, memory, disks, caches and data, and after `problem:` what will not work, with what
would mend it. The exit code is 1 where there is a problem."""
PYTHON = ((3, 11), (3, 14))
PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'ml-collections', 'tensorflow-datasets')
GIB = 2**30
LEAST_FREE = 2 * GIB
DEVICES = """
import jax
print(jax.default_backend())
for device in jax.devices():
    print(device.device_kind, (device.memory_stats() or {}).get('bytes_limit', 0), sep='\\t')
"""


class Finding(NamedTuple):
    """A line of the report; `problem` is '' or what is wrong and would mend it."""

    name: str
    value: str
    problem: str = ''


def python() -> Iterator[Finding]:
    version = sys.version_info[:2]
    fine = PYTHON[0] <= version < PYTHON[1]
    told = '' if fine else 'selfsup is written for Python 3.11 to 3.13; make a virtual environment with one of them'
    yield Finding('python', f'{platform.python_version()} on {platform.machine()}', told)


def packages() -> Iterator[Finding]:
    found, missing = [], []
    for name in PACKAGES:
        try:
            found.append(f'{name} {metadata.version(name)}')
        except metadata.PackageNotFoundError:
            missing.append(name)
    told = f'{", ".join(missing)} not installed: pip install -r requirements.txt' if missing else ''
    yield Finding('packages', ', '.join(found), told)


def devices() -> Iterator[Finding]:
    """Asked of a process of its own: a broken driver can end or hang the process that asks."""
    try:
        asked = subprocess.run([sys.executable, '-c', DEVICES], capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        yield Finding('devices', 'none', 'jax found no device within two minutes; JAX_PLATFORMS=cpu leaves others out')
        return
    if asked.returncode:
        line = (asked.stderr.strip().splitlines() or [f'exit code {asked.returncode}'])[-1]
        if line == 'AssertionError':  # of jax 0.10 to 0.12, where no plugin for JAX_PLATFORMS is installed
            line = f'it has no plugin for these devices: {NO_PLUGIN}'
        flags = [f'{n}={os.environ[n]}' for n in ('JAX_PLATFORMS', 'XLA_FLAGS') if os.environ.get(n)]
        yield Finding('devices', 'none', f'jax does not start: {line}{f"; see to {flags}" if flags else ""}')
        return
    backend, *lines = asked.stdout.split('\n')[:-1]
    rows = [line.split('\t') for line in lines]
    memory = f', {int(rows[0][1]) / GIB:.0f} GiB each' if int(rows[0][1]) else ''
    told = ''
    if backend == 'cpu' and shutil.which('nvidia-smi'):
        told = (
            "there is an NVIDIA GPU, and jax does not use it: pip install 'jax[cuda13]', and leave JAX_PLATFORMS unset"
        )
    yield Finding('devices', f'{len(rows)} x {rows[0][0]} ({backend}){memory}', told)


def memory() -> Iterator[Finding]:
    file = Path('/proc/meminfo')
    lines = file.read_text().splitlines() if file.exists() else []
    sizes = {line.split(':')[0]: line.split()[1] for line in lines}
    if 'MemAvailable' in sizes:
        free, total = (int(sizes[name]) * 1024 for name in ('MemAvailable', 'MemTotal'))
        told = f'less than {LEAST_FREE / GIB:.0f} GiB are free' if free < LEAST_FREE else ''
        yield Finding('memory', f'{free / GIB:.1f} of {total / GIB:.1f} GiB free, {os.cpu_count()} cores', told)


def folders(data_dir: str) -> Iterator[Finding]:
    for name, folder in (
        ('here', os.getcwd()),
        ('compiled programs', cli.cache_folder()),
        ('temporary files', tempfile.gettempdir()),
    ):
        if not folder:
            yield Finding(name, 'not kept: this account has no home; JAX_COMPILATION_CACHE_DIR can name a folder')
            continue
        place = Path(folder)
        while not os.path.exists(place):  # unlike Path.exists, false where a folder above cannot be read
            place = place.parent
        free = shutil.disk_usage(place).free
        told = f'{folder} cannot be written' if not os.access(place, os.W_OK) else ''
        told = told or (f'less than {LEAST_FREE / GIB:.0f} GiB are free at {folder}' if free < LEAST_FREE else '')
        yield Finding(name, f'{folder}, {free / GIB:.1f} GiB free', told)
    data = Path(os.path.expanduser(data_dir or os.environ.get('TFDS_DATA_DIR', '~/tensorflow_datasets')))
    sets = sorted(
        {file.parts[len(data.parts)] for file in data.glob('*/**/dataset_info.json')} if data.is_dir() else ()
    )
    told = f'--data-dir={data_dir} is no folder' if data_dir and not data.is_dir() else ''
    yield Finding('tfds data', f'{data}: {", ".join(sets) or "none yet"}', told)


def configs() -> Iterator[Finding]:
    from .config.shipped import shipped

    found = shipped()
    told = '' if found else 'the configs of experiments/ did not come with this installation; install the package again'
    yield Finding('configs', f'{len(found)} by name, such as digits/vicreg', told)


def main(arguments: list[str]) -> int:
    values, overrides = cli.parse(arguments, {'data-dir': ''}, USAGE)
    if overrides:
        raise UserError('doctor reads no config; --config fields have no effect here')
    problems = 0
    for finding in (*python(), *packages(), *devices(), *memory(), *folders(values['data-dir']), *configs()):
        print(f'{finding.name:<18} {finding.value}', flush=True)
        if finding.problem:
            problems += 1
            print(f'{"":<18} problem: {finding.problem}', flush=True)
    print(f'{problems} problem{"" if problems == 1 else "s"} found' if problems else 'no problem found')
    return int(bool(problems))


if __name__ == '__main__':
    command(main)()

"""Trains from a config file; the same command again resumes."""

import os
import re
from pathlib import Path
from typing import Any

from . import cli, launch
from .errors import UserError, command

USAGE = (
    """usage: selfsup train CONFIG [--workdir=FOLDER] [--config.field=value ...]      (or python -m selfsup.train)

  CONFIG                a config of experiments/ by name (digits/vicreg), or a file of your own; also --config=FILE
  --workdir=FOLDER      where the run lives; an unfinished run there is resumed. By default runs/<folder>/<name> of the
                        config
  --config.field=value  overrides a field, e.g. --config.optimizer.learning_rate=0.1; also without `--config.`
  --deterministic       deterministic GPU kernels (slower)
  --host-devices=N      pretend that the CPU is N devices
  --dry-run             print what would be run, with its FLOPs and memory, and stop
  --on=TARGET           with --dry-run, on hardware that is not there: h100:8, a100:1, tpu-v5e:4x4 (docs/hardware.md)"""
    + launch.USAGE
)
OPTIONS: dict[str, str | list[str] | None] = {
    '': [], 'config': '', 'workdir': '', 'deterministic': 'false', 'host-devices': '0', 'dry-run': 'false', 'on': '',
    **launch.OPTIONS,
}  # fmt: skip

FIELD = re.compile(r'[A-Za-z_][\w.]*=')


def main(arguments: list[str]) -> int:
    values, overrides = cli.parse(arguments, OPTIONS, USAGE)
    path, more = _config(values)
    overrides += more
    if values['on']:
        _check_planned(values)
        # Only compilers are asked, and no platform but the CPU may be looked for.
        os.environ['JAX_PLATFORMS'] = 'cpu'
    cli.prepare(
        deterministic=values['deterministic'] == 'true',
        host_devices=cli.integer('host-devices', values['host-devices']),
    )
    from . import config

    resolved = config.load(path, overrides)
    dry = values['dry-run'] == 'true'
    workdir = values['workdir'] or default_workdir(path)
    count = cli.integer('processes', values['processes'])
    if count:
        return launch.train(values, arguments, count)
    launch.join(values)
    from .engine import dry_run, loop

    return launch.ending_together(
        lambda: dry_run.dry_run(resolved, values['on']) if dry else loop.train(resolved, workdir)
    )


def _config(values: dict[str, Any]) -> tuple[str, list[str]]:
    """The config that is named, by `--config` or without, and the words `field=value`."""
    more = [word for word in values[''] if FIELD.match(word) and not Path(word).is_file()]
    named = [word for word in values[''] if word not in more] + ([values['config']] if values['config'] else [])
    if len(named) != 1:
        what = f'one config at a time, not {" and ".join(named)}' if named else 'the config is missing'
        raise UserError(f'{what}; {USAGE.splitlines()[0]}')
    return named[0], more


def default_workdir(path: str) -> str:
    """`runs/digits/vicreg` for experiments/digits/vicreg.py."""
    file = Path(path).absolute()
    return str(Path('runs') / file.parent.name / file.stem)


def _check_planned(values: dict[str, Any]) -> None:
    """Refuses options that `--on` cannot go with."""
    if values['dry-run'] != 'true':
        raise UserError(f'--on={values["on"]} plans a run and needs --dry-run; a run takes the devices at hand')
    for name in ('host-devices', *launch.OPTIONS):
        if values[name] != OPTIONS[name]:
            raise UserError(f'--on={values["on"]} plans the whole run from one process; leave out --{name}')


if __name__ == '__main__':
    command(main)()

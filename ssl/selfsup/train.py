"""Trains from a config file; the same command again resumes."""

import os
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
  --dry-run             read a first batch, print what would be run, with its FLOPs and memory, and stop
  --on=TARGET           with --dry-run, on hardware that is not there: h100:8, a100:1, tpu-v5e:4x4 (docs/hardware.md)"""
    + launch.USAGE
)
OPTIONS: dict[str, str | list[str] | None] = {
    '': [], 'config': '', 'workdir': '', 'deterministic': 'false', 'host-devices': '0', 'dry-run': 'false', 'on': '',
    **launch.OPTIONS,
}  # fmt: skip


def main(arguments: list[str]) -> int:
    values, overrides = cli.parse(arguments, OPTIONS, USAGE)
    path, more = cli.config_of(values, USAGE)
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
    workdir = values['workdir'] or str(Path('runs') / cli.place_of(path))
    count = cli.integer('processes', values['processes'])
    if count:
        return launch.train(values, arguments, count)
    launch.join(values)
    from .engine import dry_run, loop

    return launch.ending_together(
        lambda: dry_run.dry_run(resolved, values['on']) if dry else loop.train(resolved, workdir)
    )


def _check_planned(values: dict[str, Any]) -> None:
    """Refuses options that `--on` cannot go with."""
    if values['dry-run'] != 'true':
        raise UserError(f'--on={values["on"]} plans a run and needs --dry-run; a run takes the devices at hand')
    for name in ('host-devices', *launch.OPTIONS):
        if values[name] != OPTIONS[name]:
            raise UserError(f'--on={values["on"]} plans the whole run from one process; leave out --{name}')


if __name__ == '__main__':
    command(main)()

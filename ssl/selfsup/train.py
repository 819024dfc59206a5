"""Trains from a config file; the same command again resumes."""

from . import cli, launch
from .errors import UserError, command

USAGE = (
    """usage: python -m selfsup.train --config=FILE --workdir=FOLDER [--config.field=value ...]

  --config=FILE         a config file of experiments/, or your own
  --workdir=FOLDER      where the run lives; an unfinished run there is resumed
  --config.field=value  overrides a field, e.g. --config.optimizer.learning_rate=0.1
  --deterministic       deterministic GPU kernels (slower)
  --host-devices=N      pretend that the CPU is N devices
  --dry-run             print what would be run, with its FLOPs and memory, and stop"""
    + launch.USAGE
)


def main(arguments: list[str]) -> int:
    options = {'config': None, 'workdir': '', 'deterministic': 'false', 'host-devices': '0', 'dry-run': 'false'}
    options |= launch.OPTIONS
    values, overrides = cli.parse(arguments, options, USAGE)
    cli.prepare(
        deterministic=values['deterministic'] == 'true',
        host_devices=cli.integer('host-devices', values['host-devices']),
    )
    from . import config

    resolved = config.load(values['config'], overrides)
    dry = values['dry-run'] == 'true'
    if not values['workdir'] and not dry:
        raise UserError(f'--workdir is missing; {USAGE.splitlines()[0]}')
    count = cli.integer('processes', values['processes'])
    if count:
        return launch.train(values, arguments, count)
    launch.join(values)
    from .engine import dry_run, loop

    return launch.ending_together(lambda: dry_run.dry_run(resolved) if dry else loop.train(resolved, values['workdir']))


if __name__ == '__main__':
    command(main)()

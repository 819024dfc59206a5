"""Trains from a config file; the same command again resumes."""

from . import cli
from .errors import UserError, command

USAGE = """usage: python -m selfsup.train --config=FILE --workdir=FOLDER [--config.field=value ...]

  --config=FILE         a config file of experiments/, or your own
  --workdir=FOLDER      where the run lives; an unfinished run there is resumed
  --config.field=value  overrides a field, e.g. --config.optimizer.learning_rate=0.1
  --deterministic       deterministic GPU kernels (slower)
  --host-devices=N      pretend that the CPU is N devices
  --dry-run             print what would be run, with its FLOPs and memory, and stop"""


def main(arguments: list[str]) -> int:
    options = {'config': None, 'workdir': '', 'deterministic': 'false', 'host-devices': '0', 'dry-run': 'false'}
    values, overrides = cli.parse(arguments, options, USAGE)
    cli.prepare(
        deterministic=values['deterministic'] == 'true',
        host_devices=cli.integer('host-devices', values['host-devices']),
    )
    from . import config
    from .engine import dry_run, loop

    resolved = config.load(values['config'], overrides)
    if values['dry-run'] == 'true':
        return dry_run.dry_run(resolved)
    if not values['workdir']:
        raise UserError(f'--workdir is missing; {USAGE.splitlines()[0]}')
    return loop.train(resolved, values['workdir'])


if __name__ == '__main__':
    command(main)()

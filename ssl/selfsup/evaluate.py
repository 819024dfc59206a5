"""Repeats the table and the report of a run, for its newest checkpoint or any other."""

from pathlib import Path

from . import cli
from .errors import command

USAGE = """usage: python -m selfsup.evaluate --workdir=FOLDER [--step=N]

  --workdir=FOLDER  a run
  --step=N          which checkpoint; by default the newest"""


def main(arguments: list[str]) -> int:
    values, overrides = cli.parse(arguments, {'workdir': None, 'step': 'newest'}, USAGE)
    if overrides:
        from .errors import UserError

        raise UserError('evaluate takes its config from the workdir; --config fields have no effect here')
    cli.prepare()
    from .engine import encoder, loop, report
    from .engine.writer import read_jsonl

    step = None if values['step'] == 'newest' else cli.integer('step', values['step'])
    trained = encoder.load(values['workdir'], step=step)
    run = loop.Run(trained.config)
    lines = [line for line in read_jsonl(Path(values['workdir']) / 'metrics.jsonl') if line['step'] <= trained.step]
    report.finish(Path(values['workdir']), run.data, trained, loop.untrained(run), lines)
    return 0


if __name__ == '__main__':
    command(main)()

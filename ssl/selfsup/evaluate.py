"""Repeats the table and the report of a run, for its newest checkpoint or any other; or makes them for an encoder."""

from pathlib import Path

from . import cli
from .errors import UserError, command

USAGE = """usage: python -m selfsup.evaluate --workdir=FOLDER [--step=N] [--data=SOURCE]

  --workdir=FOLDER  a run, or an encoder of selfsup.convert
  --step=N          which checkpoint; by default the newest
  --data=SOURCE     for an encoder: digits, tfds:<name>, npz:<file> or folder:<path>"""


def main(arguments: list[str]) -> int:
    values, overrides = cli.parse(arguments, {'workdir': None, 'step': 'newest', 'data': 'own'}, USAGE)
    if overrides:
        raise UserError('evaluate takes its config from the workdir; --config fields have no effect here')
    cli.prepare()
    from . import convert
    from .engine import build, encoder, initial, loop, report
    from .engine.writer import read_jsonl

    step = None if values['step'] == 'newest' else cli.integer('step', values['step'])
    trained = encoder.load(values['workdir'], step=step)
    if convert.is_encoder(values['workdir']):
        data = build.open_data(trained.config, None if values['data'] == 'own' else values['data'])
        trained.config.data.source = values['data']
        control = initial.untrained(trained, data.train.images())
        report.finish(Path(values['workdir']), data, trained, control, [])
        return 0
    if values['data'] != 'own':
        raise UserError('a run is evaluated on its own data; --data is for encoders of selfsup.convert')
    run = loop.Run(trained.config)
    lines = [line for line in read_jsonl(Path(values['workdir']) / 'metrics.jsonl') if line['step'] <= trained.step]
    report.finish(Path(values['workdir']), run.data, trained, loop.untrained(run), lines)
    return 0


if __name__ == '__main__':
    command(main)()

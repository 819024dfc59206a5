"""The runs under a folder, listed, side by side, or as a local page: `selfsup runs`."""

from .. import cli
from ..errors import UserError
from ..files import expanded

USAGE = """usage: selfsup runs [FOLDER] [--sort=FIELD] [--state=a,b] [--where=FIELD=VALUE ...] [--columns=a,b] [--json]
       selfsup runs compare RUN RUN ... [--over=seed] [--plot=FILE.png] [--json]
       selfsup runs serve [FOLDER] [--port=8008]                        (or python -m selfsup.runs)

  FOLDER            runs at any depth below it; by default runs
  --sort=FIELD      a column, a measure, a score of results.json or a config field; --sort=-FIELD is descending
  --state=a,b       only runs that are running, finished, stopped, collapsed, lost or damaged
  --where F=V ...   only runs whose config has this value: --where method.name=vicreg seed=1
  --columns=a,b     more columns: measures, scores and config fields
  --json            as JSON
  compare           the config fields in which runs differ, their last measures and scores; --plot draws their curves
  --over=a,b        with compare: runs that differ in these fields alone are one column, mean and standard deviation,
                    and one curve with a band of a standard deviation: --over=seed; with --json, lists in the
                    order of `folder`
  serve             the list, curves and comparison as a page on this machine, which follows runs under way; every
                    account of the machine can open it

running: a process of this machine holds it. finished: trained and evaluated. stopped: has a checkpoint to go on from.
collapsed: finished or stopped, and the alarm of the last measurement is raised. lost: neither running nor with a
checkpoint. damaged: its config or metrics cannot be read."""
OPTIONS: dict[str, str | list[str] | None] = {
    '': [], 'sort': '', 'state': '', 'where': [], 'columns': '', 'json': 'false', 'over': '', 'plot': '',
    'port': '8008',
}  # fmt: skip
MOST_PORT = 65535


def main(arguments: list[str]) -> int:
    values, overrides = cli.parse(arguments, OPTIONS, USAGE)
    if overrides:
        raise UserError('runs reads the config of each run; choose among them by --where FIELD=VALUE')
    verb = values[''][0] if values[''] and values[''][0] in ('compare', 'serve') else ''
    for name in ('plot', 'over'):
        if values[name] and verb != 'compare':
            raise UserError(f'--{name} goes with compare')
    if verb == 'compare':
        from . import comparison

        return comparison.compare(values)
    from . import server, tables

    if verb != 'serve':
        return tables.list_runs(values)
    port = cli.integer('port', values['port'])
    if not 1 <= port <= MOST_PORT or len(values['']) > 2:
        raise UserError(f'serve takes one folder and a --port from 1 to {MOST_PORT}; selfsup runs serve FOLDER')
    return server.serve(expanded(values[''][1] if len(values['']) > 1 else 'runs'), port)

"""`selfsup COMMAND ...`, the same as `python -m selfsup.COMMAND ...`."""

import importlib
import sys

from . import __version__
from .cli import COMMANDS
from .errors import UserError, command, nearest


def usage() -> str:
    rows = '\n'.join(f'  {name:<11} {what}' for name, (_, what) in COMMANDS.items())
    return (
        'usage: selfsup COMMAND [options]     selfsup COMMAND --help     selfsup --version\n\n'
        f'{rows}\n\n'
        'First steps:  selfsup train digits/vicreg      selfsup runs runs      selfsup methods'
    )


def main(arguments: list[str]) -> int | None:
    """Runs the command that the first argument names on the others."""
    name = arguments[0] if arguments else '--help'
    if name in ('-h', '--help', 'help'):
        print(usage())
        return 0
    if name in ('-V', '--version'):
        print(f'selfsup {__version__}')
        return 0
    if name not in COMMANDS:
        raise UserError(f'{name!r} is an unknown command{nearest(name, COMMANDS)}')
    return importlib.import_module(f'selfsup.{COMMANDS[name][0]}').main(arguments[1:])


run = command(main)

if __name__ == '__main__':
    sys.argv[0] = 'selfsup'
    run()

"""Completion of commands, options and configs in a shell: `selfsup completion bash`."""

import importlib
import re

from . import cli
from .errors import UserError, command, nearest

USAGE = """usage: selfsup completion bash|zsh

Prints a script for the shell:  eval "$(selfsup completion bash)"  in ~/.bashrc, or zsh in ~/.zshrc."""
SHELLS = ('bash', 'zsh')
SCRIPT = """_selfsup() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" words
  if [ "$COMP_CWORD" -eq 1 ]; then
    words='{commands}'
  else
    case "${{COMP_WORDS[1]}}" in
{cases}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -o nospace -F _selfsup selfsup
"""


def options(usage: str) -> list[str]:
    """The options that a usage names, with `=` where they take a value."""
    found = re.findall(r'--([a-z][a-z-]*)(=?)', usage)
    takes = {name for name, equals in found if equals}
    return sorted({f'--{name}{"=" * (name in takes)}' for name, _ in found if name != 'config'})


def script(shell: str) -> str:
    """The script of a shell.

    Raises:
      UserError: for an unknown shell.
    """
    from .config.shipped import shipped

    if shell not in SHELLS:
        raise UserError(f'{shell!r} is no shell that is known here{nearest(shell, SHELLS)}')
    cases = []
    for name, (module, _) in cli.COMMANDS.items():
        words = [*options(importlib.import_module(f'selfsup.{module}').USAGE), '--help']
        words += list(shipped()) if name in ('train', 'sweep') else list(SHELLS) if name == 'completion' else []
        cases.append(f"      {name}) words='{' '.join(words)}' ;;")
    begin = 'autoload -U +X bashcompinit && bashcompinit\n' if shell == 'zsh' else ''
    return begin + SCRIPT.format(commands=' '.join(cli.COMMANDS), cases='\n'.join(cases))


def main(arguments: list[str]) -> int:
    values, _ = cli.parse(arguments, {'': []}, USAGE)
    if len(values['']) != 1:
        raise UserError(f'completion takes one shell; {USAGE.splitlines()[0]}')
    print(script(values[''][0]), end='')
    return 0


if __name__ == '__main__':
    command(main)()

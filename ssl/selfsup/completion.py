"""Completion of commands, options, configs and fields in a shell: `selfsup completion bash`."""

import importlib
import re
from typing import Any

from . import cli
from .errors import UserError, command, nearest

USAGE = """usage: selfsup completion bash|zsh

Prints a script for the shell, which completes commands, options, configs and, behind a config, its fields:
  selfsup completion bash > ~/.local/share/bash-completion/completions/selfsup
  selfsup completion zsh > ~/.selfsup-completion.zsh      and in ~/.zshrc: source ~/.selfsup-completion.zsh"""
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
  if [ "$COMP_CWORD" -gt 2 ]; then
    case "${{COMP_WORDS[1]}}" in train|sweep)
      words="$words {fields}"
      case "${{COMP_WORDS[2]}}" in
{methods}
      esac ;;
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


def fields() -> tuple[list[str], dict[str, list[str]]]:
    """Fields of every config, and those that each method has besides, as `field=`."""
    from .config import defaults
    from .config.fields import flatten
    from .methods import METHODS
    from .models import ENCODERS
    from .signature import keywords, required

    def of(section: str, constructor: Any) -> list[str]:
        return [f'{section}.{name}=' for name in {**required(constructor), **keywords(constructor)}]

    every = {f'{name}=' for name in flatten(defaults())}
    every |= {word for constructor in ENCODERS.values() for word in of('model', constructor)}
    return sorted(every), {name: of('method', constructor) for name, constructor in METHODS.items()}


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
    common, own = fields()
    # A config is named after its method; of one that is not, every method's fields are offered.
    every = sorted({word for words in own.values() for word in words})
    methods = [f'        */{name}) words="$words {" ".join(words)}" ;;' for name, words in own.items()]
    methods.append(f'        *) words="$words {" ".join(every)}" ;;')
    return begin + SCRIPT.format(
        commands=' '.join(cli.COMMANDS), cases='\n'.join(cases), fields=' '.join(common), methods='\n'.join(methods)
    )


def main(arguments: list[str]) -> int:
    values, _ = cli.parse(arguments, {'': []}, USAGE)
    if len(values['']) != 1:
        raise UserError(f'completion takes one shell; {USAGE.splitlines()[0]}')
    print(script(values[''][0]), end='')
    return 0


if __name__ == '__main__':
    command(main)()

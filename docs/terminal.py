"""Draws docs/terminal.svg, a session as a terminal shows it: `python docs/terminal.py` (three minutes of one core)."""

import os
import pty
import re
import subprocess
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

FILE = Path(__file__).parent / 'terminal.svg'
WIDTH = 110
# Lines of a log, and what is made for terminals: the second kind gets one.
SESSION = (
    ('selfsup train digits/vicreg train.epochs=30 --workdir=runs/vicreg', False),
    ('selfsup train digits/vicreg train.epochs=30 control=shuffled_pairs --workdir=runs/control', None),
    ('selfsup train digits/vicreg optimizer.learning_rat=0.1', False),
    ('selfsup runs', True),
)


def shown(command: str, folder: str, terminal: bool) -> str:
    """What a command writes, from a terminal of its own or into a pipe."""
    environment = {**os.environ, 'COLUMNS': str(WIDTH), 'LINES': '60', 'TERM': 'xterm-256color'}
    if not terminal:
        done = subprocess.run(
            command.split(), cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return done.stdout
    here, there = pty.openpty()
    process = subprocess.Popen(command.split(), cwd=folder, env=environment, stdout=there, stderr=there)
    os.close(there)
    found = b''
    while True:
        try:
            chunk = os.read(here, 65536)
        except OSError:  # Linux's end of a terminal whose other side is closed
            break
        if not chunk:
            break
        found += chunk
    process.wait()
    return found.decode().replace('\r\n', '\n')


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, 'w') as nothing:
        console = Console(record=True, width=WIDTH, file=nothing)
        for command, terminal in SESSION:
            text = shown(command, folder, bool(terminal))
            if terminal is not None:
                console.print(Text(f'$ {command}', style='bold green'))
                console.print(Text.from_ansi(text.strip('\n')))
                console.print()
        svg = console.export_svg(title='selfsup', theme=MONOKAI)
    # Fonts of the reader's system: the picture loads nothing.
    FILE.write_text(re.sub(r'@font-face \{.*?\}\s*', '', svg, flags=re.S))


if __name__ == '__main__':
    main()

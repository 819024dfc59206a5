"""`python -m selfsup.runs`."""

from ..errors import command
from . import main

if __name__ == '__main__':
    command(main)()

"""`python -m selfsup.sweep`."""

from ..errors import command
from . import main

if __name__ == '__main__':
    command(main)()

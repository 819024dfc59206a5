"""What a user is told when something does not fit, and with which exit code."""

import difflib
import errno
import functools
import io
import os
import select
import sys
from collections.abc import Callable, Iterable
from typing import TextIO

BAD_INPUT = 2
UNREAD = 141  # nobody reads the output any more: as a shell counts SIGPIPE
SHOWN = 25  # names that a message lists
NO_PLUGIN = "pip install 'selfsup[gpu]' or 'selfsup[tpu]', or unset JAX_PLATFORMS"
REQUEUE = 75  # EX_TEMPFAIL: stopped by a signal after saving; run the same command again
LONGEST = 1000  # characters of a line that says what is wrong


class UserError(ValueError):
    """Something the user can put right; the message is one sentence that names it."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """', did you mean X or Y?' with the closest of the choices, or the whole list if none is close."""
    choices = sorted(choices)
    small = {c.lower(): c for c in choices}
    close = [small[c] for c in difflib.get_close_matches(name.lower(), small, n=2, cutoff=0.5)]
    # A field given without its group, `learning_rate` for `optimizer.learning_rate`, is close too.
    close += [c for c in choices if c.rsplit('.', 1)[-1] == name.rsplit('.', 1)[-1] and c not in close]
    if close:
        return f'; did you mean {" or ".join(close[:3])}?'
    rest = len(choices) - SHOWN
    more = f' and {rest} more' if rest > 0 else ''
    return f'; known are {", ".join(choices[:SHOWN])}{more}' if choices else ''


def is_full_disk(error: BaseException | None) -> bool:
    """Whether an error, or one that caused it, says that the disk is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if 'No space left on device' in str(error) or 'ENOSPC' in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the host's or the device's memory does not suffice."""
    return isinstance(error, MemoryError) or 'RESOURCE_EXHAUSTED' in str(error)


def _sentence(error: BaseException) -> str:
    """What the user is told of an error that he can put right, on one line; '' for any other."""
    if isinstance(error, UserError):
        return ' '.join(str(error).split())
    if is_full_disk(error):
        return 'the disk is full; what was saved before is whole, free some room and run again'
    if is_out_of_memory(error):
        return (
            'there is not enough memory; lower data.batch_size, or the sizes of model, projector and views '
            '(train --dry-run shows what a config takes)'
        )
    if isinstance(error, FileNotFoundError) and error.filename is None and not _is_somewhere():
        return 'the folder in which this was started is gone; change to one that is there'
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f'{error.filename} cannot be used: {error.strerror}'
    if isinstance(error, RuntimeError) and 'Unable to initialize backend' in str(error):
        return f'{_platforms()} names devices that jax cannot use here: {" ".join(str(error).split())}'
    if isinstance(error, AssertionError) and _place(error).endswith('jax/_src/xla_bridge.py'):
        return f'{_platforms()} names devices that the installed jax has no plugin for: {NO_PLUGIN}'
    return ''


def _is_somewhere() -> bool:
    """Whether the working directory still exists."""
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _platforms() -> str:
    return f'JAX_PLATFORMS={os.environ.get("JAX_PLATFORMS", "")!r}'


def _place(error: BaseException) -> str:
    """The file of the line that raised an error."""
    found = ''
    trace = error.__traceback__
    while trace is not None:
        found, trace = trace.tb_frame.f_code.co_filename, trace.tb_next
    return found


def outcome(error: BaseException) -> int | None:
    """The exit code for an error that a user can put right, after one line that says it; None for any other error."""
    if isinstance(error, KeyboardInterrupt):
        print('interrupted', file=sys.stderr)
        return 130
    sentence = _sentence(error)
    if len(sentence) > LONGEST:  # a name that a user gave may be of any length; what is wrong stands at an end
        half = LONGEST // 2
        sentence = f'{sentence[:half]} ... {sentence[-half:]}'
    if sentence:
        print(f'error: {sentence}', file=sys.stderr)
    return BAD_INPUT if sentence else None


def _is_unread(stream: TextIO) -> bool:
    """Whether a stream is a pipe whose reader is gone, as after `| head`."""
    poll = select.poll()
    poll.register(stream, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def command(main: Callable[[list[str]], int | None]) -> Callable[[], None]:
    """Turns `main(arguments) -> exit code` into a command: user errors become one line and exit code 2.

    Output that nobody reads ends it without a word, with exit code 141.
    """

    @functools.wraps(main)
    def run() -> None:
        for name in ('stdout', 'stderr'):
            if getattr(sys, name) is None:  # closed by who started this
                setattr(sys, name, open(os.devnull, 'w'))  # noqa: SIM115
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors='backslashreplace')  # a path may hold bytes that are no text
        try:
            code = main(sys.argv[1:]) or 0
            sys.stdout.flush()  # here, and not at exit, where a closed pipe ends in a traceback
        except BrokenPipeError:
            if not _is_unread(sys.stdout):
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = UNREAD
        except (Exception, KeyboardInterrupt) as error:
            told = outcome(error)
            if told is None:
                raise
            code = told
        sys.exit(code)

    return run

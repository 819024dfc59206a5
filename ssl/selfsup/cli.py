"""The command line that all commands share: `--name=value` options and `--config.field=value` overrides."""

import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .errors import UserError, nearest
from .files import expanded, is_number

# Command -> module with `main(arguments)` and `USAGE`, what it does: see `__main__`.
COMMANDS = {
    'train': ('train', 'trains from a config, then evaluates; the same command again resumes'),
    'sweep': ('sweep', 'a run for each combination of values, and their table'),
    'evaluate': ('evaluate', "the table and report of a run again, other data, or anyone's features"),
    'bench': ('bench', 'several encoders on a list of tasks: means by kind, ranks'),
    'embed': ('embed', 'features of images, as an npz file'),
    'reduce': ('reduce', 'features to fewer dimensions: TLDR, PCA, whitened PCA'),
    'subset': ('subset', 'which training rows to keep, chosen by features of all'),
    'select': ('select', 'ranks runs without labels'),
    'convert': ('convert', 'encoders of other code bases in, ours out'),
    'pack': ('pack', 'a data set as few large files'),
    'reproduce': (
        'reproduce',
        'repeats a published table, or rows of it, and sets the numbers beside the recorded ones',
    ),
    'runs': ('runs', 'lists the runs under a folder, or sets some side by side'),
    'methods': ('catalogue', 'every method with its paper, configs and measured result'),
    'doctor': ('doctor', 'devices, versions, memory and caches, and what is wrong with them'),
    'completion': ('completion', 'a script that completes commands, options and configs in bash or zsh'),
}
MOST_HOST_DEVICES = 1024  # the CPU as more devices than this ends XLA, not the command
Options = Mapping[str, str | list[str] | None]


def parse(arguments: list[str], options: Options, usage: str) -> tuple[dict[str, Any], list[str]]:
    """Splits arguments into options and config overrides.

    Args:
      arguments: what follows the command; `--name=value`, `--name value`, or `--name` for flags.
      options: name -> default; None makes it required, 'false' makes it a flag, and with a list it takes every word
        up to the next option. The name '' has the words that belong to no option.
      usage: printed for --help.

    Returns:
      (options, overrides): text for each option, a list of texts where the default is one, with a leading `~` or
      `~user` written out (a shell leaves it after `=`); overrides are 'field=value' strings without `--config.`.
    """
    values: dict[str, Any] = {name: [] for name, default in options.items() if isinstance(default, list)}
    overrides: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word in ('-h', '--help'):
            print(usage)
            raise SystemExit(0)
        if '' in options and not word.startswith('-'):
            values[''].append(word)
            continue
        if not word.startswith('--') or word.startswith('--=') or word == '--':
            raise UserError(f'{word!r} is no option; options look like --name=value')
        name, equals, value = word[2:].partition('=')
        if name.startswith('config.'):
            if not equals:
                if not rest or rest[0].startswith('--'):
                    raise UserError(f'--{name} needs a value')
                value = rest.pop(0)
            overrides.append(f'{name.removeprefix("config.")}={value}')
            continue
        if name not in options:
            raise UserError(f'--{name} is no option{nearest(name, filter(None, [*options, "config."]))}')
        if options[name] == 'false':
            values[name] = value if equals else 'true'
            if values[name] not in ('true', 'false'):
                raise UserError(f'--{name} is a flag: true or false, not {value!r}')
        elif isinstance(options[name], list):
            values[name] += [value] if equals else []
            while rest and not rest[0].startswith('--'):
                values[name].append(rest.pop(0))
        elif equals:
            values[name] = value
        elif rest and not rest[0].startswith('--'):
            values[name] = rest.pop(0)
        else:
            raise UserError(f'--{name} needs a value')
    for name, default in options.items():
        if name not in values or values[name] == '':
            if default is None:
                raise UserError(f'--{name} is missing; {usage.splitlines()[0]}')
            values[name] = default
    return {name: _without_tilde(value) for name, value in values.items()}, overrides


def _without_tilde(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_tilde(one) for one in value]
    return str(expanded(value)) if value.startswith('~') else value


FIELD = re.compile(r'[A-Za-z_][\w.]*=')


def config_of(values: dict[str, Any], usage: str) -> tuple[str, list[str]]:
    """The config that a command names, by `--config` or without, and its words `field=value`.

    Raises:
      UserError: for none, or several.
    """
    more = [word for word in values[''] if FIELD.match(word) and not os.path.isfile(word)]
    named = [word for word in values[''] if word not in more] + ([values['config']] if values['config'] else [])
    if len(named) != 1:
        what = f'one config at a time, not {" and ".join(named)}' if named else 'the config is missing'
        raise UserError(f'{what}; {usage.splitlines()[0]}')
    return named[0], more


def place_of(path: str) -> str:
    """`digits/vicreg` for experiments/digits/vicreg.py, for default workdirs."""
    folder, file = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.basename(folder), file.removesuffix('.py'))


def integer(name: str, text: str) -> int:
    """A non-negative whole number below 10^9 given as an option."""
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise UserError(f'--{name} must be a whole number of at most nine digits, not {text!r}')
    return int(text)


def positive(name: str, text: str) -> float:
    """A finite number above 0 given as an option."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float('inf'):
        raise UserError(f'--{name} must be a number above 0, not {text!r}')
    return value


def holds_numbers(file: Path) -> bool:
    """Whether a file holds what `evaluate` and `bench` write: numbers by name, rows of them, or tables of scores."""
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    if isinstance(content, dict) and content.keys() <= {'scores', 'summary', 'feet'}:
        return True
    rows = content if isinstance(content, list) else [content]
    return all(
        isinstance(row, dict) and all(v is None or is_number(v) for k, v in row.items() if k != 'layer') for row in rows
    )


def holds_arrays(*names: str) -> Callable[[Path], bool]:
    """Tells whether a file is an npz file with an array of one of these names."""

    def holds(file: Path) -> bool:
        import zipfile  # a third of what importing this module takes, and few commands come here

        try:
            with zipfile.ZipFile(file) as whole:
                return bool({f'{name}.npy' for name in names} & set(whole.namelist()))
        except (OSError, ValueError, zipfile.BadZipFile):
            return False

    return holds


holds_features = holds_arrays('features', 'train_features', 'test_features')


def cache_folder() -> str:
    """Where commands keep compiled programs; '' is nowhere, as for an account without a home."""
    given = os.environ.get('JAX_COMPILATION_CACHE_DIR')
    if given is not None:
        return given
    # A relative XDG_CACHE_HOME is to be ignored, says its specification; it would lie in whatever folder is at hand.
    places = (os.path.expanduser(os.environ.get('XDG_CACHE_HOME', '')), os.path.expanduser('~/.cache'))
    return next((os.path.join(place, 'selfsup', 'jax') for place in places if os.path.isabs(place)), '')


def _writable(folder: str) -> str:
    """A folder of compiled programs, made; '' where it cannot be, after a line: jax would warn at every program."""
    try:
        if folder and '://' not in folder:
            os.makedirs(folder, exist_ok=True)
    except OSError as error:
        print(f'warning: {folder} cannot be used, so compiled programs are not kept: {error.strerror}', file=sys.stderr)
        return ''
    return folder


def prepare(*, deterministic: bool = False, host_devices: int = 0) -> None:
    """Settings that must stand before jax starts: compilation cache, deterministic kernels, host devices."""
    if host_devices > MOST_HOST_DEVICES:
        raise UserError(f'--host-devices={host_devices} is more than {MOST_HOST_DEVICES}')
    flags = os.environ.get('XLA_FLAGS', '')
    if deterministic:
        flags += ' --xla_gpu_exclude_nondeterministic_ops=true'
    if host_devices:
        flags += f' --xla_force_host_platform_device_count={host_devices}'
    os.environ['XLA_FLAGS'] = flags.strip()
    os.environ['JAX_COMPILATION_CACHE_DIR'] = _writable(cache_folder())
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    if 'jax' in sys.modules:  # it read the environment when it was imported
        sys.modules['jax'].config.update('jax_compilation_cache_dir', os.environ['JAX_COMPILATION_CACHE_DIR'])

"""The command line that all commands share: `--name=value` options and `--config.field=value` overrides."""

import os
import sys

from .errors import UserError, nearest


def parse(arguments: list[str], options: dict[str, str | None], usage: str) -> tuple[dict[str, str], list[str]]:
    """Splits arguments into options and config overrides.

    Args:
      arguments: what follows the command; `--name=value`, `--name value`, or `--name` for flags.
      options: name -> default; None makes it required, 'false' makes it a flag.
      usage: printed for --help.

    Returns:
      (options, overrides): overrides are 'field=value' strings without `--config.`.
    """
    values: dict[str, str] = {}
    overrides: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word in ('-h', '--help'):
            print(usage)
            raise SystemExit(0)
        if not word.startswith('--'):
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
            raise UserError(f'--{name} is no option{nearest(name, [*options, "config."])}')
        if options[name] == 'false':
            values[name] = value if equals else 'true'
            if values[name] not in ('true', 'false'):
                raise UserError(f'--{name} is a flag: true or false, not {value!r}')
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
    return values, overrides


def integer(name: str, text: str) -> int:
    """A non-negative whole number given as an option."""
    if not text.isdigit():
        raise UserError(f'--{name} must be a whole number, not {text!r}')
    return int(text)


def prepare(*, deterministic: bool = False, host_devices: int = 0) -> None:
    """Settings that must stand before jax starts: compilation cache, deterministic kernels, host devices."""
    flags = os.environ.get('XLA_FLAGS', '')
    if deterministic:
        flags += ' --xla_gpu_exclude_nondeterministic_ops=true'
    if host_devices:
        flags += f' --xla_force_host_platform_device_count={host_devices}'
    os.environ['XLA_FLAGS'] = flags.strip()
    cache = os.path.join(os.path.expanduser(os.environ.get('XDG_CACHE_HOME', '~/.cache')), 'selfsup', 'jax')
    os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', cache)
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    if 'jax' in sys.modules:  # it read the environment when it was imported
        sys.modules['jax'].config.update('jax_compilation_cache_dir', os.environ['JAX_COMPILATION_CACHE_DIR'])

"""Configs from files, from the command line and from workdirs; their text and their identity.

The command line is read here rather than by `ml_collections.config_flags`: its errors are tracebacks,
and a mistyped field should be a one-line error with the nearest name.
"""

import hashlib
import inspect
import json
import runpy
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from ..errors import UserError
from ..files import is_number
from ..methods import METHODS
from ..signature import networks
from . import fields
from .complete import fill, network_sections, open_fields, real_fields, reference, settle
from .defaults import KIND, defaults
from .neighbours import importable
from .shipped import find
from .validate import validate

# Fields that may differ when a workdir is resumed: they do not change what a step computes, except
# `train.epochs`, which stretches schedules over the new length (and so repeats no shorter run).
RESUMABLE = (
    'train.epochs',
    'train.log_every',
    'log.to',
    'log.project',
    'log.name',
    'train.stop_after_steps',
    'train.stop_after_minutes',
    'monitor.on_collapse',
    'checkpoint.keep',
    'checkpoint.every_epochs',
    'data.workers',
    'parallel.shard',
    'parallel.fsdp_least_bytes',
)


def load(path: str, overrides: list[str] = ()) -> ConfigDict:  # type: ignore[assignment]
    """The resolved, validated config of a file, or of a name such as `digits/vicreg`, and `field=value` overrides.

    Raises:
      UserError: for anything that does not fit, naming the field.
    """
    file = find(path)
    with importable(file.parent):
        config = _run(file, path)
    if inspect.iscoroutine(config):
        config.close()  # of an `async def`: else Python adds a warning to the sentence
    if not isinstance(config, ConfigDict):
        raise UserError(f'get_config() of {path} must return the ConfigDict of selfsup.config.defaults()')
    return with_overrides(config, overrides)


def _run(file: Path, path: str) -> Any:
    """What get_config() of the file returns."""
    # SystemExit too: a file that ends the program would look like a run that went well.
    try:
        namespace = runpy.run_path(str(file))
    except (Exception, SystemExit) as error:
        raise UserError(f'{path} cannot be run as a config: {type(error).__name__}: {error}') from error
    if not callable(namespace.get('get_config')):
        raise UserError(f'{path} has no function get_config()')
    try:
        return namespace['get_config']()
    except (Exception, SystemExit) as error:
        raise UserError(f'get_config() of {path} failed: {type(error).__name__}: {error}') from error


def with_overrides(config: ConfigDict, overrides: list[str] | tuple[str, ...]) -> ConfigDict:
    """A resolved, validated copy of `config` with `field=value` strings applied in order.

    Overrides of names (method, model, recipe) come first, since they decide which other fields exist.
    """
    config = config.copy_and_resolve_references()
    before = config.copy_and_resolve_references()
    names = [o for o in overrides if o.startswith(_naming())]
    for override in sorted(names, key=lambda o: not o.startswith('method.name=')):
        _rename(config, override)
    fill(config)
    for override in overrides:
        if override not in names:
            fields.override(config, override, open_fields(config), real_fields(config))
    fill(config)
    _shorten_warmup(config, before, overrides)
    settle(config)
    validate(config)
    return config


def _shorten_warmup(config: ConfigDict, before: ConfigDict, overrides: list[str] | tuple[str, ...]) -> None:
    """A warm-up longer than a run that was shortened by hand gets the share of it that it had before."""
    given = {override.partition('=')[0] for override in overrides}
    if 'train.epochs' not in given or 'optimizer.warmup_epochs' in given:
        return
    had = before.train.epochs if 'train' in before else None
    numbers = (config.optimizer.warmup_epochs, config.train.epochs, had)
    if not all(map(is_number, numbers)):  # a warm-up that follows the epochs, or what validation refuses
        return
    warmup, epochs, had = (float(number or 0) for number in numbers)
    if warmup > epochs > 0 and had > 0:
        with config.optimizer.ignore_type():  # a file may have a whole number of epochs
            config.optimizer.warmup_epochs = min(warmup / had, 1.0) * epochs


def _naming() -> tuple[str, ...]:
    """Overrides that decide which other fields exist, or what they are."""
    kinds = (f'{section}.kind=' for section in sorted(network_sections()))
    return ('method.name=', 'model.name=', 'optimizer.name=', 'augment.recipe=', 'augment.size=', *kinds)


def _rename(config: ConfigDict, override: str) -> None:
    """Applies an override of a name. The fields of what had another name are dropped, and defaults take their place."""
    field, _, value = override.partition('=')
    section, _, label = field.partition('.')
    known = section in config and isinstance(config[section], ConfigDict)
    if label == 'kind' and (not known or config[section].get('kind', KIND) != value):
        given = reference(section)
        config[section] = given if given.get('kind', KIND) == value else ConfigDict({'kind': value})
    elif field in ('method.name', 'model.name') and known and config[section].get('name', '') != value:
        kept = {name: v for name, v in config[section].items() if name == 'regularisers'}  # which are any method's
        config[section] = ConfigDict({'name': value, **kept})
        taken = networks(METHODS[value]) if field == 'method.name' and value in METHODS else network_sections()
        for name in network_sections() - {*taken}:  # what the file sets of networks that the method does not have
            if name in config:
                del config[name]
            if name in defaults():
                config[name] = defaults()[name]
    else:
        fields.override(config, override)
    if field == 'augment.recipe':
        config.augment.views = ConfigDict()


def to_json(config: ConfigDict) -> str:
    """The config as text, keys sorted; tuples become lists."""
    return json.dumps(config.to_dict(), indent=2, sort_keys=True)


def as_flat(config: ConfigDict) -> dict[str, Any]:
    """Field -> value as JSON has it, of every field."""
    return fields.flatten(json.loads(to_json(config)))


def identity(config: ConfigDict) -> str:
    """Hash of every field that changes what a run computes."""
    flat = {k: v for k, v in as_flat(config).items() if k not in RESUMABLE}
    return hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest()[:16]


def differences(old: ConfigDict, config: ConfigDict) -> list[str]:
    """One 'field: old -> new' line for each field that differs and may not."""
    before, now = map(as_flat, (old, config))
    return [
        f'{field}: {before.get(field, "absent")!r} -> {now.get(field, "absent")!r}'
        for field in sorted(before.keys() | now.keys())
        if before.get(field) != now.get(field) and field not in RESUMABLE
    ]


def _add_missing(config: ConfigDict, given: ConfigDict) -> None:
    if config.get('kind', None) not in (None, given.get('kind', None)):
        return  # the defaults are of another kind
    for name, value in given.items():
        if name not in config:
            config[name] = value
        elif isinstance(value, ConfigDict) and isinstance(config[name], ConfigDict):
            _add_missing(config[name], value)


def from_dict(saved: dict[str, Any]) -> ConfigDict:
    """The config that a workdir's config.json holds (lists become tuples).

    Fields that did not exist yet when it was written get their defaults, which do what was done then.
    """

    def restore(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: restore(v) for k, v in value.items()}
        return tuple(restore(v) for v in value) if isinstance(value, list) else value

    config = ConfigDict(restore(saved))
    _add_missing(config, defaults())
    fill(config)
    settle(config)
    validate(config)
    return config

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

from ..errors import UserError, nearest
from ..files import expanded
from ..methods import METHODS
from ..signature import takes
from . import fields
from .complete import fill, network_sections
from .defaults import _head, defaults
from .validate import validate

# Fields that may differ when a workdir is resumed: they do not change what a step computes, except
# `train.epochs`, which stretches schedules over the new length (and so repeats no shorter run).
RESUMABLE = (
    'train.epochs',
    'train.log_every',
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
    """The resolved, validated config of a file and `field=value` overrides.

    Raises:
      UserError: for anything that does not fit, naming the field.
    """
    file = expanded(path)
    if not file.is_file():
        raise UserError(f'there is no config file {path}{nearest(file.name, [p.name for p in _siblings(file)])}')
    # SystemExit too: a file that ends the program would look like a run that went well.
    try:
        namespace = runpy.run_path(str(file))
    except (Exception, SystemExit) as error:
        raise UserError(f'{path} cannot be run as a config: {type(error).__name__}: {error}') from error
    if not callable(namespace.get('get_config')):
        raise UserError(f'{path} has no function get_config()')
    try:
        config = namespace['get_config']()
    except (Exception, SystemExit) as error:
        raise UserError(f'get_config() of {path} failed: {type(error).__name__}: {error}') from error
    if inspect.iscoroutine(config):
        config.close()  # of an `async def`: else Python adds a warning to the sentence
    if not isinstance(config, ConfigDict):
        raise UserError(f'get_config() of {path} must return the ConfigDict of selfsup.config.defaults()')
    return with_overrides(config, overrides)


def _kinds(config: ConfigDict) -> list[str]:
    return [f'{section}.kind=' for section in network_sections(config)]


def _siblings(file: Path) -> list[Path]:
    return list(file.parent.glob('*.py')) if file.parent.is_dir() else []


def with_overrides(config: ConfigDict, overrides: list[str] | tuple[str, ...]) -> ConfigDict:
    """A resolved, validated copy of `config` with `field=value` strings applied in order.

    Overrides of names (method, model, recipe) come first, since they decide which other fields exist.
    """
    config = config.copy_and_resolve_references()
    naming = ('method.name=', 'model.name=', 'augment.recipe=', 'augment.size=', *_kinds(config))
    ordered = sorted(overrides, key=lambda o: not o.startswith(naming))
    names = [o for o in ordered if o.startswith(naming)]
    for override in names:
        field, _, value = override.partition('=')
        if field in ('method.name', 'model.name') and fields.value_at(config, field) != value:
            # Another method or model takes other keywords: the file's are dropped, its defaults used; and
            # so is the file's predictor where the other method has none.
            setattr(config, field.split('.')[0], ConfigDict({'name': value}))
            if field == 'method.name' and not takes(METHODS.get(value), 'predictor'):
                config.predictor = _head(())
        elif field.endswith('.kind') and fields.value_at(config, field) != value:
            setattr(config, field.split('.')[0], ConfigDict({'kind': value}))
        else:
            fields.override(config, override)
        if field == 'augment.recipe':
            config.augment.views = ConfigDict()
    fill(config)
    for override in ordered[len(names) :]:
        fields.override(config, override)
    validate(config)
    return config


def to_json(config: ConfigDict) -> str:
    """The config as text, keys sorted; tuples become lists."""
    return json.dumps(config.to_dict(), indent=2, sort_keys=True)


def identity(config: ConfigDict) -> str:
    """Hash of every field that changes what a run computes."""
    flat = {k: v for k, v in fields.flatten(json.loads(to_json(config))).items() if k not in RESUMABLE}
    return hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest()[:16]


def differences(old: ConfigDict, config: ConfigDict) -> list[str]:
    """One 'field: old -> new' line for each field that differs and may not."""
    before, now = (fields.flatten(json.loads(to_json(c))) for c in (old, config))
    return [
        f'{field}: {before.get(field, "absent")!r} -> {now.get(field, "absent")!r}'
        for field in sorted(before.keys() | now.keys())
        if before.get(field) != now.get(field) and field not in RESUMABLE
    ]


def _add_missing(config: ConfigDict, reference: ConfigDict) -> None:
    for name, value in reference.items():
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
    validate(config)
    return config

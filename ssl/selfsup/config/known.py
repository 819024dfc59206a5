"""Refuses fields that no part of the code reads, and values of a wrong type or size."""

from collections.abc import Iterable
from typing import Any

from ml_collections import ConfigDict

from ..errors import UserError, nearest
from .defaults import defaults
from .fields import conform, flatten

# What JSON keeps and a 32-bit number on the device holds.
LARGEST_INTEGER, LARGEST_FLOAT = 2**31 - 1, 3.4e38


def check_known(config: ConfigDict, networks: Iterable[str]) -> None:
    """Refuses fields that no part of the code reads, and wrong types, naming the nearest.

    Args:
      config: its fields are brought to their types.
      networks: sections of networks; their fields, like those of the method, are checked by signature.

    Raises:
      UserError: naming the field.
    """
    reference = flatten(defaults())
    sections = tuple(f'{name}.' for name in networks)
    open_groups = ('method.', 'model.', 'augment.views.', 'optimizer.', 'schedules.', *sections)
    for group in ('method', 'model'):
        if not isinstance(config.get(group), ConfigDict) or 'name' not in config[group]:
            raise UserError(f'{group} must be a group of fields with a name, {group}.name')
    for group in ('augment', 'augment.views', 'optimizer', 'optimizer.groups', 'schedules'):
        if not isinstance(_get(config, group), ConfigDict):
            raise UserError(f'{group} must be a group of fields, not {_get(config, group)!r}')
    flat = flatten(config)
    for field in flat:
        if field in reference and not field.startswith(sections):
            conform(config, field, reference[field])
        elif not field.startswith(open_groups):
            raise UserError(f'unknown field {field}{nearest(field, reference)}')
    for field, value in flatten(config).items():
        check_plain(field, value)
    for field in reference:
        if field not in flat and not field.startswith(sections):
            raise UserError(f'{field} is missing from the config; start from selfsup.config.defaults()')


def _get(config: ConfigDict, field: str) -> Any:
    """The value of a dotted field; None where there is none."""
    node: Any = config
    for part in field.split('.'):
        node = node.get(part) if isinstance(node, ConfigDict) else None
    return node


def check_plain(field: str, value: Any) -> None:
    """Refuses a value that is no word, number or tuple of them, or a number that 32 bits cannot hold."""
    if isinstance(value, (tuple, list)):
        for entry in value:
            check_plain(field, entry)
    elif isinstance(value, int):
        most = 2**32 - 1 if field == 'seed' else LARGEST_INTEGER
        told = f'{value:.3g}' if value.bit_length() < 1000 else f'a number of {value.bit_length()} bits'
        _require(abs(value) <= most, f'{field} must be below 2**{most.bit_length()} in size, not {told}')
    elif isinstance(value, float):
        _require(abs(value) <= LARGEST_FLOAT, f'{field} must be a finite 32-bit number, not {value!r}')
    else:
        known = value is None or isinstance(value, str)
        _require(known, f'{field} must be a word, a number or a tuple of them, not {value!r:.80}')


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)

"""Fields of a config by their dotted names: looked up, set from text, and held to their types."""

import ast
from collections.abc import Collection
from typing import Any

from ml_collections import ConfigDict

from ..errors import UserError, nearest
from ..files import flatten


def value_at(config: ConfigDict, field: str) -> Any:
    """The value of a dotted field."""
    node: Any = config
    for part in field.split('.'):
        node = node[part]
    return node


def override(config: ConfigDict, text: str, absent: Collection[str] = (), real: Collection[str] = ()) -> None:
    """Applies one `field=value`, converting the value to the field's type.

    Args:
      config: changed in place.
      text: the override.
      absent: fields that may be set although the config does not have them yet, nor the group they are in.
      real: fields that take any number, even where an integer stands.

    Raises:
      UserError: for an unknown field, a group of fields, or a value of another type.
    """
    field, equals, value = text.partition('=')
    if not equals:
        raise UserError(f'{text!r} has no value; write --config.field=value')
    flat = flatten(config)
    *path, leaf = field.split('.')
    node: Any = config
    for part in path:
        if isinstance(node, ConfigDict) and part not in node and field in absent:
            with node.unlocked():
                node[part] = ConfigDict()
        node = node[part] if isinstance(node, ConfigDict) and part in node else None
    inside = [f for f in sorted({*flat, *absent}) if f.startswith(f'{field}.')]
    if inside or (isinstance(node, ConfigDict) and isinstance(node.get(leaf, None), ConfigDict)):
        raise UserError(f'{field} is a group of fields; set one of {", ".join(inside)}')
    if not isinstance(node, ConfigDict) or (leaf not in node and field not in absent):
        raise UserError(f'unknown field {field}{nearest(field, [*flat, *absent])}')
    old = node.get(leaf, None)
    if field in real and isinstance(old, int) and not isinstance(old, bool):
        old = float(old)
    with node.unlocked(), node.ignore_type():
        node[leaf] = _parse(field, value, old)


def _parse(field: str, text: str, old: Any) -> Any:
    """`text` as a value of the type of `old`."""
    if isinstance(old, str):
        return text
    try:
        value = ast.literal_eval({'true': 'True', 'false': 'False', 'none': 'None'}.get(text.lower(), text))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        value = text
    return typed(field, value, old)


def typed(field: str, value: Any, old: Any) -> Any:
    """`value` if it has the type of `old` (an integer may stand for a float, a list for a tuple)."""
    if old is None:
        return value
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as error:
            raise UserError(f'{field} is too large for a float') from error
    if isinstance(old, tuple) and isinstance(value, (list, tuple)):
        if old and any(not isinstance(v, type(old[0])) and not _number_for(v, old[0]) for v in value):
            raise UserError(f'{field} must be a tuple of {type(old[0]).__name__} values, not {value!r}')
        return tuple(value)
    if type(value) is not type(old):
        raise UserError(f'{field} must be {_article(type(old).__name__)}, as {old!r} is, not {value!r}')
    return value


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of one type: True is not 1."""
    return type(one) is type(other) and one == other


def conform(config: ConfigDict, field: str, old: Any) -> None:
    """Brings a dotted field to the type of `old`, or refuses it: see :func:`typed`."""
    *path, leaf = field.split('.')
    node = value_at(config, '.'.join(path)) if path else config
    value = typed(field, node[leaf], old)
    if value is not node[leaf]:
        with node.ignore_type():
            node[leaf] = value


def _number_for(value: Any, example: Any) -> bool:
    return isinstance(example, float) and isinstance(value, int) and not isinstance(value, bool)


def _article(name: str) -> str:
    return f'an {name}' if name[0] in 'aeiou' else f'a {name}'

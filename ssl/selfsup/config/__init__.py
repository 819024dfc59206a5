"""The experiment configuration: fields and defaults, files and command lines, checks.

A config file has one function `get_config()` that starts from `defaults()` and sets plain values. Names are loaded
when they are asked for, so that `from selfsup.config import defaults` in a config file imports no jax.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from .defaults import CONTROLS, defaults

if TYPE_CHECKING:
    from ..signature import keywords, takes
    from .complete import fill
    from .resolve import RESUMABLE, differences, from_dict, identity, load, to_json, with_overrides

_LOADED = {
    **dict.fromkeys(('keywords', 'takes'), '..signature'),
    'fill': '.complete',
    **dict.fromkeys(
        ('RESUMABLE', 'differences', 'from_dict', 'identity', 'load', 'to_json', 'with_overrides'), '.resolve'
    ),
}

__all__ = [
    'CONTROLS',
    'ConfigDict',
    'RESUMABLE',
    'defaults',
    'differences',
    'fill',
    'from_dict',
    'identity',
    'keywords',
    'load',
    'takes',
    'to_json',
    'with_overrides',
]


def __getattr__(name: str) -> Any:
    if name not in _LOADED:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(_LOADED[name], __name__), name)

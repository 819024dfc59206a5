"""What a constructor takes, read from its signature: hyper-parameters and their defaults."""

import inspect
from typing import Any


def keywords(constructor: Any) -> dict[str, Any]:
    """The configurable keywords of a method or model and their defaults."""
    reserved = ('encoder', 'projector', 'predictor', 'axis_name', 'data_size', 'dtype', 'groups_axis', 'parent', 'name')
    found: dict[str, Any] = {}
    is_model = not inspect.isfunction(constructor)
    for name, parameter in inspect.signature(constructor).parameters.items():
        if name in reserved or (is_model and name in ('groups', 'maps')):
            continue
        if parameter.default is not inspect.Parameter.empty:
            found[name] = parameter.default
        if name == 'momentum':
            found['momentum_final'] = parameter.default  # a cosine from momentum to this over the run
    return found


def takes(constructor: Any, name: str) -> bool:
    """Whether a method's constructor has a parameter of this name, such as `predictor` or `data_size`."""
    return constructor is not None and name in inspect.signature(constructor).parameters

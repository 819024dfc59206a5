"""What a constructor takes, read from its signature: networks, hyper-parameters, their defaults and domains.

    def vicreg(encoder, projector, *, covariance_weight: NonNegative = 1.0, fuse_views: bool = False) -> Method

Parameters before the `*` are networks, keywords with a default are fields of the config. An annotated domain is what
validation checks, fuzzing leaves, and the docs print; a value may still be an array in a trace, which is not checked.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from .errors import UserError, nearest

# Keyword parameters that no config sets: the engine passes them, or flax adds them to its modules.
RESERVED = ('data_size', 'axis_name', 'dtype', 'groups_axis', 'parent', 'name')


class Domain(NamedTuple):
    """The values that a hyper-parameter may have.

    Attributes:
      kind: `int`, `float` (integers stand for floats) or `str`.
      least, most: closed bounds; `above`, `below` are open ones.
      several: a tuple of at least one such value.
      optional: None is a value too; of a tuple, () is.
      scheduled: the constructor also takes a function of the step; the config then has a field `<name>_final`, the
        value at the end of a cosine over the run.
      static: it decides shapes, so it is neither swept as a value nor moved by a schedule.
      length: how many values a tuple has; 0 for any number from 1.
      choices: the words of a `str`.
    """

    kind: type = float
    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    below: float = math.inf
    optional: bool = False
    several: bool = False
    scheduled: bool = False
    static: bool = False
    length: int = 0
    choices: tuple[Any, ...] = ()

    def describe(self) -> str:
        """In words: `a number above 0`, `integers from 1, at least one`."""
        if self.choices:
            words = ', '.join(map(repr, self.choices))
            return f'a tuple of at least one of {words}' if self.several else f'one of {words}'
        low = f' from {self.least:g}' if self.least > -math.inf else ''
        low = f' above {self.above:g}' if self.above > -math.inf else low
        high = f' to {self.most:g}' if self.most < math.inf else ''
        high = f' below {self.below:g}' if self.below < math.inf else high
        high = f' and{high}' if low and self.below < math.inf else high
        noun = 'integer' if self.kind is int else 'number'
        if self.several and self.optional:
            return f'a tuple of {noun}s{low}{high}, or ()'
        if self.several:
            return f'a tuple of {self.length or "at least one"} {noun}{"s" if self.length else ""}{low}{high}'
        article = 'an' if self.kind is int else 'a'
        return f'{article} {noun}{low}{high}' + (' or None' if self.optional else '')

    def holds(self, value: Any) -> bool:
        """Whether a concrete value lies in the domain."""
        if self.several:
            one = self._replace(several=False, optional=False)
            if not isinstance(value, tuple) or not (value or self.optional):
                return False
            good = len(value) == (self.length or len(value))
            return good and all(one.holds(entry) for entry in value)
        if self.choices:
            return any(type(value) is type(choice) and value == choice for choice in self.choices)
        if value is None:
            return self.optional
        kinds = int if self.kind is int else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            return False
        return self.least <= value <= self.most and self.above < value < self.below

    def check(self, field: str, value: Any) -> None:
        """Refuses a value outside the domain.

        Raises:
          UserError: with the field, the domain and the value.
        """
        if self.choices and isinstance(value, str) and value not in self.choices:
            raise UserError(f'{field}={value!r} is unknown{nearest(value, map(str, self.choices))}')
        if not self.holds(value):
            raise UserError(f'{field} must be {self.describe()}, not {value!r}')


Number = Annotated[Any, Domain()]
Positive = Annotated[Any, Domain(above=0)]
NonNegative = Annotated[Any, Domain(least=0)]
Share = Annotated[Any, Domain(least=0, most=1)]
ProperShare = Annotated[Any, Domain(least=0, below=1)]
ScheduledShare = Annotated[Any, Domain(least=0, most=1, scheduled=True)]
StaticProperShare = Annotated[Any, Domain(least=0, below=1, static=True)]
OpenShare = Annotated[Any, Domain(above=0, below=1)]
OptionalNumber = Annotated[Any, Domain(optional=True)]
OptionalPositive = Annotated[Any, Domain(above=0, optional=True)]
OptionalNonNegative = Annotated[Any, Domain(least=0, optional=True)]
Count = Annotated[int, Domain(int, least=1)]
Whole = Annotated[int, Domain(int, least=0)]
Counts = Annotated[tuple[int, ...], Domain(int, least=1, several=True)]
OptionalCounts = Annotated[tuple[int, ...], Domain(int, least=1, several=True, optional=True)]
Numbers = Annotated[tuple[float, ...], Domain(several=True)]
Positives = Annotated[tuple[float, ...], Domain(above=0, several=True)]
Pair = Annotated[tuple[int, int], Domain(int, least=1, several=True, length=2)]


def at_most(annotation: Any, most: float) -> Any:
    """The annotation with another upper bound."""
    kind, domain = get_args(annotation)[:2]
    return Annotated[kind, domain._replace(most=most)]


def at_least(annotation: Any, least: float) -> Any:
    """The annotation with another lower bound."""
    kind, domain = get_args(annotation)[:2]
    return Annotated[kind, domain._replace(least=least)]


def one_of(*choices: Any) -> Any:
    """The annotation of a value that is one of a few words or numbers."""
    return Annotated[Any, Domain(type(choices[0]), choices=choices)]


def domain_of(annotation: Any) -> Domain:
    """The domain of an annotation such as `Positive`."""
    return next(d for d in get_args(annotation)[1:] if isinstance(d, Domain))


def networks(constructor: Callable) -> tuple[str, ...]:
    """The networks that a method's constructor takes, in order: its parameters before the `*`."""
    parameters = inspect.signature(constructor).parameters.values()
    return tuple(p.name for p in parameters if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD)


def takes(constructor: Any, name: str) -> bool:
    """Whether a constructor has a parameter of this name, such as `predictor` or `data_size`."""
    return constructor is not None and name in inspect.signature(constructor).parameters


def domains(constructor: Any) -> dict[str, Domain]:
    """The annotated domains of a constructor's parameters."""
    found = {}
    for name, parameter in inspect.signature(constructor).parameters.items():
        if get_origin(parameter.annotation) is Annotated:
            found[name] = domain_of(parameter.annotation)
    return found


def _settable(constructor: Any) -> dict[str, inspect.Parameter]:
    """The parameters that a config sets: the keywords of a function, the fields of a module."""
    function = inspect.isfunction(constructor)
    reserved = RESERVED if function else (*RESERVED, 'groups', 'maps', 'views')
    return {
        name: parameter
        for name, parameter in inspect.signature(constructor).parameters.items()
        if name not in reserved and (not function or parameter.kind is inspect.Parameter.KEYWORD_ONLY)
    }


def keywords(constructor: Any) -> dict[str, Any]:
    """The configurable keywords of a method, network or optimiser and their defaults."""
    found: dict[str, Any] = {}
    known = domains(constructor)
    for name, parameter in _settable(constructor).items():
        if parameter.default is not inspect.Parameter.empty:
            found[name] = parameter.default
            if name in known and known[name].scheduled:
                found[f'{name}_final'] = parameter.default
    return found


def required(constructor: Any) -> dict[str, Domain]:
    """The configurable keywords that have no default, such as the widths of an MLP, and their domains."""
    known = domains(constructor)
    empty = inspect.Parameter.empty
    return {name: known[name] for name, p in _settable(constructor).items() if p.default is empty and name in known}


def schedulable(constructor: Any) -> dict[str, Domain]:
    """The numbers that a cosine over the run may move: keywords whose domain is one float, without a `_final` field."""
    known = keywords(constructor)
    return {
        name: domain._replace(optional=False)
        for name, domain in domains(constructor).items()
        if name in known and domain.kind is float and not (domain.several or domain.scheduled or domain.static)
    }


def check(section: str, constructor: Any, values: Mapping[str, Any]) -> None:
    """Refuses keywords that a constructor does not take, and values outside their domains.

    Args:
      section: the group of the config, for the message: `method`, `model`, ...
      constructor: the method, encoder, network kind or optimiser.
      values: keywords and their values, without the name.

    Raises:
      UserError: naming the field, with the nearest known name or the domain.
    """
    known, needed = keywords(constructor), required(constructor)
    found = domains(constructor)
    for name, domain in needed.items():
        if name not in values:
            raise UserError(f'{section}.{name} is missing; it must be {domain.describe()}')
    for name, value in values.items():
        if name not in known and name not in needed:
            raise UserError(f'unknown field {section}.{name}{nearest(name, [*known, *needed])}')
        domain = found.get(name) or found.get(name.removesuffix('_final'))
        if domain is not None:
            domain.check(f'{section}.{name}', value)
        elif type(value) is not type(known[name]):
            raise UserError(f'{section}.{name} must be of type {type(known[name]).__name__}, not {value!r}')

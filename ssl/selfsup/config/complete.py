"""Defaults that depend on names and on other values: keywords of the method, of networks and of the optimiser."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from ..augment.recipes import RECIPES
from ..errors import UserError, nearest
from ..methods import METHODS, REGULARISERS
from ..models import ENCODERS, NETWORKS
from ..optim import OPTIMIZERS, Group
from ..signature import Domain, domains, keywords, networks, required, schedulable
from . import fields
from .defaults import KIND, defaults
from .domains import field_domains
from .known import check_known

LONGEST_WARMUP = 10.0  # epochs, where a config names none


def network_sections() -> set[str]:
    """The sections of the config that hold a network of some method: projector, predictor, ..."""
    return {name for method in METHODS.values() for name in networks(method)} - {'encoder'}


def sections(config: ConfigDict) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Section of the config -> its field that names a constructor, and the table of them."""
    found: dict[str, tuple[str, Mapping[str, Any]]] = {'method': ('name', METHODS)}
    _row(config, 'method', *found['method'])
    found |= {'model': ('name', ENCODERS), 'optimizer': ('name', OPTIMIZERS)}
    taken = networks(METHODS[config.method.name])
    return found | {name: ('kind', NETWORKS) for name in taken if name != 'encoder'}


def constructors(config: ConfigDict) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Section of the config -> the constructor that it names, and its keywords."""
    found = {}
    for section, (label, table) in sections(config).items():
        values = {name: value for name, value in config[section].items() if name not in (label, 'regularisers')}
        found[section] = (_row(config, section, label, table), values)
    for name, values in config.method.regularisers.items():
        found[f'method.regularisers.{name}'] = (REGULARISERS[name], dict(values))
    return found


def fill(config: ConfigDict) -> None:
    """Writes defaults that depend on names into the config: keywords of constructors, the recipe's views."""
    check_known(config, network_sections())
    for section, (label, table) in sections(config).items():
        if label == 'kind':
            config[section] = config.get(section, ConfigDict())
            config[section].kind = config[section].get('kind', reference(section).get('kind', KIND))
        _fill_section(config, section, label, _row(config, section, label, table))
    _fill_regularisers(config)
    for name in config.schedules:
        fields.conform(config, f'schedules.{name}', 1.0)
    if config.augment.recipe:
        if config.augment.recipe not in RECIPES:
            hint = nearest(config.augment.recipe, RECIPES)
            raise UserError(f'augment.recipe={config.augment.recipe!r} is unknown{hint}')
        if not len(config.augment.views):
            config.augment.views = ConfigDict(RECIPES[config.augment.recipe](config.augment.size))


def settle(config: ConfigDict) -> None:
    """Writes defaults that depend on other values, when all of those are known: the warm-up of a short run."""
    if config.optimizer.warmup_epochs is None:
        config.optimizer.warmup_epochs = max(float(min(LONGEST_WARMUP, config.train.epochs)), 0.0)
    fields.conform(config, 'optimizer.warmup_epochs', LONGEST_WARMUP)


def open_fields(config: ConfigDict) -> set[str]:
    """Fields that a file may leave out and a command line may still set."""
    found = {f'optimizer.groups.{group}.{name}' for group in config.optimizer.groups for name in Group._fields}
    for section, (constructor, _) in constructors(config).items():
        found |= {f'{section}.{name}' for name in required(constructor)}
    for regulariser, constructor in REGULARISERS.items():
        known = {**keywords(constructor), **required(constructor)}
        found |= {f'method.regularisers.{regulariser}.{name}' for name in known}
    return found | {f'schedules.{name}' for name in schedulable(METHODS[config.method.name])}


def real_fields(config: ConfigDict) -> set[str]:
    """Fields of real numbers: that a file gives one a whole number, where the default is None, makes it no integer."""
    found = {name for name, domain in field_domains().items() if domain.kind is float and not domain.several}
    for section, (constructor, _) in constructors(config).items():
        of = domains(constructor).items()
        found |= {f'{section}.{name}' for name, domain in of if domain.kind is float and not domain.several}
    return found


def _row(config: ConfigDict, section: str, label: str, table: Mapping[str, Any]) -> Any:
    """The constructor that a section names."""
    name = config[section].get(label, None)
    if not isinstance(name, str) or name not in table:
        raise UserError(f'{section}.{label}={name!r} is unknown{nearest(str(name), table)}')
    return table[name]


def _fill_regularisers(config: ConfigDict) -> None:
    """Adds the keywords of the method's regularisers."""
    chosen = config.method.get('regularisers', ConfigDict())
    if not isinstance(chosen, ConfigDict):
        raise UserError(f'method.regularisers must be a group of fields, one a regulariser, not {chosen!r}')
    config.method.regularisers = chosen
    for name, values in chosen.items():
        if name not in REGULARISERS:
            raise UserError(f'method.regularisers.{name} is unknown{nearest(name, REGULARISERS)}')
        if not isinstance(values, ConfigDict):
            raise UserError(f'method.regularisers.{name} must be a group of fields, not {values!r}')
        _fill_section(config, f'method.regularisers.{name}', '', REGULARISERS[name])


def _fill_section(config: ConfigDict, section: str, label: str, constructor: Any) -> None:
    """Adds the keywords of the section's constructor, and brings all to their types."""
    values, given = fields.value_at(config, section), reference(section)
    known, needed = keywords(constructor), required(constructor)
    flat = dict(given) if section == 'optimizer' else {}  # one section for all optimisers
    for field in [f for f in values if f not in (label, 'regularisers') and f not in {**known, **needed, **flat}]:
        other = label == 'kind' and values.kind != given.get('kind', KIND)
        if not other or not fields.same(values[field], given.get(field, None)):  # set by a user, not by defaults()
            raise UserError(f'unknown field {section}.{field}{nearest(field, {**known, **needed, **flat})}')
        del values[field]
    for field, value in known.items():
        if field not in values:
            values[field] = value
        fields.conform(config, f'{section}.{field}', value)
    for field, domain in needed.items():
        if field in values:
            fields.conform(config, f'{section}.{field}', _example(domain))


def reference(section: str) -> ConfigDict:
    """A section of `defaults()`; empty where it has none."""
    config = defaults()
    return config[section] if section in config else ConfigDict()


def _example(domain: Domain) -> Any:
    """A value of the type of a domain."""
    return () if domain.several else domain.kind()

"""Defaults that depend on names: keywords of the method and the encoder, the recipe's views."""

from ml_collections import ConfigDict

from ..augment.recipes import RECIPES
from ..errors import UserError, nearest
from ..methods import METHODS
from ..models import ENCODERS, NETWORKS
from ..signature import keywords, takes
from . import fields
from .known import check_known


def network_sections(config: ConfigDict) -> list[str]:
    """The sections that describe a network by its kind: projector, predictor, decoder."""
    return [name for name, section in config.items() if isinstance(section, ConfigDict) and 'kind' in section]


def _complete_network(config: ConfigDict, section: str) -> None:
    """Fills in the keywords of a network's kind, if the method takes the network; refuses unknown kinds and fields."""
    kind = config[section].kind
    if not isinstance(kind, str) or kind not in NETWORKS:
        raise UserError(f'{section}.kind={kind!r} is unknown{nearest(str(kind), NETWORKS)}')
    if not takes(METHODS[config.method.name], section):
        return
    known = keywords(NETWORKS[kind])
    if takes(NETWORKS[kind], 'widths'):
        known['widths'] = (1,)
    for field in list(config[section]):
        if field != 'kind' and field not in known:
            raise UserError(f'unknown field {section}.{field} of kind {kind}{nearest(field, known)}')
    for field, value in known.items():
        if field not in config[section]:
            config[section][field] = value
        fields.conform(config, f'{section}.{field}', value)


def fill(config: ConfigDict) -> None:
    """Writes defaults that depend on names into the config: keywords of method and model, the recipe's views."""
    check_known(config)
    for section, table in (('method', METHODS), ('model', ENCODERS)):
        name = config[section].name
        if not isinstance(name, str) or name not in table:
            raise UserError(f'{section}.name={name!r} is unknown{nearest(str(name), table)}')
        known = keywords(table[name])
        for field in config[section]:
            if field != 'name' and field not in known:
                raise UserError(f'unknown field {section}.{field} of {name}{nearest(field, known)}')
        for field, value in known.items():
            if field not in config[section]:
                config[section][field] = value
            fields.conform(config, f'{section}.{field}', value)
    for section in network_sections(config):
        _complete_network(config, section)
    if config.augment.recipe:
        if not isinstance(config.augment.recipe, str) or config.augment.recipe not in RECIPES:
            hint = nearest(str(config.augment.recipe), RECIPES)
            raise UserError(f'augment.recipe={config.augment.recipe!r} is unknown{hint}')
        if not len(config.augment.views):
            config.augment.views = ConfigDict(RECIPES[config.augment.recipe](config.augment.size))

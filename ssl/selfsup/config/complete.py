"""Defaults that depend on names: keywords of the method and the encoder, the recipe's views."""

from ml_collections import ConfigDict

from ..augment.recipes import RECIPES
from ..errors import UserError, nearest
from ..methods import METHODS
from ..models import ENCODERS
from ..signature import keywords
from . import fields
from .known import check_known


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
                raise UserError(f'{section}.{field} is no field of {name}{nearest(field, known)}')
        for field, value in known.items():
            if field not in config[section]:
                config[section][field] = value
            fields.conform(config, f'{section}.{field}', value)
    if config.augment.recipe:
        if not isinstance(config.augment.recipe, str) or config.augment.recipe not in RECIPES:
            hint = nearest(str(config.augment.recipe), RECIPES)
            raise UserError(f'augment.recipe={config.augment.recipe!r} is unknown{hint}')
        if not len(config.augment.views):
            config.augment.views = ConfigDict(RECIPES[config.augment.recipe](config.augment.size))

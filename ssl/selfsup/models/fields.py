"""Fields of an encoder, as a config or a file of weights gives them: refused where nothing can be built with them."""

from typing import Any

from ..errors import UserError, nearest
from ..signature import check, keywords

MOST_BLOCKS = 1000  # more would not end being built; no published network is near


def check_encoder(table: dict[str, Any], fields: dict[str, Any]) -> None:
    """Refuses an unknown encoder, and fields that are unknown, of a wrong type, out of their domain or do not fit.

    Args:
      table: name -> constructor.
      fields: of `config.model`, with the name.

    Raises:
      UserError: naming the field.
    """
    name = fields.get('name')
    if not isinstance(name, str) or name not in table:
        raise UserError(f'model.name={name!r} is unknown{nearest(str(name), table)}')
    values = {field: value for field, value in fields.items() if field != 'name'}
    check('model', table[name], values)
    for field, default in keywords(table[name]).items():
        if isinstance(default, (bool, str)) and type(values.get(field, default)) is not type(default):
            raise UserError(f'model.{field} must be a {type(default).__name__}, not {values[field]!r}')
    blocks = max(sum(values.get('stages', ())), values.get('depth', 0))
    if blocks > MOST_BLOCKS:
        raise UserError(f'model has {blocks} blocks; at most {MOST_BLOCKS} can be built')
    if 'heads' in values and values['dim'] % values['heads']:
        raise UserError(f'model.heads={values["heads"]} must divide model.dim={values["dim"]}')

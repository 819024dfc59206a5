"""Sizes of networks that do not go together."""

from collections.abc import Mapping
from typing import Any

from ..errors import UserError

MOST_BLOCKS = 1000  # above, a program would not end being built; no published network is near


def check_sizes(section: str, fields: Mapping[str, Any]) -> None:
    """Refuses an encoder or another network whose sizes, each right by itself, do not go together.

    Args:
      section: the group of the config, for the message: `model`, `decoder`, ...
      fields: the network's keywords.

    Raises:
      UserError: naming the fields.
    """
    stages = fields.get('stages', ())
    if sum(stages) > MOST_BLOCKS:
        raise UserError(f'{section}.stages={stages!r} must be at most {MOST_BLOCKS} blocks, not {sum(stages)}')
    if fields.get('pool') == 'token' and not fields.get('class_token', True):
        raise UserError(f"{section}.class_token=False leaves no token to pool; set {section}.pool='mean'")
    if 'heads' in fields and 'dim' in fields and fields['dim'] % fields['heads']:
        raise UserError(f'{section}.heads={fields["heads"]} must divide {section}.dim={fields["dim"]}')

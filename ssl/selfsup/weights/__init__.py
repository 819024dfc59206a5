"""Weights in and out: encoders of other code bases here, ours there.

`read` takes files of torchvision, timm and the authors' repositories, `write` makes safetensors under
torchvision's or timm's names; `python -m selfsup.convert` does both. Nothing in a file is ever executed.
"""

from .folder import is_encoder, write
from .names import ARCHITECTURES, NAMINGS, ORIGINS
from .read import read
from .states import state_dict
from .values import Weights

__all__ = ['ARCHITECTURES', 'NAMINGS', 'ORIGINS', 'Weights', 'is_encoder', 'read', 'state_dict', 'write']

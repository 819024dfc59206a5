"""Self-supervised methods, one a file. A new one is a file and a row of `METHODS`."""

from .barlow_twins import barlow_twins
from .base import Method
from .moco import moco_v2
from .simclr import simclr
from .vicreg import vicreg

# config.method.name -> constructor; config.method's other fields are its keywords.
METHODS = {
    'barlow_twins': barlow_twins,
    'moco_v2': moco_v2,
    'simclr': simclr,
    'vicreg': vicreg,
}

__all__ = ['METHODS', 'Method', 'barlow_twins', 'moco_v2', 'simclr', 'vicreg']

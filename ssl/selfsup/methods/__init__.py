"""Self-supervised methods, one a file. A new one is a file and a row of `METHODS`."""

from .barlow_twins import barlow_twins
from .base import Method
from .byol import byol
from .debiased import debiased
from .decoupled import decoupled
from .deepcluster import deepcluster_v2
from .dino import dino
from .lejepa import lejepa
from .mmcr import mmcr
from .moco import moco_v1, moco_v2
from .moco_v3 import moco_v3
from .nnclr import nnclr
from .ressl import ressl
from .simclr import simclr
from .simsiam import simsiam
from .supcon import supcon
from .swav import swav
from .tico import tico
from .vibcreg import vibcreg
from .vicreg import vicreg
from .vicregl import vicregl
from .w_mse import w_mse

# config.method.name -> constructor; config.method's other fields are its keywords.
METHODS = {
    'barlow_twins': barlow_twins,
    'byol': byol,
    'debiased': debiased,
    'decoupled': decoupled,
    'deepcluster_v2': deepcluster_v2,
    'dino': dino,
    'lejepa': lejepa,
    'mmcr': mmcr,
    'moco_v1': moco_v1,
    'moco_v2': moco_v2,
    'moco_v3': moco_v3,
    'nnclr': nnclr,
    'ressl': ressl,
    'simclr': simclr,
    'simsiam': simsiam,
    'supcon': supcon,
    'swav': swav,
    'tico': tico,
    'vibcreg': vibcreg,
    'vicreg': vicreg,
    'vicregl': vicregl,
    'w_mse': w_mse,
}

__all__ = [
    'METHODS',
    'Method',
    'barlow_twins',
    'byol',
    'debiased',
    'decoupled',
    'deepcluster_v2',
    'dino',
    'lejepa',
    'mmcr',
    'moco_v1',
    'moco_v2',
    'moco_v3',
    'nnclr',
    'ressl',
    'simclr',
    'simsiam',
    'supcon',
    'swav',
    'tico',
    'vibcreg',
    'vicreg',
    'vicregl',
    'w_mse',
]

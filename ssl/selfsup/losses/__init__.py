"""Self-supervised losses: pure functions from arrays to a scalar, written for the global batch.

They hold no parameters and no state, call no collectives, and compute in at least float32.
"""

from .barlow_twins import barlow_twins, barlow_twins_terms
from .capi import capi, capi_targets
from .contrastive import info_nce, ntxent
from .dinosr import dinosr, moved_codes, nearest_codes
from .dinov2 import dinov2_class, koleo
from .hog import hog
from .ibot import dinov2_patches, ibot_patches
from .in_batch import info_nce_in_batch, moco_v3, nnclr
from .latent import averaged_layers, masked_smooth_l1, standardize_tokens
from .masked import masked_l1, masked_mse
from .mmcr import mmcr
from .msn import msn, msn_targets, msn_terms
from .negatives import debiased, decoupled
from .predictive import byol, simsiam
from .prototypes import deepcluster, dino, dino_centre, sinkhorn, swav
from .ressl import ressl
from .sigreg import lejepa, lejepa_terms, sigreg
from .supcon import supcon
from .tico import tico
from .vibcreg import vibcreg, vibcreg_terms
from .vicreg import vicreg, vicreg_terms
from .vicregl import vicregl_local, vicregl_local_terms
from .whitening import w_mse

__all__ = [
    'averaged_layers',
    'barlow_twins',
    'barlow_twins_terms',
    'byol',
    'capi',
    'capi_targets',
    'debiased',
    'decoupled',
    'deepcluster',
    'dino',
    'dino_centre',
    'dinosr',
    'dinov2_class',
    'dinov2_patches',
    'hog',
    'ibot_patches',
    'info_nce',
    'info_nce_in_batch',
    'koleo',
    'lejepa',
    'lejepa_terms',
    'masked_l1',
    'masked_mse',
    'masked_smooth_l1',
    'mmcr',
    'moco_v3',
    'moved_codes',
    'msn',
    'msn_targets',
    'msn_terms',
    'nearest_codes',
    'nnclr',
    'ntxent',
    'ressl',
    'sigreg',
    'simsiam',
    'sinkhorn',
    'standardize_tokens',
    'supcon',
    'swav',
    'tico',
    'vibcreg',
    'vibcreg_terms',
    'vicreg',
    'vicreg_terms',
    'vicregl_local',
    'vicregl_local_terms',
    'w_mse',
]

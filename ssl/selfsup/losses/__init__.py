"""Self-supervised losses: pure functions from arrays to a scalar, written for the global batch.

They hold no parameters and no state, call no collectives, and compute in at least float32.
"""

from .barlow_twins import barlow_twins, barlow_twins_terms
from .capi import capi, capi_targets
from .co2 import co2
from .contrastive import info_nce, ntxent
from .dictionary import dead_reconstruction, nested_reconstruction, reconstruction, sparsity
from .dinosr import dinosr, moved_codes, nearest_codes
from .dinov2 import dinov2_class, koleo
from .emp_ssl import emp_ssl, emp_ssl_terms
from .frossl import frossl, frossl_terms
from .hard_negatives import info_nce_hardest, mochi
from .e2mc import e2mc, e2mc_terms
from .cluster_negatives import cluster_negatives, moved_centroids
from .contrastive import info_nce, ntxent
from .dinosr import dinosr, moved_codes, nearest_codes
from .dinov2 import dinov2_class, koleo
from .esimcse import esimcse
from .group_whitening import group_whiten, whitened_contrastive
from .hog import hog
from .hypersphere import hypersphere, hypersphere_terms
from .ibot import dinov2_patches, ibot_patches
from .icon import icon, icon_views
from .in_batch import info_nce_in_batch, moco_v3, nnclr
from .instance import (
    diet,
    instance_nce,
    instance_normalizer,
    instance_softmax,
    invariance_propagation,
    invariance_propagation_terms,
    propagated,
from .kernels import (
    cluster_kernel,
    cosine_kernel,
    gaussian_kernel,
    label_kernel,
    leak,
    neighbour_kernel,
    perplexity_widths,
    student_kernel,
)
from .latent import averaged_layers, masked_smooth_l1, standardize_tokens
from .macl import macl
from .local_dimension import ldreg, local_dimension
from .masked import masked_l1, masked_mse
from .mmcr import mmcr
from .msn import msn, msn_targets, msn_terms
from .mutual_information import mi_dv, mi_info_nce, mi_jsd, mi_mine, mi_nwj, mi_smile
from .negatives import debiased, decoupled
from .neighbours import nearest
from .predictive import byol, simsiam
from .prototypes import deepcluster, dino, dino_centre, sinkhorn, swav
from .ressl import ressl
from .sigreg import lejepa, lejepa_terms, sigreg
from .sparsity import flops, sparsemax, sparsemax_loss
from .spectral import (
    intl,
    intl_terms,
    intl_weight,
    iterative_normalization,
    iterative_scale,
    power_scale,
    spectral_transform,
    trace_loss,
)
from .spectral_contrastive import spectral_contrastive
from .supcon import supcon
from .tico import tico
from .unisiam import unisiam, unisiam_terms
from .vibcreg import vibcreg, vibcreg_terms
from .vicreg import vicreg, vicreg_terms
from .vicregl import vicregl_local, vicregl_local_terms
from .visreg import visreg_terms
from .whitening import w_mse

__all__ = [
    'averaged_layers',
    'barlow_twins',
    'barlow_twins_terms',
    'byol',
    'capi',
    'capi_targets',
    'co2',
    'cluster_kernel',
    'cluster_negatives',
    'cosine_kernel',
    'dead_reconstruction',
    'debiased',
    'decoupled',
    'deepcluster',
    'diet',
    'dino',
    'dino_centre',
    'dinosr',
    'dinov2_class',
    'dinov2_patches',
    'emp_ssl',
    'emp_ssl_terms',
    'frossl',
    'frossl_terms',
    'e2mc',
    'e2mc_terms',
    'flops',
    'esimcse',
    'gaussian_kernel',
    'group_whiten',
    'hog',
    'hypersphere',
    'hypersphere_terms',
    'ibot_patches',
    'icon',
    'icon_views',
    'info_nce',
    'info_nce_hardest',
    'info_nce_in_batch',
    'instance_nce',
    'instance_normalizer',
    'instance_softmax',
    'invariance_propagation',
    'invariance_propagation_terms',
    'intl',
    'intl_terms',
    'intl_weight',
    'iterative_normalization',
    'iterative_scale',
    'koleo',
    'ldreg',
    'label_kernel',
    'leak',
    'lejepa',
    'lejepa_terms',
    'macl',
    'local_dimension',
    'masked_l1',
    'masked_mse',
    'masked_smooth_l1',
    'mi_dv',
    'mi_info_nce',
    'mi_jsd',
    'mi_mine',
    'mi_nwj',
    'mi_smile',
    'mmcr',
    'mochi',
    'moco_v3',
    'moved_centroids',
    'moved_codes',
    'msn',
    'msn_targets',
    'msn_terms',
    'nearest',
    'nearest_codes',
    'neighbour_kernel',
    'nnclr',
    'ntxent',
    'propagated',
    'power_scale',
    'perplexity_widths',
    'nested_reconstruction',
    'nnclr',
    'ntxent',
    'reconstruction',
    'ressl',
    'sigreg',
    'simsiam',
    'sinkhorn',
    'sparsemax',
    'sparsemax_loss',
    'spectral_transform',
    'spectral_contrastive',
    'sparsity',
    'standardize_tokens',
    'student_kernel',
    'supcon',
    'swav',
    'tico',
    'unisiam',
    'unisiam_terms',
    'trace_loss',
    'vibcreg',
    'vibcreg_terms',
    'vicreg',
    'vicreg_terms',
    'vicregl_local',
    'vicregl_local_terms',
    'visreg_terms',
    'w_mse',
    'whitened_contrastive',
]

"""Self-supervised losses: pure functions from arrays to a scalar, written for the global batch.

They hold no parameters and no state, call no collectives, and compute in at least float32.
"""

from .barlow_twins import barlow_twins, barlow_twins_terms
from .beclr import balanced_clusters, beclr, beclr_terms, nearest_members
from .capi import capi, capi_targets
from .cluster_negatives import cluster_negatives, moved_centroids
from .co2 import co2
from .constrained import centre_distance, centre_logits, moved_centres, pair_divergence
from .contrastive import info_nce, ntxent
from .detcon import detcon
from .dictionary import dead_reconstruction, nested_reconstruction, reconstruction, sparsity
from .dinosr import dinosr, moved_codes, nearest_codes
from .dinov2 import dinov2_class, koleo
from .e2mc import e2mc, e2mc_terms
from .emp_ssl import emp_ssl, emp_ssl_terms
from .equivariance import care, sie_terms
from .esimcse import esimcse
from .feature_contrast import feature_contrast
from .frossl import frossl, frossl_terms
from .group_whitening import group_whiten, whitened_contrastive
from .hard_negatives import info_nce_hardest, mochi
from .hierarchical import hierarchical_cross_entropy, hierarchical_cross_entropy_terms
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
)
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
from .local_dimension import ldreg, local_dimension
from .macl import macl
from .masked import masked_l1, masked_mse
from .metric import mixed_pairs, pair_margin, proxy_anchor
from .mmcr import mmcr
from .msn import msn, msn_targets, msn_terms
from .mutual_information import mi_dv, mi_info_nce, mi_jsd, mi_mine, mi_nwj, mi_smile
from .negatives import debiased, decoupled
from .neighbours import nearest, nearest_few
from .partial_margin import partial_margin
from .patch_kernel import patch_kernel_alignment
from .pcl import concentrations, prototype_nce
from .places import amdim, cpc, cpc_correct
from .predictive import byol, simsiam
from .pretext import cross_entropy, focal, triplet_semihard
from .prototypes import cluster_cross_entropy, deepcluster, dino, dino_centre, swav
from .ressl import ressl
from .scan import confident_cross_entropy, scan, scan_terms
from .sigreg import lejepa, lejepa_terms, sigreg
from .sparse import flops, sparsemax, sparsemax_loss
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
from .transport import membership_cross_entropy, multi_sinkhorn, sinkhorn, slot_plan, transport
from .triplet import weighted_triplet
from .unisiam import unisiam, unisiam_terms
from .vibcreg import vibcreg, vibcreg_terms
from .vicreg import vicreg, vicreg_terms
from .vicregl import vicregl_local, vicregl_local_terms
from .visreg import centre_scale_shape, visreg, visreg_terms
from .whitening import w_mse

__all__ = [
    'amdim',
    'averaged_layers',
    'balanced_clusters',
    'barlow_twins',
    'barlow_twins_terms',
    'beclr',
    'beclr_terms',
    'byol',
    'capi',
    'capi_targets',
    'care',
    'centre_distance',
    'centre_logits',
    'centre_scale_shape',
    'cluster_cross_entropy',
    'cluster_kernel',
    'cluster_negatives',
    'co2',
    'concentrations',
    'confident_cross_entropy',
    'cosine_kernel',
    'cpc',
    'cpc_correct',
    'cross_entropy',
    'dead_reconstruction',
    'debiased',
    'decoupled',
    'deepcluster',
    'detcon',
    'diet',
    'dino',
    'dino_centre',
    'dinosr',
    'dinov2_class',
    'dinov2_patches',
    'e2mc',
    'e2mc_terms',
    'emp_ssl',
    'emp_ssl_terms',
    'esimcse',
    'feature_contrast',
    'flops',
    'focal',
    'frossl',
    'frossl_terms',
    'gaussian_kernel',
    'group_whiten',
    'hierarchical_cross_entropy',
    'hierarchical_cross_entropy_terms',
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
    'intl',
    'intl_terms',
    'intl_weight',
    'invariance_propagation',
    'invariance_propagation_terms',
    'iterative_normalization',
    'iterative_scale',
    'koleo',
    'label_kernel',
    'ldreg',
    'leak',
    'lejepa',
    'lejepa_terms',
    'local_dimension',
    'macl',
    'masked_l1',
    'masked_mse',
    'masked_smooth_l1',
    'membership_cross_entropy',
    'mi_dv',
    'mi_info_nce',
    'mi_jsd',
    'mi_mine',
    'mi_nwj',
    'mi_smile',
    'mixed_pairs',
    'mmcr',
    'mochi',
    'moco_v3',
    'moved_centres',
    'moved_centroids',
    'moved_codes',
    'msn',
    'msn_targets',
    'msn_terms',
    'multi_sinkhorn',
    'nearest',
    'nearest_few',
    'nearest_members',
    'nearest_codes',
    'neighbour_kernel',
    'nested_reconstruction',
    'nnclr',
    'ntxent',
    'pair_divergence',
    'pair_margin',
    'partial_margin',
    'patch_kernel_alignment',
    'perplexity_widths',
    'power_scale',
    'propagated',
    'prototype_nce',
    'proxy_anchor',
    'reconstruction',
    'ressl',
    'scan',
    'scan_terms',
    'sie_terms',
    'sigreg',
    'simsiam',
    'sinkhorn',
    'slot_plan',
    'sparsemax',
    'sparsemax_loss',
    'sparsity',
    'spectral_contrastive',
    'spectral_transform',
    'standardize_tokens',
    'student_kernel',
    'supcon',
    'swav',
    'tico',
    'trace_loss',
    'transport',
    'triplet_semihard',
    'unisiam',
    'unisiam_terms',
    'vibcreg',
    'vibcreg_terms',
    'vicreg',
    'vicreg_terms',
    'vicregl_local',
    'vicregl_local_terms',
    'visreg',
    'visreg_terms',
    'w_mse',
    'weighted_triplet',
    'whitened_contrastive',
]

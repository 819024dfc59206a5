"""Diagnostics of representations: pure functions from arrays to numbers.

Without labels, but for `tolerance`, `neural_collapse` and `feature_variance_share`. The folder imports jax,
jaxtyping and numpy only and can be copied into another project. Measures of second order take a
:class:`Summary` in place of the rows, for sets larger than memory.
"""

from .agglomeration import agglomerate, neighbour_affinity, neighbour_chains
from .attention import attention_rollout, attention_weights
from .cca import canonical_correlations, pwcca, svcca
from .clid import clid, clid_scores, cluster_learnability
from .clusters import inertia, kmeans
from .collapse import collapse_alarm, evidence, neural_collapse
from .dense_structure import dense_structure
from .dimension import lid_mle, lid_moments, two_nn
from .geometry import (
    alignment,
    correlation_matrix,
    deviations,
    feature_correlation,
    feature_deviation,
    relative_alignment,
    tolerance,
    uniformity,
)
from .hub_reduction import csls, dissim_local, local_scaling, mutual_proximity, nicdm
from .joint_modes import Modes, joint_modes, kernel_coordinates, linear_optimum
from .lidar import LidarSummary, empty_lidar, lidar, merge_lidar, update_lidar
from .memorisation import sslmem, view_distances
from .neighbours import (
    hubness,
    hubness_of,
    nearest,
    nearest_by_distance,
    neighbour_recall,
    occurrences,
    pairwise_distances,
)
from .relative import (
    Stitch,
    apply_stitch,
    fit_stitch,
    latent_similarity,
    relative_representation,
    stitching_score,
)
from .shares import feature_variance_share
from .similarity import cka, cka_from_terms, hsic_terms, minibatch_cka, procrustes
from .spectrum import (
    alpha_req,
    covariance_spectrum,
    effective_rank,
    nesum,
    rankme,
    singular_values,
    stable_rank,
)
from .summary import Summary, empty_summary, merge_summaries, summarize, update_summary
from .tokens import token_rank
from .whitening import Whitening, fit_whitening, whiten

__all__ = [
    'attention_rollout',
    'attention_weights',
    'LidarSummary',
    'Modes',
    'Stitch',
    'Summary',
    'Whitening',
    'agglomerate',
    'alignment',
    'alpha_req',
    'apply_stitch',
    'canonical_correlations',
    'cka',
    'cka_from_terms',
    'clid',
    'clid_scores',
    'cluster_learnability',
    'collapse_alarm',
    'correlation_matrix',
    'covariance_spectrum',
    'csls',
    'dense_structure',
    'deviations',
    'dissim_local',
    'effective_rank',
    'empty_lidar',
    'empty_summary',
    'evidence',
    'feature_correlation',
    'feature_deviation',
    'feature_variance_share',
    'fit_stitch',
    'fit_whitening',
    'hsic_terms',
    'hubness',
    'hubness_of',
    'inertia',
    'joint_modes',
    'kernel_coordinates',
    'kmeans',
    'latent_similarity',
    'lid_mle',
    'lid_moments',
    'lidar',
    'linear_optimum',
    'local_scaling',
    'merge_lidar',
    'merge_summaries',
    'minibatch_cka',
    'mutual_proximity',
    'nearest',
    'nearest_by_distance',
    'neighbour_affinity',
    'neighbour_chains',
    'neighbour_recall',
    'nesum',
    'neural_collapse',
    'nicdm',
    'occurrences',
    'pairwise_distances',
    'procrustes',
    'pwcca',
    'rankme',
    'relative_alignment',
    'relative_representation',
    'singular_values',
    'sslmem',
    'stable_rank',
    'stitching_score',
    'summarize',
    'svcca',
    'token_rank',
    'tolerance',
    'two_nn',
    'uniformity',
    'update_lidar',
    'update_summary',
    'view_distances',
    'whiten',
]

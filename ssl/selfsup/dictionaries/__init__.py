"""Sparse codes, activations, constraints of atoms, dictionary learning and its measures, as pure functions of arrays.

Signals and atoms are rows: `signals ≈ codes·dictionary` with `[batch, dim]`, `[batch, units]`, `[units, dim]`. The
folder imports jax, jaxtyping, numpy and scipy only and can be copied into another project.
"""

from .activations import above, abs_top_k, batch_top_k, gated, heaviside, jump_relu, top_k
from .atoms import (
    geometric_median,
    hull_constraints,
    mutual_coherence,
    near_hull,
    nearest_orthogonal,
    tangent,
    unit_atoms,
)
from .lasso import fista, ista, lasso_objective, lista_cell, soft_threshold
from .learning import (
    Online,
    Orthogonal,
    Planted,
    fit_ksvd,
    fit_lp,
    fit_online,
    fit_orthogonal,
    ksvd_step,
    lp_step,
    online_begin,
    online_step,
    orthogonal_step,
    planted,
    rows_as_atoms,
)
from .measures import (
    Match,
    code_numbers,
    explained_variance,
    hoyer,
    match,
    mean_correlation,
    normalised_error,
    recovered,
    stability,
)
from .pursuit import matching_pursuit, omp

__all__ = [
    'Match',
    'Online',
    'Orthogonal',
    'Planted',
    'above',
    'abs_top_k',
    'batch_top_k',
    'code_numbers',
    'explained_variance',
    'fista',
    'fit_ksvd',
    'fit_lp',
    'fit_online',
    'fit_orthogonal',
    'gated',
    'geometric_median',
    'heaviside',
    'hoyer',
    'hull_constraints',
    'ista',
    'jump_relu',
    'ksvd_step',
    'lasso_objective',
    'lista_cell',
    'lp_step',
    'match',
    'matching_pursuit',
    'mean_correlation',
    'mutual_coherence',
    'near_hull',
    'nearest_orthogonal',
    'normalised_error',
    'omp',
    'online_begin',
    'online_step',
    'orthogonal_step',
    'planted',
    'recovered',
    'rows_as_atoms',
    'soft_threshold',
    'stability',
    'tangent',
    'top_k',
    'unit_atoms',
]

"""Two levels of classes, a classifier of the upper one and for each of its classes one of the lower (DeeperCluster)."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from ._common import as_float
from .prototypes import cluster_cross_entropy


def hierarchical_cross_entropy_terms(
    upper: Float[ArrayLike, 'batch classes'],
    lower: Float[ArrayLike, 'batch classes count'],
    classes: Int[ArrayLike, ' batch'],
    clusters: Int[ArrayLike, ' batch'],
    *,
    weights: Float[ArrayLike, ' batch'] | None = None,
) -> dict[str, Array]:
    """The terms of :func:`hierarchical_cross_entropy`: `upper` and `lower`.

    Args:
      upper, lower, classes, clusters, weights: see :func:`hierarchical_cross_entropy`.

    Returns:
      The two scalars by name, in nats, ≥ 0.

    References:
      Caron et al. 2019, https://arxiv.org/abs/1905.01278.
    """
    upper, lower = as_float('upper', upper), as_float('lower', lower)
    if upper.ndim != 2 or lower.ndim != 3 or upper.shape != lower.shape[:2]:
        raise ValueError(
            f'upper [batch, classes] and lower [batch, classes, count] do not fit: their shapes are '
            f'{list(upper.shape)} and {list(lower.shape)}'
        )
    classes, clusters = jnp.asarray(classes), jnp.asarray(clusters)
    if classes.shape != upper.shape[:1] or clusters.shape != upper.shape[:1]:
        raise ValueError(
            f'classes and clusters must have one entry a row of upper: their shapes are {list(classes.shape)}, '
            f'{list(clusters.shape)} and {list(upper.shape)}'
        )
    own = classes[:, None] == jnp.arange(upper.shape[1])[None]
    # The classifiers of the other classes have no part in a row.
    within = jnp.where(own, clusters[:, None], -1)
    given = None if weights is None else as_float('weights', weights)[:, None]
    spread = None if given is None else jnp.broadcast_to(given, within.shape)
    return {
        'upper': cluster_cross_entropy(upper[:, None], classes[:, None], weights=given),
        'lower': cluster_cross_entropy(lower, within, weights=spread),
    }


def hierarchical_cross_entropy(
    upper: Float[ArrayLike, 'batch classes'],
    lower: Float[ArrayLike, 'batch classes count'],
    classes: Int[ArrayLike, ' batch'],
    clusters: Int[ArrayLike, ' batch'],
    *,
    weights: Float[ArrayLike, ' batch'] | None = None,
) -> Float[Array, '']:
    """Cross-entropy of a row's class, plus that of its cluster by the classifier of this class alone.

    Args:
      upper: scores of the classes.
      lower: scores of the clusters within each class; of a row only those of its own class count.
      classes: each row's class; −1 for none, which leaves the row out.
      clusters: each row's cluster within its class; −1 for none, which leaves the row out of the second term.
      weights: of each row in both terms, ≥ 0. None: 1.

    Returns:
      The sum of two weighted means in nats, ≥ 0; log(classes) + log(count) where all scores are equal, as after a
      collapse; 0 without a class.

    Convention: both terms have weight 1, and each is a mean over its own rows.

    Cost: O(batch·classes·count); no state.

    References:
      Caron et al. 2019, https://arxiv.org/abs/1905.01278; `trainer.py` of the authors.
    """
    terms = hierarchical_cross_entropy_terms(upper, lower, classes, clusters, weights=weights)
    return terms['upper'] + terms['lower']

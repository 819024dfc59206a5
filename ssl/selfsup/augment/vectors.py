"""Augmentation of vectors of features (tables): pure functions of a key and one vector."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._common import require_range


def random_dropout(
    key: PRNGKeyArray, vector: Float[Array, 'dim'], *, rate: float = 0.1, report: bool = False
) -> Float[Array, 'dim'] | tuple[Float[Array, 'dim'], dict[str, Array]]:
    """Sets each feature to 0 with probability `rate` and divides the others by 1 − rate. Reports `dropped` `[dim]`.

    Two such views of one row are SimCSE's pair, whose dropout lies in the network.

    Args:
      key: of this example.
      vector: one row of a table; standardised, 0 is the mean.
      rate: share of features, below 1. Paper: 0.1.
      report: whether what was drawn is returned too.

    References:
      Gao et al. 2021, https://arxiv.org/abs/2104.08821, section 3.
    """
    require_range('rate', rate, 0.0, 0.999)
    dropped = jax.random.bernoulli(key, rate, vector.shape)
    changed = jnp.where(dropped, 0.0, vector / (1.0 - rate)).astype(vector.dtype)
    return (changed, {'dropped': dropped}) if report else changed


def random_corruption(
    key: PRNGKeyArray,
    vector: Float[Array, 'dim'],
    *,
    rate: float = 0.6,
    reference: Float[Array, 'rows dim'],
    report: bool = False,
) -> Float[Array, 'dim'] | tuple[Float[Array, 'dim'], dict[str, Array]]:
    """Replaces a random `rate` of the features by those of rows drawn from `reference`, each feature by its own row.

    So a feature is drawn from its marginal distribution over the training set. Reports `corrupted` `[dim]`.

    Args:
      key: of this example.
      vector: one row of a table.
      rate: share of features to replace; the count is that share of `dim`, rounded down. Paper: 0.6.
      reference: rows of the training set.
      report: whether what was drawn is returned too.

    References:
      Bahri et al. 2022, https://arxiv.org/abs/2106.15147 (SCARF), algorithm 1.
    """
    require_range('rate', rate, 0.0, 1.0)
    which, rows = jax.random.split(key)
    dim = vector.shape[0]
    corrupted = jnp.argsort(jax.random.permutation(which, dim)) < int(rate * dim)
    drawn = jax.random.randint(rows, (dim,), 0, reference.shape[0])
    marginals = jnp.asarray(reference, vector.dtype)[drawn, jnp.arange(dim)]
    changed = jnp.where(corrupted, marginals, vector)
    return (changed, {'corrupted': corrupted}) if report else changed

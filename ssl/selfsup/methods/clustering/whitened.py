"""Features before k-means, as DeepCluster prepares them: whitened principal components, of unit length."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ... import diagnostics
from ..base import unit


def no_whitening(dim: int, kept: int) -> dict[str, Array]:
    """The state of a whitening that no features have given yet: `mean` `[dim]` and `matrix` `[dim, kept]`."""
    return {'mean': jnp.zeros(dim), 'matrix': jnp.zeros((dim, kept))}


def fit(features: Float[Array, 'examples dim'], kept: int) -> dict[str, Array]:
    """The whitening by the first `kept` principal components."""
    found = diagnostics.fit_whitening(features, kind='pca', truncate=1e-6)
    return {'mean': found.mean, 'matrix': found.matrix[:, :kept]}


def whitened(whitening: dict[str, Array], features: Float[Array, 'batch dim']) -> Float[Array, 'batch kept']:
    """Rows whitened and scaled to unit length."""
    centred = features - whitening['mean'][None]
    return unit(jnp.matmul(centred, whitening['matrix'], precision='highest'))

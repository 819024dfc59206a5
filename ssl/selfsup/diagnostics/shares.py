"""How much of a representation's variance each known feature of the input takes up."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import dot, matrix, pair


def feature_variance_share(
    z: Float[ArrayLike, 'samples dim'],
    features: Float[ArrayLike, 'samples features'],
    z_test: Float[ArrayLike, 'tests dim'] | None = None,
    features_test: Float[ArrayLike, 'tests features'] | None = None,
) -> Float[Array, 'features']:
    """Share of the variance of `z` that each feature explains alone, R² = 1 − Σ SS_res / Σ SS_tot.

    Each column of `z` is regressed on one feature and a constant at a time, and the sums of squares are
    added over columns. Simple, early-learned and frequent features tend to take much larger shares than
    hard ones at equal accuracy, so a large share is no proof of importance.

    Args:
      z: representation, one a row; centred here, no ε. At least two rows; tens a feature value.
      features: known features of the same inputs, one a column, as floats (binary, or one-hot columns
        read one by one).
      z_test, features_test: held-out rows to measure R² on, about their own mean; by default the rows
        that were fitted.

    Returns:
      One value ≤ 1 a feature, in [0, 1] without held-out rows: features that add up independently,
      z = Σ αᵢ·fᵢ·wᵢ with orthonormal wᵢ, have αᵢ²·var(fᵢ) / Σ α²·var(f). A constant feature gives 0 and
      so does full collapse, the limit; isotropic noise gives 1/samples (held out: about −1/samples).

    Cost: O(samples·dim·features).

    References:
      Lampinen et al. 2024, https://arxiv.org/abs/2405.05847, section 2 (biases by complexity).
    """
    z, features = pair(z, features, names=('z', 'features'), rows=2, same='samples')
    if (z_test is None) != (features_test is None):
        raise ValueError('z_test and features_test are given together or not at all')
    mean, level = jnp.mean(z, axis=0, keepdims=True), jnp.mean(features, axis=0, keepdims=True)
    centred, known = z - mean, features - level
    energy = jnp.sum(known * known, axis=0)
    # A constant column leaves rounding about its mean, which must not pass for a feature.
    noise = features.shape[0] * (jnp.finfo(features.dtype).eps * jnp.max(jnp.abs(features), axis=0)) ** 2
    varies = energy > noise
    slopes = dot(known.T, centred) / jnp.where(varies, energy, 1.0)[:, None]
    slopes = jnp.where(varies[:, None], slopes, 0.0)
    if z_test is not None:
        z_test, features_test = pair(z_test, features_test, names=('z_test', 'features_test'), same='samples')
        matrix('z_test', z_test, rows=2)
        if z_test.shape[1] != z.shape[1] or features_test.shape[1] != features.shape[1]:
            raise ValueError(
                f'test and training columns differ: z_test {list(z_test.shape)} and z {list(z.shape)}, '
                f'features_test {list(features_test.shape)} and features {list(features.shape)}'
            )
        centred, known = z_test - mean, features_test - level
    spread = centred - jnp.mean(centred, axis=0, keepdims=True)
    total = jnp.sum(spread * spread)
    # Σ (c − k·b)² = Σ c² − 2 b·Σ k c + ‖b‖² Σ k², one feature at a time without forming the residuals.
    cross = jnp.sum(slopes * dot(known.T, centred), axis=1)
    residual = jnp.sum(centred * centred) - 2.0 * cross + jnp.sum(slopes**2, axis=1) * jnp.sum(known * known, axis=0)
    share = 1.0 - residual / jnp.where(total > 0, total, 1.0)
    return jnp.where((total > 0) & varies, share, 0.0)

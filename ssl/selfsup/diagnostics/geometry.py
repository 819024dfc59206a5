"""Spread, redundancy and alignment of embeddings, on and off the unit sphere."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from ._common import centre, class_labels, dot, matrix, pair, ratio, root, unit
from .summary import Summary


def alignment(
    z1: Float[ArrayLike, 'samples dim'], z2: Float[ArrayLike, 'samples dim'], *, alpha: ArrayLike = 2.0
) -> Float[Array, '']:
    """Mean distance of positive pairs on the unit sphere, ‖n(z1) − n(z2)‖^α (eq. 1).

    Args:
      z1, z2: embeddings of two views of the same images, any norm.
      alpha: the power α.

    Returns:
      A scalar in [0, 2^α]: 0 when all pairs coincide (also at collapse), about 2^(α/2) for unrelated
      directions in high dimension. A mean over rows: batches of one size average to the whole.

    Cost: O(samples·dim); a few thousand pairs give two digits.

    References:
      Wang and Isola 2020, https://arxiv.org/abs/2005.10242, eq. 1.
    """
    z1, z2 = pair(z1, z2, names=('z1', 'z2'))
    squared = jnp.sum((unit(z1) - unit(z2)) ** 2, axis=-1)
    safe = jnp.where(squared > 0, squared, 1.0)
    return jnp.mean(jnp.where(squared > 0, safe ** (alpha / 2), 0.0))


def uniformity(z: Float[ArrayLike, 'samples dim'], *, t: ArrayLike = 2.0) -> Float[Array, '']:
    """Log of the mean Gaussian potential over distinct pairs on the unit sphere (eq. 2).

    Args:
      z: embeddings, any norm, at least two rows.
      t: sharpness of the kernel exp(−t‖x − y‖²).

    Returns:
      A scalar ≤ 0: 0 at collapse, towards −2t (less a little) for uniform points in high dimension.

    Cost: O(samples²·dim).

    References:
      Wang and Isola 2020, https://arxiv.org/abs/2005.10242, eq. 2.
    """
    z = unit(matrix('z', z, rows=2))
    count = z.shape[0]
    squared = 2.0 - 2.0 * dot(z, z.T)
    potential = jnp.where(jnp.eye(count, dtype=bool), -jnp.inf, -t * squared)
    return jax.nn.logsumexp(potential) - jnp.log(count * (count - 1.0))


def deviations(
    z: Float[ArrayLike, 'samples dim'] | Summary, *, normalized: bool = False, ddof: int = 0
) -> Float[Array, 'dim']:
    """Standard deviation of each dimension.

    Args:
      z: embeddings, one a row, or a summary (which cannot be `normalized`: its rows are gone).
      normalized: rows to unit length first, and the result times √dim.
      ddof: 0 divides by the number of rows, 1 by one less (then at least two rows).

    Returns:
      `dim` values ≥ 0: zero for a constant dimension and at collapse; σ for isotropic noise of that
      deviation (1 if `normalized`), to 1/√(2·samples) relative.

    Cost: O(samples·dim).

    References:
      Chen and He 2021, https://arxiv.org/abs/2011.10566, section 4.1 (the normalised form).
    """
    if isinstance(z, Summary):
        if normalized:
            raise ValueError('normalized=True needs the rows of z; summarise rows of unit length instead')
        return root(jnp.sum(z.factor * z.factor, axis=0) / (z.count - ddof))
    z = matrix('z', z, rows=ddof + 1)
    if normalized:
        z = unit(z) * jnp.sqrt(jnp.asarray(z.shape[1], z.dtype))
    centred = centre(z)
    return root(jnp.sum(centred * centred, axis=0) / (z.shape[0] - ddof))


def feature_deviation(z: Float[ArrayLike, 'samples dim'] | Summary, *, normalized: bool = False) -> Float[Array, '']:
    """Mean over dimensions of the per-dimension standard deviation (ddof 0), see :func:`deviations`.

    Args:
      z: embeddings, one a row, or a summary.
      normalized: rows to unit length first, and the result times √dim, so that an isotropic cloud
        gives about 1 whatever its width.

    Returns:
      A scalar ≥ 0: 0 at collapse to a point.

    References:
      Chen and He 2021, https://arxiv.org/abs/2011.10566, section 4.1 (the normalised form).
    """
    return jnp.mean(deviations(z, normalized=normalized))


def correlation_matrix(z: Float[ArrayLike, 'samples dim'] | Summary) -> Float[Array, 'dim dim']:
    """Pearson correlation of every two dimensions.

    Args:
      z: embeddings, one a row, or a summary; at least two rows. Centred here; no ε, ddof cancels.

    Returns:
      Values in [−1, 1] with ones on the diagonal; the rows and columns of a constant dimension are
      zero, diagonal included. Isotropic noise leaves 1/√samples off the diagonal.

    Cost: O(samples·dim²).
    """
    if isinstance(z, Summary):
        rows, size = z.factor, jnp.abs(z.mean)[None]
    else:
        z = matrix('z', z, rows=2)
        rows, size = centre(z), jnp.max(jnp.abs(z), axis=0, keepdims=True)
    largest = jnp.max(jnp.abs(rows), axis=0, keepdims=True)
    # The mean of a column that does not vary is rounded, and what centring leaves of it would correlate.
    rows = jnp.where(largest > 4 * jnp.finfo(rows.dtype).eps * size, rows, 0.0)
    rows = rows / jnp.where(largest > 0, largest, 1.0)
    norms = root(jnp.sum(rows * rows, axis=0, keepdims=True))
    rows = rows / jnp.where(norms > 0, norms, 1.0)
    return jnp.clip(dot(rows.T, rows), -1.0, 1.0)


def feature_correlation(z: Float[ArrayLike, 'samples dim'] | Summary) -> Float[Array, '']:
    """Mean absolute correlation of distinct dimensions: how redundant they are.

    Args:
      z: embeddings, one a row, or a summary; at least two rows and two dimensions.

    Returns:
      A scalar in [0, 1]: 1 on a line, 0 for whitened rows and, as the limit, at full collapse;
      isotropic noise gives √(2 / (π·samples)), which is the floor that a sample sets.

    Cost: O(samples·dim²).

    References:
      The off-diagonal of Zbontar et al. 2021, https://arxiv.org/abs/2103.03230, eq. 2, of one view.
    """
    correlation = correlation_matrix(z)
    dim = correlation.shape[0]
    if dim < 2:
        raise ValueError(f'z needs at least two dimensions, and its correlation has shape {list(correlation.shape)}')
    return jnp.sum(jnp.where(jnp.eye(dim, dtype=bool), 0.0, jnp.abs(correlation))) / (float(dim) * (dim - 1))


def tolerance(
    z: Float[ArrayLike, 'samples dim'], labels: Int[ArrayLike, 'samples'], *, classes: int | None = None
) -> Float[Array, '']:
    """Tolerance: mean cosine of distinct samples of one class (section 3.4). The one measure here with labels.

    Args:
      z: embeddings, any norm, not centred.
      labels: class of each row. Every sample counts with the pairs of its class; a class of one sample
        has none. The paper's expectation includes a sample with itself; this does not.
      classes: number of classes; needed where `labels` is traced.

    Returns:
      A scalar in [−1, 1]: 1 at collapse, of the whole or of each class; 0 for isotropic noise. 1, the
      limit, when no class has two samples.

    Cost: O(samples·dim), from the sums of each class: Σ_{i≠j} uᵢ·uⱼ = ‖Σ uᵢ‖² − n.

    References:
      Wang and Liu 2021, https://arxiv.org/abs/2012.09740, section 3.4.
    """
    z = unit(matrix('z', z))
    labels, classes = class_labels('labels', labels, z.shape[0], classes)
    sums = jax.ops.segment_sum(z, labels, num_segments=classes)
    own = jax.ops.segment_sum(jnp.sum(z * z, axis=1), labels, num_segments=classes)
    counts = jax.ops.segment_sum(jnp.ones_like(z[:, 0]), labels, num_segments=classes)
    return ratio(jnp.sum(jnp.sum(sums * sums, axis=1) - own), jnp.sum(counts * (counts - 1.0)), limit=1.0)


def relative_alignment(z1: Float[ArrayLike, 'samples dim'], z2: Float[ArrayLike, 'samples dim']) -> Float[Array, '']:
    """Squared distance of positive pairs over that of random pairs, on centred embeddings.

    Unlike :func:`alignment` it does not fall at collapse: when pairs come closer only because
    everything does, the ratio stays.

    Args:
      z1, z2: embeddings of two views of the same images, at least two rows.

    Returns:
      A scalar ≥ 0: 0 for aligned pairs in a spread cloud, about 1 when pairs are no closer than
      different images; 1 (the limit) when there is no spread at all.

    References:
      The ratio of the two expectations in Wang and Isola 2020, https://arxiv.org/abs/2005.10242,
      section 4.1; the random pairs are all pairs of different images, counted in closed form.
    """
    z1, z2 = pair(z1, z2, names=('z1', 'z2'), rows=2)
    count = z1.shape[0]
    middle = jnp.mean(jnp.concatenate([z1, z2]), axis=0, keepdims=True)
    z1, z2 = z1 - middle, z2 - middle
    positive = jnp.mean(jnp.sum((z1 - z2) ** 2, axis=-1))
    # Σ_{i,j} ‖aᵢ − bⱼ‖² = n(Σ‖a‖² + Σ‖b‖²) − 2 (Σa)·(Σb); the n positive pairs are taken out.
    every = count * (jnp.sum(z1 * z1) + jnp.sum(z2 * z2)) - 2 * jnp.sum(jnp.sum(z1, 0) * jnp.sum(z2, 0))
    random = (every - count * positive) / (float(count) * (count - 1))
    return ratio(positive, random, limit=1.0)

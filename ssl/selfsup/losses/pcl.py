"""Prototypical contrastive learning (Li et al. 2021, https://arxiv.org/abs/2005.04966): clusters as classes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from ._common import HIGHEST, as_float, matrix, normalize, positive, same_width


def concentrations(
    z: Float[ArrayLike, 'rows dim'],
    prototypes: Float[ArrayLike, 'count dim'],
    assignments: Int[ArrayLike, ' rows'],
    *,
    temperature: ArrayLike = 0.2,
    smoothing: ArrayLike = 10.0,
    clip: tuple[float, float] = (10.0, 90.0),
) -> Float[Array, ' count']:
    """φ of each cluster, the temperature of its prototype: small where its rows are close together and many (eq. 12).

    φ_k = Σ_{i in k} ‖z_i − c_k‖ / (n_k·log(n_k + α)), clipped to two percentiles of its values and scaled to mean τ.

    Args:
      z: embeddings that were clustered.
      prototypes: c, their centres, not yet scaled to unit length.
      assignments: cluster of each row; −1 for none.
      temperature: τ, the mean of φ. Authors: 0.2.
      smoothing: α. Authors: 10.
      clip: percentiles. Authors: 10 and 90.

    Returns:
      φ ≥ τ / 1000 without a gradient. A cluster of at most one row gets the largest value of the others. τ everywhere
      where all distances are 0, as at collapse.

    Cost: O(rows·(dim + count)); no state.

    References:
      Li et al. 2021, https://arxiv.org/abs/2005.04966, eq. 12 and section 3.3.
    """
    positive('temperature', temperature)
    z, prototypes = matrix('z', z), matrix('prototypes', prototypes)
    same_width('prototypes', prototypes, 'z', z)
    assignments = jnp.asarray(assignments)
    members = jax.nn.one_hot(assignments, prototypes.shape[0], dtype=z.dtype)  # none where −1
    apart = jnp.sqrt(jnp.sum((z - prototypes[jnp.maximum(assignments, 0)]) ** 2, axis=1))
    sizes = jnp.sum(members, axis=0)
    total = jnp.matmul(members.T, jnp.where(assignments >= 0, apart, 0.0)[:, None], precision=HIGHEST)[:, 0]
    found = total / (jnp.maximum(sizes, 1.0) * jnp.log(sizes + smoothing))
    found = jnp.where(sizes > 1, found, jnp.max(jnp.where(sizes > 1, found, 0.0)))
    found = jnp.clip(found, jnp.percentile(found, clip[0]), jnp.percentile(found, clip[1]))
    mean = jnp.mean(found)
    scaled = jnp.where(mean > 0, found / jnp.where(mean > 0, mean, 1.0), 1.0)
    return jax.lax.stop_gradient(temperature * jnp.maximum(scaled, 1e-3))


def prototype_nce(
    z: Float[ArrayLike, 'batch dim'],
    prototypes: Float[ArrayLike, 'count dim'],
    assignments: Int[ArrayLike, ' batch'],
    temperatures: Float[ArrayLike, ' count'],
) -> Float[Array, '']:
    """Contrast of an embedding with its cluster's prototype among all: −mean log softmax_k(n(z)·c_k / φ_k) (eq. 11).

    Args:
      z: embeddings, any norm (normalised here).
      prototypes: c, normalised here; no gradient enters them.
      assignments: each row's cluster; −1 for none, which leaves the row out.
      temperatures: φ of each prototype, see :func:`concentrations`; no gradient enters them.

    Returns:
      Mean loss in nats over the rows that have a cluster, ≥ 0; 0 without any. log(count) where all prototypes are one
      point and all φ equal.

    Convention: all prototypes stand in the denominator; the authors draw 16,384 of 25,000 to 100,000 and add those of
    the batch, repeats included. The mean over several clusterings is the caller's.

    Cost: O(batch·count·dim); state: prototypes, assignments and temperatures, kept by the caller.

    References:
      Li et al. 2021, https://arxiv.org/abs/2005.04966, eq. 11.
    """
    z, prototypes = normalize(matrix('z', z)), jax.lax.stop_gradient(matrix('prototypes', prototypes))
    prototypes = normalize(prototypes.astype(z.dtype))
    same_width('prototypes', prototypes, 'z', z)
    assignments, scale = jnp.asarray(assignments), jax.lax.stop_gradient(as_float('temperatures', temperatures))
    if assignments.shape != z.shape[:1] or scale.shape != prototypes.shape[:1]:
        raise ValueError(
            f'assignments [batch] and temperatures [count] do not fit z of {list(z.shape)} and prototypes of '
            f'{list(prototypes.shape)}: their shapes are {list(assignments.shape)} and {list(scale.shape)}'
        )
    positive('temperatures', scale)
    valid = assignments >= 0
    logits = jnp.matmul(z, prototypes.T, precision=HIGHEST) / scale[None].astype(z.dtype)
    own = jnp.take_along_axis(logits, jnp.maximum(assignments, 0)[:, None], axis=1)[:, 0]
    entropy = jnp.where(valid, jax.nn.logsumexp(logits, axis=1) - own, 0.0)
    return jnp.sum(entropy) / jnp.maximum(jnp.sum(valid), 1)

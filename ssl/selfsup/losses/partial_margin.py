"""Unicom (An et al. 2023, https://arxiv.org/abs/2304.05884): a margin softmax over random classes and dimensions."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from ._common import HIGHEST, as_float, matrix, normalize, positive, same_width


def partial_margin(
    z: Float[ArrayLike, 'batch dim'],
    prototypes: Float[ArrayLike, 'count dim'],
    assignments: Int[ArrayLike, ' batch'],
    lots: Float[ArrayLike, ' count'] | None = None,
    dim_lots: Float[ArrayLike, ' dim'] | None = None,
    *,
    class_share: float = 0.1,
    dim_share: float = 0.5,
    scale: ArrayLike = 64.0,
    margin: ArrayLike = 0.3,
) -> Float[Array, '']:
    """Cross-entropy of s·cos(θ_y + m) against s·cos θ_k over random parts of the classes and of the dimensions.

    The batch's own classes are kept, and those of the largest lots fill up. Embeddings and prototypes are cut to the
    dimensions of the largest lots and only then scaled to unit length.

    Args:
      z: embeddings, any norm.
      prototypes: one a class, any norm; gradient passes, and is 0 for classes that were not drawn.
      assignments: each row's class; −1 for none, which leaves the row out.
      lots, dim_lots: uniform numbers in [0, 1) that decide what is drawn; None draws the first. They count where the
        share is below 1.
      class_share: r₁, the share of classes; at least as many as rows are taken. Authors: 0.1.
      dim_share: r₂, the share of dimensions. Authors: 0.5.
      scale: s. Authors: 64, 32 to fine-tune.
      margin: m in radians. Authors: 0.3.

    Returns:
      Mean loss in nats over the rows that have a class, ≥ 0; 0 without any. At collapse of embeddings and prototypes to
      one direction log(1 + (k − 1)·exp(s·(1 − cos m))) of k classes.

    Convention: the margin changes the value of a logit, not its gradient, s·(p − y) by the cosine, as in the authors'
    code, where it is put in without recording; the derivative of cos(arccos x + m) is infinite at ±1.

    Cost: O(batch·count·dim) before the shares; state: prototypes, kept by the caller. Every row's denominator depends
    on the classes of the whole batch.

    References:
      An et al. 2023, https://arxiv.org/abs/2304.05884, eq. 2 to 5; Deng et al. 2019, https://arxiv.org/abs/1801.07698,
      eq. 3.
    """
    positive('scale', scale)
    z, prototypes, assignments = matrix('z', z), matrix('prototypes', prototypes), jnp.asarray(assignments)
    same_width('prototypes', prototypes, 'z', z)
    if assignments.shape != z.shape[:1]:
        raise ValueError(f'assignments must have shape {[z.shape[0]]}, not {list(assignments.shape)}')
    for name, share in (('class_share', class_share), ('dim_share', dim_share)):
        if not 0 < share <= 1:
            raise ValueError(f'{name} must lie in (0, 1], and is {share}')
    (batch, dim), count = z.shape, prototypes.shape[0]
    kept = min(max(round(class_share * count), batch), count)
    numbers = jnp.arange(count)
    if kept < count:
        own = jnp.any(assignments[:, None] == numbers[None], axis=0)
        numbers = jax.lax.top_k(jnp.where(own, 2.0, _lots('lots', lots, count)), kept)[1]
        prototypes = prototypes[numbers]
    if (width := max(round(dim_share * dim), 1)) < dim:
        columns = jax.lax.top_k(_lots('dim_lots', dim_lots, dim), width)[1]
        z, prototypes = z[:, columns], prototypes[:, columns]
    cosines = jnp.matmul(normalize(z), normalize(prototypes.astype(z.dtype)).T, precision=HIGHEST)
    hit = assignments[:, None] == numbers[None]
    inside = jax.lax.stop_gradient(jnp.clip(cosines, -1.0, 1.0))
    logits = scale * (cosines + jnp.where(hit, jnp.cos(jnp.arccos(inside) + margin) - inside, 0.0))
    entropy = jax.nn.logsumexp(logits, axis=1) - jnp.sum(jnp.where(hit, logits, 0.0), axis=1)
    valid = assignments >= 0
    return jnp.sum(jnp.where(valid, entropy, 0.0)) / jnp.maximum(jnp.sum(valid), 1)


def _lots(name: str, given: ArrayLike | None, size: int) -> Array:
    if given is None:
        return 1.0 - jnp.arange(size) / size
    found = as_float(name, given)
    if found.shape != (size,):
        raise ValueError(f'{name} must have shape {[size]}, not {list(found.shape)}')
    return found

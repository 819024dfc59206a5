"""Metric learning with labels: pairs with margins, proxies of classes, mixtures of examples."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from ._common import HIGHEST, matrix, normalize, pair, positive, row_labels, same_width


def pair_margin(
    z: Float[ArrayLike, 'batch dim'],
    labels: Int[ArrayLike, ' batch'],
    *,
    positive_margin: ArrayLike = 0.0,
    negative_margin: ArrayLike = 0.5,
) -> Float[Array, '']:
    """Pairs of one class closer than one distance, of two classes farther than another (contrastive loss).

    L = mean over positive pairs of max(‖n(z_i) − n(z_j)‖ − m₊, 0), plus the mean over negative pairs of
    max(m₋ − ‖n(z_i) − n(z_j)‖, 0); each mean is over the pairs whose term is above 0.

    Args:
      z: embeddings, any norm (normalised here).
      labels: one integer an image; a negative one means unknown, and the image is in no pair.
      positive_margin, negative_margin: m₊ and m₋, on distances from 0 to 2.

    Returns:
      A scalar from 0; m₋ at collapse, where two classes are there.

    Convention: distances are not squared, and the means leave out what is 0, as in pytorch-metric-learning, whose
    defaults for normalised embeddings are 0 and 1; Metrix takes 0 and 0.5. Hadsell et al. square both terms. A pair of
    equal embeddings gets no gradient.

    Cost: O(batch²·dim) time, O(batch²) memory; no state.

    References:
      Hadsell et al. 2006, https://doi.org/10.1109/CVPR.2006.100, eq. 4; the form of Venkataramanan et al. 2022,
      https://arxiv.org/abs/2106.04990, eq. 1.
    """
    z, labels = matrix('z', z, rows=2), row_labels(labels, z)
    n = normalize(z)
    distances = _root(2.0 - 2.0 * jnp.matmul(n, n.T, precision=HIGHEST))
    known = (labels >= 0)[:, None] & (labels >= 0)[None]
    same = labels[:, None] == labels[None]
    itself = jnp.eye(len(z), dtype=bool)
    near = _mean_above_zero(distances - positive_margin, known & same & ~itself)
    return near + _mean_above_zero(negative_margin - distances, known & ~same)


def mixed_pairs(
    anchors: Float[ArrayLike, 'batch dim'],
    positives: Float[ArrayLike, 'batch dim'],
    negatives: Float[ArrayLike, 'batch dim'],
    shares: Float[ArrayLike, ' batch'],
    *,
    counted: Bool[ArrayLike, ' batch'] | None = None,
    positive_margin: ArrayLike = 0.0,
    negative_margin: ArrayLike = 0.5,
) -> Float[Array, '']:
    """Anchors against mixtures v = λ·n(z₊) + (1 − λ)·n(z₋) of a positive and a negative, labels mixed alike (Metrix).

    With s = ‖n(z) − n(v)‖: mean of λ·max(s − m₊, 0) plus mean of (1 − λ)·max(m₋ − s, 0), each over the rows whose
    term is above 0. To be added to :func:`pair_margin` with weight 0.4.

    Args:
      anchors, positives, negatives: z, z₊ and z₋ of a triple a row, any norm: embeddings of the anchor's class and of
        another; or with z₊ = z, the second half of the authors' triples, an anchor mixed with a negative.
      shares: λ in [0, 1], one a row. Authors: one draw a step of Beta(2, 2).
      counted: which rows are triples; the others add nothing. None counts all.
      positive_margin, negative_margin: m₊ and m₋.

    Returns:
      A scalar from 0. With λ = 1 it is the positive term of :func:`pair_margin` on these pairs, with λ = 0 the negative
      one.

    Convention: mixing embeddings, one of the authors' three places; mixing images or features is done before, and its
    result given as `positives` and `negatives` alike.

    Cost: O(batch·dim); no state.

    References:
      Venkataramanan et al. 2022, https://arxiv.org/abs/2106.04990, eq. 6 and 9; margins and means of their code.
    """
    anchors, positives = pair(anchors, positives, names=('anchors', 'positives'))
    anchors, negatives = pair(anchors, negatives, names=('anchors', 'negatives'))
    shares = jnp.asarray(shares, anchors.dtype)
    if shares.shape != anchors.shape[:1]:
        raise ValueError(
            f'shares must have one entry a row of anchors: their shapes are {list(shares.shape)} and '
            f'{list(anchors.shape)}'
        )
    mixed = shares[:, None] * normalize(positives) + (1.0 - shares[:, None]) * normalize(negatives)
    distances = _root(2.0 - 2.0 * jnp.sum(normalize(anchors) * normalize(mixed), axis=1))
    everywhere = jnp.ones(len(anchors), bool) if counted is None else jnp.asarray(counted)
    if everywhere.shape != anchors.shape[:1]:
        raise ValueError(f'counted must have shape {list(anchors.shape[:1])}, not {list(everywhere.shape)}')
    near = _mean_above_zero(shares * (distances - positive_margin), everywhere)
    return near + _mean_above_zero((1.0 - shares) * (negative_margin - distances), everywhere)


def proxy_anchor(
    z: Float[ArrayLike, 'batch dim'],
    prototypes: Float[ArrayLike, 'count dim'],
    labels: Int[ArrayLike, ' batch'],
    *,
    scale: ArrayLike = 32.0,
    margin: ArrayLike = 0.1,
) -> Float[Array, '']:
    """One learned proxy a class, the anchor of all examples of the batch (eq. 4).

    L = mean over proxies with an example of log(1 + Σ_{x of its class} exp(−α(s − δ))), plus the mean over all proxies
    of log(1 + Σ_{x of others} exp(α(s + δ))), s the cosine of example and proxy.

    Args:
      z: embeddings, any norm.
      prototypes: the proxies, one a class, any norm; gradient passes.
      labels: classes from 0; a negative one means unknown, and the row is left out.
      scale: α. Authors: 32.
      margin: δ. Authors: 0.1.

    Returns:
      A scalar from 0, in nats.

    Cost: O(batch·count·dim); state: proxies, kept by the caller. Every row depends on the whole batch.

    References:
      Kim et al. 2020, https://arxiv.org/abs/2003.13911, eq. 4.
    """
    positive('scale', scale)
    z, prototypes = matrix('z', z), matrix('prototypes', prototypes)
    same_width('prototypes', prototypes, 'z', z)
    labels = row_labels(labels, z)
    cosines = jnp.matmul(normalize(z), normalize(prototypes.astype(z.dtype)).T, precision=HIGHEST)
    own = labels[:, None] == jnp.arange(prototypes.shape[0])[None]
    other = ~own & (labels >= 0)[:, None]

    def log_one_plus(logits: Array, which: Array) -> Array:
        return jax.nn.softplus(jax.nn.logsumexp(jnp.where(which, logits, -jnp.inf), axis=0))

    there = jnp.any(own, axis=0)
    near = log_one_plus(-scale * (cosines - margin), own | ~there[None])  # no column is empty: its gradient is NaN
    far = log_one_plus(scale * (cosines + margin), other | ~jnp.any(other, axis=0)[None])
    some = jnp.any(other, axis=0)
    pulled = jnp.sum(jnp.where(there, near, 0.0)) / jnp.maximum(jnp.sum(there), 1)
    return pulled + jnp.mean(jnp.where(some, far, 0.0))


def _root(squared: Array) -> Array:
    """Its square root from 0; no gradient where it is not above rounding, at which the root's own would be infinite."""
    far = squared > 4 * jnp.finfo(squared.dtype).eps
    return jnp.where(far, jnp.sqrt(jnp.where(far, squared, 1.0)), 0.0)


def _mean_above_zero(terms: Array, which: Array) -> Array:
    """Mean of the terms above 0 among `which`; 0 where there are none."""
    kept = which & (terms > 0)
    return jnp.sum(jnp.where(kept, terms, 0.0)) / jnp.maximum(jnp.sum(kept), 1)

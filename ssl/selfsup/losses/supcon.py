"""SupCon: contrast with labels."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from ._common import HIGHEST, normalize, pair, positive, row_labels


def supcon(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    labels: Int[ArrayLike, ' batch'],
    *,
    temperature: ArrayLike = 0.1,
    sum_inside: bool = False,
) -> Float[Array, '']:
    """Supervised contrastive loss, the mean over all 2·batch anchors (eq. 2, L_out).

    L = mean_i −(1/|P(i)|) Σ_{p ∈ P(i)} log( exp(z_i·z_p/τ) / Σ_{a ≠ i} exp(z_i·z_a/τ) ), where P(i)
    holds the anchor's other view and both views of the images with its label.

    Args:
      z1, z2: embeddings of two views of the same images, any norm (normalised here).
      labels: one integer an image. A negative one means unknown: such an image's only positive is its
        other view, so that with no label known this is :func:`selfsup.losses.ntxent`.
      temperature: τ. Paper: 0.1; authors' code: 0.07 by default; solo-learn on CIFAR: 0.2.
      sum_inside: True puts the sum over positives, undivided, inside the logarithm, as solo-learn does
        (the paper's L_in, eq. 3, up to the constant log |P|).

    Returns:
      Mean loss in nats; log(2·batch − 1) at collapse (with `sum_inside`, less the mean of log |P|). It
      is ≥ 0, and its infimum under L_out grows with the number of positives: mean log |P|.

    Convention: the authors' PyTorch code multiplies by τ/0.07, which is 1 at its default.

    Cost: O(batch²·dim) time, O(batch²) memory; no state.

    References:
      Khosla et al. 2020, https://arxiv.org/abs/2004.11362, eq. 2 and 3.
    """
    positive('temperature', temperature)
    z1, z2 = pair(z1, z2)
    batch = z1.shape[0]
    labels = row_labels(labels, z1, 'z1')
    same = (labels[:, None] == labels[None]) & (labels >= 0)[:, None] | jnp.eye(batch, dtype=bool)
    itself = jnp.eye(2 * batch, dtype=bool)
    positives = jnp.tile(same, (2, 2)) & ~itself
    z = normalize(jnp.concatenate([z1, z2]))
    logits = jnp.matmul(z, z.T, precision=HIGHEST) / temperature
    everything = jax.nn.logsumexp(jnp.where(itself, -jnp.inf, logits), axis=-1)
    if sum_inside:
        chosen = jax.nn.logsumexp(jnp.where(positives, logits, -jnp.inf), axis=-1)
    else:
        chosen = jnp.sum(jnp.where(positives, logits, 0.0), axis=-1) / jnp.sum(positives, axis=-1)
    return jnp.mean(everything - chosen)

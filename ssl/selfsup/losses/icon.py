"""I-Con: a supervisory and a learned neighbourhood distribution, and the divergence between them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import as_float, pair, positive
from .kernels import cluster_kernel, cosine_kernel, gaussian_kernel, label_kernel, leak, student_kernel

# Kernels of embeddings by name, each of two views' rows and of the temperature.
LEARNED = {
    'cosine': lambda z, temperature: cosine_kernel(z, temperature=temperature),
    'gaussian': lambda z, temperature: gaussian_kernel(z, width=temperature**0.5),
    'student': lambda z, temperature: student_kernel(z, width=temperature**0.5),
    'cluster': lambda z, temperature: cluster_kernel(jax.nn.softmax(z / temperature, axis=-1)),
}


def icon(
    log_target: Float[ArrayLike, 'rows columns'],
    log_learned: Float[ArrayLike, 'rows columns'],
    *,
    entropy: bool = False,
) -> Float[Array, '']:
    """Integrated divergence of two neighbourhood distributions: L = mean_i Σ_j −p(j|i) log q(j|i) (eq. 1).

    With kernels of :mod:`selfsup.losses.kernels` for p and q it is many losses. Those that tests hold:

    - p of the other view, q of cosines: :func:`selfsup.losses.ntxent`
    - p of labels, q of cosines: :func:`selfsup.losses.supcon`
    - p Gaussian in the inputs with widths of a perplexity, q Gaussian in the embeddings, `entropy`: SNE
    - p of hard clusters, q Gaussian in the inputs: inertia of k-means / (rows·σ²), and a constant

    Args:
      log_target: log p, one distribution a row; −∞ where p is 0. A row of −∞ alone has no neighbours and gives 0.
      log_learned: log q.
      entropy: False leaves the entropy of p out, as the authors' code does; True is the Kullback–Leibler
        divergence of the paper, 0 where p = q. The gradients by q are the same.

    Returns:
      A scalar in nats, ≥ 0; ∞ where q has no share in a neighbour of p (:func:`leak` gives it one).

    Cost: O(rows·columns); no state.

    References:
      Alshammari et al. 2025, https://arxiv.org/abs/2504.16929, eq. 1 and 2.
    """
    log_p, log_q = as_float('log_target', log_target), as_float('log_learned', log_learned)
    if log_p.ndim != 2 or log_p.shape != log_q.shape:
        raise ValueError(
            f'log_target and log_learned must be matrices of one shape, and are {list(log_p.shape)} and '
            f'{list(log_q.shape)}'
        )
    dtype = jnp.promote_types(log_p.dtype, log_q.dtype)
    log_p, log_q = log_p.astype(dtype), log_q.astype(dtype)
    seen = log_p > -jnp.inf
    p = jnp.exp(log_p)
    terms = jnp.where(seen, log_p, 0.0) * float(entropy) - jnp.where(seen, log_q, 0.0)
    return jnp.mean(jnp.sum(p * terms, axis=1))


def icon_views(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *,
    kernel: str = 'cosine',
    temperature: ArrayLike = 0.5,
    learned_leak: ArrayLike = 0.2,
    target_leak: ArrayLike = 0.0,
) -> Float[Array, '']:
    """:func:`icon` of two views: the neighbour of each row is its other view, among 2·batch rows; debiased.

    Args:
      z1, z2: embeddings of two views of the same images.
      kernel: of the embeddings. 'cosine': InfoNCE's; 'gaussian' and 'student': of the distances of rows that are not
        normalised, σ² = γ² = τ; 'cluster': softmax(z / τ) is the distribution over `dim` clusters.
      temperature: τ > 0.
      learned_leak: α of q, see :func:`leak`: how likely any other row is a neighbour after all, so that no row costs
        more than log((2·batch − 1) / α). With 0 and the cosine kernel this is :func:`selfsup.losses.ntxent`.
      target_leak: α of p, the same of the supervision.

    Returns:
      Mean loss in nats, ≥ 0; log(2·batch − 1) at collapse, and log(2·batch) for the cluster kernel.

    Cost: O(batch²·dim) time, O(batch²) memory; no state.

    References:
      Alshammari et al. 2025, https://arxiv.org/abs/2504.16929, section 3.
    """
    if kernel not in LEARNED:
        raise ValueError(f'kernel must be one of {", ".join(LEARNED)}, not {kernel!r}')
    positive('temperature', temperature)
    z1, z2 = pair(z1, z2)
    itself = kernel == 'cluster'  # a row is a member of its own cluster
    log_q = leak(LEARNED[kernel](jnp.concatenate([z1, z2]), temperature), share=learned_leak, itself=itself)
    log_p = label_kernel(jnp.tile(jnp.arange(z1.shape[0]), 2)).astype(log_q.dtype)
    return icon(leak(log_p, share=target_leak, itself=itself), log_q)

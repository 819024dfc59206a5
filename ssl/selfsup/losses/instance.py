"""Every example is a class of its own: InstDisc's and PIRL's memory, Invariance Propagation's positives, DIET's head.

A memory has one row an example; rows from `count` on are padding. An index outside of the data raises, and inside a
trace, where it cannot be seen, makes the loss NaN.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from ._common import HIGHEST, chosen, matrix, normalize, positive, same_width

# Of the authors' denominators and logarithms; it bounds the gradient of a positive that is all but lost.
EPS = 1e-7


def _addressed(z: ArrayLike, memory: ArrayLike, index: ArrayLike, count: int | None) -> tuple[Array, Array, Array, int]:
    """Embeddings, memory without gradient, index and number of examples, or an error that names what does not fit."""
    z, memory, index = matrix('z', z), matrix('memory', memory), jnp.asarray(index)
    same_width('memory', memory, 'z', z)
    if index.shape != z.shape[:1]:
        raise ValueError(
            f'index must have one entry a row of z, and their shapes are {list(index.shape)}, {list(z.shape)}'
        )
    count = memory.shape[0] if count is None else count
    if not 1 <= count <= memory.shape[0]:
        raise ValueError(f'count must lie in [1, {memory.shape[0]}], the rows of memory, and is {count}')
    if not isinstance(index, jax.core.Tracer) and not bool(jnp.all((index >= 0) & (index < count))):
        raise ValueError(
            f'index must lie in [0, {count}), the examples of memory, and reaches from {index.min()} to {index.max()}'
        )
    dtype = jnp.promote_types(z.dtype, memory.dtype)
    return z.astype(dtype), memory.astype(dtype), index, count


def _inside(value: Array, index: Array, count: int) -> Array:
    """`value`, or NaN where an index lies outside of the data: jax would clamp it and give another example's row."""
    return jnp.where(jnp.all((index >= 0) & (index < count)), value, jnp.nan)


def _nce_logits(z: Array, memory: Array, index: Array, negatives: Array, temperature: ArrayLike) -> Array:
    """n(z)·M/τ for the own row and the negatives, `[batch, 1 + negatives]`, by the form that holds less at once."""
    if jnp.ndim(negatives) != 2 or negatives.shape[0] != z.shape[0]:
        raise ValueError(f'negatives must have shape [{z.shape[0]}, count], not {list(jnp.shape(negatives))}')
    asked = jnp.concatenate([index[:, None], negatives], axis=1)
    z, memory = normalize(z), jax.lax.stop_gradient(memory)
    if memory.shape[0] <= asked.shape[1] * z.shape[1]:
        products = jnp.take_along_axis(jnp.matmul(z, memory.T, precision=HIGHEST), asked, axis=1)
    else:
        products = jnp.einsum('bd,bkd->bk', z, memory[asked], precision=HIGHEST)
    return products / temperature


def _log_normalizer(logits: Array, count: int) -> Array:
    """log(N · mean exp), without gradient."""
    return jax.nn.logsumexp(jax.lax.stop_gradient(logits)) - jnp.log(logits.size) + jnp.log(count)


def instance_normalizer(
    z: Float[ArrayLike, 'batch dim'],
    memory: Float[ArrayLike, 'rows dim'],
    index: Int[ArrayLike, ' batch'],
    negatives: Int[ArrayLike, 'batch negatives'],
    *,
    temperature: ArrayLike = 0.07,
    count: int | None = None,
) -> Float[Array, '']:
    """The logarithm of Z of :func:`instance_nce`, Z = N · mean exp(n(z)·M_j / τ) over a batch's own and negative rows.

    The authors estimate it from the first batch and keep it.

    Args:
      z, memory, index, negatives, temperature, count: as there.

    Returns:
      A scalar without gradient; log N where all products are 0.

    References:
      Wu et al. 2018, https://arxiv.org/abs/1805.01978, eq. 8.
    """
    positive('temperature', temperature)
    z, memory, index, count = _addressed(z, memory, index, count)
    logits = _nce_logits(z, memory, index, jnp.asarray(negatives), temperature)
    return _inside(_log_normalizer(logits, count), index, count)


def instance_nce(
    z: Float[ArrayLike, 'batch dim'],
    memory: Float[ArrayLike, 'rows dim'],
    index: Int[ArrayLike, ' batch'],
    negatives: Int[ArrayLike, 'batch negatives'],
    *,
    temperature: ArrayLike = 0.07,
    log_normalizer: ArrayLike | None = None,
    count: int | None = None,
    eps: float = EPS,
) -> Float[Array, '']:
    """Noise-contrastive estimation of an example among all (InstDisc, eq. 6 to 8; PIRL).

    With P_j = exp(n(z)·M_j / τ) / Z, the chance of being example j, N examples and K negatives drawn uniformly:

        L = −mean_i [ log P_i / (P_i + K/N + ε) + Σ_negatives log (K/N) / (P_j + K/N + ε) ].

    Args:
      z: embeddings, any norm (normalised here).
      memory: one row an example, taken as it is; no gradient passes.
      index: which row is the embedding's own.
      negatives: the rows drawn for each embedding. The own row may be among them, as in the authors' code.
      temperature: τ. Authors: 0.07 (ImageNet), 0.1 (CIFAR).
      log_normalizer: log Z; None takes :func:`instance_normalizer` of this batch.
      count: N, the rows that are no padding; None for all.
      eps: ε. lemniscate: 1e-7; VISSL: 1.2e-7, the rounding of float32.

    Returns:
      Mean loss in nats over the batch, > 0; log(K + 1) + K·log(1 + 1/K) at collapse, where every P is 1/N. NaN for an
      index outside of the data.

    Convention: the sum over negatives, not their mean. In log-space: exp(1/τ) of τ below 0.011 overflows float32.

    Cost: O(batch·min(rows, K·dim)) memory, O(batch·K·dim) time or O(batch·rows·dim); state: memory and Z, kept by
    the caller.

    References:
      Wu et al. 2018, https://arxiv.org/abs/1805.01978, eq. 6 to 8; Misra and van der Maaten 2020,
      https://arxiv.org/abs/1912.01991, eq. 4 and 5.
    """
    positive('temperature', temperature)
    z, memory, index, count = _addressed(z, memory, index, count)
    logits = _nce_logits(z, memory, index, jnp.asarray(negatives), temperature)
    if log_normalizer is None:
        log_normalizer = _log_normalizer(logits, count)
    chances = logits - log_normalizer
    noise = (logits.shape[1] - 1) / count
    total = jnp.logaddexp(chances, jnp.log(noise + eps))
    own = chances[:, 0] - total[:, 0]
    others = jnp.sum(jnp.log(noise) - total[:, 1:], axis=1)
    return _inside(-jnp.mean(own + others), index, count)


def _all_logits(z: Array, memory: Array, temperature: ArrayLike, count: int) -> Array:
    """n(z)·M/τ for every row, `[batch, rows]`, −∞ for padding."""
    logits = jnp.matmul(normalize(z), jax.lax.stop_gradient(memory).T, precision=HIGHEST) / temperature
    return jnp.where(jnp.arange(memory.shape[0])[None] < count, logits, -jnp.inf)


def _own(logits: Array, index: Array) -> Array:
    return chosen(logits, index[:, None] == jnp.arange(logits.shape[1])[None])


def instance_softmax(
    z: Float[ArrayLike, 'batch dim'],
    memory: Float[ArrayLike, 'rows dim'],
    index: Int[ArrayLike, ' batch'],
    *,
    temperature: ArrayLike = 0.1,
    count: int | None = None,
) -> Float[Array, '']:
    """The softmax over all examples: L = mean −log( exp(n(z_i)·M_i / τ) / Σ_j exp(n(z_i)·M_j / τ) ) (InstDisc, eq. 2).

    Args:
      z, memory, index, temperature, count: as of :func:`instance_nce`. Authors on CIFAR: τ = 0.1.

    Returns:
      Mean loss in nats, ≥ 0; log N at collapse. NaN for an index outside of the data.

    Cost: O(batch·rows·dim) time, O(batch·rows) memory; state: the memory, kept by the caller.

    References:
      Wu et al. 2018, https://arxiv.org/abs/1805.01978, eq. 2.
    """
    positive('temperature', temperature)
    z, memory, index, count = _addressed(z, memory, index, count)
    logits = _all_logits(z, memory, temperature, count)
    return _inside(jnp.mean(jax.nn.logsumexp(logits, axis=-1) - _own(logits, index)), index, count)


def propagated(neighbours: Int[Array, 'rows near'], index: Int[Array, ' batch'], *, hops: int = 3) -> Array:
    """The examples within so many steps of a graph of neighbours, repeats included.

    Args:
      neighbours: of each example, by their numbers.
      index: where to begin.
      hops: the number of steps.

    Returns:
      Numbers of examples, `[batch, near + near² + …]`, those one step away first.

    References:
      Wang et al. 2020, https://arxiv.org/abs/2010.11694, section 3.
    """
    if hops < 1:
        raise ValueError(f'hops must be at least 1, not {hops}')
    found = [jnp.asarray(neighbours)[index]]
    while len(found) < hops:
        found.append(neighbours[found[-1]].reshape(len(index), -1))
    return jnp.concatenate(found, axis=1)


def invariance_propagation_terms(
    z: Float[ArrayLike, 'batch dim'],
    memory: Float[ArrayLike, 'rows dim'],
    index: Int[ArrayLike, ' batch'],
    positives: Int[ArrayLike, 'batch candidates'],
    *,
    temperature: ArrayLike = 0.07,
    background: int = 4096,
    hardest: int = 50,
    count: int | None = None,
) -> dict[str, Array]:
    """The terms of :func:`invariance_propagation`: `instance` and `invariance`.

    Args:
      z, memory, index, positives, temperature, background, hardest, count: see :func:`invariance_propagation`.

    Returns:
      The two scalars by name, without weight.

    References:
      Wang et al. 2020, https://arxiv.org/abs/2010.11694, section 3.
    """
    positive('temperature', temperature)
    z, memory, index, count = _addressed(z, memory, index, count)
    positives = jnp.asarray(positives)
    if positives.ndim != 2 or positives.shape[0] != z.shape[0]:
        raise ValueError(f'positives must have shape [{z.shape[0]}, candidates], not {list(positives.shape)}')
    logits = _all_logits(z, memory, temperature, count)
    near, rows = jax.lax.top_k(logits, min(background, count))
    others = jax.nn.logsumexp(jnp.where(rows == index[:, None], -jnp.inf, near), axis=-1)
    alike = -jax.lax.top_k(-jnp.take_along_axis(logits, positives, axis=1), min(hardest, positives.shape[1]))[0]

    def lost(log_share: Array) -> Array:
        return _inside(-jnp.mean(jnp.logaddexp(log_share, jnp.log(EPS))), index, count)

    return {
        'instance': lost(_own(logits, index) - jax.nn.logsumexp(near, axis=-1)),
        'invariance': lost(jax.nn.logsumexp(alike, axis=-1) - others),
    }


def invariance_propagation(
    z: Float[ArrayLike, 'batch dim'],
    memory: Float[ArrayLike, 'rows dim'],
    index: Int[ArrayLike, ' batch'],
    positives: Int[ArrayLike, 'batch candidates'],
    *,
    temperature: ArrayLike = 0.07,
    background: int = 4096,
    hardest: int = 50,
    invariance_weight: ArrayLike = 0.6,
    count: int | None = None,
) -> Float[Array, '']:
    """InstDisc's contrast, and examples found by steps between neighbours as positives: L = L_ins + λ·L_inv.

    With e_j = exp(n(z_i)·M_j / τ), the background B_i of the largest e, and P_i, the candidates with the smallest e:

        L_ins = −mean log( e_i / Σ_{B_i} e + ε ),    L_inv = −mean log( Σ_{P_i} e / Σ_{B_i, not i} e + ε ),  ε = 1e-7.

    Args:
      z, memory, index, temperature, count: as of :func:`instance_nce`. Authors: τ = 0.07, 0.2 in the scripts.
      positives: candidates of each example, as :func:`propagated` gives them; repeats count as often as they stand.
      background: how many rows stand in the denominators. Authors: 4096.
      hardest: how many candidates are kept. Authors: 50, CIFAR-10: 20.
      invariance_weight: λ. Authors: 0.6 after the 30th epoch, and 0 before.

    Returns:
      Mean loss in nats; with R = min(background, N) and H candidates kept, log R + λ·log((R − 1) / H) at collapse, and
      L_inv is below 0 where the positives outweigh the rest of the background. NaN for an index outside of the data.

    Convention: an example that is not in its own background is not taken out of it; the authors subtract its term
    there all the same.

    Cost: O(batch·rows·dim) time, O(batch·rows) memory; state: memory and neighbours, kept by the caller.

    References:
      Wang et al. 2020, https://arxiv.org/abs/2010.11694, section 3.
    """
    terms = invariance_propagation_terms(
        z, memory, index, positives, temperature=temperature, background=background, hardest=hardest, count=count
    )
    return terms['instance'] + invariance_weight * terms['invariance']


def diet(
    features: Float[ArrayLike, 'batch dim'],
    kernel: Float[ArrayLike, 'rows dim'],
    bias: Float[ArrayLike, ' rows'],
    index: Int[ArrayLike, ' batch'],
    *,
    smoothing: ArrayLike = 0.8,
    count: int | None = None,
) -> Float[Array, '']:
    """Cross-entropy of the linear classifier of examples, with smoothed labels (DIET).

        L = −mean_i [ (1 − ε)·log p_i + ε·mean_j log p_j ],    p = softmax(W f_i + b).

    Args:
      features: of the encoder.
      kernel, bias: W and b, one row an example; gradient passes. Rows from `count` on are padding and get none.
      index: which class each is.
      smoothing: ε in [0, 1). Authors: 0.8 in their launch scripts, 0.1 as the script's default.
      count: N, the classes that are no padding; None for all.

    Returns:
      Mean loss in nats, at least the smoothed labels' entropy; log N at collapse. NaN for an index outside of the data.

    Cost: O(batch·rows·dim) time, O(batch·rows) memory; no state: the head is a parameter.

    References:
      Balestriero 2023, https://arxiv.org/abs/2302.10260; Ibrahim et al. 2024, https://arxiv.org/abs/2406.10743.
    """
    if not isinstance(smoothing, jax.core.Tracer) and not 0 <= smoothing < 1:
        raise ValueError(f'smoothing must lie in [0, 1), and is {smoothing}')
    features, kernel, index, count = _addressed(features, kernel, index, count)
    bias = jnp.asarray(bias)
    if bias.shape != kernel.shape[:1]:
        raise ValueError(f'bias must have one entry a row of kernel: {list(bias.shape)} and {list(kernel.shape)}')
    logits = jnp.matmul(features, kernel.T, precision=HIGHEST) + bias[None].astype(kernel.dtype)
    real = jnp.arange(kernel.shape[0])[None] < count
    everyone = jnp.sum(jnp.where(real, logits, 0.0), axis=-1) / count
    top = jax.nn.logsumexp(jnp.where(real, logits, -jnp.inf), axis=-1)
    return _inside(jnp.mean(top - (1.0 - smoothing) * _own(logits, index) - smoothing * everyone), index, count)

"""Masked siamese networks: masked views predict the prototypes of a whole view (MSN), with a prior over them (PMSN)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import HIGHEST, matrix, normalize, positive
from .transport import sinkhorn


def msn_targets(
    target: Float[ArrayLike, 'batch dim'],
    prototypes: Float[ArrayLike, 'count dim'],
    *,
    temperature: ArrayLike = 0.1,
    sharpening: ArrayLike = 0.25,
    iterations: int = 3,
) -> Float[Array, 'batch count']:
    """What the anchors predict: softmax(n(t)·n(C)ᵀ / τ) to the power 1/T, normalised, then balanced by Sinkhorn.

    Args:
      target: embeddings of the whole view (normalised here).
      prototypes: C, one a row (normalised here).
      temperature, sharpening: τ and T. Authors: 0.1, 0.25.
      iterations: of :func:`sinkhorn` on these probabilities; 0 for none. Authors: 3.

    Returns:
      Rows summing to 1, without gradient.

    References:
      Assran et al. 2022, https://arxiv.org/abs/2204.07141, sect. 3.
    """
    positive('temperature', temperature)
    positive('sharpening', sharpening)
    target = normalize(matrix('target', target))
    logits = jnp.matmul(target, normalize(jnp.asarray(prototypes).astype(target.dtype)).T, precision=HIGHEST)
    # Sinkhorn starts from probabilities: a row's constant weighs when columns are scaled first.
    log_probabilities = jax.nn.log_softmax(logits / temperature / sharpening, axis=-1)
    return jax.lax.stop_gradient(sinkhorn(log_probabilities, epsilon=1.0, iterations=iterations))


def msn_terms(
    anchors: Sequence[Float[ArrayLike, 'batch dim']],
    target: Float[ArrayLike, 'batch dim'],
    *,
    prototypes: Float[ArrayLike, 'count dim'],
    temperature: ArrayLike = 0.1,
    sharpening: ArrayLike = 0.25,
    iterations: int = 3,
    power: ArrayLike = 0.0,
) -> dict[str, Float[Array, '']]:
    """The parts of :func:`msn`: `cross_entropy`, `prior` and `entropy`, each a mean over all anchors.

    Args:
      anchors, target, prototypes, temperature, sharpening, iterations, power: as in :func:`msn`.

    Returns:
      `cross_entropy` ≥ 0; `prior` = KL(p̄ ‖ π) ≥ 0, at most log(count) for a flat π; `entropy`, of single predictions.

    References:
      Assran et al. 2022, https://arxiv.org/abs/2204.07141, eq. 1; Assran et al. 2023 (PMSN).
    """
    anchors = [matrix(f'anchors[{number}]', z) for number, z in enumerate(anchors)]
    target, prototypes = matrix('target', target), matrix('prototypes', prototypes)
    if not anchors:
        raise ValueError('msn needs at least 1 anchor, not 0')
    for number, z in enumerate(anchors):
        if z.shape != target.shape:
            raise ValueError(
                f'anchors[{number}] must have the shape of target, {list(target.shape)}, not {list(z.shape)}'
            )
    if prototypes.shape[1] != target.shape[1]:
        raise ValueError(f'prototypes must be as wide as target, {target.shape[1]}, not {prototypes.shape[1]}')
    fields = {'temperature': temperature, 'sharpening': sharpening, 'iterations': iterations}
    wanted = msn_targets(target, prototypes, **fields)
    units = normalize(prototypes)
    logits = [jnp.matmul(normalize(z), units.T.astype(z.dtype), precision=HIGHEST) / temperature for z in anchors]
    logs = [jax.nn.log_softmax(x, axis=-1) for x in logits]
    crossed = [-jnp.mean(jnp.sum(wanted * x, axis=-1)) for x in logs]
    probabilities = [jnp.exp(x) for x in logs]
    own = [-jnp.mean(jnp.sum(p * x, axis=-1)) for p, x in zip(probabilities, logs, strict=True)]
    mean = sum(jnp.mean(p, axis=0) for p in probabilities) / len(anchors)
    prior = jax.nn.log_softmax(-power * jnp.log(jnp.arange(1, mean.shape[0] + 1, dtype=mean.dtype)))
    log_mean = jnp.log(jnp.maximum(mean, jnp.finfo(mean.dtype).tiny))
    return {
        'cross_entropy': sum(crossed) / len(anchors),
        'prior': jnp.sum(mean * (log_mean - prior)),
        'entropy': sum(own) / len(anchors),
    }


def msn(
    anchors: Sequence[Float[ArrayLike, 'batch dim']],
    target: Float[ArrayLike, 'batch dim'],
    *,
    prototypes: Float[ArrayLike, 'count dim'],
    temperature: ArrayLike = 0.1,
    sharpening: ArrayLike = 0.25,
    iterations: int = 3,
    power: ArrayLike = 0.0,
    prior_weight: ArrayLike = 1.0,
    entropy_weight: ArrayLike = 0.0,
) -> Float[Array, '']:
    """Anchors predict the sharpened prototypes of the target: H(p⁺, p) + λ·KL(p̄ ‖ π) + μ·H(p) (MSN, PMSN).

    p = softmax(n(z)·n(C)ᵀ / τ), p̄ its mean over anchors and batch, p⁺ from :func:`msn_targets`. With a flat prior π the
    second term is log(count) − H(p̄), MSN's mean-entropy maximisation; PMSN's is π_k ∝ k^(−power).

    Args:
      anchors: embeddings of the masked and small views (normalised here).
      target: embeddings of the whole view by the EMA network, without gradient.
      prototypes: C, one a row (normalised here), learned through the anchors alone.
      temperature, sharpening, iterations: τ, T and Sinkhorn's iterations on the targets. Authors: 0.1, 0.25, 3.
      power: exponent of the prior, 0 for a flat one. PMSN: 0.25.
      prior_weight, entropy_weight: λ and μ. Authors: 1 and 0.

    Returns:
      Nats; with the default weights ≥ 0. At collapse to scores that are all equal, log(count) with a flat prior.

    Convention: the prior's term takes the mean over anchors of all views and the global batch, as the authors' code.

    Cost: O(views·batch·count·dim); state: prototypes, kept by the caller. The mean depends on the whole batch.

    References:
      Assran et al. 2022, https://arxiv.org/abs/2204.07141, eq. 1; Assran et al. 2023, https://arxiv.org/abs/2210.07277
      (PMSN).
    """
    terms = msn_terms(
        anchors, target, prototypes=prototypes, temperature=temperature, sharpening=sharpening, iterations=iterations,
        power=power,
    )  # fmt: skip
    return terms['cross_entropy'] + prior_weight * terms['prior'] + entropy_weight * terms['entropy']

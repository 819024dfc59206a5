"""Variational estimates of mutual information from a critic's scores, as losses: minus the estimate, in nats."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ._common import matrix


def _parts(scores: ArrayLike) -> tuple[Array, Array, Array]:
    """The scores, those of pairs of the joint distribution (the diagonal), and a mask of the others."""
    scores = matrix('scores', scores, rows=2)
    if scores.shape[0] != scores.shape[1]:
        raise ValueError(f'scores must have shape [batch, batch], not {list(scores.shape)}')
    return scores, jnp.diagonal(scores), ~jnp.eye(scores.shape[0], dtype=bool)


def _log_mean_exp(scores: Array, mask: Array) -> Array:
    """Logarithm of the mean of exp(scores) over the entries of the mask."""
    count = scores.shape[0] * (scores.shape[0] - 1.0)
    return jax.nn.logsumexp(jnp.where(mask, scores, -jnp.inf)) - jnp.log(count)


def _jensen_shannon(scores: Array, joint: Array, mask: Array) -> Array:
    """−E_joint softplus(−f) − E_product softplus(f)."""
    product = jnp.sum(jnp.where(mask, jax.nn.softplus(scores), 0.0)) / (scores.shape[0] * (scores.shape[0] - 1.0))
    return -jnp.mean(jax.nn.softplus(-joint)) - product


def mi_info_nce(scores: Float[ArrayLike, 'batch batch']) -> Float[Array, '']:
    """Minus InfoNCE's bound: log batch + mean_i log softmax_j(f(xᵢ, y_j))ᵢ; low variance, and never above log batch.

    Args:
      scores: f(xᵢ, y_j) of a critic, any reals; pairs of the joint distribution on the diagonal.

    Returns:
      A scalar in nats, ≥ −log(batch); 0 where all scores are equal. It is :func:`selfsup.losses.info_nce_in_batch`
      less log(batch), of scores that need be no cosines.

    Cost: O(batch²); no state.

    References:
      van den Oord et al. 2018, https://arxiv.org/abs/1807.03748; Poole et al. 2019,
      https://arxiv.org/abs/1905.06922, section 2.
    """
    scores, joint, _ = _parts(scores)
    return jnp.mean(jax.nn.logsumexp(scores, axis=1) - joint) - jnp.log(float(scores.shape[0]))


def mi_nwj(scores: Float[ArrayLike, 'batch batch']) -> Float[Array, '']:
    """Minus the bound of Nguyen, Wainwright and Jordan: E_joint f − E_product exp(f − 1); unbiased, of high variance.

    Args:
      scores: f(xᵢ, y_j); the product distribution is the batch² − batch entries beside the diagonal.

    Returns:
      A scalar in nats; exp(−1) where all scores are 0. Tight at f = 1 + log p(x, y) / p(x)p(y).

    Cost: O(batch²); no state.

    References:
      Nguyen et al. 2010, https://arxiv.org/abs/0809.0853; Poole et al. 2019, https://arxiv.org/abs/1905.06922,
      section 2.
    """
    scores, joint, mask = _parts(scores)
    return jnp.exp(_log_mean_exp(scores - 1.0, mask)) - jnp.mean(joint)


def mi_dv(scores: Float[ArrayLike, 'batch batch']) -> Float[Array, '']:
    """Minus the estimate of Donsker and Varadhan: E_joint f − log E_product exp f.

    Args:
      scores: f(xᵢ, y_j), up to a constant.

    Returns:
      A scalar in nats; 0 where all scores are equal. Tight at f = log p(x, y) / p(x)p(y); with the logarithm of a
      batch's mean it is no bound: it overestimates on average.

    Cost: O(batch²); no state.

    References:
      Belghazi et al. 2018, https://arxiv.org/abs/1801.04062, eq. 5; Song and Ermon 2020,
      https://arxiv.org/abs/1910.06222, section 3.
    """
    scores, joint, mask = _parts(scores)
    return _log_mean_exp(scores, mask) - jnp.mean(joint)


def mi_mine(
    scores: Float[ArrayLike, 'batch batch'], log_average: ArrayLike, *, rate: ArrayLike = 0.9
) -> tuple[Float[Array, ''], Float[Array, '']]:
    """MINE: :func:`mi_dv`, whose gradient divides by a running average of E_product exp f instead of the batch's.

    Args:
      scores: f(xᵢ, y_j).
      log_average: log of the average of earlier batches; −∞ before the first.
      rate: share of it that is kept. The first batch is taken whole.

    Returns:
      The loss, whose value is that of :func:`mi_dv`, and the logarithm of the moved average, without gradient.

    Convention: the average holds the batch itself when the gradient divides by it. SMILE's code returns the mean of the
    last batch in the place of the average.

    Cost: O(batch²); state: the average, kept by the caller.

    References:
      Belghazi et al. 2018, https://arxiv.org/abs/1801.04062, section 3.2.
    """
    scores, joint, mask = _parts(scores)
    now = _log_mean_exp(scores, mask)
    stopped = jax.lax.stop_gradient(now)
    average = jnp.asarray(log_average, scores.dtype)
    rate = jnp.asarray(rate, scores.dtype)
    average = jnp.where(average > -jnp.inf, jnp.logaddexp(average + jnp.log(rate), stopped + jnp.log1p(-rate)), stopped)
    average = jax.lax.stop_gradient(average)
    corrected = jnp.exp(now - average)  # gradient: that of E exp f, over the average
    return stopped - jnp.mean(joint) + corrected - jax.lax.stop_gradient(corrected), average


def mi_jsd(scores: Float[ArrayLike, 'batch batch']) -> Float[Array, '']:
    """Minus NWJ's estimate at f + 1, with the gradient of the Jensen–Shannon bound: a classifier's cross entropy.

    Args:
      scores: f(xᵢ, y_j), the logits of a classifier of joint against product.

    Returns:
      A scalar in nats, the value of `mi_nwj(scores + 1)`; 0 where all scores are 0. The gradient is that of
      E_joint softplus(−f) + E_product softplus(f).

    Convention: SMILE's code takes NWJ at f, without the one, and so reports another number for the same critic.

    Cost: O(batch²); no state.

    References:
      Hjelm et al. 2019, https://arxiv.org/abs/1808.06670, eq. 4; Poole et al. 2019,
      https://arxiv.org/abs/1905.06922, section 2.
    """
    scores, joint, mask = _parts(scores)
    training = -_jensen_shannon(scores, joint, mask)
    return training + jax.lax.stop_gradient(mi_nwj(scores + 1.0) - training)


def mi_smile(scores: Float[ArrayLike, 'batch batch'], *, clip: ArrayLike | None = 5.0) -> Float[Array, '']:
    """Minus SMILE: :func:`mi_dv` whose density ratios under the product are clipped, trained as :func:`mi_jsd` is.

    Args:
      scores: f(xᵢ, y_j), the logits of a classifier of joint against product.
      clip: τ: exp f lies in [e^−τ, e^τ] in the product's mean, which bounds the variance and costs bias. None does
        not clip. The authors' figures: 1, 5 and none.

    Returns:
      A scalar in nats; 0 where all scores are equal and below τ. The gradient is that of :func:`mi_jsd`.

    Cost: O(batch²); no state.

    References:
      Song and Ermon 2020, https://arxiv.org/abs/1910.06222, section 4.
    """
    if clip is not None and not isinstance(clip, jax.core.Tracer) and not (np.asarray(clip) > 0).all():
        raise ValueError(f'clip must be positive or None, not {clip}')
    scores, joint, mask = _parts(scores)
    training = -_jensen_shannon(scores, joint, mask)
    clipped = scores if clip is None else jnp.clip(scores, -clip, clip)
    estimate = jnp.mean(joint) - _log_mean_exp(clipped, mask)
    return training + jax.lax.stop_gradient(-estimate - training)

"""Losses of pretext tasks, whose answers an augmentation knows."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import HIGHEST, as_float, positive, several


def cross_entropy(
    predictions: Float[ArrayLike, '*batch answers'],
    targets: Float[ArrayLike, '*batch answers'],
    weights: Float[ArrayLike, '*batch'] | None = None,
) -> Float[Array, '']:
    """Cross-entropy of answers: −w Σ_a t_a log softmax(p)_a, the mean over all axes but the last.

    Args:
      predictions: logits.
      targets: shares of the answers, which sum to 1: zeros with a one where the answer is known.
      weights: w of each answer; None for 1. The mean is not divided by theirs.

    Returns:
      In nats, from the entropy of the targets up; log(answers) where all logits are equal, as in a collapsed network.

    Raises:
      ValueError: where the shapes differ.

    References:
      Gidaris et al. 2018, https://arxiv.org/abs/1803.07728, eq. 2; Doersch et al. 2015, https://arxiv.org/abs/1505.05192.
    """
    predictions, targets = as_float('predictions', predictions), as_float('targets', targets)
    if predictions.shape != targets.shape:
        raise ValueError(
            f'predictions and targets must have the same shape, and are {list(predictions.shape)} and '
            f'{list(targets.shape)}'
        )
    each = -jnp.sum(targets * jax.nn.log_softmax(predictions, axis=-1), axis=-1)
    return jnp.mean(each if weights is None else as_float('weights', weights) * each)


def focal(
    predictions: Float[ArrayLike, '*batch'],
    targets: Float[ArrayLike, '*batch'],
    *,
    gamma: ArrayLike = 2.0,
    alpha: ArrayLike = 0.5,
) -> Float[Array, '']:
    """Focal loss of yes-or-no answers: mean α_t (1 − p_t)^γ (−log p_t), p_t the probability of the right answer.

    Args:
      predictions: logits of "yes".
      targets: 1 for yes, 0 for no.
      gamma: γ, how much less an answer counts that is right already; 0 is binary cross-entropy, times α_t.
      alpha: weight of "yes"; that of "no" is 1 − α.

    Returns:
      In nats, from 0; α·2^(−γ)·log 2 where every logit is 0 and α = 0.5, as in a collapsed network.

    Raises:
      ValueError: where the shapes differ.

    References:
      Lin et al. 2017, https://arxiv.org/abs/1708.02002, eq. 5; `FocalLoss` of
      mpatacchiola/self-supervised-relational-reasoning.
    """
    predictions, targets = as_float('predictions', predictions), as_float('targets', targets)
    if predictions.shape != targets.shape:
        raise ValueError(
            f'predictions and targets must have the same shape, and are {list(predictions.shape)} and '
            f'{list(targets.shape)}'
        )
    # log p_t and log(1 − p_t) from the logit: 1 − p_t itself rounds to 0 for logits beyond 17.
    right = jnp.where(targets > 0.5, predictions, -predictions)
    weight = targets * alpha + (1.0 - targets) * (1.0 - alpha)
    return -jnp.mean(weight * jnp.exp(gamma * jax.nn.log_sigmoid(-right)) * jax.nn.log_sigmoid(right))


def triplet_semihard(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *more: Float[ArrayLike, 'batch dim'],
    margin: ArrayLike = 0.5,
) -> Float[Array, '']:
    """Triplet loss with semi-hard negatives: each ordered pair of views of an image against one view of another image.

    mean max(0, m + D_ap − D_an) over anchors a and positives p, other views of the same image. The negative n is the
    nearest view of another image that is farther from the anchor than the positive; where there is none, the farthest.

    Args:
      z1, z2, more: views, as they are: scale them to unit length before where the method does.
      margin: m.

    Returns:
      In squared distances, from 0; the margin at collapse. A negative that is as far as the positive is not farther.

    Cost: O(views²·batch²·dim) time, O(views³·batch²) memory.

    References:
      Schroff et al. 2015, https://arxiv.org/abs/1503.03832, section 3.2; TensorFlow's `triplet_semihard_loss`, with
      which Kolesnikov et al. 2019, https://arxiv.org/abs/1901.09005 train their exemplar network.
    """
    views = several(z1, z2, *more)
    positive('margin', margin)
    count, batch = len(views), len(views[0])
    z = jnp.stack(views, axis=1).reshape(batch * count, -1)  # an image's views side by side
    squares = jnp.sum(z * z, axis=1)
    products = jnp.matmul(z, z.T, precision=HIGHEST)
    distances = jnp.maximum(squares[:, None] + squares[None] - 2.0 * products, 0.0)
    # [image, anchor view, image, view]
    distances = distances.reshape(batch, count, batch, count)
    own = jnp.eye(batch, dtype=bool)[:, None, :, None]
    farthest = jnp.max(jnp.where(own, -jnp.inf, distances), axis=(2, 3))[:, :, None]
    images = jnp.arange(batch)
    positives = distances[images, :, images]  # [image, anchor view, positive view]
    beyond = ~own[:, :, None] & (distances[:, :, None] > positives[..., None, None])
    nearest = jnp.min(jnp.where(beyond, distances[:, :, None], jnp.inf), axis=(3, 4))
    negatives = jnp.where(jnp.any(beyond, axis=(3, 4)), nearest, farthest)
    losses = jnp.maximum(margin + positives - negatives, 0.0)
    pairs = ~jnp.eye(count, dtype=bool)[None]
    return jnp.sum(jnp.where(pairs, losses, 0.0)) / (batch * count * (count - 1))

"""Mixtures of the images of a batch: mixup and cutmix. Unlike the rest, these take a batch."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._common import require_range, to_float

Mixed = tuple[Float[Array, 'batch height width channels'], dict[str, Array]]


def mixup(key: PRNGKeyArray, images: Array, *, alpha: float = 1.0, shared: bool = False) -> Mixed:
    """λ·x + (1 − λ)·x′ of each image and a partner from the batch, λ ~ Beta(α, α).

    Args:
      key: one key for the batch.
      images: `[batch, height, width, channels]`.
      alpha: α, positive.
      shared: one λ for the whole batch, as the paper's code; else one each.

    Returns:
      The mixtures, and `partner` (row of x′) and `share` (λ), each `[batch]`.

    References:
      Zhang et al. 2018, https://arxiv.org/abs/1710.09412.
    """
    require_range('alpha', alpha, 1e-6)
    images = to_float(images)
    share_key, partner_key = jax.random.split(key)
    batch = len(images)
    share = jax.random.beta(share_key, alpha, alpha, () if shared else (batch,))
    share = jnp.broadcast_to(share, (batch,)).astype(images.dtype)
    partner = jax.random.permutation(partner_key, batch)
    weight = share[:, None, None, None]
    return weight * images + (1 - weight) * images[partner], {'partner': partner, 'share': share}


def cutmix(key: PRNGKeyArray, images: Array, *, alpha: float = 1.0) -> Mixed:
    """Each image with a random box of a partner's pixels, the box of area 1 − λ, λ ~ Beta(α, α).

    Args and returns as :func:`mixup`; `share` is the part of the image that is its own, exactly, after
    the box was cut off at the border. And `box` (top, left, height, width) `[batch, 4]`.

    References:
      Yun et al. 2019, https://arxiv.org/abs/1905.04899, Algorithm 1.
    """
    require_range('alpha', alpha, 1e-6)
    images = to_float(images)
    share_key, partner_key, place_key = jax.random.split(key, 3)
    batch, height, width, _ = images.shape
    sides = jnp.sqrt(1 - jax.random.beta(share_key, alpha, alpha, (batch,)))[:, None]
    size = jnp.array([height, width])[None]
    centre = jnp.floor(jax.random.uniform(place_key, (batch, 2)) * size)
    half = jnp.floor(sides * size) // 2
    low, high = jnp.clip(centre - half, 0, size), jnp.clip(centre + half, 0, size)
    partner = jax.random.permutation(partner_key, batch)
    rows, columns = jnp.arange(height)[None, :, None], jnp.arange(width)[None, None]
    inside = (rows >= low[:, :1, None]) & (rows < high[:, :1, None])
    inside &= (columns >= low[:, 1:, None]) & (columns < high[:, 1:, None])
    mixed = jnp.where(inside[..., None], images[partner], images)
    share = (1 - jnp.prod(high - low, axis=1) / (height * width)).astype(images.dtype)
    return mixed, {'partner': partner, 'share': share, 'box': jnp.concatenate([low, high - low], axis=1)}

"""SimCLR (Chen et al. 2020, https://arxiv.org/abs/2002.05709)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from .. import losses, parallel
from .base import Method, joint_embedding, over, pairs


def simclr(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    temperature: Any = 0.1,
    scale: Any = 1.0,
    fuse_views: bool = True,
    axis_name: str | None = None,
) -> Method:
    """SimCLR: NT-Xent between two views; both run through the network as one batch, as in the paper.

    `scale=2` repeats the authors' code, which adds the two views' means where :func:`selfsup.losses.ntxent`
    averages them. State: none beside batch statistics.
    """

    def loss(embeddings: tuple) -> tuple:
        z1, z2 = pairs(embeddings)
        value = losses.ntxent(z1, z2, temperature=temperature)
        n1, n2 = (z / jnp.maximum(jnp.linalg.norm(z, axis=-1, keepdims=True), 1e-12) for z in (z1, z2))
        cosine = jax.lax.stop_gradient(jnp.mean(jnp.sum(n1 * n2, axis=-1)))
        return scale * value, {'positive_cosine': cosine}

    encoder, projector = over(axis_name, encoder, projector)
    return parallel.over_axis(joint_embedding(encoder, projector, loss, fuse_views=fuse_views), axis_name)

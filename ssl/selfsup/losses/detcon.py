"""DetCon: contrast between regions of images, by given masks."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from ._common import HIGHEST, as_float, normalize, positive


def _direction(
    prediction: Array, other: Array, own: Array, regions: Array, other_regions: Array, temperature: ArrayLike
) -> Array:
    """The mean over images and regions of one view's weighted cross-entropy."""
    batch, count, _ = prediction.shape

    def against(target: Array) -> Array:
        return jnp.einsum('amd,bnd->ambn', prediction, target, precision=HIGHEST) / temperature

    def alike(theirs: Array) -> Array:
        same = regions[:, :, None] == theirs[:, None, :]
        return jnp.eye(batch, dtype=bool)[:, None, :, None] & same[:, :, None, :]

    positives, itself = alike(other_regions), alike(regions)
    logits = jnp.stack([against(other), jnp.where(itself, -jnp.inf, against(own))], axis=2)
    logits = logits - jax.nn.logsumexp(logits, axis=(2, 3, 4), keepdims=True)
    found = jnp.sum(positives, axis=(2, 3))
    mean = jnp.sum(jnp.where(positives, logits[:, :, 0], 0.0), axis=(2, 3)) / jnp.maximum(found, 1)
    return -jnp.sum(mean / jnp.sum(itself, axis=(2, 3))) / (batch * count)


def detcon(
    p1: Float[ArrayLike, 'batch regions dim'],
    p2: Float[ArrayLike, 'batch regions dim'],
    t1: Float[ArrayLike, 'batch regions dim'],
    t2: Float[ArrayLike, 'batch regions dim'],
    regions1: Int[ArrayLike, 'batch regions'],
    regions2: Int[ArrayLike, 'batch regions'],
    *,
    temperature: ArrayLike = 0.1,
) -> Float[Array, '']:
    """Each region's embedding must pick the same region of the other view among all regions of the batch.

    The sum of both views' mean over images and regions of w·CE, in which the positives of a region are those of the
    other view with its number, each with an equal share, and its negatives all others of both views; regions of the
    own view and image with its number are left out. w is 0 where the other view has none, and else one over how often
    the number stands in the own view.

    Args:
      p1, p2: embeddings of the sampled regions of the two views (normalised here): of the network (DetCon-S), or its
        predictor (DetCon-B).
      t1, t2: what they are compared with (normalised here): the same embeddings, or a target network's. Gradient passes
        unless the caller stops it.
      regions1, regions2: the number of each region, the same in both views of an image for the same place.
      temperature: τ. lightly: 0.1.

    Returns:
      A scalar in nats, ≥ 0; with one region an image 2·log(2·batch − 1) at collapse.

    Convention: two views' terms are summed, as lightly's `DetConBLoss` does.

    Cost: O(batch²·regions²·dim) time, O(batch²·regions²) memory; no state.

    References:
      Hénaff et al. 2021, https://arxiv.org/abs/2103.10957.
    """
    positive('temperature', temperature)
    given = [as_float(n, z) for n, z in (('p1', p1), ('p2', p2), ('t1', t1), ('t2', t2))]
    if any(z.ndim != 3 or z.shape != given[0].shape for z in given):
        shapes = ', '.join(str(list(z.shape)) for z in given)
        raise ValueError(f'p1, p2, t1 and t2 must have one shape [batch, regions, dim], not {shapes}')
    numbers = [jnp.asarray(r) for r in (regions1, regions2)]
    for name, r in zip(('regions1', 'regions2'), numbers, strict=True):
        if r.shape != given[0].shape[:2]:
            raise ValueError(f'{name} must have shape {list(given[0].shape[:2])}, not {list(r.shape)}')
    p1, p2, t1, t2 = (normalize(z) for z in given)
    forth = _direction(p1, t2, t1, numbers[0], numbers[1], temperature)
    return forth + _direction(p2, t1, t2, numbers[1], numbers[0], temperature)

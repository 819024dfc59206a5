"""DSE: how well clusters of patches stand apart, and how many directions patches use, without labels."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Key

from ._common import as_float, ratio, unit
from .clusters import kmeans
from .neighbours import pairwise_distances
from .spectrum import effective_rank, singular_values

ITERATIONS = 20  # of k-means, as in the authors' code


def _radius(rows: Float[Array, 'rows dim'], members: Int[Array, ' rows'], clusters: int) -> tuple[Array, Array]:
    """Of each cluster its radius, Σ σ of its centred rows / √max(rows − 1, dim), and whether it has two rows."""
    dim = rows.shape[1]

    def one(number: Array) -> tuple[Array, Array]:
        own = members == number
        count = jnp.sum(own)
        mean = jnp.sum(jnp.where(own[:, None], rows, 0.0), axis=0) / jnp.maximum(count, 1)
        # Rows of zeros have no part in the singular values.
        values = singular_values(jnp.where(own[:, None], rows - mean[None], 0.0))
        return jnp.sum(values) / jnp.sqrt(jnp.maximum(count - 1, dim)), count > 1

    return jax.lax.map(one, jnp.arange(clusters))


def _mean(values: Array, counted: Array, otherwise: float) -> Array:
    return ratio(jnp.sum(jnp.where(counted, values, 0.0)), jnp.sum(counted).astype(values.dtype), limit=otherwise)


def dense_structure(
    key: Key[Array, ''],
    tokens: Float[ArrayLike, 'images places dim'],
    *,
    local_clusters: int = 3,
    global_clusters: int = 24,
    group: int = 8,
    normalized: bool = True,
) -> dict[str, Float[Array, '']]:
    """The parts of DSE, the dense representation structure estimator: higher is better for segmentation and detection.

    Clusters of k-means stand for the unknown classes of patches. All but `dimension` are in units of the mean distance
    of a patch from the mean patch.

    Args:
      key: for the starts of k-means (k-means++ with squared distances; the authors' code draws in proportion to the
        distances) and for the order of places.
      tokens: of patches, of images that are a multiple of `group`.
      local_clusters: in each image.
      global_clusters: in each group of images, two or more.
      group: images whose patches are clustered together.
      normalized: patches to unit length first, as in the authors' command.

    Returns:
      `inter`, mean distance of a patch from the nearest centre but its own; `intra_image` and `intra_group`, mean over
      clusters of two patches or more of Σ σ / √max(n − 1, dim), σ the singular values of its n centred patches, in
      images (1 / scale for an image without such a cluster) and in groups (1); `dimension`, in (0, 1]: the effective
      rank of one patch of each image over min(images, dim), mean over an order of places that is random in each image;
      and `dse` = inter + dimension − (intra_image + intra_group)/2. In the paper dimension is multiplied by a λ that
      gives it the deviation over checkpoints of the rest; the authors' code has 1, and rescales afterwards. Where all
      patches are equal, dse is that of no distances: 1/min(images, dim).

    Raises:
      ValueError: tokens of another rank, images that are no multiple of `group`, or fewer places than clusters.

    Cost: O(clusters·group·places·dim²) for each group, k-means besides.

    References:
      Dai et al. 2025, https://arxiv.org/abs/2510.17299, section 4; authors' code EldercatSAM/SSL-Degradation, commit
      b75fd51, estimator.py.
    """
    z = as_float('tokens', tokens)
    if z.ndim != 3:
        raise ValueError(f'tokens must have shape [images, places, dim], not {list(z.shape)}')
    images, places, dim = z.shape
    if not images or images % group:
        raise ValueError(f'tokens of {images} images cannot be cut into groups of {group}')
    if not 1 <= local_clusters <= places or not 2 <= global_clusters <= group * places:
        raise ValueError(
            f'{places} places of an image do not suffice for {local_clusters} clusters, or those of {group} images '
            f'for {global_clusters} (two or more)'
        )
    z = unit(z) if normalized else z
    scale = jnp.mean(jnp.linalg.norm(z - jnp.mean(z, axis=(0, 1), keepdims=True), axis=-1))
    of_image, of_group, of_order = jax.random.split(key, 3)

    def in_image(given: tuple[Array, Array]) -> Array:
        number, rows = given
        own = jax.random.fold_in(of_image, number)
        _, members = kmeans(own, rows, clusters=local_clusters, iterations=ITERATIONS)
        return _mean(*_radius(rows, members, local_clusters), otherwise=1.0)

    def in_group(given: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        number, rows = given
        own = jax.random.fold_in(of_group, number)
        centres, members = kmeans(own, rows, clusters=global_clusters, iterations=ITERATIONS)
        distances = pairwise_distances(rows, centres)
        others = jnp.where(jax.nn.one_hot(members, global_clusters, dtype=bool), jnp.inf, distances)
        return jnp.mean(jnp.min(others, axis=1)), *_radius(rows, members, global_clusters)

    within = jnp.mean(jax.lax.map(in_image, (jnp.arange(images), z)))
    groups = z.reshape(images // group, group * places, dim)
    apart, radii, counted = jax.lax.map(in_group, (jnp.arange(len(groups)), groups))
    keys = jax.vmap(functools.partial(jax.random.fold_in, of_order))(jnp.arange(images))
    mixed = jax.vmap(lambda own, rows: rows[jax.random.permutation(own, places)])(keys, z)
    rank = jax.lax.map(effective_rank, jnp.moveaxis(mixed, 1, 0))
    found = {
        'inter': ratio(jnp.mean(apart), scale, limit=0.0),
        'intra_image': ratio(within, scale, limit=0.0),
        'intra_group': ratio(_mean(radii, counted, otherwise=1.0), scale, limit=0.0),
        'dimension': jnp.mean(rank) / min(images, dim),
    }
    found['dse'] = found['inter'] + found['dimension'] - 0.5 * (found['intra_image'] + found['intra_group'])
    return found

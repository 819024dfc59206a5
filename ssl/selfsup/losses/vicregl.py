"""VICRegL's local terms: VICReg between matched places of two feature maps."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from ._common import HIGHEST, as_float, deviation_hinge


def _by_content(a: Float[Array, 'batch here dim'], b: Float[Array, 'batch there dim']) -> Int[Array, 'batch here']:
    """For each row of `a` the nearest row of `b` of the same example; no gradient."""
    a, b = jax.lax.stop_gradient(a), jax.lax.stop_gradient(b)
    product = jnp.einsum('bid,bjd->bij', a, b, precision=HIGHEST)
    return jnp.argmin(jnp.sum(b * b, axis=-1)[:, None, :] - 2.0 * product, axis=-1)


def _by_position(
    a: Float[Array, 'batch here 2'], b: Float[Array, 'batch there 2'], count: int
) -> tuple[Int[Array, 'batch count'], Int[Array, 'batch count']]:
    """The `count` rows of `a` with the nearest row of `b`, in the order of the map, and those rows of `b`; no gradient.

    The order matters: variance and covariance are taken over the batch at each of the kept places.
    """
    a, b = jax.lax.stop_gradient(a), jax.lax.stop_gradient(b)
    # By differences: positions are hundreds of pixels, and the squares of an expanded square would round them away.
    distance = sum((a[:, :, None, axis] - b[:, None, :, axis]) ** 2 for axis in range(2))
    _, kept = jax.lax.top_k(-jnp.min(distance, axis=-1), min(count, a.shape[1]))
    kept = jnp.sort(kept, axis=1)
    return kept, jnp.take_along_axis(jnp.argmin(distance, axis=-1), kept, axis=1)


def _take(x: Float[Array, 'batch places dim'], places: Int[Array, 'batch count']) -> Float[Array, 'batch count dim']:
    return jnp.take_along_axis(x, places[:, :, None], axis=1)


def _spread(x: Float[Array, 'batch places dim'], target: ArrayLike, eps: ArrayLike) -> tuple[Array, Array]:
    """Hinge on the deviation and off-diagonal covariance over the batch, each a mean over places."""
    batch, _, dim = x.shape
    x = x - jnp.mean(x, axis=0, keepdims=True)
    hinge = deviation_hinge(x, target=target, eps=eps)
    if 2 * batch <= dim:  # ‖XᵀX‖² = ‖XXᵀ‖², as in the losses of whole images
        gram = jnp.einsum('npd,mpd->pnm', x, x, precision=HIGHEST)
        variance = jnp.sum(x * x, axis=0) / (batch - 1)
        energy = jnp.sum(gram * gram, axis=(1, 2)) / float(batch - 1) ** 2 - jnp.sum(variance**2, axis=-1)
    else:
        product = jnp.einsum('npd,npe->pde', x, x, precision=HIGHEST) / (batch - 1)
        energy = jnp.sum(jnp.where(jnp.eye(dim, dtype=bool)[None], 0.0, product) ** 2, axis=(1, 2))
    return hinge, jnp.mean(energy) / dim


def vicregl_local_terms(
    maps1: Float[ArrayLike, 'batch places1 dim'],
    maps2: Float[ArrayLike, 'batch places2 dim'],
    positions1: Float[ArrayLike, 'batch places1 2'],
    positions2: Float[ArrayLike, 'batch places2 2'],
    *,
    matches: tuple[int, int] = (20, 20),
    target: ArrayLike = 1.0,
    eps: ArrayLike = 1e-4,
) -> dict[str, Float[Array, '']]:
    """The parts of :func:`vicregl_local`, unweighted.

    Args:
      maps1, maps2, positions1, positions2, matches: of :func:`vicregl_local`.
      target: γ, the standard deviation below which the hinge acts.
      eps: ε under the root of the standard deviation.

    Returns:
      `invariance`, `variance` and `covariance`, each the sum over the two kinds of matches of the mean
      over both directions.

    References:
      Bardes et al. 2022, https://arxiv.org/abs/2210.01571, section 3.
    """
    maps = [as_float('maps1', maps1), as_float('maps2', maps2)]
    places = [as_float('positions1', positions1), as_float('positions2', positions2)]
    for number, (x, at) in enumerate(zip(maps, places, strict=True), 1):
        if x.ndim != 3 or at.shape != (*x.shape[:2], 2):
            raise ValueError(
                f'maps{number} must have shape [batch, places, dim] and positions{number} [batch, places, 2], '
                f'and they are {list(x.shape)} and {list(at.shape)}'
            )
    if maps[0].shape[::2] != maps[1].shape[::2] or maps[0].shape[0] < 2:
        raise ValueError(
            f'maps1 and maps2 must have the same batch of at least 2 and the same dim, '
            f'and their shapes are {list(maps[0].shape)} and {list(maps[1].shape)}'
        )
    sums = {'invariance': 0.0, 'variance': 0.0, 'covariance': 0.0}
    for here, there in ((0, 1), (1, 0)):
        source, other = maps[here], maps[there]
        nearest = _by_content(source, other)
        kept, closest = _by_position(places[here], places[there], matches[here])
        for x, y in ((source, _take(other, nearest)), (_take(source, kept), _take(other, closest))):
            sums['invariance'] += jnp.mean((x - y) ** 2) / 2
            for z in (x, y):
                hinge, covariance = _spread(z, target, eps)
                sums['variance'] += hinge / 4
                sums['covariance'] += covariance / 4
    return sums


def vicregl_local(
    maps1: Float[ArrayLike, 'batch places1 dim'],
    maps2: Float[ArrayLike, 'batch places2 dim'],
    positions1: Float[ArrayLike, 'batch places1 2'],
    positions2: Float[ArrayLike, 'batch places2 2'],
    *,
    matches: tuple[int, int] = (20, 20),
    invariance_weight: ArrayLike = 25.0,
    variance_weight: ArrayLike = 25.0,
    covariance_weight: ArrayLike = 1.0,
    target: ArrayLike = 1.0,
    eps: ArrayLike = 1e-4,
) -> Float[Array, '']:
    """VICReg on matched places of two feature maps, the local part of VICRegL.

    Two kinds of matches, each in both directions: every place with the place of the other map whose
    embedding is nearest, and the `matches` places whose position in the image is nearest to one of the
    other map with that one, kept in the order of the map. On the matched rows: the mean squared
    difference, the hinge on the deviation, and Σ_{i≠j} Cov²ᵢⱼ / dim, the last two over the batch at each
    of the kept places (the first of every example, the second, ...), averaged over them and over both
    sides. Kinds are summed, directions averaged.

    Args:
      maps1, maps2: local embeddings of two views, places of the map in any fixed order; not normalised.
      positions1, positions2: (row, column) of each place in the original image, in pixels.
      matches: how many pairs by position are kept from `maps1` and from `maps2`, at most all. Paper: 20 from
        large crops' maps, 4 from small crops'; the authors' code: 20 from the first map of a pair, 4 from the
        second, whatever their sizes.
      invariance_weight, variance_weight, covariance_weight: λ, µ, ν of VICReg.
      target: γ of the hinge.
      eps: ε under the root.

    Returns:
      A scalar ≥ 0; 2µ·(γ − √ε) = 49.5 with the defaults at collapse to a constant.

    Convention: each branch's covariance is halved, whereas VICReg's is summed over the views. With
    several pairs of views the caller averages, as the authors' code does since December 2022 (before, it
    kept the last pair alone and divided it by the number of pairs). Matches carry no gradient of their own.

    Cost: O(batch·places²·dim) for the matches, O(batch·places·dim·min(dim, 2·batch)) for the rest; no
    state.

    References:
      Bardes et al. 2022, https://arxiv.org/abs/2210.01571, section 3.
    """
    terms = vicregl_local_terms(maps1, maps2, positions1, positions2, matches=matches, target=target, eps=eps)
    return (
        invariance_weight * terms['invariance']
        + variance_weight * terms['variance']
        + covariance_weight * terms['covariance']
    )

"""SSLMem: how much an encoder's alignment on an image is owed to having trained on it."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import as_float, ratio, unit

DISTANCES = ('l2', 'cosine')
PAIRS = ('augmented', 'clean')


def view_distances(
    views: Float[ArrayLike, 'images views dim'],
    *,
    pairs: str = 'augmented',
    distance: str = 'l2',
    normalized: bool = True,
) -> Float[Array, 'images']:
    """Mean distance of the representations of an image's augmented views, E d(f(x'), f(x'')).

    Args:
      views: representations of at least two views of each image, flattened; not centred.
      pairs: 'augmented' takes all pairs of different views, the paper's definition; 'clean' takes view
        0 for the clean image and pairs it with each other one, as the authors' script does.
      distance: 'l2', or 'cosine' (1 − cosine).
      normalized: rows to unit length first, as the authors do; 'cosine' always does.

    Returns:
      One value ≥ 0 an image, at most 2 if normalised: 0 at collapse, about √2 (1 for 'cosine') for
      isotropic noise. The authors draw 5 views; the error falls as 1/√views.

    Cost: O(images·views²·dim), or O(images·views·dim) for 'clean'.

    References:
      Wang et al. 2024, https://arxiv.org/abs/2401.12233, eq. 1.
    """
    if distance not in DISTANCES:
        raise ValueError(f'distance must be one of {DISTANCES}, not {distance!r}')
    if pairs not in PAIRS:
        raise ValueError(f'pairs must be one of {PAIRS}, not {pairs!r}')
    views = as_float('views', views)
    if views.ndim != 3 or views.shape[1] < 2 or 0 in views.shape:
        raise ValueError(f'views must have shape [images, views, dim] with two views or more, not {list(views.shape)}')
    if normalized or distance == 'cosine':
        views = unit(views)

    def between(a: Array, b: Array) -> Array:
        if distance == 'cosine':
            return 1.0 - jnp.sum(a * b, axis=-1)
        squared = jnp.sum((a - b) ** 2, axis=-1)
        return jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), 0.0)

    count = views.shape[1]
    if pairs == 'clean':
        return jnp.mean(between(views[:, :1], views[:, 1:]), axis=1)
    # One shift of the views at a time keeps the memory at images·views·dim.
    total = sum(jnp.sum(between(views[:, shift:], views[:, :-shift]), axis=1) for shift in range(1, count))
    return total / (count * (count - 1) / 2)


def sslmem(
    trained: Float[ArrayLike, 'images views dim_f'],
    reference: Float[ArrayLike, 'images views dim_g'],
    *,
    pairs: str = 'augmented',
    distance: str = 'l2',
    normalized: bool = True,
    rescaled: bool = False,
) -> Float[Array, 'images']:
    """SSLMem, m(x) = E d(g(x'), g(x'')) − E d(f(x'), f(x'')) of each image.

    Args:
      trained: views by the encoder f that saw the images in training.
      reference: the same views by the encoder g, trained alike but without them.
      pairs, distance, normalized: of :func:`view_distances`.
      rescaled: divide by max − min over these images, as the authors' script does; the scores then
        depend on which images are scored together.

    Returns:
      One score an image, positive where f aligns its views better than g does: in [−2, 2] for
      normalised L2, [−1, 1] if rescaled; 0 for f = g, and the scores change sign with the roles. If f
      has collapsed the score is g's alignment alone, so check f first; two isotropic noises give about 0.
      The paper averages several pairs (f, g) and takes hundreds of images.

    Cost: that of two :func:`view_distances`.

    References:
      Wang et al. 2024, https://arxiv.org/abs/2401.12233, eq. 2.
    """
    if jnp.shape(trained)[:2] != jnp.shape(reference)[:2]:
        raise ValueError(
            f'trained and reference must hold the same images and views, '
            f'and are {list(jnp.shape(trained))} and {list(jnp.shape(reference))}'
        )
    f, g = (view_distances(v, pairs=pairs, distance=distance, normalized=normalized) for v in (trained, reference))
    score = g - f
    return ratio(score, jnp.max(score) - jnp.min(score), limit=0.0) if rescaled else score

"""Tone curves, noise and quantisation: operations on the values of a channel, on one image in [0, 1]."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from ._common import Image, Report, Result, reported, require_choice, require_probability, require_range, to_float

_LEVELS = 256


# v / 255 of a uint8 v differs between devices by rounding; an image's value at the threshold is at it on all of them.
ROUNDING = 1e-6


def solarise(image: Image, *, threshold: ArrayLike = 128 / 255) -> Result:
    """Inverts values at or above the threshold, up to `ROUNDING`."""
    image = to_float(image)
    return jnp.where(image >= threshold - ROUNDING, 1.0 - image, image)


def posterise(image: Image, *, bits: ArrayLike = 4) -> Result:
    """Keeps the first `bits` of each value: floor(x·2^bits)/2^bits, as torchvision does on float tensors."""
    require_range('bits', bits, 0, 8)
    image = to_float(image)
    levels = 2.0 ** jnp.asarray(bits, image.dtype)
    return jnp.clip(jnp.floor(image * levels), 0.0, levels - 1.0) / levels


def autocontrast(image: Image) -> Result:
    """Stretches each channel to fill [0, 1]; a channel of one value stays."""
    image = to_float(image)
    low, high = jnp.min(image, axis=(0, 1)), jnp.max(image, axis=(0, 1))
    varied = high > low
    scale = jnp.where(varied, 1.0 / jnp.where(varied, high - low, 1.0), 1.0)
    low = jnp.where(varied, low, 0.0)
    return jnp.clip((image - low[None, None]) * scale[None, None], 0.0, 1.0)


def equalise(image: Image) -> Result:
    """Flattens the histogram of each channel with Pillow's integer lookup table, on values cut to 8 bits."""
    image = to_float(image)
    height, width, channels = image.shape
    values = jnp.floor(image * (_LEVELS - 1e-3)).astype(jnp.int32).reshape(-1, channels)

    def table(channel: Array) -> Array:
        counts = jnp.zeros(_LEVELS, jnp.int32).at[channel].add(1)
        step = (height * width - counts[jnp.max(channel)]) // (_LEVELS - 1)
        before = jnp.cumsum(counts) - counts
        mapped = jnp.clip((before + step // 2) // jnp.maximum(step, 1), 0, _LEVELS - 1)
        return jnp.where(step > 0, mapped, jnp.arange(_LEVELS))

    mapped = jax.vmap(lambda v: table(v)[v], in_axes=1, out_axes=1)(values)
    return mapped.reshape(image.shape).astype(image.dtype) / (_LEVELS - 1)


def _sometimes(key: PRNGKeyArray, image: Array, changed: Array, p: float, report: bool) -> Array | Report:
    require_probability(p)
    apply = jax.random.bernoulli(key, p)
    return reported(jnp.where(apply, changed, to_float(image)), {'apply': apply}, report)


def random_solarise(
    key: PRNGKeyArray, image: Image, *, p: float = 0.2, threshold: float = 128 / 255, report: bool = False
) -> Result | Report:
    """:func:`solarise` with probability `p`. Reports `apply`."""
    require_range('threshold', threshold, 0.0, 1.0)
    return _sometimes(key, image, solarise(image, threshold=threshold), p, report)


def random_posterise(
    key: PRNGKeyArray, image: Image, *, p: float = 0.2, bits: int = 4, report: bool = False
) -> Result | Report:
    """:func:`posterise` with probability `p`. Reports `apply`."""
    return _sometimes(key, image, posterise(image, bits=bits), p, report)


def random_equalise(key: PRNGKeyArray, image: Image, *, p: float = 0.2, report: bool = False) -> Result | Report:
    """:func:`equalise` with probability `p`. Reports `apply`."""
    return _sometimes(key, image, equalise(image), p, report)


def random_autocontrast(key: PRNGKeyArray, image: Image, *, p: float = 0.2, report: bool = False) -> Result | Report:
    """:func:`autocontrast` with probability `p`. Reports `apply`."""
    return _sometimes(key, image, autocontrast(image), p, report)


def random_gamma(key: PRNGKeyArray, image: Image, *, strength: float = 0.4, report: bool = False) -> Result | Report:
    """image^γ with log γ uniform in ±strength. Reports `gamma`."""
    require_range('strength', strength, 0.0)
    image = to_float(image)
    gamma = jnp.exp(jax.random.uniform(key, minval=-strength, maxval=strength)).astype(image.dtype)
    positive = image > 0
    changed = jnp.where(positive, jnp.where(positive, image, 1.0) ** gamma, 0.0)
    return reported(changed, {'gamma': gamma}, report)


def random_noise(key: PRNGKeyArray, image: Image, *, deviation: float = 0.1, report: bool = False) -> Result | Report:
    """Adds Gaussian noise of the given standard deviation to every value; not clipped. Reports nothing."""
    require_range('deviation', deviation, 0.0)
    image = to_float(image)
    return reported(image + deviation * jax.random.normal(key, image.shape, image.dtype), {}, report)


def quantise(
    image: Image, edges: Float[Array, 'channels regions_plus_1'], values: Float[Array, 'channels regions']
) -> Result:
    """Gives every value of channel c between `edges[c, i]` and `edges[c, i + 1]` the value `values[c, i]`."""
    image = to_float(image)
    # The number of inner edges at or below a value is its region; eight comparisons beat a binary search.
    region = jnp.sum(image[..., None] >= edges[None, None, :, 1:-1], axis=-1)
    chosen = jnp.take_along_axis(values.T[:, None, :], region.reshape(-1, 1, image.shape[-1]), axis=0)
    return chosen.reshape(image.shape).astype(image.dtype)


def random_quantise(
    key: PRNGKeyArray,
    image: Image,
    *,
    p: float = 1.0,
    regions: int = 8,
    spacing: str = 'random',
    value: str = 'random',
    report: bool = False,
) -> Result | Report:
    """Randomised quantisation: each channel is cut into regions, each with one value drawn inside it.

    Args:
      key, image: the draw's key, and an image of any number of channels.
      p: probability that anything is done.
      regions: number of regions per channel, n.
      spacing: 'random', cuts uniform between the channel's least and greatest value; or 'uniform', equal regions.
      value: 'random', uniform inside the region; or 'middle'.
      report: also give `apply`, `edges` and `values`.

    References:
      Wu et al. 2023, "Randomized Quantization: A Generic Augmentation for Data Agnostic
      Self-supervised Learning", https://arxiv.org/abs/2212.08663.
    """
    require_probability(p)
    require_range('regions', regions, 1)
    require_choice('spacing', spacing, ('random', 'uniform'))
    require_choice('value', value, ('random', 'middle'))
    image = to_float(image)
    apply_key, edge_key, value_key = jax.random.split(key, 3)
    channels = image.shape[-1]
    low, high = jnp.min(image, axis=(0, 1))[:, None], jnp.max(image, axis=(0, 1))[:, None]
    if spacing == 'random':
        shares = jnp.sort(jax.random.uniform(edge_key, (channels, regions - 1), image.dtype), axis=1)
    else:
        shares = jnp.broadcast_to(jnp.arange(1, regions, dtype=image.dtype)[None] / regions, (channels, regions - 1))
    edges = jnp.concatenate([low, low + (high - low) * shares, high], axis=1)
    share = jax.random.uniform(value_key, (channels, regions), image.dtype) if value == 'random' else 0.5
    values = edges[:, :-1] + (edges[:, 1:] - edges[:, :-1]) * share
    drawn = {'apply': jax.random.bernoulli(apply_key, p), 'edges': edges, 'values': values}
    return reported(jnp.where(drawn['apply'], quantise(image, edges, values), image), drawn, report)

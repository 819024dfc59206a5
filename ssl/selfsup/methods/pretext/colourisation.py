"""Colourisation (Zhang et al. 2016, https://arxiv.org/abs/1603.08511): which colour has each cell of a grey image?"""

from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ... import losses
from ...augment.lab import colour_bins
from ...errors import UserError
from ...signature import Domain, ProperShare, Share
from ..base import Method, forward, view_keys
from .parts import correct_share, known_answers

# Rec. 601: what a normalised image weighs its channels with, so that the network sees one grey channel, three times.
LUMA = (0.299, 0.587, 0.114)
Step = Annotated[int, Domain(int, least=1, most=110)]
Smoothing = Annotated[float, Domain(least=0, static=True)]


def grey(images: Array) -> Array:
    """Normalised images with each channel the weighted mean of all three; those of one channel as they are."""
    if images.shape[-1] == 1:
        return images
    mean = jnp.sum(images * jnp.asarray(LUMA, images.dtype)[None, None, None], axis=-1, keepdims=True)
    return jnp.broadcast_to(mean, images.shape)


def colourisation(
    encoder: nn.Module,
    predictor: nn.Module,
    *,
    step: Step = 10,
    balance: Share = 0.5,
    smoothing: Smoothing = 5.0,
    memory: ProperShare = 0.99,
) -> Method:
    """Colourisation: the network sees an image in grey, and each place of its map predicts the colour of its cell.

    Colours are bins of (a, b) in CIE Lab. Rare ones count more: w ∝ 1 / ((1 − λ)·p + λ/bins) with Σ p·w = 1, where p is
    how often each bin is the answer, smoothed over its neighbours.

    The reading, where it departs from the paper: a cell's answer is the one nearest bin, not a soft code of five; bins
    are those in which sRGB colours lie; p is a running mean over batches, not counted beforehand; the input is a grey
    of weighted channels, not L, in training and in `encode` alike, so that colours never reach the encoder.

    Args:
      encoder: with a feature map that it can give (`maps=True`), with as many places as there are cells.
      predictor: from the features of a place to one logit for each bin.
      step: side of the bins, that of the view's operation. Paper: 10.
      balance: λ. Paper: 0.5; 1 weights all alike.
      smoothing: σ of the Gaussian over bins, in units of a and b; 0 for none. Paper: 5.
      memory: share of the old p that each batch keeps.

    The view's operation is `colours` (:func:`selfsup.augment.cell_colours`). Metrics: `pretext_accuracy`, of all cells
    alike, and `commonest`, the share of the commonest bin, which it must exceed. The control gives each image the
    colours of another. State: `frequency` `[bins]`, and batch statistics.

    Raises:
      UserError: a view without `colours`, a map of other places than cells, or a predictor of another length.

    References:
      Zhang et al. 2016, https://arxiv.org/abs/1603.08511, section 2.2, eq. 2 to 4.
    """
    if not hasattr(encoder, 'maps'):
        raise UserError(
            f'colourisation needs an encoder that gives feature maps, and {type(encoder).__name__} does not'
        )
    encoder = encoder.clone(maps=True)
    bins = colour_bins(step)

    def smoothed(frequency: Array) -> Array:
        distance = ((bins[:, None] - bins[None]) ** 2).sum(axis=2)
        kernel = np.exp(-distance / (2 * smoothing**2)) if smoothing else np.eye(len(bins))
        return jnp.matmul(frequency, jnp.asarray(kernel / kernel.sum(axis=1, keepdims=True), frequency.dtype))

    def weights(frequency: Array) -> Array:
        p = smoothed(frequency)
        raw = 1.0 / ((1.0 - balance) * p + balance / len(bins))
        return raw / jnp.sum(p * raw)

    def pooled(maps: Array) -> Array:
        return jnp.mean(maps, axis=(1, 2), dtype=jnp.promote_types(maps.dtype, jnp.float32))

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        maps, first = encoder.init_with_output(key, grey(batch['views'][0][:2]), train=False)
        second = predictor.init(jax.random.fold_in(key, 1), maps.reshape(-1, maps.shape[-1]), train=False)
        stats = {'encoder': first.get('batch_stats', {}), 'predictor': second.get('batch_stats', {})}
        params = {'encoder': first['params'], 'predictor': second['params']}
        return params, {'batch_stats': stats, 'frequency': jnp.full(len(bins), 1.0 / len(bins))}

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        stats, answers = dict(extra['batch_stats']), known_answers(batch, 'colours')
        x, keys = grey(batch['views'][0]), view_keys(batch)(0)
        maps, stats['encoder'] = forward(encoder, params['encoder'], stats['encoder'], x, train=True, keys=keys)
        flat = maps.reshape(-1, maps.shape[-1])
        logits, stats['predictor'] = forward(predictor, params['predictor'], stats['predictor'], flat, train=True)
        logits = logits.reshape(*maps.shape[:3], -1)
        if answers is not None and logits.shape != answers.shape:
            raise UserError(
                f'colourisation predicts {logits.shape[3]} bins at {logits.shape[1]}x{logits.shape[2]} places, and the '
                f'operation colours has {answers.shape[3]} at {answers.shape[1]}x{answers.shape[2]} cells; set '
                f'predictor.widths, augment.views.only.colours.cells and method.step alike'
            )
        features = (pooled(maps),)
        outputs = {'features': features, 'embeddings': features, 'predictions': logits, 'targets': answers}
        return outputs, {**extra, 'batch_stats': stats}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        predictions, targets = outputs['predictions'], outputs['targets']
        if targets is None:
            raise UserError(
                "colourisation needs a view with the operation 'colours'; set augment.recipe='colourisation'"
            )
        seen = jnp.mean(targets, axis=(0, 1, 2))
        frequency = memory * extra['frequency'] + (1.0 - memory) * seen
        each = jnp.sum(targets * weights(frequency)[None, None, None], axis=-1)
        value = losses.cross_entropy(predictions, targets, each)
        metrics = {'pretext_accuracy': correct_share(predictions, targets), 'commonest': jnp.max(seen)}
        return value, ({**extra, 'frequency': frequency}, metrics)

    def encode(network: dict[str, Any], inputs: Array) -> dict[str, Array]:
        stats = network['batch_stats']['encoder']
        maps, _ = forward(encoder, network['params']['encoder'], stats, grey(inputs), train=False)
        return {'features': pooled(maps), 'embeddings': pooled(maps)}

    return Method(init, embed, criterion, encode, views=1, control='shuffled_targets')

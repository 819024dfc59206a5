"""DinoSR (Liu et al. 2023, https://arxiv.org/abs/2305.10005): self-distillation and online clustering, for images."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import losses
from ...augment import masking
from ...errors import UserError
from ...signature import Count, ScheduledShare, Share, StaticProperShare
from ..base import Method, encode_with, view_keys
from ..target import follow
from .distillation import entropy
from .patches import (
    MASKS,
    at_places,
    check_decoder,
    check_encoder,
    copied_encoder,
    drawn,
    every_patch,
    explained,
    patch_grid,
    target_layers,
)


def frequencies(codes: Array, count: int) -> Array:
    """How often each code is the nearest at each place: `[batch, places, layers]` to `[places, layers, count]`."""
    places, layers = (jnp.arange(side) for side in codes.shape[1:])
    found = jnp.zeros((*codes.shape[1:], count), jnp.float32)
    return found.at[places[None, :, None], layers[None, None], codes].add(1.0) / len(codes)


def dinosr(
    encoder: nn.Module,
    decoder: nn.Module,
    *,
    ratio: StaticProperShare = 0.6125,
    layers: Count = 8,
    codes: Count = 256,
    rate: Share = 0.9,
    momentum: ScheduledShare = 0.999,
) -> Method:
    """Hidden patches, mask tokens of the encoder, predict which codes the target network's layers fall to there.

    Each of the target's last `layers` blocks has a codebook that follows its tokens as k-means with forgetting does;
    a linear head for each of them classifies the codes. The paper is about speech; this is its method with data2vec's
    masks of images.

    Order of a step: codes of the target's tokens with the codebooks as they were; loss; the codebooks take in the
    hidden tokens of this batch; after the optimiser's step t the target follows with m(t).

    Args:
      encoder: a vision transformer, which sees all patches, hidden ones as one learned token at their positions.
      decoder: a network of kind `linear`, or another decoder; its `out` is set here to `layers` · `codes`.
      ratio: int(patches · ratio) are hidden in blocks, at most (:func:`selfsup.augment.masking.block`), as in data2vec.
      layers: K, the last blocks of the target network whose MLPs' outputs are clustered, each brought to mean 0 and
        variance 1 over the patches for each feature. Paper: 8 of 12.
      codes: V, of a codebook. Paper: 256.
      rate: γ, share of the old sums and counts of codes (:func:`selfsup.losses.moved_codes`). Paper: 0.9.
      momentum: m of the moving average, a value or a function of the step. Paper: a line from 0.999 to 0.9999 over
        30,000 of 400,000 steps, constant afterwards; a config's is a cosine over the run.

    The target network sees the whole view without stochastic depth; no gradient enters codes or codebooks. The trained
    encoder is evaluated. Metrics: `explained_share`, 1 − loss / the entropy of the codes at each place over the batch,
    and `target_perplexity` and `prediction_perplexity`, of the mean of the codes and of the predictions over the batch,
    from 1 at collapse to V. State: parameters of the target encoder, and codebooks: sums `[K, V, dim]`, counts
    `[K, V]`.

    Raises:
      UserError: an encoder without patch tokens, a decoder of another kind, patches that do not tile the view, a ratio
        that hides nothing, a grid that is too small for blocks, or more layers than the encoder has blocks.

    References:
      Liu et al. 2023, https://arxiv.org/abs/2305.10005, sect. 3.
    """
    check_encoder('dinosr', encoder)
    check_decoder('dinosr', decoder, 'linear')
    if layers > encoder.depth:
        raise UserError(f'method.layers={layers} must be at most model.depth={encoder.depth}')
    sized = decoder.clone(out=layers * codes)

    def masks(images: Array, keys: Array) -> tuple[tuple[int, int], Array, Array, Array]:
        """The grid, the hidden patches, and their numbers with flags of which are real."""
        grid = patch_grid(encoder, images)
        count = int(grid[0] * grid[1] * ratio)
        hidden = drawn(f'method.ratio={ratio}', masking.block, keys, grid, count)
        return grid, hidden, *masking.places(hidden, count)

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        images = batch['views'][0][:2]
        first, second, third, fourth = (jax.random.fold_in(key, index) for index in range(4))
        grid, hidden, places, _ = masks(images, jax.random.split(third, len(images)))
        tokens, variables = encoder.init_with_output(first, images, method='tokens', hidden=hidden)
        decoded = sized.init(second, tokens, every_patch(images, grid), grid, places)
        params = {'encoder': variables['params'], 'decoder': decoded['params']}
        start = jax.random.normal(fourth, (layers, codes, encoder.dim))
        books = {
            'sums': losses.standardize_tokens(start, instance=True) if codes > 1 else start,
            'counts': jnp.ones((layers, codes)),
        }
        return params, {'batch_stats': {'encoder': {}}, 'target': copied_encoder(params), 'codebooks': books}

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        images = batch['views'][0]
        grid, hidden, places, real = masks(images, view_keys(batch, MASKS)(0))
        seen = {'hidden': hidden, 'train': True, 'keys': view_keys(batch)(0)}
        tokens = encoder.apply({'params': params['encoder']}, images, method='tokens', **seen)
        features = (encoder.pooled(tokens),)
        every = every_patch(images, grid)
        predictions = sized.apply({'params': params['decoder']}, tokens, every, grid, places, train=True)
        found = target_layers(encoder, extra, images, layers, of='mlp')
        outputs = {
            'features': features,
            'embeddings': features,
            'predictions': predictions.reshape(*places.shape, layers, codes),
            'targets': jnp.stack([losses.standardize_tokens(x, instance=True) for x in found], axis=2),
            'places': places,
            'counted': real,
        }
        return outputs, extra

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        predictions, targets, places, counted = (
            outputs[name] for name in ('predictions', 'targets', 'places', 'counted')
        )
        sums, counts = extra['codebooks']['sums'], extra['codebooks']['counts']
        every = losses.nearest_codes(targets, sums, counts)
        own = at_places(every, places)
        loss = losses.dinosr(predictions, own, counted)
        moved = losses.moved_codes(sums, counts, at_places(targets, places), own, counted, rate=rate)
        books = {'sums': moved[0].astype(sums.dtype), 'counts': moved[1].astype(counts.dtype)}
        at_place = frequencies(every, codes)
        guessed = jnp.mean(jax.nn.softmax(predictions), axis=(0, 1), where=counted[:, :, None, None])
        metrics = {
            'explained_share': explained(loss, entropy(at_place)),
            'target_perplexity': jnp.exp(entropy(jnp.mean(at_place, axis=0))),
            'prediction_perplexity': jnp.exp(entropy(guessed)),
        }
        return loss, ({**extra, 'codebooks': books}, metrics)

    return Method(
        init,
        embed,
        criterion,
        encode_with({'encoder': encoder}),
        follow(momentum),
        views=1,
        control='shuffled_targets',
    )

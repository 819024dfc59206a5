"""CAPI (Darcet et al. 2025, https://arxiv.org/abs/2502.08769): cluster and predict latent patches."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import losses
from ...augment import masking
from ...errors import UserError
from ...losses._common import HIGHEST, normalize
from ...signature import Count, Positive, ScheduledShare, StaticProperShare, Whole
from ..base import Method, encode_with, target_network, view_keys
from ..distillation.dino import last_layer, new_layer
from ..target import follow
from .distillation import entropy
from .patches import (
    MASKS,
    QUERIES,
    at_each_place,
    at_places,
    check_decoder,
    check_encoder,
    copied_encoder,
    drawn,
    explained,
    patch_grid,
    target_tokens,
)


def capi(
    encoder: nn.Module,
    predictor: nn.Module,
    *,
    prototypes: Count = 16384,
    ratio: StaticProperShare = 0.65,
    predict: StaticProperShare = 0.05,
    temperature: Positive = 0.12,
    target_temperature: Positive = 0.06,
    iterations: Whole = 3,
    momentum: ScheduledShare = 0.999,
) -> Method:
    """Some hidden patches, mask tokens that attend to the visible ones, predict the clusters of a target's patches.

    The clusters are a linear layer on the target network's normalised tokens, which learns its own balanced
    assignments; no gradient of theirs reaches a network. Order of a step: target on whole views; assignments, balanced
    at each place over the batch; both losses, whose parameters are disjoint; after the optimiser's step t the target
    follows with m(t).

    Args:
      encoder: a vision transformer, which sees one rectangle of patches. The authors' has rotary positions, no class
        token and 16 registers (`model.class_token=False`, `model.registers=16`, `model.pool='mean'`).
      predictor: a network of kind `cross`, whose patches do not see one another; its `out` is set here to the encoder's
        width. Authors: half the encoder's depth, its width.
      prototypes: clusters. Authors: 16384; with fewer examples in a batch than clusters the balance is not one.
      ratio: share of hidden patches (:func:`selfsup.augment.masking.torus_block`). Authors: 0.65.
      predict: share of the hidden patches, rounded down, that are predicted. Authors: 0.05, 6 of 127; a small grid
        wants more. Both decide shapes, so they are neither swept as values nor scheduled.
      temperature: τ of the predictions and of the clusters' own. Authors: 0.12.
      target_temperature, iterations: of :func:`selfsup.losses.capi_targets`. Authors: 0.06 and 3.
      momentum: m of the target, a value or a function of the step. Authors: from 1 to 0.999 in the warm-up, then back
        to 1 by a cosine.

    `encode` is the target network. Metrics: both losses; `explained_share`, 1 − loss / the loss of predicting the
    batch's mean assignment at each place; `target_entropy`, of the assignments, log(prototypes) at collapse; and
    `prototypes_used`, different most likely clusters in a batch. The authors train the clusters with an optimiser of
    their own at half the rate: `optimizer.groups.prototypes`, which holds the student's prototypes too. State:
    parameters of the target encoder.

    Convention: the authors' norms are of root mean squares and have no parameters, and their predictor's output meets
    the prototypes without the linear layer that the kind `cross` ends in.

    Raises:
      UserError: an encoder without patch tokens, a predictor of another kind or whose patches see one another, patches
        that do not tile the view, a ratio that hides nothing or everything, or a share that predicts none.

    References:
      Darcet et al. 2025, https://arxiv.org/abs/2502.08769, sect. 3.
    """
    check_encoder('capi', encoder)
    check_decoder('capi', predictor, 'cross', section='predictor', has='self_attention')
    if predictor.self_attention:
        raise UserError('capi predicts patches apart from one another; set predictor.self_attention=False')
    sized = predictor.clone(out=encoder.dim)

    def masks(images: Array, keys: Array, own: Array) -> tuple[tuple[int, int], Array, Array]:
        """The grid, and the numbers of the visible and of the predicted patches."""
        grid = patch_grid(encoder, images)
        keep, hidden = drawn(f'method.ratio={ratio}', masking.torus_block, keys, grid, ratio)
        count = int((grid[0] * grid[1] - keep.shape[1]) * predict)
        if count < 1:
            raise UserError(
                f'method.predict={predict} predicts none of {hidden.shape[1] - keep.shape[1]} hidden patches'
            )
        return grid, keep, masking.chosen(own, hidden, count)

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        images = batch['views'][0][:2]
        first, second, third, fourth, fifth, sixth = (jax.random.fold_in(key, index) for index in range(6))
        keys = (jax.random.split(k, len(images)) for k in (third, fourth))
        grid, keep, places = masks(images, *keys)
        tokens, variables = encoder.init_with_output(first, images, method='tokens', keep=keep)
        params = {
            'encoder': variables['params'],
            'predictor': sized.init(second, tokens, keep, grid, places)['params'],
            'prototypes': {
                **new_layer(fifth, (prototypes, encoder.dim), learn_gain=True),
                'clusters': {
                    'kernel': jax.random.normal(sixth, (encoder.dim, prototypes)),
                    'bias': jnp.zeros(prototypes),
                },
            },
        }
        return params, {'batch_stats': {'encoder': {}}, 'target': copied_encoder(params)}

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        images = batch['views'][0]
        grid, keep, places = masks(images, view_keys(batch, MASKS)(0), view_keys(batch, QUERIES)(0))
        seen = {'keep': keep, 'train': True, 'keys': view_keys(batch)(0)}
        tokens = encoder.apply({'params': params['encoder']}, images, method='tokens', **seen)
        features = (encoder.pooled(tokens),)
        outputs = {
            'features': features,
            'embeddings': features,
            'predictions': sized.apply({'params': params['predictor']}, tokens, keep, grid, places, train=True),
            'targets': target_tokens(encoder, extra, images),
            'places': places,
        }
        return outputs, extra

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        rows, places = params['prototypes'], outputs['places']
        units = normalize(outputs['targets'])
        kernel, bias = (rows['clusters'][name].astype(units.dtype) for name in ('kernel', 'bias'))
        scores = jnp.matmul(units, kernel, precision=HIGHEST) + bias[None, None]
        targets = losses.capi_targets(scores, temperature=target_temperature, iterations=iterations)
        clustering = losses.capi(scores, targets, temperature=temperature)
        wanted = at_places(targets, places)
        loss = losses.capi(last_layer(rows, outputs['predictions']), wanted, temperature=temperature)
        mean = at_places(at_each_place(targets), places)
        baseline = -jnp.mean(jnp.sum(wanted * jnp.log(jnp.maximum(mean, 1e-30)), axis=-1))
        used = jnp.zeros(scores.shape[2], scores.dtype).at[jnp.argmax(targets, axis=-1)].set(1.0)
        metrics = {
            'prediction_loss': loss,
            'clustering_loss': clustering,
            'explained_share': explained(loss, baseline),
            'target_entropy': entropy(targets),
            'prototypes_used': jnp.sum(used),
        }
        return loss + clustering, (extra, jax.lax.stop_gradient(metrics))

    return Method(
        init,
        embed,
        criterion,
        encode_with({'encoder': encoder}),
        follow(momentum),
        target_network,
        views=1,
        control='shuffled_targets',
    )

"""Relational reasoning (Patacchiola and Storkey 2020, https://arxiv.org/abs/2006.05849): are two views of one image?"""

import itertools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import losses
from ...errors import UserError
from ...signature import NonNegative, Share
from ..base import Method, backbone, forward, pairs


def related(views: tuple[Array, ...]) -> tuple[Array, Array]:
    """The pairs of a step side by side, `[pairs, 2·features]`, and whether both are of one image, `[pairs]`.

    Each pair of views (a < b) gives every image with itself, and every image with the one that stands so many places
    before it; the shift starts at 1, grows with each pair of views, and starts again before it comes to the batch.
    """
    size = len(views[0])
    found, answers, shift = [], [], 1
    for a, b in itertools.combinations(range(len(views)), 2):
        other = jnp.roll(views[b], shift, axis=0)
        found += [jnp.concatenate([views[a], x], axis=1) for x in (views[b], other)]
        answers += [jnp.ones(size), jnp.zeros(size)]
        shift = shift + 1 if shift + 1 < size else 1
    return jnp.concatenate(found), jnp.concatenate(answers)


def relational(encoder: nn.Module, predictor: nn.Module, *, gamma: NonNegative = 2.0, alpha: Share = 0.5) -> Method:
    """Self-supervised relational reasoning: a head tells pairs of views of one image from pairs of two images.

    All pairs of views take part, K(K − 1)/2 times the batch, and as many pairs of different images. The head sees both
    features side by side. It runs in the criterion, since its pairs join rows of the whole batch, and with batch-norm
    its statistics are those of all pairs.

    Args:
      encoder: flax module; views run through it as one batch.
      predictor: from two features side by side to one logit. Authors: `widths=(256, 1)` with batch-norm and a leaky
        ReLU, `activation='leaky_relu'`.
      gamma, alpha: of the focal loss. Authors: 2 and 0.5; the paper's binary cross-entropy is γ = 0, times α.

    Views: K of one augmentation. Authors: 32 with batches of 64. Metric: `pretext_accuracy`, of the batch before the
    update; chance is 0.5. State: none beside batch statistics.

    Raises:
      UserError: fewer than two views or images, or a predictor that does not end in one logit.

    References:
      Patacchiola and Storkey 2020, https://arxiv.org/abs/2006.05849, eq. 1 to 3; `methods/relationnet.py` of the
      authors.
    """
    base = backbone(encoder, fuse_views=True)

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, extra = base.init(key, batch)
        seen = base.encode(base.network(params, extra), batch['views'][0][:2])['features']
        variables = predictor.init(jax.random.fold_in(key, 98), jnp.concatenate([seen, seen], axis=1), train=False)
        stats = {**extra['batch_stats'], 'predictor': variables.get('batch_stats', {})}
        return {**params, 'predictor': variables['params']}, {**extra, 'batch_stats': stats}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        features = outputs['features']
        pairs(features)
        if len(features[0]) < 2:
            raise UserError('relational needs a batch of at least two images, of which it makes pairs')
        seen, answers = related(features)
        stats = extra['batch_stats']
        logits, moved = forward(predictor, params['predictor'], stats['predictor'], seen, train=True)
        if logits.shape[1] != 1:
            raise UserError(
                f'predictor.widths must end in 1, whether two views are of one image, not {logits.shape[1]}'
            )
        logits = logits[:, 0]
        value = losses.focal(logits, answers, gamma=gamma, alpha=alpha)
        right = jnp.mean((logits > 0) == (answers > 0.5))
        extra = {**extra, 'batch_stats': {**stats, 'predictor': moved}}
        return value, (extra, {'pretext_accuracy': right})

    return base._replace(init=init, criterion=criterion)

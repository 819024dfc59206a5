"""LoRot (Moon et al. 2022, https://arxiv.org/abs/2207.10023): which part was turned, beside any criterion."""

from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import losses
from ...errors import UserError
from ...signature import Domain, NonNegative
from ..regulariser import Regulariser, seen


def lorot(*, weight: NonNegative = 0.1, answers: Annotated[int, Domain(int, choices=(4, 16))] = 16) -> Regulariser:
    """LoRot: a linear layer on the features says which part of the view was turned, and how far; its cross-entropy.

    It stands beside any criterion, supervised (SupCon) or contrastive, on views with the operation `part_turn`
    (:func:`selfsup.augment.random_part_turn`), which the criterion sees too. The mean over those of the first two views
    that have it. Under a control the answers stay those of the images as they are shown.

    Args:
      weight: λ. Authors: 0.1 (imbalanced data), 0.5 (detection of other classes).
      answers: 16 for a quadrant (LoRot-E), 4 for a square at any place (LoRot-I).

    Metrics: `lorot`, and `lorot_accuracy`, of the batch before the update.

    References:
      Moon et al. 2022, https://arxiv.org/abs/2207.10023, section 3.
    """

    def init(key: Array, width: int, view: Array) -> dict[str, Array]:
        bound = width**-0.5  # torch's linear layer
        keys = jax.random.split(key)
        return {
            'kernel': jax.random.uniform(keys[0], (width, answers), minval=-bound, maxval=bound),
            'bias': jax.random.uniform(keys[1], (answers,), minval=-bound, maxval=bound),
        }

    def around(criterion: Callable) -> Callable:
        def regularised(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
            value, (extra, metrics) = criterion(params, outputs, extra, batch, key)
            views = zip(seen(outputs, 'features'), batch['view_params'], strict=False)
            asked = [(z, drawn['part_turn']['answer']) for z, drawn in views if 'part_turn' in drawn]
            if not asked:
                raise UserError('method.regularisers.lorot needs a view with the operation part_turn, and has none')
            if asked[0][1].shape[-1] != answers:
                raise UserError(
                    f'method.regularisers.lorot.answers={answers} must be {asked[0][1].shape[-1]}, those of part_turn'
                )
            head = params['lorot']
            logits = [
                jnp.matmul(z.astype(jnp.promote_types(z.dtype, jnp.float32)), head['kernel']) + head['bias'][None]
                for z, _ in asked
            ]
            own = sum(losses.cross_entropy(p, t) for p, (_, t) in zip(logits, asked, strict=True)) / len(asked)
            right = sum(
                jnp.mean(jnp.argmax(p, axis=1) == jnp.argmax(t, axis=1))
                for p, (_, t) in zip(logits, asked, strict=True)
            )
            metrics = {**metrics, 'lorot': own, 'lorot_accuracy': right / len(asked)}
            return value + weight * own, (extra, metrics)

        return regularised

    return Regulariser(around, init=init)

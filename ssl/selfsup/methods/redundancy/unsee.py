"""UNSEE (Çağatan 2024, https://arxiv.org/abs/2401.15316): non-contrastive losses against an EMA target's features."""

from typing import Annotated, Any

import flax.linen as nn
import jax
from jaxtyping import Array

from ... import losses
from ...errors import UserError
from ...signature import Domain, ScheduledShare
from ..base import Method, towards
from ..target import predicted_target

# What compares a projection with a target's features; the authors also have CorInfoMax.
OBJECTIVES = {'vicreg': losses.vicreg, 'barlow_twins': losses.barlow_twins}


def unsee(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    objective: Annotated[str, Domain(str, choices=tuple(OBJECTIVES))] = 'vicreg',
    momentum: ScheduledShare = 0.999,
    fuse_views: bool = False,
) -> Method:
    """UNSEE: the projection of each view against the features of the other from a moving average of the encoder.

    The target has no projector, so the projector ends in the width of the features. No gradient enters the target: its
    variance and covariance are constants of the loss.

    Args:
      encoder, projector: flax modules. Authors: four stacked blocks from d to 10·d and back.
      objective: 'vicreg' (25, 25, 1) or 'barlow_twins' (0.0051).
      momentum: m of the moving average, a value or a function of the step. Authors: 0.999.
      fuse_views: whether the two views share batch-norm statistics.

    State: parameters and batch statistics of the target encoder.

    References:
      Çağatan 2024, https://arxiv.org/abs/2401.15316, section 3.
    """

    def loss(predictions: tuple, targets: tuple) -> Any:
        return towards(OBJECTIVES[objective], predictions, targets)

    base = predicted_target(
        encoder,
        projector,
        None,
        loss,
        momentum=momentum,
        ahead=0,
        own_start=False,
        fuse_views=fuse_views,
        headless=True,
    )

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, extra = base.init(key, batch)
        seen = jax.eval_shape(base.encode, base.network(params, extra), batch['views'][0][:1])
        features, embeddings = (seen[name].shape[1] for name in ('features', 'embeddings'))
        if features != embeddings:
            raise UserError(f'projector.widths must end in {features}, the width of the features, not {embeddings}')
        return params, extra

    return base._replace(init=init)

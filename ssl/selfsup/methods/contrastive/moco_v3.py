"""MoCo v3 (Chen et al. 2021, https://arxiv.org/abs/2104.02057): a momentum encoder without a queue."""

from functools import partial

import flax.linen as nn
from jaxtyping import Array

from ... import losses
from ...signature import Positive, ScheduledShare
from ..base import Method, towards
from ..target import predicted_target


def moco_v3(
    encoder: nn.Module,
    projector: nn.Module,
    predictor: nn.Module | None,
    *,
    temperature: Positive = 1.0,
    momentum: ScheduledShare = 0.99,
    fuse_views: bool = False,
) -> Method:
    """MoCo v3: each view's prediction must pick the other view's momentum key out of the batch.

    The authors move the momentum network before its forward pass of step t; here `after` of step
    t − 1 does it with m(t), which is the same (at step 0 both networks are equal).

    Args:
      encoder, projector: flax modules. Paper, ResNet-50: 4096, 256 without biases, `last_norm='plain'`.
      predictor: flax module. Paper, ResNet-50: 4096, 256 without biases or last norm; ViT: with one.
      temperature: τ. Authors: 1.0 for ResNet-50, 0.2 for ViT.
      momentum: m of the moving average, a value or a function of the step. Authors: a cosine from
        0.99 to 1, from 0.996 at 1000 epochs.
      fuse_views: whether the two views share batch-norm statistics. Authors: no.

    State: parameters and batch statistics of the momentum encoder and projector.

    References:
      Chen et al. 2021, https://arxiv.org/abs/2104.02057, algorithm 1.
    """

    def loss(predictions: tuple, targets: tuple) -> Array:
        return towards(partial(losses.moco_v3, temperature=temperature), predictions, targets)

    return predicted_target(
        encoder,
        projector,
        predictor,
        loss,
        momentum=momentum,
        ahead=1,
        own_start=False,
        fuse_views=fuse_views,
    )

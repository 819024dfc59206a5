"""BYOL (Grill et al. 2020, https://arxiv.org/abs/2006.07733): predict the EMA target network's projection."""

import flax.linen as nn
from jaxtyping import Array

from ... import losses
from ...signature import ScheduledShare
from ..base import Method, towards
from ..target import predicted_target


def byol(
    encoder: nn.Module,
    projector: nn.Module,
    predictor: nn.Module | None,
    *,
    momentum: ScheduledShare = 0.996,
    fuse_views: bool = False,
) -> Method:
    """BYOL: each view's prediction must equal the target network's projection of the other view.

    The target has an initialisation of its own and batch statistics of its own, runs in training mode,
    gets no gradient, and moves after the optimiser's step t with m(t), as in the authors' code.

    Args:
      encoder, projector: flax modules. Paper: 4096 (batch-norm), 256, the last without bias.
      predictor: flax module like the projector. None is the paper's ablation (Table 5b), which collapses.
      momentum: m of the moving average, a value or a function of the step. Paper: a cosine from 0.996
        to 1 at 1000 epochs, from 0.99 at 300.
      fuse_views: whether the two views share batch-norm statistics. Authors: no.

    State: parameters and batch statistics of the target encoder and projector.

    References:
      Grill et al. 2020, https://arxiv.org/abs/2006.07733, section 3 and Table 5.
    """

    def loss(predictions: tuple, targets: tuple) -> Array:
        # Both directions of one pair are twice one direction.
        return towards(lambda p, z: losses.byol(p, p, z, z) / 2, predictions, targets)

    return predicted_target(
        encoder,
        projector,
        predictor,
        loss,
        momentum=momentum,
        ahead=0,
        own_start=True,
        fuse_views=fuse_views,
    )

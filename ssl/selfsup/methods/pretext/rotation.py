"""Rotation (Gidaris et al. 2018, https://arxiv.org/abs/1803.07728): by which multiple of 90 degrees was it turned?"""

import flax.linen as nn

from ..base import Method
from .parts import answered, one_part


def rotation(encoder: nn.Module, predictor: nn.Module) -> Method:
    """RotNet: each image is seen turned by 0, 90, 180 and 270 degrees, and the turn is predicted, four-way.

    All four copies of an image are in one batch, as in the authors' code, so the network sees four times
    `data.batch_size` images; `augment.views.only.turns.copies=1` shows one random turn of each instead. Objects that
    look alike in several directions, such as the digits 6 and 9, have no right answer.

    Args:
      encoder: any, of square images.
      predictor: from features to four logits. Authors: linear, `predictor.widths=(4,)`.

    The view's operation is `turns` (:func:`selfsup.augment.random_turns`). Metric: `pretext_accuracy`, of the batch
    before the update; chance is 0.25. The features in training are those of the upright copy. The control gives each
    image the turns of another. State: none beside batch statistics.

    Raises:
      UserError: a view without `turns`, or a predictor that does not end in four logits.

    References:
      Gidaris et al. 2018, https://arxiv.org/abs/1803.07728, eq. 2; Kolesnikov et al. 2019,
      https://arxiv.org/abs/1901.09005.
    """
    return answered(encoder, predictor, name='rotation', operation='turns', cut=one_part, together=0)

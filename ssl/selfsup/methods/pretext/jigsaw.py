"""Jigsaw (Noroozi and Favaro 2016, https://arxiv.org/abs/1603.09246): in which order do the tiles stand?"""

import flax.linen as nn

from ...signature import Count
from ..base import Method
from .parts import answered, cells


def jigsaw(
    encoder: nn.Module, predictor: nn.Module, *, grid: Count = 3, evaluation_grid: Count = 3, standardize: bool = True
) -> Method:
    """Jigsaw: the tiles of an image in one of a fixed set of orders; which one is predicted from all tiles.

    Each tile runs through the same encoder (the paper's context-free network), and the predictor sees the features of
    an image's tiles side by side, in the order shown. One order of each image in a step, as in the paper.

    Args:
      encoder: any, of tiles.
      predictor: from the features of all tiles to one logit for each order of the set. Paper: `widths=(4096, 1000)`.
      grid: tiles along a side, those of the view's operation.
      evaluation_grid: evaluated features are the mean over the cells of such a division of the image (Kolesnikov et
        al.: 3); 1 encodes the whole image, as the paper transfers its convolutions.
      standardize: each tile to mean 0 and deviation 1, so that shades and contrasts do not tell its place (authors).

    The view's operation is `jigsaw` (:func:`selfsup.augment.random_jigsaw`), which holds the set of orders and the gap.
    Metric: `pretext_accuracy`, of the batch before the update; chance is one over the orders. Features in training are
    the mean over tiles. The control gives each image the order of another. State: none beside batch statistics.

    Raises:
      UserError: a view without `jigsaw`, another number of tiles, or a predictor without one logit for each order.

    References:
      Noroozi and Favaro 2016, https://arxiv.org/abs/1603.09246, section 4; Kolesnikov et al. 2019,
      https://arxiv.org/abs/1901.09005, which shows eight orders of each image at once.
    """
    return answered(
        encoder,
        predictor,
        name='jigsaw',
        operation='jigsaw',
        cut=cells(evaluation_grid),
        together=grid * grid,
        standardize=standardize,
    )

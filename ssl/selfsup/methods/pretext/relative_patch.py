"""Relative patch (Doersch et al. 2015, https://arxiv.org/abs/1505.05192): where does one patch stand beside another?"""

import flax.linen as nn

from ...signature import Count
from ..base import Method
from .parts import answered, cells


def relative_patch(
    encoder: nn.Module, predictor: nn.Module, *, evaluation_grid: Count = 3, standardize: bool = True
) -> Method:
    """Context prediction: a patch and one of its eight neighbours; which of the eight is predicted.

    Both patches run through the same encoder, and the predictor sees their features side by side, the middle patch
    first. One pair of each image in a step, as in the paper.

    Args:
      encoder: any, of patches.
      predictor: from the features of both patches to eight logits. Paper: `widths=(4096, 4096, 8)`.
      evaluation_grid: evaluated features are the mean over the cells of such a division of the image (Kolesnikov et
        al.: 3); 1 encodes the whole image.
      standardize: each patch to mean 0 and deviation 1 (Kolesnikov et al.).

    The view's operation is `patch_pair` (:func:`selfsup.augment.random_patch_pair`), which holds the gap and the
    jitter. The paper also drops two of three colours, since chromatic aberration tells where a patch was; the recipe
    makes two of three images grey, as Kolesnikov et al. do. Metric: `pretext_accuracy`, of the batch before the update;
    chance is 0.125. Features in training are the mean of the two patches. The control gives each pair the answer of
    another. State: none beside batch statistics.

    Raises:
      UserError: a view without `patch_pair`, or a predictor that does not end in eight logits.

    References:
      Doersch et al. 2015, https://arxiv.org/abs/1505.05192, section 3; Kolesnikov et al. 2019,
      https://arxiv.org/abs/1901.09005, which takes all eight pairs of each image at once.
    """
    return answered(
        encoder,
        predictor,
        name='relative_patch',
        operation='patch_pair',
        cut=cells(evaluation_grid),
        together=2,
        standardize=standardize,
    )

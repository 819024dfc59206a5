"""CARE (Gupta et al. 2023, https://arxiv.org/abs/2306.13924): transformations act on embeddings as rotations."""

from typing import Any

import flax.linen as nn

from ... import losses
from ...errors import UserError
from ...signature import NonNegative, Positive
from ..base import Method, mean_cosine, pairs
from ..siamese import siamese


def care(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    temperature: Positive = 0.5,
    equivariance_weight: NonNegative = 0.03,
    fuse_views: bool = True,
) -> Method:
    """CARE: SimCLR between the first two views, and equal cosines before and after a shared change in the last two.

    A view with `shared=n` in its specification (`augment.views.NAME.shared`) draws one transformation for n neighbours
    in the batch; the last two views need it, and n must divide the batch. With two views they serve both terms.

    Args:
      encoder, projector: flax modules.
      temperature: τ of NT-Xent. Authors: 0.5 on CIFAR-10.
      equivariance_weight: λ of :func:`selfsup.losses.care`. Authors: 0.03 for 16 chunks of 256 (CIFAR-10), 0.001 for 4
        (CIFAR-100), 0.01 for 8 (STL-10).
      fuse_views: whether views of one resolution share batch-norm statistics.

    The authors draw a second batch for the equivariance; here it is of the same images. State: none beside batch
    statistics. Metrics: `equivariance` and `contrast`, unweighted.

    References:
      Gupta et al. 2023, https://arxiv.org/abs/2306.13924, eq. 3 and 4.
    """

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        views = outputs['embeddings']
        first, second = pairs(views)
        chunks = {drawn['shared'].shape[1] if 'shared' in drawn else 0 for drawn in batch['view_params'][-2:]}
        if len(chunks) > 1 or not (chunk := chunks.pop()):
            raise UserError('care needs one value of augment.views.<name>.shared in its last two views')
        contrast = losses.ntxent(first, second, temperature=temperature)
        equivariance = losses.care(*views[-2:], chunk=chunk)
        metrics = {'contrast': contrast, 'equivariance': equivariance, 'positive_cosine': mean_cosine(first, second)}
        return contrast + equivariance_weight * equivariance, (extra, metrics)

    return siamese(encoder, projector, criterion, fuse_views=fuse_views)

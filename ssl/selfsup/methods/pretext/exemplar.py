"""Exemplar (Dosovitskiy et al. 2014, https://arxiv.org/abs/1406.6909): views of one image are one class."""

from typing import Annotated, Any

import flax.linen as nn
import jax.numpy as jnp

from ... import losses
from ...signature import Domain, Positive
from ..base import Method, mean_cosine, pairs, unit
from ..siamese import of_embeddings, siamese

Normalized = Annotated[str, Domain(str, choices=('rows', 'columns'))]


def exemplar(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    margin: Positive = 0.5,
    normalized: Normalized = 'rows',
    fuse_views: bool = True,
) -> Method:
    """Exemplar as Kolesnikov et al. train it: a triplet loss between views, the image being the class.

    The 2014 paper has a classifier with one class an image, which :func:`selfsup.methods.diet` is; with the triplet
    loss there is no head that grows with the data. Every view of the augmentation takes part; the authors draw eight.

    Args:
      encoder, projector: flax modules. Authors' projector: one linear layer, `widths=(1000,)`.
      margin: m. Authors: 0.5.
      normalized: embeddings before the loss. 'rows' scales each to unit length, as the triplet loss asks; the authors'
        code normalises `axis=0`, each column over the batch, which 'columns' repeats.
      fuse_views: whether views of one resolution share batch-norm statistics, as in the authors' code.

    Metrics: `positive_cosine` of the first two views. State: none beside batch statistics.

    References:
      Dosovitskiy et al. 2014, https://arxiv.org/abs/1406.6909; Kolesnikov et al. 2019,
      https://arxiv.org/abs/1901.09005, section 3.1, and their `exemplar.py`.
    """

    def loss(embeddings: tuple) -> tuple[Any, dict[str, Any]]:
        metrics = {'positive_cosine': mean_cosine(*pairs(embeddings))}
        if normalized == 'rows':
            scaled = [unit(z) for z in embeddings]
        else:
            scaled = jnp.split(unit(jnp.concatenate(embeddings).T).T, len(embeddings))
        return losses.triplet_semihard(*scaled, margin=margin), metrics

    return siamese(encoder, projector, of_embeddings(loss), fuse_views=fuse_views)

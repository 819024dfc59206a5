"""INTL (Weng et al. 2024, https://arxiv.org/abs/2305.16789): iterative normalisation with trace loss."""

from typing import Annotated, Any

import flax.linen as nn
from jaxtyping import Array

from ... import losses
from ...signature import Domain, OptionalNonNegative, ScheduledShare
from ..base import Method, pairs
from ..siamese import of_embeddings, siamese
from ..target import predicted_target

Axis = Annotated[int, Domain(int, choices=(0, 1))]
Iterations = Annotated[int, Domain(int, least=0, most=100)]


def _weighted(terms: dict[str, Array], view: Array, axis: int, trace_weight: Any) -> Array:
    weight = (
        losses.intl_weight(batch=view.shape[0], dim=view.shape[1], axis=axis) if trace_weight is None else trace_weight
    )
    return terms['invariance'] + weight * terms['trace']


def intl(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    axis: Axis = 0,
    iterations: Iterations = 4,
    trace_weight: OptionalNonNegative = None,
    fuse_views: bool = False,
) -> Method:
    """INTL: views whitened by Newton's iteration agree, and the iteration's eigenvalues are drawn to 1.

    Any number of views, of which all are compared with the first; see :func:`selfsup.losses.intl`.

    Args:
      encoder, projector: flax modules. Authors: 2048-2048-2048 (CIFAR, R18), 8192 each (ImageNet), no hidden biases.
      axis: what is whitened: 0, the examples of the batch (authors); 1, the dimensions.
      iterations: Newton steps. Authors: 4.
      trace_weight: β; None is 0.01·(log₂ n − 3), n the batch (axis 0) or the width (axis 1), as of the authors.
      fuse_views: whether views of one resolution share batch-norm statistics. Authors: no.

    State: none beside batch statistics.
    """

    def loss(embeddings: tuple) -> tuple:
        pairs(embeddings)
        terms = losses.intl_terms(*embeddings, iterations=iterations, axis=axis)
        return _weighted(terms, embeddings[0], axis, trace_weight), terms

    return siamese(encoder, projector, of_embeddings(loss), fuse_views=fuse_views)


def intl_m(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    axis: Axis = 0,
    iterations: Iterations = 4,
    trace_weight: OptionalNonNegative = None,
    momentum: ScheduledShare = 0.996,
    fuse_views: bool = False,
) -> Method:
    """INTL with an EMA target network, which gives the first view; the others predict it, in this direction alone.

    The target moves before its forward pass of step t; here `after` of step t − 1 does it with m(t), which is the
    same (at step 0 both networks are equal). Neither network sees the other's views, so that two views cost two passes.

    Args:
      encoder, projector, axis, iterations, trace_weight, fuse_views: as in :func:`intl`; the trace loss is of the
        trained network's views alone.
      momentum: m of the moving average, a value or a function of the step. Authors: a cosine to 1 from 0.996
        (ImageNet), from 0.999 (CIFAR).

    State: parameters and batch statistics of the target encoder and projector.
    """

    def loss(embeddings: tuple, targets: tuple) -> Array:
        terms = losses.intl_terms(*targets, *embeddings, iterations=iterations, axis=axis, target=True)
        return _weighted(terms, targets[0], axis, trace_weight)

    return predicted_target(
        encoder,
        projector,
        None,
        loss,
        momentum=momentum,
        ahead=1,
        own_start=False,
        fuse_views=fuse_views,
        split_views=True,
    )

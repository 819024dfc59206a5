"""Methods without any state but batch statistics: every view through the same networks, then a criterion."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
from jaxtyping import Array

from .base import Method, encode_with, heads, init_modules, network_outputs, view_keys


def of_embeddings(loss: Callable[..., tuple]) -> Callable:
    """The criterion of a loss `(embeddings) -> (scalar, metrics)`, a tuple of `[batch, dim]`, one a view.

    With a predictor the loss takes `(embeddings, predictions)`, two such tuples.
    """

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        seen = [outputs[label] for label in ('embeddings', 'predictions') if label in outputs]
        value, metrics = loss(*seen)
        return value, (extra, metrics)

    return criterion


def siamese(
    encoder: nn.Module,
    projector: nn.Module,
    criterion: Callable,
    *,
    predictor: nn.Module | None = None,
    fuse_views: bool = False,
) -> Method:
    """Views -> encoder -> projector (-> predictor) -> criterion.

    Args:
      encoder, projector: flax modules.
      criterion: as in :class:`Method`; :func:`of_embeddings` makes one of a loss.
      predictor: flax module after the projector.
      fuse_views: whether views of one resolution share batch-norm statistics.
    """
    modules = heads(encoder, projector, predictor)

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, stats = init_modules(key, modules, batch['views'][0])
        return params, {'batch_stats': stats}

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        outputs, stats = network_outputs(
            modules, params, extra['batch_stats'], batch['views'], train=True, fuse=fuse_views, keys=view_keys(batch)
        )
        return outputs, {**extra, 'batch_stats': stats}

    return Method(init, embed, criterion, encode_with(modules))

"""DIET (Balestriero 2023, https://arxiv.org/abs/2302.10260): classify every example as itself."""

from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array

from ... import losses
from ...signature import ProperShare
from ..base import Method, backbone
from ..memory import check_size, padded


def diet(encoder: nn.Module, *, data_size: int, smoothing: ProperShare = 0.8) -> Method:
    """DIET: a linear classifier on the encoder's features, one class an example, labels smoothed. No projector.

    The head is a parameter, `params['per_example']`, so its optimiser's moments have one row an example too and are
    spread over the devices with it; `optimizer.groups.per_example` gives it a rate and a decay of its own (authors:
    the encoder's). The mean over views, if there are several.

    The control draws each image's class from another image.

    Args:
      encoder: flax module.
      data_size: examples in the data set; `batch['index']` runs below it.
      smoothing: ε of the labels. Authors: 0.8 in their launch scripts.

    State: none beside batch statistics; parameters `kernel` `[data_size, features]` and `bias` `[data_size]` of the
    head, rows padded to a multiple of 256, of which those that are no example get no gradient.

    References:
      Balestriero 2023, https://arxiv.org/abs/2302.10260; Ibrahim et al. 2024, https://arxiv.org/abs/2406.10743.
    """
    check_size('diet', data_size)
    base, rows = backbone(encoder), padded(data_size)

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, extra = base.init(key, batch)
        seen = base.encode(base.network(params, extra), batch['views'][0][:1])['features']
        bound = seen.shape[1] ** -0.5  # torch's linear layer
        keys = jax.random.split(jax.random.fold_in(key, 99))
        head = {
            'kernel': jax.random.uniform(keys[0], (rows, seen.shape[1]), minval=-bound, maxval=bound),
            'bias': jax.random.uniform(keys[1], (rows,), minval=-bound, maxval=bound),
        }
        return {**params, 'per_example': head}, extra

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        head, index, views = params['per_example'], batch['index'], outputs['embeddings']
        values = [
            losses.diet(f, head['kernel'], head['bias'], index, smoothing=smoothing, count=data_size) for f in views
        ]
        return sum(values) / len(values), (extra, {})

    return base._replace(init=init, criterion=criterion, views=1)

"""InstDisc (Wu et al. 2018, https://arxiv.org/abs/1805.01978): every image a class, told apart by a memory."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import losses
from ...signature import NonNegative, Positive, Share, Whole
from ..base import Method, mean_cosine, unit
from ..memory import begun_with, check_size, moved, no_normalizer, padded, settled, uniform_rows
from ..siamese import siamese


def instdisc(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    data_size: int,
    temperature: Positive = 0.07,
    negatives: Whole = 4096,
    momentum: Share = 0.5,
    proximal: NonNegative = 0.0,
    fuse_views: bool = False,
) -> Method:
    """InstDisc: an image's view must be recognised, among all examples, by the memory of its earlier embeddings.

    Order of a step, as in the authors' code: embedding; the loss against the memory as it was; then the batch's rows
    move. The mean over views, if there are several; the memory follows the first.

    The control draws each image's place in the memory from another image.

    Args:
      encoder, projector: flax modules. Paper's projector: one linear layer (128,).
      data_size: examples in the data set; `batch['index']` runs below it.
      temperature: τ. Authors: 0.07 on ImageNet, 0.1 on CIFAR.
      negatives: K of :func:`selfsup.losses.instance_nce`, drawn anew at each step; 0 is the softmax over all examples.
        Authors: 4096 on ImageNet, 0 on CIFAR.
      momentum: m of the memory. Authors: 0.5.
      proximal: λ of the proximal term λ·‖v_i − M_i‖² (paper, eq. 10: 30). Authors' code has none, and averages with m.
      fuse_views: whether views of one resolution share batch-norm statistics.

    State: memory `[data_size, dim]`, rows padded to a multiple of 256; and the normaliser log Z, estimated from the
    first batch and kept.

    References:
      Wu et al. 2018, https://arxiv.org/abs/1805.01978, section 3.
    """
    check_size('instdisc', data_size)

    def start(key: Array, dim: int) -> dict[str, Array]:
        return {'memory': uniform_rows(key, padded(data_size), dim)}

    def init(key: Array, batch: dict) -> tuple[Any, dict]:
        params, extra = begun_with(base, start)(key, batch)
        return params, {**extra, 'normalizer': no_normalizer()}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Array) -> tuple:
        views, index, memory = outputs['embeddings'], batch['index'], extra['per_example']['memory']
        known = {'temperature': temperature, 'count': data_size}
        normalizer = extra['normalizer']
        if negatives:
            drawn = jax.random.randint(key, (len(views), len(index), negatives), 0, data_size, jnp.int32)
            estimate = losses.instance_normalizer(views[0], memory, index, drawn[0], **known)
            normalizer = settled(normalizer, estimate)
            terms = [
                losses.instance_nce(z, memory, index, rows, log_normalizer=normalizer['log'], **known)
                for z, rows in zip(views, drawn, strict=True)
            ]
        else:
            terms = [losses.instance_softmax(z, memory, index, **known) for z in views]
        value = sum(terms) / len(views)
        own = memory[index]
        distances = [jnp.mean(jnp.sum((unit(z) - own) ** 2, axis=1)) for z in views]
        value += proximal * sum(distances) / len(views)
        new = moved(memory, index, views[0], momentum)
        metrics = {'positive_cosine': mean_cosine(views[0], own)}
        return value, ({**extra, 'normalizer': normalizer, 'per_example': {'memory': new}}, metrics)

    base = siamese(encoder, projector, criterion, fuse_views=fuse_views)
    return base._replace(init=init, views=1)

"""DINO (Caron et al. 2021, https://arxiv.org/abs/2104.14294): self-distillation with no labels."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import losses
from ...losses._common import normalize
from ...signature import Count, Positive, ScheduledShare, Share, Whole
from ..base import (
    Method,
    embedding_width,
    encode_with,
    heads,
    init_modules,
    mean_cosine,
    network_outputs,
    pairs,
    target_network,
    view_keys,
)
from ..target import copied, follow


def last_layer(weights: dict[str, Array], z: Array) -> Array:
    """Scores of unit embeddings against weight-normalised prototypes, gain · v/‖v‖ (gain 1 unless learned)."""
    return unit_scores(weights, normalize(z.astype(jnp.promote_types(z.dtype, jnp.float32))))


def unit_scores(weights: dict[str, Array], units: Array) -> Array:
    """:func:`last_layer` of what is normalised already, or of a mean of such rows: it is linear in them."""
    scores = jnp.matmul(
        units, normalize(weights['direction']).T.astype(units.dtype), precision=jax.lax.Precision.HIGHEST
    )
    if 'gain' not in weights:
        return scores
    return scores * jnp.expand_dims(weights['gain'].astype(scores.dtype), tuple(range(scores.ndim - 1)))


def new_layer(key: Array, shape: tuple[int, int], *, learn_gain: bool) -> dict[str, Array]:
    """Parameters of :func:`last_layer`: random directions `[prototypes, dim]`, and gains of 1 if they are learned."""
    layer = {'direction': normalize(jax.random.normal(key, shape))}
    return {**layer, 'gain': jnp.ones(shape[0])} if learn_gain else layer


def warmed(step: Any, first: Any, last: Any, *, steps: int, hold: int) -> Any:
    """A temperature that rises linearly from `first` to `last` over `steps`, every `hold` of them; 0 steps: `last`."""
    if not steps:
        return last
    return first + jnp.minimum(step // hold * hold / steps, 1.0) * (last - first)


def dino(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    prototypes: Count = 65536,
    student_temperature: Positive = 0.1,
    teacher_temperature: Positive = 0.04,
    first_temperature: Positive = 0.04,
    warmup_steps: Whole = 0,
    warmup_hold: Count = 1,
    centre_momentum: Share = 0.9,
    teacher_views: Count = 2,
    learn_gain: bool = False,
    momentum: ScheduledShare = 0.996,
    fuse_views: bool = True,
) -> Method:
    """DINO: the student's every crop predicts the centred, sharpened output of the teacher for the other global crops.

    Order of a step: student on all crops and teacher on the global ones, those of one resolution
    together; loss with the centre as it was; then the centre takes in the teacher's scores of this
    batch; after the optimiser's step the teacher follows with m(t). The teacher runs in training mode
    with batch statistics of its own and without stochastic depth, and gets no gradient. `encode` is
    the teacher, which the paper evaluates. The authors hold the last layer still for the first epoch:
    `optimizer.groups.prototypes.freeze_steps`.

    Args:
      encoder, projector: flax modules; the projector ends in the bottleneck, whose output is normalised.
        Paper: 2048, 2048 with GELU and no batch-norm, 256.
      prototypes: outputs of the last layer. Paper: 65536.
      student_temperature, teacher_temperature: τs and τt. Paper: 0.1, 0.04.
      first_temperature, warmup_steps: τt starts at the first and reaches `teacher_temperature` linearly
        over so many steps; 0 keeps it constant. Paper: 0.04 to 0.07 over 30 epochs as an option.
      warmup_hold: the temperature moves every so many steps. Authors: at each of E epochs, the last of
        them at τt, which is `warmup_hold` = an epoch's steps and `warmup_steps` = (E − 1) · that.
      centre_momentum: share of the old centre. Paper: 0.9.
      teacher_views: how many of the first views are global crops. Paper: 2.
      learn_gain: learn the length of the last layer's rows instead of fixing it at 1 (the authors'
        `norm_last_layer=False`).
      momentum: m of the teacher, a value or a function of the step. Paper: a cosine from 0.996 to 1.
      fuse_views: whether views of one resolution share batch-norm statistics. Authors: yes.

    State: teacher parameters and batch statistics, centre `[prototypes]`.
    """
    modules = heads(encoder, projector, None)
    still = encoder.clone(drop_path=0.0) if getattr(encoder, 'drop_path', 0.0) else encoder
    target_modules = heads(still, projector, None)

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, stats = init_modules(key, modules, batch['views'][0])
        shape = (prototypes, embedding_width(modules, params, stats, batch))
        params['prototypes'] = new_layer(jax.random.fold_in(key, 99), shape, learn_gain=learn_gain)
        target = copied(params, stats)
        target['params']['prototypes'] = jax.tree.map(jnp.copy, params['prototypes'])
        return params, {'batch_stats': stats, 'target': target, 'centre': jnp.zeros(prototypes)}

    def embed(params: Any, extra: Any, batch: dict, key: Array) -> tuple[dict, dict]:
        views, target = batch['views'], extra['target']
        run = {'train': True, 'fuse': fuse_views}
        outputs, stats = network_outputs(modules, params, extra['batch_stats'], views, keys=view_keys(batch, 0), **run)
        theirs, target_stats = network_outputs(
            target_modules, jax.lax.stop_gradient(target['params']), target['batch_stats'],
            pairs(views, count=teacher_views), keys=view_keys(batch, 1), **run,
        )  # fmt: skip
        outputs['targets'] = jax.lax.stop_gradient(theirs['embeddings'])
        return outputs, {**extra, 'batch_stats': stats, 'target': {**target, 'batch_stats': target_stats}}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        first, second = pairs(outputs['embeddings'])
        layer = jax.lax.stop_gradient(extra['target']['params']['prototypes'])
        student = tuple(last_layer(params['prototypes'], z) for z in outputs['embeddings'])
        teacher = tuple(last_layer(layer, z) for z in outputs['targets'])
        value = losses.dino(
            student,
            teacher,
            extra['centre'],
            student_temperature=student_temperature,
            teacher_temperature=warmed(
                batch['step'], first_temperature, teacher_temperature, steps=warmup_steps, hold=warmup_hold
            ),
        )
        centre = losses.dino_centre(extra['centre'], teacher, rate=centre_momentum).astype(extra['centre'].dtype)
        return value, ({**extra, 'centre': centre}, {'positive_cosine': mean_cosine(first, second)})

    return Method(init, embed, criterion, encode_with(target_modules), follow(momentum), network=target_network)

"""iBOT (Zhou et al. 2022, https://arxiv.org/abs/2111.07832): image BERT pre-training with an online tokenizer."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import losses
from ...signature import Count, NonNegative, Positive, ScheduledShare, Share, Whole
from ..base import Method, mean_cosine, pairs
from ..distillation.dino import unit_scores, warmed
from .distillation import (
    MaskKind,
    PatchHead,
    Ratios,
    draw_masks,
    entropy,
    masked_distillation,
    patch_layer,
    scores,
)


def ibot(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    prototypes: Count = 8192,
    patch_prototypes: Whole = 0,
    patch_head: PatchHead = 'shared',
    patch_weight: NonNegative = 1.0,
    student_temperature: Positive = 0.1,
    teacher_temperature: Positive = 0.07,
    patch_temperature: Positive = 0.07,
    first_temperature: Positive = 0.04,
    warmup_steps: Whole = 0,
    warmup_hold: Count = 1,
    centre_momentum: Share = 0.9,
    patch_centre_momentum: Share = 0.9,
    mask: MaskKind = 'block',
    mask_share: Share = 0.5,
    mask_ratio: Ratios = (0.1, 0.5),
    teacher_views: Count = 2,
    learn_gain: bool = False,
    momentum: ScheduledShare = 0.996,
    fuse_views: bool = True,
) -> Method:
    """iBOT: DINO's loss of class tokens, and the same of each hidden patch of the student against the teacher's.

    Order of a step: masks of the global crops from the examples' keys; student on all crops, the global ones with their
    hidden patches replaced by a learned token; teacher on whole global crops; loss with both centres as they were; then
    the centres take in the teacher's scores of class tokens and of all patches; after the optimiser's step the
    teacher follows with m(t). `encode` is the teacher. The authors hold the last layer still for the first epoch:
    `optimizer.groups.prototypes.freeze_steps`.

    Args:
      encoder: a vision transformer; its features are the class token with `model.pool='token'`.
      projector: the head up to the bottleneck, whose output is normalised; it serves class tokens and patches. Paper:
        2048, 2048 with GELU and no batch-norm, 256.
      prototypes, patch_prototypes: outputs of the last layer; 0 patch prototypes are as many. Paper: 8192.
      patch_head: 'shared' for one head; 'layer' for a last layer of its own for patches, as with the authors'
        `shared_head=False`; 'own' for a whole head. Paper: shared.
      patch_weight: λ₂, weight of the patches' loss. Paper: 1.
      student_temperature, teacher_temperature, patch_temperature: τs, and τt of class tokens and of patches. Paper:
        0.1, 0.07, 0.07.
      first_temperature, warmup_steps, warmup_hold: both τt rise from the first, as in DINO. Paper: 0.04, 30 epochs.
      centre_momentum, patch_centre_momentum: share of the old centres. Paper: 0.9.
      mask: 'block' for rectangles, 'random' for single patches.
      mask_share: probability that a global crop is masked. Paper: 0.5.
      mask_ratio: range of the share of patches that are hidden then; it bounds their number, so it is neither swept as
        a value nor scheduled. Paper: 0.1 to 0.5.
      teacher_views: how many of the first views are global crops. Paper: 2.
      learn_gain: learn the length of the last layer's rows (the authors' `norm_last_layer=False`, used for ViT-S).
      momentum: m of the teacher, a value or a function of the step. Paper: a cosine from 0.996 to 1.
      fuse_views: whether views of one resolution share batch-norm statistics.

    The metrics hold both losses and the mean entropies of the teacher's targets: log(prototypes) for all images and
    patches is one collapse, 0 the other. The control is `shuffled_targets`, another image's class tokens and patches;
    with pairs of views shuffled, patches would still be predicted from their own image.
    State: teacher parameters and batch statistics, centres `[prototypes]` and `[patch_prototypes]`.

    Raises:
      UserError: an encoder without patch tokens, patches that do not tile the views, ratios that hide nothing, or a
        grid too small for blocks.
    """

    def hide(keys: Array, grid: tuple[int, int]) -> Array:
        return draw_masks(keys, grid, kind=mask, share=mask_share, ratio=mask_ratio, least=0)

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        found = scores(params, outputs, extra)
        rise = {'steps': warmup_steps, 'hold': warmup_hold}
        sharp, patch_sharp = (
            warmed(batch['step'], first_temperature, last, **rise) for last in (teacher_temperature, patch_temperature)
        )
        taus = {'student_temperature': student_temperature}
        classes = losses.dino(found.student, found.teacher, extra['centre'], teacher_temperature=sharp, **taus)
        centre = extra['patch_centre']
        patches = losses.ibot_patches(
            found.student_patches, found.teacher_patches, found.hidden, centre, teacher_temperature=patch_sharp, **taus
        )
        layer = patch_layer(jax.lax.stop_gradient(extra['target']['params']['prototypes']))
        means = [unit_scores(layer, z) for z in outputs['targets']['mean']]
        moved = {
            'centre': losses.dino_centre(extra['centre'], found.teacher, rate=centre_momentum),
            'patch_centre': losses.dino_centre(centre, means, rate=patch_centre_momentum),
        }
        moved = {name: value.astype(extra[name].dtype) for name, value in moved.items()}
        shift = extra['centre'].astype(found.teacher[0].dtype)[None]
        first = jax.nn.softmax((found.teacher[0] - shift) / sharp)
        second = jax.nn.softmax((found.teacher_patches - centre.astype(shift.dtype)[None, None]) / patch_sharp)
        metrics = {
            'class_loss': classes,
            'patch_loss': patches,
            'class_entropy': entropy(first),
            'patch_entropy': entropy(second, found.hidden),
            'positive_cosine': mean_cosine(*pairs(outputs['embeddings'])),
        }
        return classes + patch_weight * patches, ({**extra, **moved}, jax.lax.stop_gradient(metrics))

    return masked_distillation(
        encoder, projector, criterion, name='ibot', prototypes=prototypes, patch_prototypes=patch_prototypes,
        patch_head=patch_head, learn_gain=learn_gain, mask=hide, ratio=mask_ratio, teacher_views=teacher_views,
        momentum=momentum, fuse_views=fuse_views, patch_mean=True,
        state={'centre': jnp.zeros(prototypes), 'patch_centre': jnp.zeros(patch_prototypes or prototypes)},
    )  # fmt: skip

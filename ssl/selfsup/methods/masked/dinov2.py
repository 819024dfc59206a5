"""DINOv2's recipe (Oquab et al. 2024, https://arxiv.org/abs/2304.07193): DINO and iBOT, balanced targets, KoLeo."""

from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array

from ... import losses
from ...errors import UserError
from ...signature import Count, NonNegative, Positive, ScheduledShare, Share, Whole
from ..base import Method, mean_cosine, pairs
from ..distillation.dino import warmed
from .distillation import MaskKind, PatchHead, Ratios, draw_masks, entropy, masked_distillation, scores


def dinov2(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    prototypes: Count = 65536,
    patch_prototypes: Whole = 0,
    patch_head: PatchHead = 'shared',
    patch_weight: NonNegative = 1.0,
    koleo_weight: NonNegative = 0.1,
    koleo_groups: Count = 1,
    student_temperature: Positive = 0.1,
    teacher_temperature: Positive = 0.07,
    first_temperature: Positive = 0.04,
    warmup_steps: Whole = 0,
    warmup_hold: Count = 1,
    iterations: Whole = 3,
    mask: MaskKind = 'block',
    mask_share: Share = 0.5,
    mask_ratio: Ratios = (0.1, 0.5),
    teacher_views: Count = 2,
    learn_gain: bool = True,
    momentum: ScheduledShare = 0.992,
    fuse_views: bool = True,
) -> Method:
    """DINOv2: class tokens and hidden patches predict the teacher's balanced assignments; class tokens spread out.

    The loss is that of pairs of class tokens, that of hidden patches, and `koleo_weight` times the sum over global
    crops of KoLeo on the student's features. Order of a step as in iBOT, without centres: targets are balanced by
    Sinkhorn over the batch's class tokens and over its hidden patches. `encode` is the teacher. The authors hold the
    last layer still for 1250 steps: `optimizer.groups.prototypes.freeze_steps`.

    Args:
      encoder: a vision transformer with the class token as feature; registers are `model.registers`, LayerScale is
        `model.layer_scale` (authors: 1e-5).
      projector: the head up to the bottleneck. Authors: 2048, 2048 with GELU and no batch-norm, 256 (long recipe 384).
      prototypes, patch_prototypes: outputs of the last layer; 0 patch prototypes are as many. Authors: 65536 (long
        recipe 131072); with fewer than a quarter as many class tokens a step, Sinkhorn says little.
      patch_head: 'shared' (short recipe), 'layer', or 'own' (long recipe).
      patch_weight, koleo_weight: authors: 1 and 0.1.
      koleo_groups: the neighbours of KoLeo are sought in so many parts of the batch. Authors: parts of 32 to 64.
      student_temperature, teacher_temperature, first_temperature, warmup_steps, warmup_hold: as in iBOT; authors: 0.1,
        0.07, 0.04, 30 epochs of 1250 steps.
      iterations: of Sinkhorn. Authors: 3.
      mask, mask_share, mask_ratio: as in iBOT; blocks have at least 4 patches. The authors mask exactly half of a
        batch's crops and draw the ratios from equal parts of the range, here each crop is drawn for itself.
      teacher_views, momentum, fuse_views: as in iBOT. Authors: 2, a cosine from 0.992 to 1.
      learn_gain: learn the length of the last layer's rows. Authors: yes.

    The control is `shuffled_targets`. State: teacher parameters and batch statistics.

    Raises:
      UserError: as iBOT; or groups that do not cut the batch into equal parts of at least two.
    """

    def hide(keys: Array, grid: tuple[int, int]) -> Array:
        return draw_masks(keys, grid, kind=mask, share=mask_share, ratio=mask_ratio, least=4)

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        found = scores(params, outputs, extra)
        sharp = warmed(batch['step'], first_temperature, teacher_temperature, steps=warmup_steps, hold=warmup_hold)
        fields = {'student_temperature': student_temperature, 'teacher_temperature': sharp, 'iterations': iterations}
        classes = losses.dinov2_class(found.student, found.teacher, **fields)
        patches = losses.dinov2_patches(found.student_patches, found.teacher_patches, found.hidden, **fields)
        features = outputs['features'][:teacher_views]
        rows = len(features[0])
        if rows % koleo_groups or rows // koleo_groups < 2:
            raise UserError(
                f'method.koleo_groups={koleo_groups} must cut the batch of {rows} into equal parts of at least 2'
            )
        spread = sum(losses.koleo(z, groups=koleo_groups) for z in features)
        metrics = {
            'class_loss': classes,
            'patch_loss': patches,
            'koleo': spread / len(features),
            'class_entropy': entropy(jax.nn.softmax(found.teacher[0] / sharp)),
            'patch_entropy': entropy(jax.nn.softmax(found.teacher_patches / sharp), found.hidden),
            'positive_cosine': mean_cosine(*pairs(outputs['embeddings'])),
        }
        return classes + patch_weight * patches + koleo_weight * spread, (extra, jax.lax.stop_gradient(metrics))

    return masked_distillation(
        encoder, projector, criterion, name='dinov2', prototypes=prototypes, patch_prototypes=patch_prototypes,
        patch_head=patch_head, learn_gain=learn_gain, mask=hide, ratio=mask_ratio, teacher_views=teacher_views,
        momentum=momentum, fuse_views=fuse_views, patch_mean=False, state={},
    )  # fmt: skip

"""Self-distillation of patches: each hidden patch predicts the teacher's output for it (iBOT, DINOv2)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from ._common import as_float, positive
from .transport import sinkhorn


def _checked(student: ArrayLike, teacher: ArrayLike, hidden: ArrayLike) -> tuple[Array, Array, Array]:
    student, teacher, hidden = as_float('student', student), as_float('teacher', teacher), jnp.asarray(hidden)
    if student.ndim != 3 or student.shape != teacher.shape:
        raise ValueError(
            'student and teacher must both have shape [batch, patches, count], and have '
            f'{list(student.shape)} and {list(teacher.shape)}'
        )
    if hidden.shape != student.shape[:2]:
        raise ValueError(f'hidden must have shape {list(student.shape[:2])}, not {list(hidden.shape)}')
    if hidden.dtype != jnp.bool_:
        raise TypeError(f'hidden must be a boolean array, not {hidden.dtype}')
    return student, teacher, hidden


def _mean_over_hidden(targets: Array, logits: Array, hidden: Array) -> Array:
    """Mean over images of the mean over hidden patches of −Σ_k t_k log softmax(l)_k; 0 for images without one."""
    logits = logits - jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    entropy = jnp.log(jnp.sum(jnp.exp(logits), axis=-1)) - jnp.sum(targets * logits, axis=-1)
    count = jnp.maximum(jnp.sum(hidden, axis=1), 1)
    return jnp.mean(jnp.sum(jnp.where(hidden, entropy, 0.0), axis=1) / count)


def ibot_patches(
    student: Float[ArrayLike, 'batch patches count'],
    teacher: Float[ArrayLike, 'batch patches count'],
    hidden: Bool[ArrayLike, 'batch patches'],
    centre: Float[ArrayLike, ' count'],
    *,
    student_temperature: ArrayLike = 0.1,
    teacher_temperature: ArrayLike = 0.07,
) -> Float[Array, '']:
    """Masked image modelling with an online tokenizer: mean_b Σ_i M_bi H(P_bi, softmax(s_bi / τs)) / max(Σ_i M_bi, 1).

    P = softmax((t − c) / τt) carries no gradient.

    Args:
      student: scores of patches that the student saw hidden or not; only those marked in `hidden` count.
      teacher: the teacher's scores of the same patches of the same view, which it sees whole.
      hidden: weights of the patches, as flags: False also for rows that fill up a fixed number of patches.
      centre: c, the running mean of the teacher's patch scores before this batch; :func:`dino_centre` moves it.
      student_temperature, teacher_temperature: τs and τt. Authors: 0.1, and 0.04 rising to 0.07.

    Returns:
      Mean cross-entropy in nats, ≥ 0, over all images: those without a hidden patch add 0 and count. At collapse to the
      uniform distribution it is log(count) times the share of images that have a hidden patch.

    Convention: as the authors' code, each image weighs alike, however many of its patches are hidden.

    Cost: O(batch·patches·count); state: the centre, kept by the caller.

    References:
      Zhou et al. 2022, https://arxiv.org/abs/2111.07832, eq. 2.
    """
    positive('student_temperature', student_temperature)
    positive('teacher_temperature', teacher_temperature)
    student, teacher, hidden = _checked(student, teacher, hidden)
    centre = jnp.asarray(centre)
    if centre.shape != student.shape[2:]:
        raise ValueError(f'centre must have shape {[student.shape[2]]}, not {list(centre.shape)}')
    targets = jax.nn.softmax((teacher - centre.astype(teacher.dtype)[None, None]) / teacher_temperature, axis=-1)
    return _mean_over_hidden(jax.lax.stop_gradient(targets), student / student_temperature, hidden)


def dinov2_patches(
    student: Float[ArrayLike, 'batch patches count'],
    teacher: Float[ArrayLike, 'batch patches count'],
    hidden: Bool[ArrayLike, 'batch patches'],
    *,
    student_temperature: ArrayLike = 0.1,
    teacher_temperature: ArrayLike = 0.07,
    iterations: int = 3,
) -> Float[Array, '']:
    """:func:`ibot_patches` with targets that :func:`sinkhorn` balances over all hidden patches of the batch.

    Args:
      student, teacher, hidden: as in :func:`ibot_patches`; patches that are not marked do not weigh in the balance.
      student_temperature, teacher_temperature: authors: 0.1, and 0.04 rising to 0.07.
      iterations: of Sinkhorn. Authors: 3.

    Returns:
      Mean cross-entropy in nats, as :func:`ibot_patches`. All targets are 1 / count where all scores are equal.

    Cost: O(iterations·batch·patches·count); no state. Every target depends on the whole batch.

    References:
      Oquab et al. 2024, https://arxiv.org/abs/2304.07193, sect. 4; Caron et al. 2020 for Sinkhorn.
    """
    positive('student_temperature', student_temperature)
    student, teacher, hidden = _checked(student, teacher, hidden)
    rows = teacher.reshape(-1, teacher.shape[2])
    # Without any hidden patch the sums would be of nothing; the loss is 0 then.
    valid = hidden.reshape(-1) | ~jnp.any(hidden)
    targets = sinkhorn(rows, epsilon=teacher_temperature, iterations=iterations, valid=valid)
    targets = jax.lax.stop_gradient(targets).reshape(teacher.shape)
    return _mean_over_hidden(targets, student / student_temperature, hidden)

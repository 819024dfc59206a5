"""Patch-kernel alignment: relations between the patches of an image as the teacher has them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from ._common import HIGHEST, as_float

# Under the root of a kernel's energy: an image of equal patches has none, and gets no gradient.
EPS = 1e-6


def _centred(z: Array, counted: Array) -> Array:
    """H Z Zᵀ H of the counted tokens of each image, zero elsewhere: of tokens less their mean."""
    number = jnp.maximum(jnp.sum(counted, axis=1), 1.0)[:, None, None]
    mean = jnp.sum(z * counted[:, :, None], axis=1, keepdims=True) / number
    z = (z - mean) * counted[:, :, None]
    return jnp.einsum('bnd,bmd->bnm', z, z, precision=HIGHEST)


def patch_kernel_alignment(
    student: Float[ArrayLike, 'batch tokens dim'],
    teacher: Float[ArrayLike, 'batch tokens dim'],
    *,
    counted: Bool[ArrayLike, 'batch tokens'] | None = None,
) -> Float[Array, '']:
    """1 − CKA of the linear kernels of an image's tokens, student against teacher, mean over images.

    CKA = ⟨H K_s H, H K_t H⟩ / (‖H K_s H‖·‖H K_t H‖), K = Z Zᵀ over the tokens of one image, H the centring.

    Args:
      student: tokens of the student.
      teacher: tokens of the teacher at the same places; no gradient passes.
      counted: which tokens count; an image with fewer than two is left out of the mean. None counts all.

    Returns:
      A scalar in [0, 1]: 0 where the kernels agree up to scale, 1 where a kernel is constant, as at collapse; 0 if no
      image counts.

    Convention: unchanged by rotations of either's features, and by their scale as long as ‖H K H‖² is above 1e-6, the
    least that is divided by.

    Cost: O(batch·tokens²·dim); no state.

    References:
      Patch-level kernel alignment 2025, https://arxiv.org/abs/2509.05606; in the form of lightly's
      `PatchKernelAlignmentLoss`.
    """
    student, teacher = as_float('student', student), jax.lax.stop_gradient(as_float('teacher', teacher))
    if student.ndim != 3 or student.shape != teacher.shape:
        raise ValueError(
            f'student and teacher must have one shape [batch, tokens, dim], not {list(student.shape)} and '
            f'{list(teacher.shape)}'
        )
    counted = jnp.ones(student.shape[:2], bool) if counted is None else jnp.asarray(counted)
    if counted.shape != student.shape[:2]:
        raise ValueError(f'counted must have shape {list(student.shape[:2])}, not {list(counted.shape)}')
    weights = counted.astype(student.dtype)
    ours, theirs = _centred(student, weights), _centred(teacher, weights)

    def energy(kernel: Array) -> Array:
        return jnp.sqrt(jnp.maximum(jnp.sum(kernel * kernel, axis=(1, 2)), EPS))

    cka = jnp.sum(ours * theirs, axis=(1, 2)) / (energy(ours) * energy(theirs))
    valid = jnp.sum(counted, axis=1) >= 2
    return jnp.sum(jnp.where(valid, 1.0 - cka, 0.0)) / jnp.maximum(jnp.sum(valid), 1)

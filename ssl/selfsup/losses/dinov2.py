"""DINOv2's loss of class tokens, with balanced targets, and the regulariser that spreads them (KoLeo)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import HIGHEST, matrix, normalize, positive
from .prototypes import _swapped
from .transport import sinkhorn

# Added to each coordinate of a difference and to the distance, as in the authors' code.
EPSILON = 1e-8


def dinov2_class(
    student: Sequence[Float[ArrayLike, 'batch count']],
    teacher: Sequence[Float[ArrayLike, 'batch count']],
    *,
    student_temperature: ArrayLike = 0.1,
    teacher_temperature: ArrayLike = 0.07,
    iterations: int = 3,
) -> Float[Array, '']:
    """DINO's cross-entropy with targets that :func:`sinkhorn` balances over the teacher's crops together.

    Args:
      student: scores of each crop, the teacher's crops first and in the same order.
      teacher: scores of the global crops by the EMA network.
      student_temperature, teacher_temperature: authors: 0.1, and 0.04 rising to 0.07.
      iterations: of Sinkhorn. Authors: 3.

    Returns:
      Mean cross-entropy in nats over pairs of different crops, ≥ 0; log(count) at collapse to one point.

    Convention: the mean over pairs is the authors' sum of global and local terms, 2/(2 + 2L) of the two global pairs
    and 1/(2 + 2L) of each local one, for L ≥ 1 local crops. Without local crops theirs is 2/3 of this.

    Cost: O(crops·batch·count + iterations·batch·count); no state. Every target depends on the whole batch.

    References:
      Oquab et al. 2024, https://arxiv.org/abs/2304.07193, sect. 4; Caron et al. 2021 for the pairs.
    """
    positive('student_temperature', student_temperature)
    student = [matrix(f'student[{number}]', s) for number, s in enumerate(student)]
    teacher = [matrix(f'teacher[{number}]', t) for number, t in enumerate(teacher)]
    if len(student) < 2 or not 1 <= len(teacher) <= len(student):
        raise ValueError(
            f'dinov2_class needs at least 2 student crops and at most as many of the teacher, '
            f'not {len(student)} and {len(teacher)}'
        )
    for name, x in [(f'student[{n}]', s) for n, s in enumerate(student)] + [('teacher', t) for t in teacher]:
        if x.shape != student[0].shape:
            raise ValueError(f'{name} must have the shape of student[0], {list(student[0].shape)}, not {list(x.shape)}')
    rows = jnp.stack(teacher, axis=1)  # an image's crops side by side, so that none changes its device
    balanced = sinkhorn(rows.reshape(-1, rows.shape[2]), epsilon=teacher_temperature, iterations=iterations)
    targets = list(jnp.moveaxis(jax.lax.stop_gradient(balanced).reshape(rows.shape), 1, 0))
    return _swapped(targets, [s / student_temperature for s in student])


def koleo(z: Float[ArrayLike, 'batch dim'], *, groups: int = 1) -> Float[Array, '']:
    """Kozachenko–Leonenko regulariser: −mean log(‖u_i − u_nearest(i) + 1e-8‖ + 1e-8) of unit rows u.

    It grows where a row has a close neighbour, and so spreads the batch over the sphere.

    Args:
      z: embeddings, normalised here; at least two rows a group.
      groups: neighbours are sought within so many equal parts of the batch, in order. The authors seek them within
        a device's 32 to 64 rows; a larger batch has nearer neighbours.

    Returns:
      A scalar, −log 2 at the least, up to 18.4 − log(dim)/2 if every row has a duplicate.

    Convention: which row is nearest carries no gradient, both ends of the pair do; rows that coincide exactly get none
    (the authors' is 1e8 there, along the vector of ones).

    Cost: O(batch²·dim / groups); no state.

    References:
      Sablayrolles et al. 2019, https://arxiv.org/abs/1806.03198, sect. 3.2; Oquab et al. 2024,
      https://arxiv.org/abs/2304.07193, sect. 4.
    """
    z = matrix('z', z, rows=2)
    if groups < 1 or len(z) % groups or len(z) // groups < 2:
        raise ValueError(f'groups must cut the {len(z)} rows of z into equal parts of at least 2, not {groups}')
    units = normalize(z, eps=EPSILON).reshape(groups, len(z) // groups, z.shape[1])
    cosines = jnp.einsum('gid,gjd->gij', units, units, precision=HIGHEST)
    cosines = jnp.where(jnp.eye(units.shape[1], dtype=bool)[None], -1.0, cosines)
    nearest = jnp.argmax(jax.lax.stop_gradient(cosines), axis=2)
    differences = units - jnp.take_along_axis(units, nearest[:, :, None], axis=1)
    same = jnp.all(differences == 0, axis=2, keepdims=True)
    differences = jnp.where(same, jax.lax.stop_gradient(differences), differences) + EPSILON
    return -jnp.mean(jnp.log(jnp.linalg.norm(differences, axis=2) + EPSILON))

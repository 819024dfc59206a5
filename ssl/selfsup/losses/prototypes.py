"""Losses that compare cluster assignments instead of embeddings: SwAV, DINO, DeepCluster v2."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from ._common import HIGHEST, as_float, matrix, normalize, positive, same_width, several
from .transport import sinkhorn


def _scores(z: Float[Array, 'rows dim'], prototypes: Float[Array, 'count dim']) -> Float[Array, 'rows count']:
    return jnp.matmul(z, prototypes.T, precision=HIGHEST)


def _swapped(targets: Sequence[Array], logits: Sequence[Array]) -> Float[Array, '']:
    """Mean over pairs (target i, view v ≠ i) of the mean over rows of −Σ_k target_k log softmax(logits)_k.

    Views in the order of the targets come first. A view's partners enter as their sum: one product a
    view instead of one a pair.
    """
    total = sum(targets)
    loss, pairs = 0.0, len(targets) * (len(logits) - 1)
    for number, view in enumerate(logits):
        partners = len(targets) - (number < len(targets))
        if not partners:
            continue
        wanted = total - targets[number] if number < len(targets) else total
        # Relative to the largest: targets that sum to 1 up to rounding would multiply the size of the logits.
        view = view - jax.lax.stop_gradient(jnp.max(view, axis=-1, keepdims=True))
        log_sum = jnp.log(jnp.sum(jnp.exp(view), axis=-1))
        loss += jnp.mean(partners * log_sum - jnp.sum(wanted * view, axis=-1))
    return loss / pairs


def swav(
    z1: Float[ArrayLike, 'batch dim'],
    z2: Float[ArrayLike, 'batch dim'],
    *more: Float[ArrayLike, 'batch dim'],
    prototypes: Float[ArrayLike, 'count dim'],
    queue: Float[ArrayLike, 'assign length dim'] | None = None,
    queue_valid: Bool[ArrayLike, ''] | bool = True,
    assign: int = 2,
    temperature: ArrayLike = 0.1,
    epsilon: ArrayLike = 0.05,
    iterations: int = 3,
) -> Float[Array, '']:
    """Swapped prediction: each view predicts the cluster assignments of the others (eq. 1 and 2).

    L = mean over i ≤ assign and v ≠ i of the mean over rows of −Σ_k q_ik log softmax(S_v / τ)_k, with
    scores S = n(z)·prototypes and codes q = :func:`sinkhorn` of S_i, which carry no gradient.

    Args:
      z1, z2, more: embeddings of the views (normalised here), those that are assigned first.
      prototypes: one a row, used as they are: the caller keeps their norms at 1.
      queue: earlier normalised embeddings of each assigned view, which join its rows in Sinkhorn.
      queue_valid: whether the queue is full enough to be used.
      assign: how many views are assigned (the global crops); all predict.
      temperature: τ > 0. Authors: 0.1. A negative one, which lightly takes, would reward the farthest
        prototypes and is refused.
      epsilon, iterations: of :func:`sinkhorn`.

    Returns:
      Mean cross-entropy in nats, ≥ 0. At collapse of the embeddings to one point codes are uniform and
      it is at least log(count), which it is when all prototypes score alike.

    Convention: a mean over pairs of views; prototypes get their gradient through the prediction only.
    Each view is assigned by itself; stable-pretraining's loss assigns two views and the queue together,
    and its method assigns local crops too (`assign` of all views, less the pairs of two local ones).

    Cost: O(views·batch·count·dim) and Sinkhorn for `assign` views; state: prototypes and queue, kept
    by the caller. Pairs cost nothing extra: codes are summed before they meet a prediction.

    References:
      Caron et al. 2020, https://arxiv.org/abs/2006.09882, eq. 1, 2 and 6.
    """
    positive('temperature', temperature)
    views = [normalize(z) for z in several(z1, z2, *more)]
    prototypes = matrix('prototypes', prototypes).astype(views[0].dtype)
    same_width('prototypes', prototypes, 'z1', views[0])
    if not 1 <= assign <= len(views):
        raise ValueError(f'assign must lie between 1 and the {len(views)} views, not {assign}')
    scores = [_scores(z, prototypes) for z in views]
    batch, codes = views[0].shape[0], []
    if queue is not None:
        queue = jnp.asarray(queue).astype(views[0].dtype)
        if queue.ndim != 3 or queue.shape[0] != assign:
            raise ValueError(f'queue must have shape [{assign}, length, dim], not {list(queue.shape)}')
        same_width('queue', queue, 'z1', views[0])
    for number, own in enumerate(scores[:assign]):
        rows, valid = own, None
        if queue is not None:
            rows = jnp.concatenate([_scores(queue[number], prototypes), own])
            old = jnp.broadcast_to(jnp.asarray(queue_valid), (queue.shape[1],))
            valid = jnp.concatenate([old, jnp.ones(batch, bool)])
        code = sinkhorn(jax.lax.stop_gradient(rows), epsilon=epsilon, iterations=iterations, valid=valid)
        codes.append(jax.lax.stop_gradient(code[-batch:]))
    return _swapped(codes, [s / temperature for s in scores])


def dino(
    student: Sequence[Float[ArrayLike, 'batch count']],
    teacher: Sequence[Float[ArrayLike, 'batch count']],
    centre: Float[ArrayLike, ' count'],
    *,
    student_temperature: ArrayLike = 0.1,
    teacher_temperature: ArrayLike = 0.04,
) -> Float[Array, '']:
    """Self-distillation: −Σ_k P_ik log softmax(s_v / τs)_k, mean over rows and pairs v ≠ i (eq. 1 to 3).

    P_i = softmax((t_i − c) / τt) carries no gradient.

    Args:
      student: scores of each crop, the teacher's crops first and in the same order.
      teacher: scores of the global crops by the momentum network.
      centre: c, the running mean of the teacher's scores *before* this batch; see :func:`dino_centre`.
      student_temperature, teacher_temperature: τs and τt. Authors: 0.1 and 0.04.

    Returns:
      Mean cross-entropy in nats, ≥ 0. Two collapses exist: to one dimension, where it is 0, and to
      the uniform distribution, log(count); centring alone leads to the second, sharpening to the first.

    Convention: a mean over pairs of crops; a crop does not predict itself.

    Cost: O(crops·batch·count): the targets of a crop are summed before they meet it. State: the centre.

    References:
      Caron et al. 2021, https://arxiv.org/abs/2104.14294, eq. 1 to 3 and algorithm 1.
    """
    positive('student_temperature', student_temperature)
    positive('teacher_temperature', teacher_temperature)
    student = [matrix(f'student[{number}]', s) for number, s in enumerate(student)]
    teacher = [matrix(f'teacher[{number}]', t) for number, t in enumerate(teacher)]
    centre = jnp.asarray(centre)
    if len(student) < 2 or not 1 <= len(teacher) <= len(student):
        raise ValueError(
            f'dino needs at least 2 student crops and at most as many of the teacher, '
            f'not {len(student)} and {len(teacher)}'
        )
    for name, x in [(f'student[{n}]', s) for n, s in enumerate(student)] + [('teacher', t) for t in teacher]:
        if x.shape != student[0].shape:
            raise ValueError(f'{name} must have the shape of student[0], {list(student[0].shape)}, not {list(x.shape)}')
    if centre.shape != student[0].shape[1:]:
        raise ValueError(f'centre must have shape {[student[0].shape[1]]} for student[0] of {list(student[0].shape)}, '
                         f'not {list(centre.shape)}')  # fmt: skip
    targets = [
        jax.lax.stop_gradient(jax.nn.softmax((t - centre.astype(t.dtype)[None]) / teacher_temperature, axis=-1))
        for t in teacher
    ]
    return _swapped(targets, [s / student_temperature for s in student])


def dino_centre(
    centre: Float[ArrayLike, ' count'], teacher: Sequence[Float[ArrayLike, 'batch count']], *, rate: ArrayLike = 0.9
) -> Float[Array, ' count']:
    """C ← m·c + (1 − m)·mean of the teacher's scores over crops and batch (eq. 4), for the next step's loss.

    Args:
      centre: c.
      teacher: scores of the global crops, as given to :func:`dino`.
      rate: m. Authors: 0.9.

    Returns:
      The new c, without gradient.

    References:
      Caron et al. 2021, https://arxiv.org/abs/2104.14294, eq. 4.
    """
    teacher = [matrix(f'teacher[{number}]', t) for number, t in enumerate(teacher)]
    mean = sum(jnp.mean(t, axis=0) for t in teacher) / len(teacher)
    return jax.lax.stop_gradient(rate * jnp.asarray(centre).astype(mean.dtype) + (1.0 - rate) * mean)


def deepcluster(
    z1: Float[ArrayLike, 'batch dim'],
    *more: Float[ArrayLike, 'batch dim'],
    prototypes: Float[ArrayLike, 'heads count dim'],
    assignments: Int[ArrayLike, 'batch heads'],
    temperature: ArrayLike = 0.1,
) -> Float[Array, '']:
    """Every view predicts its image's cluster: cross-entropy of n(z)·centroids / τ, mean over heads and views.

    Args:
      z1, more: embeddings of one or more views (normalised here).
      prototypes: the centroids of each clustering, unit rows; they get no gradient.
      assignments: each image's cluster in each clustering; −1 for none, which leaves the row out.
      temperature: τ. Authors: 0.1.

    Returns:
      Mean loss in nats over the rows that have a cluster, ≥ 0; log(count) where all centroids score
      alike, as after a collapse; 0 without any cluster.

    Convention: clusters come from the epoch before, so the loss has no positive pair within the batch.
    The mean is over all rows and heads that have a cluster; solo-learn takes each head's mean over its own
    rows first, which is the same where every row has a cluster in every head.

    Cost: O(heads·views·batch·count·dim); state: memory, centroids and assignments, kept by the caller.

    References:
      Caron et al. 2020, https://arxiv.org/abs/2006.09882, appendix (DeepCluster-v2).
    """
    positive('temperature', temperature)
    views = several(z1, *more) if more else (matrix('z1', z1),)
    prototypes, assignments = jax.lax.stop_gradient(jnp.asarray(prototypes)), jnp.asarray(assignments)
    if prototypes.ndim != 3 or assignments.shape != (views[0].shape[0], prototypes.shape[0]):
        raise ValueError(
            f'prototypes [heads, count, dim] and assignments [batch, heads] do not fit z1 of '
            f'{list(views[0].shape)}: their shapes are {list(prototypes.shape)} and {list(assignments.shape)}'
        )
    same_width('prototypes', prototypes, 'z1', views[0])
    total = 0.0
    for view in views:
        scores = jnp.einsum('bd,hkd->bhk', normalize(view), prototypes.astype(view.dtype), precision=HIGHEST)
        total += jnp.sum(_own_entropy(scores / temperature, assignments))
    return total / (len(views) * jnp.maximum(jnp.sum(assignments >= 0), 1))


def _own_entropy(logits: Array, assignments: Array) -> Array:
    """−log softmax of each row's and head's own cluster, `[batch, heads]`; 0 where it has none."""
    valid = assignments >= 0
    own = jnp.take_along_axis(logits, jnp.maximum(assignments, 0)[..., None], axis=-1)[..., 0]
    return jnp.where(valid, jax.nn.logsumexp(logits, axis=-1) - own, 0.0)


def cluster_cross_entropy(
    logits: Float[ArrayLike, 'batch heads count'],
    assignments: Int[ArrayLike, 'batch heads'],
    *,
    weights: Float[ArrayLike, 'batch heads'] | None = None,
) -> Float[Array, '']:
    """Cross-entropy of classifiers of clusters: mean over rows and heads of −log softmax(logits)_cluster.

    Args:
      logits: of each head, a learned classifier (DeepCluster, SeLa).
      assignments: each row's cluster in each head; −1 for none, which leaves the row out.
      weights: of each row and head, ≥ 0: inverse sizes of the clusters let all weigh the same, which in expectation
        is to sample them evenly (DeepCluster, section 3.3). None: 1.

    Returns:
      Σ w·loss / Σ w in nats, ≥ 0; log(count) where all clusters score alike, as after a collapse; 0 without a cluster.

    Cost: O(batch·heads·count); no state.

    References:
      Caron et al. 2018, https://arxiv.org/abs/1807.05520, eq. 1; Asano et al. 2020, https://arxiv.org/abs/1911.05371,
      eq. 2.
    """
    logits, assignments = as_float('logits', logits), jnp.asarray(assignments)
    if logits.ndim != 3 or assignments.shape != logits.shape[:2]:
        raise ValueError(
            f'logits [batch, heads, count] and assignments [batch, heads] do not fit: their shapes are '
            f'{list(logits.shape)} and {list(assignments.shape)}'
        )
    given = jnp.ones_like(logits[..., 0]) if weights is None else as_float('weights', weights).astype(logits.dtype)
    if given.shape != assignments.shape:
        raise ValueError(
            f'weights must have the shape of assignments, {list(assignments.shape)}, not {list(given.shape)}'
        )
    given = jnp.where(assignments >= 0, jax.lax.stop_gradient(given), 0.0)
    total = jnp.sum(given)
    return jnp.sum(given * _own_entropy(logits, assignments)) / jnp.where(total > 0, total, 1.0)

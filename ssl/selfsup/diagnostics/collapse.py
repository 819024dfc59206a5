"""Two collapses: the failure of the whole (without labels), and the geometry of classes (with them)."""

import functools
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from ._common import as_float, centre, class_labels, dot, frobenius_unit, matrix, pair, ratio, root, thin_svd
from .geometry import feature_deviation, relative_alignment
from .neighbours import pairwise_distances
from .spectrum import effective_rank

# Flag -> the number that it is raised by, and 1 where that must be at least its limit, -1 where at most.
FLAGS = {
    'shrunk': ('deviation', 1),
    'narrow': ('deviation_normalized', 1),
    'unaligned': ('relative_alignment', -1),
    'flat': ('rank', 1),
}


def collapse_alarm(
    z1: Float[ArrayLike, 'samples dim'],
    z2: Float[ArrayLike, 'samples dim'] | None = None,
    *,
    deviation: ArrayLike = 1e-3,
    deviation_normalized: ArrayLike = 0.1,
    relative_alignment_limit: ArrayLike = 0.9,
    rank: ArrayLike = 12.0,
) -> dict[str, Float[Array, ''] | Bool[Array, '']]:
    """Four numbers, each sensitive to a failure that the others miss, and whether any of them is past its limit.

    Args:
      z1, z2: embeddings of two views of held-out images, not normalised. Without `z2`, for methods of one view,
        there is no number of pairs: three numbers and three flags.
      deviation: least absolute mean standard deviation. Detects embeddings that shrink to a point,
        to which scale-free numbers are blind.
      deviation_normalized: least standard deviation of unit rows times √dim. Detects a cloud that is
        narrow as seen from the origin.
      relative_alignment_limit: most squared distance of pairs over that of shuffled pairs, 1 for unrelated
        pairs. Detects wrong positives and a missing invariance term, which raise the rank.
      rank: least effective rank of the centred rows of both views (singular values, ε = 0), capped at a
        quarter of what is possible, min(samples − 1, dim) / 4. Detects dimensional collapse.

    Returns:
      The numbers `deviation`, `deviation_normalized`, `relative_alignment`, `rank`; their limits as
      `…_limit`; the flags `shrunk`, `narrow`, `unaligned`, `flat`; and `collapsed`, true if any flag is
      (NaN raises its flag, and so do infinite numbers). Full collapse: 0, 0, 1, 1, all flags.
      Isotropic noise, unrelated pairs: its σ, 1, 1, about dim; `unaligned` alone. :func:`evidence` puts it in words.

    Cost: O(samples·dim²). A few hundred pairs, and four times the limit of the rank.

    References:
      Chen and He 2021, https://arxiv.org/abs/2011.10566 (deviation); Wang and Isola 2020,
      https://arxiv.org/abs/2005.10242 (distances of pairs); Jing et al. 2022,
      https://arxiv.org/abs/2110.09348 (dimensional collapse). The limits are ours.
    """
    views = (matrix('z1', z1, rows=2),) if z2 is None else pair(z1, z2, names=('z1', 'z2'), rows=2)
    possible = min(views[0].shape[0] - 1, views[0].shape[1])
    both = jnp.concatenate([centre(z) for z in views])
    numbers = {
        'deviation': sum(feature_deviation(z) for z in views) * (1.0 / len(views)),
        'deviation_normalized': sum(feature_deviation(z, normalized=True) for z in views) * (1.0 / len(views)),
        'relative_alignment': relative_alignment(*views) if z2 is not None else None,
        'rank': effective_rank(both),
    }
    limits = {
        'deviation': jnp.asarray(deviation, both.dtype),
        'deviation_normalized': jnp.asarray(deviation_normalized, both.dtype),
        'relative_alignment': jnp.asarray(relative_alignment_limit, both.dtype),
        'rank': jnp.minimum(jnp.asarray(rank, both.dtype), possible / 4),
    }
    numbers = {name: value for name, value in numbers.items() if value is not None}
    finite = jnp.isfinite(both).all()  # the rank of rows with a NaN is a finite number
    flags = {}
    for flag, (name, sign) in FLAGS.items():
        if name in numbers:
            # Written as "not inside" so that nan, which is neither above nor below, raises the flag.
            flags[flag] = ~((sign * numbers[name] >= sign * limits[name]) & finite)
    collapsed = functools.reduce(jnp.logical_or, flags.values())
    return numbers | {f'{name}_limit': limits[name] for name in numbers} | flags | {'collapsed': collapsed}


def evidence(alarm: Mapping[str, ArrayLike]) -> str:
    """One sentence that names what :func:`collapse_alarm` found, for logs and reports. On the host, not under jit."""
    value = {name: float(number) for name, number in alarm.items()}
    if not all(math.isfinite(value[name]) for name in ('deviation', 'deviation_normalized')):
        return 'Collapsed: the embeddings are not finite.'

    def show(name: str) -> str:
        number = value.get(name, math.nan)
        return f'{number:.3g}' if math.isfinite(number) else 'not finite'

    clauses = {
        'shrunk': f'the embeddings have shrunk to a standard deviation of {show("deviation")} '
        f'(at least {show("deviation_limit")} expected)',
        'narrow': f'they point in one direction, with a normalised deviation of {show("deviation_normalized")} '
        f'(at least {show("deviation_normalized_limit")} expected)',
        'unaligned': f'pairs are {show("relative_alignment")} times as far apart as shuffled pairs '
        f'(at most {show("relative_alignment_limit")} expected)',
        'flat': f'they fill only {show("rank")} dimensions (at least {show("rank_limit")} expected)',
    }
    found = [clause for name, clause in clauses.items() if value.get(name)]
    if not found:
        distance = f'pairs {show("relative_alignment")} times as far apart as shuffled pairs, '
        return (
            f'Not collapsed: standard deviation {show("deviation")}, normalised {show("deviation_normalized")}, '
            f'{distance if "relative_alignment" in value else ""}rank {show("rank")}.'
        )
    return f'Collapsed: {found[0] if len(found) == 1 else ", ".join(found[:-1]) + " and " + found[-1]}.'


def neural_collapse(
    z: Float[ArrayLike, 'samples dim'],
    labels: Int[ArrayLike, 'samples'],
    *,
    weights: Float[ArrayLike, 'dim classes'] | None = None,
    bias: Float[ArrayLike, 'classes'] | None = None,
    classes: int | None = None,
) -> dict[str, Float[Array, '']]:
    """NC1 to NC4: how near the classes are to points at the corners of a simplex. With labels.

    With μ_c the class means, μ their mean (every class counts alike), M the rows μ_c − μ,
    Σ_W = Σ_i (zᵢ − μ_c)(zᵢ − μ_c)ᵀ / samples and Σ_B = MᵀM / C:

    * `nc1` = tr(Σ_W Σ_B⁺) / C, the spread within classes in units of that between them. The
      pseudo-inverse drops singular values of M up to σ₁·max(C, dim)·machine ε; no ε else.
    * `nc2_norm`: coefficient of variation of ‖μ_c − μ‖ (ddof 0).
    * `nc2_angle`: mean over pairs of |cos(μ_c − μ, μ_c' − μ) + 1/(C − 1)|.
    * `nc3` = ‖Wᵀ/‖W‖_F − M/‖M‖_F‖²_F, in [0, 4]. With `weights` only.
    * `nc4`: share of rows where argmax(zW + b) is not the nearest class mean. With `weights` only.

    Args:
      z: penultimate features.
      labels: class of each row. Each class needs a row (checked where concrete; NaN under jit) and
        should have tens.
      weights, bias: of the linear classifier, `[dim, classes]` as in flax, and `[classes]`.
      classes: number of classes C ≥ 2; needed where `labels` is traced.

    Returns:
      Scalars, all 0 at perfect neural collapse. When everything is one point, nc1 is ∞ (the limit: no
      spread between classes), nc2_norm 0, nc2_angle 1/(C − 1), nc3 1. Isotropic noise without classes:
      nc1 about samples·(C − 1)/(C·dim) for dim ≫ C, as chance alone separates means, and the others
      nearly 0, so nc1 is to be read first.

    Cost: O(samples·dim·C + dim·C²).

    References:
      Papyan et al. 2020, https://arxiv.org/abs/2008.08186, section "Results".
    """
    z = matrix('z', z, rows=2)
    labels, classes = class_labels('labels', labels, z.shape[0], classes)
    if classes < 2:
        raise ValueError(f'neural collapse needs at least two classes, and labels have {classes}')
    counts = jax.ops.segment_sum(jnp.ones_like(z[:, 0]), labels, num_segments=classes)
    if not isinstance(counts, jax.core.Tracer) and not bool(jnp.all(counts > 0)):
        raise ValueError(f'class {int(jnp.argmin(counts))} of {classes} has no row of z')
    origin = jnp.mean(z, axis=0, keepdims=True)
    shifted = z - origin  # distances do not depend on the origin; their digits do
    means = jax.ops.segment_sum(shifted, labels, num_segments=classes) / counts[:, None]
    between = centre(means)
    within = shifted - means[labels]
    _, sigma, right = thin_svd(between)
    keep = sigma > sigma[0] * max(between.shape) * jnp.finfo(z.dtype).eps
    scaled = dot(within, right.T) * jnp.where(keep, 1.0 / jnp.where(keep, sigma, 1.0), 0.0)[None]
    norms = root(jnp.sum(between * between, axis=1))
    mean_norm = jnp.mean(norms)
    safe = jnp.where(norms > 0, norms, 1.0)
    unit_means = between / safe[:, None]
    off = ~jnp.eye(classes, dtype=bool)
    angles = jnp.abs(dot(unit_means, unit_means.T) + 1.0 / (classes - 1))
    out = {
        'nc1': jnp.where(sigma[0] > 0, jnp.mean(jnp.sum(scaled * scaled, axis=1)), jnp.inf),
        'nc2_norm': ratio(root(jnp.mean((norms - mean_norm) ** 2)), mean_norm, limit=0.0),
        'nc2_angle': jnp.sum(jnp.where(off, angles, 0.0)) / (float(classes) * (classes - 1)),
    }
    if weights is None:
        return out
    weights, between = pair(as_float('weights', weights).T, between, names=('weightsᵀ', 'class means'))
    bias = jnp.zeros(classes, weights.dtype) if bias is None else as_float('bias', bias)
    if bias.shape != (classes,):
        raise ValueError(f'bias must have shape [{classes}], one for each class, not {list(bias.shape)}')
    predicted = jnp.argmax(dot(z, weights.T) + bias[None], axis=1)
    closest = jnp.argmin(pairwise_distances(shifted, means, metric='squared'), axis=1)
    out['nc3'] = jnp.sum((frobenius_unit(weights) - frobenius_unit(between)) ** 2)
    out['nc4'] = jnp.mean(predicted != closest, dtype=z.dtype)
    return out

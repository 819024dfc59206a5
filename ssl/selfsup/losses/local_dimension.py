"""LDReg: the local intrinsic dimension of representations, as a regulariser."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import HIGHEST, matrix

ESTIMATORS = ('moments', 'likelihood')
FORMS = ('l1', 'l2')
LIKELIHOOD_FLOOR = 1e-4  # of the authors, inside the logarithm


def _neighbour_distances(z: Array, reference: Array, neighbours: int, *, own: bool) -> Array:
    """Distances of each row to its nearest rows of the reference, ascending, `[batch, neighbours]`.

    Rows nearer than the rounding of the products have distance 0 and get no gradient.
    """
    shift = jax.lax.stop_gradient(jnp.mean(reference, axis=0, keepdims=True))
    z, reference = z - shift, reference - shift
    # Ratios of distances are without scale, so squares need neither overflow nor vanish.
    largest = jax.lax.stop_gradient(jnp.maximum(jnp.max(jnp.abs(z)), jnp.max(jnp.abs(reference))))
    largest = jnp.where(largest > 0, largest, 1.0).astype(z.dtype)
    z, reference = z / largest, reference / largest
    norms = jnp.sum(z * z, axis=1, keepdims=True) + jnp.sum(reference * reference, axis=1)[None]
    squared = norms - 2.0 * jnp.matmul(z, reference.T, precision=HIGHEST)
    rounding = 8 * jnp.finfo(z.dtype).eps * jax.lax.stop_gradient(norms)
    apart = squared > rounding
    distances = jnp.where(apart, jnp.sqrt(jnp.where(apart, squared, 1.0)), 0.0)
    if own:  # a row is no neighbour of itself
        distances = jnp.where(jnp.eye(len(z), dtype=bool), jnp.inf, distances)
    return -jax.lax.top_k(-distances, neighbours)[0]


def local_dimension(
    z: Float[ArrayLike, 'batch dim'],
    reference: Float[ArrayLike, 'bank dim'] | None = None,
    *,
    neighbours: int = 64,
    estimator: str = 'moments',
) -> tuple[Float[Array, ' batch'], Array]:
    """The logarithm of each row's local intrinsic dimension (LID), differentiable in the rows, and where it is known.

    With r₁ ≤ … ≤ r_k the distances to the nearest rows of the reference: by moments, LID = m / (r_k − m), m the mean
    of r₁ … r_{k−1}; by maximum likelihood, LID = −k / Σ_{i<k} log(r_i / r_k + 1e-4).

    Args:
      z: the rows, at least `neighbours` + 1 unless there is a reference.
      reference: among which neighbours are sought; no gradient enters it. None: the rows themselves, each without
        itself, as of the authors, whose gradient reaches the query alone too.
      neighbours: k.
      estimator: 'moments' or 'likelihood'.

    Returns:
      `log LID` `[batch]` (0 where it is not known) and a mask: neither rows that coincide with all neighbours nor
      rows at one distance from all have a dimension.

    Cost: O(batch·bank·dim); no state.

    References:
      Huang et al. 2024, https://arxiv.org/abs/2401.10474, section 3; Amsaleg et al. 2018,
      https://doi.org/10.1007/s10618-018-0578-6, section 4.
    """
    z = matrix('z', z)
    own = reference is None
    bank = jax.lax.stop_gradient(z if own else matrix('reference', reference).astype(z.dtype))
    if estimator not in ESTIMATORS:
        raise ValueError(f'estimator must be one of {ESTIMATORS}, not {estimator!r}')
    if neighbours < 2:
        raise ValueError(f'neighbours must be at least 2, not {neighbours}')
    if len(bank) < neighbours + own:
        raise ValueError(
            f'neighbours={neighbours} needs at least {neighbours + own} rows, and '
            f'{"z" if own else "reference"} has shape {list(bank.shape)}'
        )
    r = _neighbour_distances(z, bank, neighbours, own=own)
    last = r[:, -1:]
    near = r[:, :-1] / jnp.where(last > 0, last, 1.0)
    if estimator == 'moments':
        mean = jnp.mean(near, axis=1)
        known = (mean > 0) & (mean < 1)
        mean = jnp.where(known, mean, 0.5)
        return jnp.where(known, jnp.log(mean) - jnp.log1p(-mean), 0.0), known
    total = -jnp.sum(jnp.log(near + LIKELIHOOD_FLOOR), axis=1)
    known = (last[:, 0] > 0) & (total > 0)
    return jnp.where(known, jnp.log(neighbours / jnp.where(known, total, neighbours)), 0.0), known


def ldreg(
    z: Float[ArrayLike, 'batch dim'],
    reference: Float[ArrayLike, 'bank dim'] | None = None,
    *,
    neighbours: int = 64,
    estimator: str = 'moments',
    form: str = 'l1',
) -> Float[Array, '']:
    """Local dimensionality regulariser: −mean |log LID| ('l1'), or −√(mean log² LID) ('l2').

    Less is better: it drives local dimensions away from 1, upwards where they are above it.

    Args:
      z: representations (features of the encoder) of all views, one below the other.
      reference, neighbours, estimator: of :func:`local_dimension`. Authors: 64 (the paper), 32 to 128 (configs).
      form: 'l1' or 'l2'.

    Returns:
      A scalar ≤ 0; minus the logarithm of the geometric mean of dimensions above 1 ('l1'). 0 at full collapse, where
      no dimension is known, and no gradient there.

    Convention: the authors' code has both forms with the root inside the mean, where they are one function; 'l2' here
    is that of the paper. Their BYOL adds the target's features to the reference and sums over two views, so that
    their weight 0.005 is 0.01 here.

    Cost: O(batch·bank·dim); no state.

    References:
      Huang et al. 2024, https://arxiv.org/abs/2401.10474, section 5.
    """
    if form not in FORMS:
        raise ValueError(f'form must be one of {FORMS}, not {form!r}')
    logarithms, _ = local_dimension(z, reference, neighbours=neighbours, estimator=estimator)
    if form == 'l1':
        return -jnp.mean(jnp.abs(logarithms))
    square = jnp.mean(logarithms**2)
    return -jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)

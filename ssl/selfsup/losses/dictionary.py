"""Losses of sparse autoencoders: reconstruction, also by prefixes of the dictionary and by dead units, and sparsity."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ._common import HIGHEST, matrix, pair


def reconstruction(
    inputs: Float[ArrayLike, 'batch dim'], reconstructions: Float[ArrayLike, 'batch dim']
) -> Float[Array, '']:
    """Squared error ‖x − x̂‖², summed over dims, mean over the batch.

    Args:
      inputs: x.
      reconstructions: x̂.

    Returns:
      A scalar from 0, in squared units of the inputs. Where the reconstruction is the mean of the inputs it is their
      variance, summed over dims: a dictionary that stays there has learned nothing.

    Convention: dims are summed, as in the papers and in dictionary_learning; other code averages over them, which makes
    the weights of sparsity `dim` times smaller.

    Cost: O(batch·dim); no state.

    References:
      Bricken et al. 2023, https://transformer-circuits.pub/2023/monosemantic-features.
    """
    inputs, reconstructions = pair(inputs, reconstructions, names=('inputs', 'reconstructions'))
    return jnp.mean(jnp.sum((inputs - reconstructions) ** 2, axis=1))


def nested_reconstruction(
    inputs: Float[ArrayLike, 'batch dim'],
    codes: Float[ArrayLike, 'batch units'],
    atoms: Float[ArrayLike, 'units dim'],
    centre: Float[ArrayLike, ' dim'],
    *,
    sizes: Sequence[int],
    empty: bool = True,
) -> Float[Array, '']:
    """Squared error of prefixes of a dictionary, ‖x − b − f₁..ₘ D₁..ₘ‖², mean over prefixes and batch (Matryoshka).

    Args:
      inputs: x.
      codes: f.
      atoms: D, one a row.
      centre: b.
      sizes: how many units each prefix adds; they sum to the units.
      empty: whether the empty prefix, b alone, counts as one more, as in the authors' code.

    Returns:
      A scalar from 0, in squared units of the inputs; one group without the empty prefix is :func:`reconstruction`.

    Cost: O(batch·units·dim), the same as of one reconstruction; no state.

    References:
      Bussmann et al. 2025, https://arxiv.org/abs/2503.17547, eq. 5; the authors' code averages over the prefixes.
    """
    inputs, codes, atoms = matrix('inputs', inputs), matrix('codes', codes), matrix('atoms', atoms)
    centre = jnp.asarray(centre, inputs.dtype)
    if codes.shape[1] != atoms.shape[0] or inputs.shape != (codes.shape[0], atoms.shape[1]):
        raise ValueError(
            f'inputs {list(inputs.shape)}, codes {list(codes.shape)} and atoms {list(atoms.shape)} must be '
            f'[batch, dim], [batch, units] and [units, dim]'
        )
    if sum(sizes) != atoms.shape[0] or min(sizes) < 1:
        raise ValueError(f'sizes must be of at least 1 and sum to the {atoms.shape[0]} units, not {tuple(sizes)}')
    residual, errors, start = inputs - centre[None], [], 0
    if empty:
        errors.append(jnp.sum(residual * residual, axis=1))
    for size in sizes:
        part = slice(start, start + size)
        residual = residual - jnp.matmul(codes[:, part], atoms[part], precision=HIGHEST)
        errors.append(jnp.sum(residual * residual, axis=1))
        start += size
    return jnp.mean(jnp.stack(errors))


def dead_reconstruction(
    residual: Float[ArrayLike, 'batch dim'], reconstructions: Float[ArrayLike, 'batch dim']
) -> Float[Array, '']:
    """What dead units leave of the residual, over its variance: Σ‖r − r̂‖² / Σ‖r − mean r‖² (AuxK).

    Args:
      residual: r = x − x̂ of the units alive; it gets no gradient.
      reconstructions: r̂ of the dead units, without bias.

    Returns:
      A dimensionless scalar from 0; about 1 for r̂ = 0. 0, without gradient, where the residual does not vary.

    Cost: O(batch·dim); no state.

    References:
      Gao et al. 2024, https://arxiv.org/abs/2406.04093, appendix A.2; normalised as in their code.
    """
    residual, reconstructions = pair(residual, reconstructions, names=('residual', 'reconstructions'))
    residual = jax.lax.stop_gradient(residual)
    centred = residual - jnp.mean(residual, axis=0, keepdims=True)
    whole = jnp.sum(centred * centred)
    left = jnp.sum((residual - reconstructions) ** 2)
    return jnp.where(whole > 0, left / jnp.where(whole > 0, whole, 1.0), 0.0)


def sparsity(codes: Float[ArrayLike, 'batch units'], *, p: ArrayLike = 1.0, root: bool = False) -> Float[Array, '']:
    """Σ_i |f_i|^p, mean over the batch; p = 1 is L1, and towards 0 it counts active units.

    Args:
      codes: f, of either sign.
      p: above 0 and at most 1.
      root: the norm (Σ|f|^p)^(1/p) of each row instead, as dictionary_learning's `Lp` has it.

    Returns:
      A scalar from 0. An entry of 0 gets no gradient, where the derivative of |f|^p, p < 1, is infinite.

    Cost: O(batch·units); no state.

    References:
      Karvonen et al. 2024, https://arxiv.org/abs/2408.00113, eq. 6.
    """
    size = jnp.abs(matrix('codes', codes))
    on = size > 0
    total = jnp.sum(jnp.where(on, jnp.where(on, size, 1.0) ** p, 0.0), axis=1)
    if root:
        some = total > 0
        total = jnp.where(some, jnp.where(some, total, 1.0) ** (1.0 / p), 0.0)
    return jnp.mean(total)

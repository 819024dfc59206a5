"""Memories with one row for each example of the data set: what InstDisc, PIRL, Invariance Propagation and DIET share.

They stand in `per_example`, are spread over the devices by rows, belong to the checkpoint, and are addressed by
`batch['index']`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ..errors import UserError
from .base import Method, unit

# Rows of a memory are padded to a multiple of this, so that they divide over any usual number of devices without the
# result depending on it.
PIECE = 256


def padded(rows: int) -> int:
    """Rows of a memory for so many examples."""
    return -(-rows // PIECE) * PIECE


def check_size(name: str, data_size: int) -> None:
    """Refuses a data set without examples, which is what a caller who forgot `data_size` gives."""
    if data_size < 1:
        raise UserError(f'{name} keeps a row for each example and needs data_size from 1, not {data_size}')


def uniform_rows(key: PRNGKeyArray, rows: int, dim: int) -> Float[Array, 'rows dim']:
    """U(−√(3/dim), √(3/dim)): rows whose expected squared length is 1, as InstDisc's memory begins."""
    bound = (3.0 / dim) ** 0.5
    return jax.random.uniform(key, (rows, dim), minval=-bound, maxval=bound)


def begun_with(base: Method, start: Callable[[PRNGKeyArray, int], dict[str, Array]]) -> Callable:
    """The `init` of `base` with `start(key, dim)`, arrays of one row an example, under `extra['per_example']`."""

    def init(key: PRNGKeyArray, batch: dict) -> tuple[Any, dict]:
        params, extra = base.init(key, batch)
        seen = base.encode(base.network(params, extra), batch['views'][0][:1])['embeddings']
        return params, {**extra, 'per_example': start(jax.random.fold_in(key, 99), seen.shape[1])}

    return init


def moved(
    memory: Float[Array, 'rows dim'],
    index: Int[Array, ' batch'],
    z: Float[Array, 'batch dim'],
    momentum: Any,
) -> Float[Array, 'rows dim']:
    """The memory with M_i ← n(m·M_i + (1 − m)·n(z_i)) in the rows of the batch; no gradient enters it."""
    z = jax.lax.stop_gradient(unit(z)).astype(memory.dtype)
    return memory.at[index].set(unit(momentum * memory[index] + (1.0 - momentum) * z).astype(memory.dtype))


def no_normalizer() -> dict[str, Array]:
    """The state of a normaliser log Z that no batch has given yet."""
    return {'log': jnp.zeros(()), 'known': jnp.zeros((), bool)}


def settled(normalizer: dict[str, Array], estimate: Array) -> dict[str, Array]:
    """The normaliser as it is if an earlier batch gave it, else this batch's estimate."""
    log = jnp.where(normalizer['known'], normalizer['log'], estimate.astype(normalizer['log'].dtype))
    return {'log': log, 'known': jnp.ones((), bool)}

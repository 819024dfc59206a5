"""Linear classifiers of clusters on an encoder's features: what DeepCluster, SeLa and SCAN share."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ...errors import UserError
from ..base import Method
from ..memory import padded

HIGHEST = jax.lax.Precision.HIGHEST


def check_clusters(name: str, clusters: int, data_size: int) -> None:
    """Refuses more clusters than images."""
    if clusters > data_size:
        raise UserError(
            f'{name} cannot make method.clusters={clusters} clusters of {data_size} images; at most so many'
        )


def linear_heads(key: PRNGKeyArray, heads: int, dim: int, clusters: int) -> dict[str, Array]:
    """`kernel` `[heads, dim, clusters]` and `bias` `[heads, clusters]`, uniform in ±1/√dim as torch's linear layer."""
    bound = dim**-0.5
    keys = jax.random.split(key)
    return {
        'kernel': jax.random.uniform(keys[0], (heads, dim, clusters), minval=-bound, maxval=bound),
        'bias': jax.random.uniform(keys[1], (heads, clusters), minval=-bound, maxval=bound),
    }


def head_logits(head: dict[str, Array], features: Float[Array, 'batch dim']) -> Float[Array, 'batch heads clusters']:
    """Scores of each head's clusters."""
    return jnp.einsum('bd,hdk->bhk', features, head['kernel'], precision=HIGHEST) + head['bias'][None]


def unclustered(data_size: int, heads: int) -> Int[Array, 'rows heads']:
    """The clusters of images that have none yet, −1, rows padded as memories are."""
    return jnp.full((padded(data_size), heads), -1, jnp.int32)


def filled(rows: Int[Array, 'rows heads'], found: Int[Array, 'examples heads']) -> Int[Array, 'rows heads']:
    """`rows` with the first of them replaced; the padding stays."""
    return rows.at[: found.shape[0]].set(found.astype(rows.dtype))


def begun(
    base: Method, head: Callable[[PRNGKeyArray, int], dict[str, Array]], extra: Callable[[int], dict[str, Any]]
) -> Callable:
    """The `init` of `base` with `params['head'] = head(key, dim)` and `extra(dim)`, for features of width `dim`."""

    def init(key: PRNGKeyArray, batch: dict) -> tuple[dict, dict]:
        params, own = base.init(key, batch)
        dim = base.encode(base.network(params, own), batch['views'][0][:1])['features'].shape[1]
        return {**params, 'head': head(jax.random.fold_in(key, 99), dim)}, {**own, **extra(dim)}

    return init

"""softmax(q·k/√d)·v: by cuDNN's fused kernel where it can be had and is exact enough, else by jax's plain path."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

IMPLEMENTATIONS = ('auto', 'plain', 'cudnn')
# The first jax in which cuDNN's attention has a gradient and may be mapped over, `(0, 11, 1)`, and the first GPUs that
# have it, NVIDIA's of compute capability 8.0 (Ampere).
_JAX, _CAPABILITY = (0, 11, 1), 8.0


def _has_cudnn() -> bool:
    """Whether this process computes on GPUs with cuDNN's attention, by a jax that can differentiate it."""
    if jax.default_backend() != 'gpu' or jax.__version_info__ < _JAX:
        return False
    try:
        return float(jax.devices()[0].compute_capability) >= _CAPABILITY
    except (AttributeError, ValueError):  # an AMD GPU's is a name
        return False


def implementation_of(asked: str, query: Array, valid: Array | None = None) -> str:
    """'plain' or 'cudnn' for `asked`, one of `IMPLEMENTATIONS`.

    cuDNN's kernel takes half precision, head widths of a multiple of 8 up to 128, and here no mask. It never writes the
    `[length, length]` weights to memory, and takes the softmax in float32 like the plain path. 'auto' takes it
    wherever all of that holds; nothing else of the result changes but rounding.

    Raises:
      ValueError: 'cudnn' where it cannot be had, or another word.
    """
    if asked not in IMPLEMENTATIONS:
        raise ValueError(f'attention must be one of {", ".join(IMPLEMENTATIONS)}, not {asked!r}')
    if asked == 'plain':
        return asked
    half, width = query.dtype in (jnp.bfloat16, jnp.float16), query.shape[-1]
    fits = half and width % 8 == 0 and width <= 128 and valid is None
    if fits and _has_cudnn():
        return 'cudnn'
    if asked == 'cudnn':
        raise ValueError(
            f"attention='cudnn' needs an NVIDIA GPU of compute capability 8.0, jax 0.11.1, half precision, heads of a "
            f'multiple of 8 up to 128, and no mask; here are {jax.default_backend()}, jax {jax.__version__}, '
            f"{query.dtype}, heads of {width}{', a mask' if valid is not None else ''}; set 'auto'"
        )
    return 'plain'


def attend(
    query: Array, key: Array, value: Array, valid: Array | None = None, *, implementation: str = 'auto'
) -> Array:
    """softmax(q·k/√d)·v over `[batch, length, heads, d]`, in the type of the arrays.

    No query sees the keys that `valid` `[batch, length]` marks false. `implementation`: see :func:`implementation_of`.
    """
    chosen = implementation_of(implementation, query, valid)
    if chosen == 'cudnn':
        return jax.nn.dot_product_attention(query, key, value, implementation='cudnn')
    seen = None if valid is None else valid[:, None, None, :]
    if query.dtype != jnp.float64:
        return jax.nn.dot_product_attention(query, key, value, mask=seen, implementation='xla')
    # jax's function takes the softmax in float32, whatever the arrays are.
    logits = jnp.einsum('bqhd,bkhd->bhqk', query, key, precision='highest') / query.shape[-1] ** 0.5
    if seen is not None:
        logits = jnp.where(seen, logits, -1e30)  # not -inf, which makes NaN where nothing is valid
    return jnp.einsum('bhqk,bkhd->bqhd', jax.nn.softmax(logits), value, precision='highest')

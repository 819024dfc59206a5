"""Features from gradients: what a self-supervised loss would change in a frozen vision transformer, for each image."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ..losses._common import HIGHEST, normalize
from ..models import taps
from ..models.transformer import attend, parted

Loss = Callable[[Float[Array, 'views dim']], Float[Array, '']]
HEAD = 96  # outputs of the random heads of the losses of views
LATENT = 768  # of the loss of one view
TEMPERATURE, STUDENT = 0.07, 0.1


def random_head(key: Key[Array, ''], dim: int, width: int) -> Callable[[Array], Array]:
    """A linear layer of random signs over √dim on unit rows, as an untrained projection."""
    kernel = jax.random.rademacher(key, (dim, width), jnp.float32) / dim**0.5
    return lambda z: jnp.matmul(normalize(z), kernel, precision=HIGHEST)


def uniform_kl(head: Callable[[Array], Array]) -> Loss:
    """KL(uniform ‖ softmax(head(z))) of one view: −mean log softmax − log K."""

    def loss(z: Array) -> Array:
        logits = jax.nn.log_softmax(head(z), axis=1)
        return -jnp.mean(logits) - jnp.log(jnp.asarray(logits.shape[1], logits.dtype))

    return loss


def contrast(head: Callable[[Array], Array], negatives: Float[Array, 'rows width']) -> Loss:
    """NT-Xent between all pairs of views of one image, against rows of other images.

    −mean over ordered pairs of s_ij/τ + log(Σ_{k ≠ i} exp(s_ik/τ) + Σ_n exp(s_in/τ)), s cosines, τ = 0.07.
    """

    def loss(z: Array) -> Array:
        rows = normalize(head(z))
        own = jnp.matmul(rows, rows.T, precision=HIGHEST) / TEMPERATURE
        others = jnp.matmul(rows, negatives.T, precision=HIGHEST) / TEMPERATURE
        same = jnp.eye(len(rows), dtype=bool)
        below = jax.nn.logsumexp(jnp.concatenate([jnp.where(same, -jnp.inf, own), others], axis=1), axis=1)
        positives = jnp.sum(jnp.where(same, 0.0, own), axis=1) / (len(rows) - 1)
        return jnp.mean(below - positives)

    return loss


def distillation(student: Callable[[Array], Array], teacher: Callable[[Array], Array], *, whole: int) -> Loss:
    """Cross-entropy of every view's softmax(student/0.1) to the first `whole` views' softmax(teacher/0.07).

    The same view counts too, and the teacher, another random head on the same features, has no gradient.
    """

    def loss(z: Array) -> Array:
        targets = jax.lax.stop_gradient(jax.nn.softmax(teacher(z[:whole]) / TEMPERATURE, axis=1))
        found = jax.nn.log_softmax(student(z) / STUDENT, axis=1)
        return -jnp.sum(jnp.matmul(targets, found.T, precision=HIGHEST)) / (whole * len(z))

    return loss


def gradient_features(
    module: Any,
    variables: Any,
    views: Float[Array, 'batch views height width channels'],
    loss: Loss,
    signs: Float[Array, 'out dim inputs'],
) -> Float[Array, 'batch out']:
    """Randomly projected gradients of a loss by the output projection of the last attention, one row an image.

    The gradient is [Σ b aᵀ | Σ b] over views and tokens, b the derivative by what the projection gives and a what it
    takes, so nothing but activations is differentiated; `signs` sums it with random signs, over √(their number), and
    the rows have length 1.

    Args:
      module: a vision transformer.
      variables: its parameters.
      views: prepared, the views of one image together; one view for losses of one.
      loss: of the features of an image's views.
      signs: ±1, `[out, dim, dim + 1]`.

    References:
      Simoncini et al. 2024, *No train, all gain*, https://arxiv.org/abs/2407.10964, section 3.
    """
    block = f'block{module.depth - 1}/attn'
    count, each = views.shape[:2]
    flat = views.reshape(count * each, *views.shape[2:])
    found = taps.activations(module, variables, flat, [f'{block}/qkv', f'{block}/proj'])
    qkv = found[f'{block}/qkv']
    length, dim = qkv.shape[1], qkv.shape[2] // 3
    taken = attend(*parted(qkv, module.heads), valid=None, kind='xla').reshape(count, each, length, dim)

    def total(change: Array) -> Array:
        z = taps.changed(module, variables, flat, f'{block}/proj', change)
        return jnp.sum(jax.vmap(loss)(z.reshape(count, each, -1)))

    given = jax.grad(total)(jnp.zeros_like(found[f'{block}/proj'])).reshape(count, each, length, dim)
    one = jnp.ones((*taken.shape[:3], 1), taken.dtype)
    gradient = jnp.einsum('nvto,nvti->noi', given, jnp.concatenate([taken, one], axis=3), precision=HIGHEST)
    projected = jnp.einsum('noi,koi->nk', gradient, signs, precision=HIGHEST) / (dim * (dim + 1)) ** 0.5
    return normalize(projected)

"""FiLMR (Hawley and Tackett 2024, https://arxiv.org/abs/2406.02699): a known change turns pairs of dimensions."""

from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ... import losses
from ...errors import UserError
from ...signature import Domain, NonNegative
from ..base import Method, embedding_width, only_two, weighted
from ..changes import ADDITIVE, changes
from ..siamese import siamese

Transformations = Annotated[tuple[str, ...], Domain(str, several=True, static=True, choices=tuple(ADDITIVE))]


def operate(
    z: Float[Array, 'batch dim'], change: Float[Array, 'batch numbers'], operator: dict[str, Array]
) -> Float[Array, 'batch dim']:
    """Turns each pair of dimensions k and k + dim/2: c + s·R(θ)(z − c), with θ and log s linear in the change.

    Args:
      z: embeddings.
      change: p, numbers that add up when one change follows another.
      operator: `frequencies` Ω and `rates` Γ, `[numbers, dim / 2]`, in θ = pΩ (radians) and log s = pΓ, and `centre` c
        `[dim]`.

    Returns:
      The embeddings after the change. Two changes in turn are their sum: operate(operate(z, a), b) = operate(z, a + b).
    """
    angle = jnp.matmul(change, operator['frequencies'], precision='highest')
    scale = jnp.exp(jnp.matmul(change, operator['rates'], precision='highest'))
    cos, sin = scale * jnp.cos(angle), scale * jnp.sin(angle)
    x, y = jnp.split(z - operator['centre'][None], 2, axis=1)
    return operator['centre'][None] + jnp.concatenate([cos * x - sin * y, sin * x + cos * y], axis=1)


def filmr(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    transformations: Transformations = ('rotation',),
    spread: NonNegative = 1.0,
    equivariance_weight: NonNegative = 1.0,
    variance_weight: NonNegative = 0.5,
    covariance_weight: NonNegative = 0.25,
    fuse_views: bool = False,
) -> Method:
    """FiLMR: the second view's embedding is the first's, scaled, shifted and turned by what the augmentation changed.

    The authors' layer is (γz + β)R with learned γ and β, one number each, and one plane of rotation, learned as two
    vectors; one application is one step along a ring of known points. Here a step is a unit of the change p, and p of
    them are :func:`operate`: planes are the pairs k and k + dim/2, so that turns of all pairs commute, γ is a scale of
    each pair, and β is written as the point c that stays. Frequencies, rates and c are learned.

    Args:
      encoder: flax module.
      projector: flax module; the last of `projector.widths` is even.
      transformations: what p holds: 'rotation' (the angle in radians), 'jitter' (differences of the factors of
        brightness, contrast and saturation, and of the hue's shift in circles). The views must draw them.
      spread: standard deviation of the frequencies at the start, in radians a unit of p. Rates and c begin at 0.
      equivariance_weight: of the mean squared distance to the second view. Authors: 1.
      variance_weight: of VICReg's hinge. Authors: 0.5.
      covariance_weight: of VICReg's covariances, the sum of both views. Authors: half of 0.5 for 1,000 steps, then of
        1e-5; here constant.
      fuse_views: whether views of one resolution share batch-norm statistics.

    The loss is that of the authors' notebook without its two triplet losses, which keep points of the ring apart, the
    second weight of its first point, and its small penalty of squared lengths; their covariance is that of the
    prediction and the target, here that of both views.
    State: parameters `operator`. Metrics: `equivariance`, `variance`, `prediction_variance` and `covariance` of
    :func:`selfsup.losses.sie_terms` with the whole embedding predicted, and `turn`, the mean absolute angle in radians.

    References:
      Hawley and Tackett 2024, https://arxiv.org/abs/2406.02699; https://github.com/drscotthawley/oplas
      (`oplas/rotations.py`, `nbs/rot_nd.ipynb`).
    """
    base = siamese(encoder, projector, lambda *_: None, fuse_views=fuse_views)

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, extra = base.init(key, batch)
        width = embedding_width({'encoder': encoder, 'projector': projector}, params, extra['batch_stats'], batch)
        if width % 2:
            raise UserError(f'filmr turns pairs of dimensions; the last of projector.widths must be even, not {width}')
        shape = (sum(ADDITIVE[name][0] for name in transformations), width // 2)
        frequencies = spread * jax.random.normal(jax.random.fold_in(key, 99), shape)
        operator = {'frequencies': frequencies, 'rates': jnp.zeros(shape), 'centre': jnp.zeros(width)}
        return {**params, 'operator': operator}, extra

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        only_two(batch['views'])
        return base.embed(params, extra, batch, key)

    def move(params: Any, embeddings: Array, view_params: Any) -> Array:
        change = changes(view_params, transformations, ADDITIVE).astype(embeddings.dtype)
        return operate(embeddings, change, params['operator'])

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        first, second = outputs['embeddings']
        change = changes(batch['view_params'], transformations, ADDITIVE)
        terms = losses.sie_terms(first, second, operate(first, change.astype(first.dtype), params['operator']))
        value = weighted(
            terms, equivariance=equivariance_weight, variance=variance_weight, covariance=covariance_weight
        )
        turn = jnp.mean(jnp.abs(jnp.matmul(change, params['operator']['frequencies'], precision='highest')))
        told = {name: terms[name] for name in ('equivariance', 'variance', 'prediction_variance', 'covariance')}
        return value, (extra, {**told, 'turn': jax.lax.stop_gradient(turn)})

    return base._replace(init=init, embed=embed, criterion=criterion, move=move)

"""SIE (Garrido et al. 2023, https://arxiv.org/abs/2302.10283): one half is kept, one moves with the transformation."""

from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ... import losses
from ...signature import Domain, NonNegative, StaticProperShare
from ..base import Method, only_two, weighted
from ..changes import RELATIVE, changes
from ..siamese import siamese

Transformations = Annotated[tuple[str, ...], Domain(str, several=True, static=True, choices=tuple(RELATIVE))]


class Halves(nn.Module):
    """A projector for each half of the features, `[batch, width]` to `[batch, 2·embedding]`: invariant, equivariant.

    Attributes:
      projector: the network of each, with parameters of its own.
      share: of the features that the equivariant one reads, the last ones.
      views: as in :class:`selfsup.models.BatchNorm`.
    """

    projector: nn.Module
    share: float
    views: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, 'batch width'], train: bool = False) -> Float[Array, 'batch both']:
        """Both embeddings side by side."""
        cut = x.shape[-1] - round(self.share * x.shape[-1])
        given = {'views': self.views} if hasattr(self.projector, 'views') else {}
        halves = (('invariant', x[:, :cut]), ('equivariant', x[:, cut:]))
        return jnp.concatenate(
            [self.projector.clone(name=name, parent=self, **given)(half, train) for name, half in halves], axis=1
        )


def sie(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    transformations: Transformations = ('rotation',),
    share: StaticProperShare = 0.5,
    invariance_weight: NonNegative = 10.0,
    equivariance_weight: NonNegative = 4.5,
    variance_weight: NonNegative = 10.0,
    covariance_weight: NonNegative = 1.0,
    fuse_views: bool = False,
) -> Method:
    """SIE: of the features one part is the same in both views, and the other is moved by a matrix made from the change.

    Each part has a projector; W(g), a linear function of the change g from the first view to the second, is applied to
    the second part's embedding, y₁·W(g)ᵀ ≈ y₂. In the paper g is the pose of a rendered object, a quaternion; here it
    is what the augmentation drew.

    Args:
      encoder: flax module.
      projector: flax module, made twice; `projector.widths` are those of each.
      transformations: what g holds: 'rotation' (cosine and sine of the angle), 'jitter' (four differences), 'box' (the
        crop, four numbers), 'flip' (1 or −1). The views' specifications must draw them.
      share: of the features that are equivariant, the last ones. Authors: 0.5.
      invariance_weight, variance_weight, covariance_weight: as in VICReg. Authors: 10, 10 and 1.
      equivariance_weight: of the predicted part. Authors: 0.45 · 10.
      fuse_views: whether views of one resolution share batch-norm statistics.

    State: parameters `hypernetwork`, kernel `[numbers of g, dim²]`, without bias. Metrics: the terms of
    :func:`selfsup.losses.sie_terms`.

    References:
      Garrido et al. 2023, https://arxiv.org/abs/2302.10283, section 3 and eq. 1; https://github.com/facebookresearch/SIE.
    """
    base = siamese(encoder, Halves(projector, share), lambda *_: None, fuse_views=fuse_views)

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, extra = base.init(key, batch)
        change = sum(RELATIVE[name][0] for name in transformations)
        seen = base.encode(base.network(params, extra), batch['views'][0][:1])
        width = seen['embeddings'].shape[1] // 2
        bound = change**-0.5
        kernel = jax.random.uniform(jax.random.fold_in(key, 99), (change, width * width), minval=-bound, maxval=bound)
        return {**params, 'hypernetwork': {'kernel': kernel}}, extra

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        only_two(batch['views'])
        return base.embed(params, extra, batch, key)

    def predict(params: Any, embeddings: Array, view_params: Any) -> Array:
        change = changes(view_params, transformations, RELATIVE).astype(embeddings.dtype)
        width = embeddings.shape[1] // 2
        maps = jnp.matmul(change, params['hypernetwork']['kernel'], precision='highest').reshape(-1, width, width)
        return jnp.einsum('bi,boi->bo', embeddings[:, width:], maps, precision='highest')

    def move(params: Any, embeddings: Array, view_params: Any) -> Array:
        kept = embeddings[:, : embeddings.shape[1] // 2]
        return jnp.concatenate([kept, predict(params, embeddings, view_params)], axis=1)

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        first, second = outputs['embeddings']
        terms = losses.sie_terms(first, second, predict(params, first, batch['view_params']))
        value = weighted(
            terms,
            invariance=invariance_weight,
            equivariance=equivariance_weight,
            variance=variance_weight,
            prediction_variance=variance_weight / 2,
            covariance=covariance_weight,
        )
        return value, (extra, terms)

    return base._replace(init=init, embed=embed, criterion=criterion, move=move)

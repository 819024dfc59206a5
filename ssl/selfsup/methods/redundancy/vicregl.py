"""VICRegL (Bardes et al. 2022, https://arxiv.org/abs/2210.01571): VICReg of images and of places in them."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import losses
from ...models import MLP
from ...signature import Counts, NonNegative, Pair, Share
from ..base import Method, forward, mean_cosine, pairs, through, view_keys
from ..places import places


def vicregl(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    alpha: Share = 0.75,
    invariance_weight: NonNegative = 25.0,
    variance_weight: NonNegative = 25.0,
    covariance_weight: NonNegative = 1.0,
    local_widths: Counts = (512, 512, 512),
    matches: Pair = (20, 4),
    matches_by_place: bool = False,
    fuse_views: bool = False,
) -> Method:
    """VICRegL: L = α·global + (1 − α)·local, each an average over pairs (one of the first two views, another view).

    The global part is VICReg between embeddings, with variance and covariance averaged over views (so
    with two views the covariance counts half as much as in :func:`selfsup.losses.vicreg`). The local
    part, :func:`selfsup.losses.vicregl_local`, matches places of the feature maps by content and by
    position in the image, which follows from each view's crop box and flip; an augmentation that moves
    pixels otherwise (`affine`) makes the positions wrong.

    Args:
      encoder, projector: flax modules; the encoder can give its last feature map (`maps=True`). Paper's
        projector: 8192, 8192, 8192.
      alpha: α. Authors: 0.75.
      invariance_weight, variance_weight, covariance_weight: of both parts. Authors: 25, 25, 1.
      local_widths: layers of the projector of places, batch-norm between them. Paper: 512, 512, 512.
      matches: pairs by position kept from maps as large as the first view's, and from smaller ones.
        Paper: 20 and 4.
      matches_by_place: `matches` are of the first and of the second map of each pair, whatever their sizes, as in the
        authors' code (`_local_loss` of main_vicregl.py).
      fuse_views: whether views of one resolution share batch-norm statistics.

    State: none beside batch statistics. `params['local_projector']` may have an optimiser group of its
    own (authors: a tenth of the learning rate).
    """
    if not hasattr(encoder, 'maps'):
        raise ValueError(f'VICRegL needs an encoder that gives feature maps, and {type(encoder).__name__} does not')
    kept = {name: getattr(projector, name, None) for name in ('dtype', 'axis_name')}
    encoder, local = encoder.clone(maps=True), MLP(widths=tuple(local_widths), **kept)
    modules = {'encoder': encoder, 'projector': projector, 'local_projector': local}

    def pooled(x: Array) -> Array:
        return jnp.mean(x, axis=(1, 2), dtype=jnp.promote_types(x.dtype, jnp.float32))

    def flat(x: Array) -> Array:
        return x.reshape(-1, x.shape[-1])

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        params, stats = {}, {}
        x = encoder.init_with_output(key, batch['views'][0][:2], train=False)[0]
        seen = {'encoder': batch['views'][0][:2], 'projector': pooled(x), 'local_projector': flat(x)}
        for number, (name, module) in enumerate(modules.items()):
            variables = module.init(jax.random.fold_in(key, number), seen[name], train=False)
            params[name], stats[name] = variables['params'], variables.get('batch_stats', {})
        return params, {'batch_stats': stats}

    def run(
        params: Any, stats: dict, views: tuple, *, train: bool, keys: Any = None, local: bool = True
    ) -> tuple[dict, dict]:
        stats = dict(stats)

        def part(name: str, inputs: tuple, prepare: Any) -> tuple:
            def apply(v: Any, s: Any) -> tuple[Array, Any]:
                y, s = forward(modules[name], params[name], s, prepare(v[0]), train=train, keys=v[1])
                return (y.reshape(*v[0].shape[:3], -1) if name == 'local_projector' else y), s

            drawn = tuple((x, keys(number) if keys else None) for number, x in enumerate(inputs))
            outputs, stats[name] = through(apply, drawn, stats[name], fuse=fuse_views)
            return outputs

        maps = part('encoder', views, lambda v: v)
        outputs = {'features': tuple(pooled(x) for x in maps)}
        outputs['embeddings'] = part('projector', outputs['features'], lambda v: v)
        if local:
            outputs['maps'] = part('local_projector', maps, flat)
        return outputs, stats

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        outputs, stats = run(params, extra['batch_stats'], batch['views'], train=True, keys=view_keys(batch))
        return outputs, {**extra, 'batch_stats': stats}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        views, maps = outputs['embeddings'], outputs['maps']
        first, second = pairs(views)
        if len(batch['view_params']) != len(views):
            raise ValueError(f'VICRegL needs view_params of all {len(views)} views, not of {len(batch["view_params"])}')
        at = [places(p, *m.shape[1:3]) for p, m in zip(batch['view_params'], maps, strict=True)]
        maps = [m.reshape(m.shape[0], -1, m.shape[-1]) for m in maps]
        kept = [matches[0] if m.shape == maps[0].shape else matches[1] for m in maps]
        partners = [(i, j) for i in range(2) for j in range(len(views)) if j != i]
        spread = [losses.vicreg_terms(z, z) for z in views]
        counts = [matches if matches_by_place else (kept[i], kept[j]) for i, j in partners]
        both = [
            losses.vicregl_local_terms(maps[i], maps[j], at[i], at[j], matches=count)
            for (i, j), count in zip(partners, counts, strict=True)
        ]
        terms = {
            'invariance': sum(jnp.mean((views[i] - views[j]) ** 2) for i, j in partners) / len(partners),
            'variance': sum(t['variance'] for t in spread) / len(views),
            'covariance': sum(t['covariance'] for t in spread) / (2 * len(views)),
            **{f'local_{k}': sum(t[k] for t in both) / len(both) for k in ('invariance', 'variance', 'covariance')},
        }
        weights = {'invariance': invariance_weight, 'variance': variance_weight, 'covariance': covariance_weight}
        value = sum(w * (alpha * terms[k] + (1.0 - alpha) * terms[f'local_{k}']) for k, w in weights.items())
        return value, (extra, {**terms, 'positive_cosine': mean_cosine(first, second)})

    def encode(network: dict, inputs: Array) -> dict[str, Array]:
        outputs, _ = run(network['params'], network['batch_stats'], (inputs,), train=False, local=False)
        return {name: value[0] for name, value in outputs.items()}

    return Method(init, embed, criterion, encode)

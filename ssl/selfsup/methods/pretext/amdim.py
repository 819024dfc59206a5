"""AMDIM (Bachman et al. 2019, https://arxiv.org/abs/1906.00910): places of an image, from its other view."""

from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ... import losses
from ...errors import UserError
from ...models import MLP
from ...signature import Counts, Domain, NonNegative, Positive
from ..base import Method, forward, mean_cosine, only_two, through, view_keys

Windows = Annotated[tuple[int, int], Domain(int, least=1, several=True, length=2, static=True)]
# Of one example's keys: views use the first ones.
SOURCE = 11


def window_means(maps: Float[Array, 'batch rows columns dim'], side: int) -> Float[Array, 'batch places dim']:
    """The means of all `side` x `side` windows of a map, in steps of one place, row by row.

    Raises:
      UserError: windows larger than the map.
    """
    if side > min(maps.shape[1:3]):
        raise UserError(
            f'method.windows: {side} is larger than the map of {maps.shape[1]}x{maps.shape[2]} places that the encoder '
            f'gives of these views'
        )
    pooled = nn.avg_pool(maps, (side, side))
    return pooled.reshape(len(maps), -1, maps.shape[-1])


def amdim(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    windows: Windows = (1, 2),
    local_widths: Counts = (512, 512),
    clip: Positive = 20.0,
    penalty: NonNegative = 5e-2,
) -> Method:
    """AMDIM: the global feature of one view picks the places of the other, at two scales, among other images' places.

    Three terms, each the mean of both directions, are added: global to fine places, global to coarse places, and one
    random coarse place of each image to coarse places. The authors take the two scales from two layers of a network
    made for it (7x7 and 5x5 places with receptive fields of their own); here both come from the encoder's last map,
    pooled over windows, since any encoder has one.

    Args:
      encoder: with a feature map that it can give (`maps=True`).
      projector: of global features; its last width is that of `local_widths`.
      windows: sides of the windows of the map whose means are fine and coarse places.
      local_widths: layers of the projector of places, shared by both scales; the rest as the projector's.
      clip: c of the soft clip. Authors: 20.
      penalty: weight of the squared scores. Authors: 5e-2.

    Two views. Metrics: the three terms, and `positive_cosine` of the global embeddings. The control draws the second
    view from another image. State: none beside batch statistics; `params['local_projector']`.

    Raises:
      UserError: more than two views, windows larger than the map, or widths that differ.

    References:
      Bachman et al. 2019, https://arxiv.org/abs/1906.00910, section 3; `costs.py` and `model.py` of the authors.
    """
    if not hasattr(encoder, 'maps'):
        raise UserError(f'amdim needs an encoder that gives feature maps, and {type(encoder).__name__} does not')
    if getattr(projector, 'widths', local_widths)[-1] != local_widths[-1]:
        raise UserError(
            f'method.local_widths={tuple(local_widths)!r} must end in {projector.widths[-1]}, as projector.widths does'
        )
    fields = ('hidden_norm', 'activation', 'groups', 'axis_name', 'dtype')
    kept = {name: getattr(projector, name) for name in fields if hasattr(projector, name)}
    encoder, local = encoder.clone(maps=True), MLP(widths=tuple(local_widths), **kept)
    modules = {'encoder': encoder, 'projector': projector, 'local_projector': local}

    def pooled(maps: Array) -> Array:
        return jnp.mean(maps, axis=(1, 2), dtype=jnp.promote_types(maps.dtype, jnp.float32))

    def places(maps: Array) -> tuple[Array, int]:
        """Fine places of each map, then coarse ones, `[batch, places, features]`; and how many are fine."""
        scales = [window_means(maps, side) for side in windows]
        return jnp.concatenate(scales, axis=1), scales[0].shape[1]

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        images = batch['views'][0][:2]
        maps, variables = encoder.init_with_output(key, images, train=False)
        found, _ = places(maps)
        seen = {'projector': pooled(maps), 'local_projector': found.reshape(-1, found.shape[-1])}
        params, stats = {'encoder': variables['params']}, {'encoder': variables.get('batch_stats', {})}
        for number, (name, x) in enumerate(seen.items(), 1):
            variables = modules[name].init(jax.random.fold_in(key, number), x, train=False)
            params[name], stats[name] = variables['params'], variables.get('batch_stats', {})
        return params, {'batch_stats': stats}

    def run(params: Any, stats: dict, views: tuple, *, train: bool, keys: Any = None) -> tuple[dict, dict]:
        stats = dict(stats)

        def part(name: str, inputs: tuple) -> tuple:
            def apply(v: Any, s: Any) -> tuple[Array, Any]:
                x, own = v
                flat = x.reshape(-1, x.shape[-1]) if name == 'local_projector' else x
                y, s = forward(modules[name], params[name], s, flat, train=train, keys=own)
                return (y.reshape(*x.shape[:2], -1) if name == 'local_projector' else y), s

            drawn = tuple((x, keys(number) if keys else None) for number, x in enumerate(inputs))
            outputs, stats[name] = through(apply, drawn, stats[name], fuse=False)
            return outputs

        maps = part('encoder', views)
        outputs = {'features': tuple(pooled(x) for x in maps)}
        outputs['embeddings'] = part('projector', outputs['features'])
        if train:
            seen, counts = zip(*map(places, maps), strict=True)
            found = part('local_projector', seen)
            outputs['fine'] = tuple(x[:, :n] for x, n in zip(found, counts, strict=True))
            outputs['coarse'] = tuple(x[:, n:] for x, n in zip(found, counts, strict=True))
        return outputs, stats

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        views = only_two(batch['views'])
        outputs, stats = run(params, extra['batch_stats'], views, train=True, keys=view_keys(batch))
        drawn, sources = view_keys(batch, SOURCE), []
        for number, found in enumerate(outputs['coarse']):
            which = jax.vmap(lambda k, n=found.shape[1]: jax.random.randint(k, (), 0, n))(drawn(number))
            sources.append(jnp.take_along_axis(found, which[:, None, None], axis=1)[:, 0])
        return {**outputs, 'sources': tuple(sources)}, {**extra, 'batch_stats': stats}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        def both(sources: tuple, targets: tuple) -> Array:
            values = [losses.amdim(sources[i], targets[1 - i], clip=clip, penalty=penalty) for i in range(2)]
            return sum(values) / 2

        whole = outputs['embeddings']
        terms = {
            'global_to_fine': both(whole, outputs['fine']),
            'global_to_coarse': both(whole, outputs['coarse']),
            'coarse_to_coarse': both(outputs['sources'], outputs['coarse']),
        }
        return sum(terms.values()), (extra, {**terms, 'positive_cosine': mean_cosine(*whole)})

    def encode(network: dict, inputs: Array) -> dict[str, Array]:
        outputs, _ = run(network['params'], network['batch_stats'], (inputs,), train=False)
        return {name: value[0] for name, value in outputs.items()}

    return Method(init, embed, criterion, encode)

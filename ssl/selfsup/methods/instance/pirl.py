"""PIRL (Misra and van der Maaten 2020, https://arxiv.org/abs/1912.01991): an image and its jigsaw have one memory."""

from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import losses
from ...augment import jigsaw_tiles
from ...models import MLP
from ...signature import Count, Domain, Positive, Share, Whole
from ..base import Method, encode_with, forward, init_modules, mean_cosine, only_two, unit, view_keys
from ..memory import begun_with, check_size, moved, no_normalizer, padded, settled, uniform_rows

Transform = Annotated[str, Domain(str, choices=('jigsaw', 'rotation'))]
# Of one example's keys: views use the first ones.
TRANSFORM = 7


class _Tiles(nn.Module):
    """A head for each tile, the same for all, then one linear layer on all tiles side by side.

    Attributes:
      each: module of one tile's features.
      tiles: how many an image has.
      dtype: compute type.
    """

    each: nn.Module
    tiles: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        y = self.each(x, train=train)
        y = y.reshape(-1, self.tiles * y.shape[-1])
        width = y.shape[-1] // self.tiles
        return MLP(widths=(width,), dtype=self.dtype, name='mix')(y, train=train)


def turned(keys: Array, images: Array) -> Array:
    """Each image turned by a random multiple of 90 degrees; images must be square."""
    if images.shape[1] != images.shape[2]:
        raise ValueError(f"transform='rotation' needs square views, not {list(images.shape[1:3])}")
    quarters = jax.vmap(lambda key: jax.random.randint(key, (), 0, 4))(keys)
    return jax.vmap(lambda q, x: jax.lax.switch(q, [lambda i, k=k: jnp.rot90(i, k) for k in range(4)], x))(
        quarters, images
    )


def pirl(
    encoder: nn.Module,
    projector: nn.Module,
    *,
    data_size: int,
    transform: Transform = 'jigsaw',
    grid: Count = 3,
    tile: Whole = 0,
    temperature: Positive = 0.07,
    negatives: Count = 32000,
    momentum: Share = 0.5,
    image_weight: Share = 0.5,
) -> Method:
    """PIRL: the memory of an image must be recognised by its image and by a transformed view of it.

    L = (1 − w)·NCE(transformed, M) + w·NCE(image, M), each as in InstDisc with negatives of its own. The first view is
    the image, the second is transformed: cut into tiles in random order, each through the encoder and a head of its
    own, side by side through one linear layer; or turned by a multiple of 90 degrees. Order of a step, as in VISSL:
    the transformed view through the network, then the image; both terms against the memory as it was; the memory
    follows the image. The normaliser is estimated from the first batch's transformed views.

    Args:
      encoder, projector: flax modules; the head of transformed views has the projector's form and weights of its own.
        Paper's projector: one linear layer (128,).
      data_size: examples in the data set; `batch['index']` runs below it.
      transform: 'jigsaw' or 'rotation'.
      grid: tiles along a side. Paper: 3.
      tile: side of a tile, cut at a random place of its cell; 0 for the whole cell. Paper: 64 of 85.
      temperature: τ. Paper: 0.07.
      negatives: K, drawn anew for each term of each step. Paper: 32000.
      momentum: m of the memory. Paper: 0.5.
      image_weight: w, the paper's 1 − λ. Paper: 0.5.

    State: memory `[data_size, dim]` of unit rows at first, padded to a multiple of 256, and the normaliser log Z.
    `params['patch_projector']` is the head of transformed views.

    References:
      Misra and van der Maaten 2020, https://arxiv.org/abs/1912.01991, section 3; VISSL's
      `pirl_jigsaw_4node_resnet50.yaml` and `nce_loss.py`.
    """
    check_size('pirl', data_size)
    tiles = grid * grid if transform == 'jigsaw' else 1
    head = projector if tiles == 1 else _Tiles(projector.clone(), tiles, getattr(projector, 'dtype', None))
    modules = {'encoder': encoder, 'projector': projector}

    def transformed(keys: Array, images: Array) -> Array:
        """`[batch · tiles, …]`, an image's tiles side by side."""
        if transform == 'rotation':
            return turned(keys, images)
        cut = jax.vmap(lambda key, image: jigsaw_tiles(key, image, grid=grid, tile=tile))(keys, images)
        return cut.reshape(-1, *cut.shape[2:])

    def begin(key: Array, batch: dict) -> tuple[dict, dict]:
        params, stats = init_modules(key, modules, batch['views'][0])
        images = only_two(batch['views'])[1][:2]
        parts = transformed(jax.random.split(jax.random.fold_in(key, 97), len(images)), images)
        features, _ = forward(encoder, params['encoder'], stats['encoder'], parts, train=False)
        variables = head.init(jax.random.fold_in(key, 98), features, train=False)
        params = {**params, 'patch_projector': variables['params']}
        return params, {'batch_stats': {**stats, 'patch_projector': variables.get('batch_stats', {})}}

    def start(key: Array, dim: int) -> dict[str, Array]:
        return {'memory': unit(uniform_rows(key, padded(data_size), dim))}

    def init(key: Array, batch: dict) -> tuple[Any, dict]:
        params, extra = begun_with(base, start)(key, batch)
        return params, {**extra, 'normalizer': no_normalizer()}

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        image, other = only_two(batch['views'])
        stats, keys = dict(extra['batch_stats']), view_keys(batch, TRANSFORM)(1)

        def through(name: str, module: nn.Module, x: Array, view: int) -> Array:
            own = view_keys(batch, 0)(view)
            own = own if own is None or len(own) == len(x) else jnp.repeat(own, len(x) // len(own))
            y, stats[name] = forward(module, params[name], stats[name], x, train=True, keys=own)
            return y

        parts = through('encoder', encoder, transformed(keys, other), 1)
        together = through('patch_projector', head, parts, 1)
        features = through('encoder', encoder, image, 0)
        embedding = through('projector', projector, features, 0)
        both = (features, jnp.mean(parts.reshape(len(image), -1, parts.shape[-1]), axis=1))
        return {'features': both, 'embeddings': (embedding, together)}, {**extra, 'batch_stats': stats}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Array) -> tuple:
        image, other = outputs['embeddings']
        index, memory = batch['index'], extra['per_example']['memory']
        known = {'temperature': temperature, 'count': data_size}
        drawn = jax.random.randint(key, (2, len(index), negatives), 0, data_size, jnp.int32)
        estimate = losses.instance_normalizer(other, memory, index, drawn[0], **known)
        normalizer = settled(extra['normalizer'], estimate)
        known['log_normalizer'] = normalizer['log']
        terms = {
            'transformed': losses.instance_nce(other, memory, index, drawn[0], **known),
            'image': losses.instance_nce(image, memory, index, drawn[1], **known),
        }
        value = (1.0 - image_weight) * terms['transformed'] + image_weight * terms['image']
        new = {
            'normalizer': normalizer,
            'per_example': {'memory': moved(memory, index, image, momentum)},
        }
        return value, ({**extra, **new}, {**terms, 'positive_cosine': mean_cosine(image, other)})

    base = Method(begin, embed, criterion, encode_with(modules))
    return base._replace(init=init)

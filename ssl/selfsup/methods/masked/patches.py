"""What methods that hide patches share: the grid, checks of their networks, the share of the targets explained.

And the method itself where the encoder sees mask tokens and a head predicts what they hide.
"""

from collections.abc import Callable
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ...augment import masking
from ...errors import UserError
from ...signature import Domain
from ..base import Method, encode_with, view_keys

MASKS = 1  # stream of the examples' keys; the encoder's is 0
DECODER = 2  # of noise that a decoder draws
QUERIES = 3  # of which hidden patches are predicted
NORM = nn.LayerNorm(epsilon=1e-6)  # an encoder's last

# Least and most of a number that is drawn for each mask.
Range = Annotated[tuple[float, float], Domain(above=0, several=True, length=2, static=True)]


def check_encoder(method: str, encoder: nn.Module) -> None:
    """Refuses an encoder that makes no tokens of patches."""
    if not hasattr(encoder, 'tokens'):
        raise UserError(f'{method} needs an encoder of patches (model.name=vit_s, ...), not {type(encoder).__name__}')


def check_decoder(method: str, decoder: nn.Module, kind: str, *, section: str = 'decoder', has: str = 'out') -> None:
    """Refuses a network of another kind; `has` is a field that those of `kind` have."""
    if not hasattr(decoder, has):
        raise UserError(
            f'{method} needs a {section} of kind {kind!r}, not {type(decoder).__name__} (set {section}.kind)'
        )


def patch_grid(encoder: nn.Module, images: Array) -> tuple[int, int]:
    """Rows and columns of patches of images `[batch, height, width, channels]`.

    Raises:
      UserError: patches that do not tile the images.
    """
    height, width = images.shape[1:3]
    if height % encoder.patch or width % encoder.patch:
        raise UserError(f'model.patch={encoder.patch} does not divide images of {height}x{width}')
    return height // encoder.patch, width // encoder.patch


def random_masks(encoder: nn.Module, images: Array, keys: Array, ratio: float) -> tuple[tuple[int, int], Array, Array]:
    """The grid, and the kept and hidden patches of :func:`selfsup.augment.masking.random`.

    Raises:
      UserError: patches that do not tile the images, or a `method.ratio` that keeps none.
    """
    grid = patch_grid(encoder, images)
    if int(grid[0] * grid[1] * (1 - ratio)) < 1:
        raise UserError(f'method.ratio={ratio} keeps none of the {grid[0] * grid[1]} patches of a view')
    return grid, *masking.random(keys, grid, ratio)


def drawn(fields: str, mask: Callable, *arguments: Any, **keywords: Any) -> Any:
    """A function of `augment.masking`, whose refusals name fields of the config.

    Raises:
      UserError: masks that the grid has no room for, or that hide nothing or everything.
    """
    try:
        return mask(*arguments, **keywords)
    except ValueError as error:
        raise UserError(f'{fields}: {str(error).splitlines()[0]}') from error


def normed(params: dict, tokens: Array) -> Array:
    """The encoder's last norm of what its last block, or another, gives."""
    return NORM.apply({'params': params['encoder']['norm']}, tokens)


def at_places(targets: Array, places: Array) -> Array:
    """Of targets `[batch, patches, …]` those with the numbers `places` `[batch, count]`."""
    return jnp.take_along_axis(targets, places.reshape(*places.shape, *(1,) * (targets.ndim - 2)), axis=1)


def every_patch(images: Array, grid: tuple[int, int]) -> Array:
    """The numbers of all patches, for each image."""
    return jnp.broadcast_to(jnp.arange(grid[0] * grid[1]), (len(images), grid[0] * grid[1]))


def at_each_place(targets: Array) -> Array:
    """The batch's mean of targets `[batch, patches, values]` at each place, for every example."""
    return jnp.broadcast_to(jnp.mean(targets, axis=0, keepdims=True), targets.shape)


def explained(loss: Array, baseline: Array) -> Array:
    """1 − loss / baseline, the loss of predicting the batch's mean at each place: not positive without learning.

    For metrics: no gradient.
    """
    return jax.lax.stop_gradient(1.0 - loss / jnp.maximum(baseline, 1e-12))


def copied_encoder(params: dict) -> dict:
    """A target network that starts equal to the trained encoder."""
    return {'params': {'encoder': jax.tree.map(jnp.copy, params['encoder'])}, 'batch_stats': {'encoder': {}}}


def target_layers(encoder: nn.Module, extra: dict, images: Array, layers: int, *, of: str) -> tuple[Array, ...]:
    """What the target network's last `layers` blocks give for the patches of whole images; no gradient.

    `of` as in :meth:`selfsup.models.ViT.tokens`.
    """
    frozen = jax.lax.stop_gradient(extra['target']['params']['encoder'])
    found: Any = encoder.apply({'params': frozen}, images, method='tokens', blocks=layers, of=of)
    found = (found,) if layers == 1 else found
    return tuple(jax.lax.stop_gradient(tokens[:, encoder.prefix :]) for tokens in found)


def target_tokens(encoder: nn.Module, extra: dict, images: Array) -> Array:
    """The target network's patch tokens of whole images, after its last norm; no gradient."""
    return target_layers(encoder, extra, images, 1, of='norm')[0]


def deviation(targets: Array) -> Array:
    """Root mean variance over the batch of targets `[batch, tokens, features]`, for metrics: 0 when a target network
    gives all images the same.
    """
    variance = jnp.mean((targets - at_each_place(targets)) ** 2)
    return jax.lax.stop_gradient(jnp.sqrt(variance))


def head_on_mask_tokens(
    encoder: nn.Module,
    decoder: nn.Module,
    *,
    masks: Callable[[Array, Array], tuple[tuple[int, int], Array]],
    width: Callable[[int], int],
    targets: Callable[[Array, dict], Array],
    loss: Callable[[Array, Array, Array], Array],
    flags: str = 'hidden',
) -> Method:
    """Hidden patches are mask tokens of the encoder, and a head predicts values of each (SimMIM, MaskFeat, data2vec).

    Args:
      encoder, decoder: a vision transformer, and a network of kind `linear` or another decoder.
      masks: of images and one key each: the grid, and which patches are hidden, `[batch, patches]`.
      width: of the images' channels: how many values a patch has; the decoder's `out`.
      targets: of images and the state: these values, `[batch, patches, values]`.
      loss: of predictions, targets and hidden patches.
      flags: the name of the hidden patches among the outputs.

    Features are the encoder's pooled output, of the masked view in training and of the whole image in `encode`. The
    metric `explained_share` is 1 − loss / the loss of predicting the batch's mean at each place. State: none.
    """

    def sized(images: Array) -> nn.Module:
        return decoder.clone(out=width(images.shape[3]))

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        images = batch['views'][0][:2]
        first, second, third = (jax.random.fold_in(key, index) for index in range(3))
        grid, hidden = masks(images, jax.random.split(third, len(images)))
        tokens, variables = encoder.init_with_output(first, images, method='tokens', hidden=hidden)
        decoded = sized(images).init(second, tokens, every_patch(images, grid), grid)
        return {'encoder': variables['params'], 'decoder': decoded['params']}, {'batch_stats': {'encoder': {}}}

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        images = batch['views'][0]
        grid, hidden = masks(images, view_keys(batch, MASKS)(0))
        seen = {'hidden': hidden, 'train': True, 'keys': view_keys(batch)(0)}
        tokens = encoder.apply({'params': params['encoder']}, images, method='tokens', **seen)
        features = (encoder.pooled(tokens),)
        places = every_patch(images, grid)
        outputs = {
            'features': features,
            'embeddings': features,
            'predictions': sized(images).apply({'params': params['decoder']}, tokens, places, grid, train=True),
            'targets': targets(images, extra),
            flags: hidden,
        }
        return outputs, extra

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        predictions, wanted, hidden = (outputs[name] for name in ('predictions', 'targets', flags))
        value, baseline = (loss(guess, wanted, hidden) for guess in (predictions, at_each_place(wanted)))
        return value, (extra, {'explained_share': explained(value, baseline)})

    return Method(init, embed, criterion, encode_with({'encoder': encoder}), views=1, control='shuffled_targets')

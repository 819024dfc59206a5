"""An encoder from a file of any known origin, or from a folder or file that :func:`.folder.write` made."""

from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import expanded
from . import folder, reading
from .locate import locate
from .names import IMAGENET_MEAN, ORIGINS
from .recognise import Found, architecture, first
from .states import from_state
from .values import Weights, fit_size, resize_for

CIFAR = {'mean': (0.4914, 0.4822, 0.4465), 'std': (0.2470, 0.2435, 0.2616)}


def read(
    path: str | Path,
    *,
    origin: str = 'auto',
    prefix: str = '',
    stem: str = 'auto',
    heads: int = 0,
    image_size: int = 0,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
) -> Weights:
    """An encoder from a file of weights, or from a folder or file that :func:`write` made.

    Args:
      path: `.pth`, `.pth.tar`, `.safetensors`, or a folder with `model.safetensors` and `config.json`.
      origin: a row of `weights.ORIGINS`, or 'auto' to recognise it by its names.
      prefix: of the encoder's names in the file, such as 'backbone.'; 'state_dict_ema/backbone.' names the dictionary
        too, '/' is the top of the file, '' finds it. `about` of the result says what was taken and left out.
      stem: of a residual network: 'cifar' or 'cifar_pad2', which the weights do not tell; 'auto' takes 'cifar'.
      heads: attention heads of a vision transformer; 0 takes the origin's (MoCo v3's ViT-S has 12).
      image_size: side of the images; 0 takes ImageNet's usual sides, or that of the positions.
      mean, std: normalisation of images in [0, 1]; by default the origin's.

    Raises:
      UserError: when the file is not a checkpoint, holds code, several encoders or none, or does not fit.
    """
    path = expanded(path)
    weights = folder.read(path)
    if weights is not None and prefix:
        raise UserError(f'prefix={prefix!r} is for files of other code bases, and {path} is an encoder of selfsup')
    if weights is None:
        tree = reading.load(path / 'model.safetensors' if (path / 'model.safetensors').is_file() else path)
        found = locate(tree, path, origin, prefix)
        model, channels, side = architecture(found, path, stem=stem, heads=heads)
        model, params, batch_stats = from_state(found, path, model, channels)
        name = found.origin
        if model.get('positions') == 'sincos' and name == 'timm' and origin == 'auto':
            name = 'moco_v3'  # a ViT of theirs without its packing: only they fix the positions so
            model |= {} if heads else ORIGINS[name].model.get(model['name'], {})
        weights = Weights(model, params, batch_stats, channels, origin=name, about=_about(found, path))
        weights = weights._replace(**_preparation(weights, side, folder.declared(path)))
    if image_size:
        weights = weights._replace(crop=image_size, resize=resize_for(image_size))
        fit_size(weights, image_size)
    weights = weights._replace(mean=tuple(mean) or weights.mean, std=tuple(std) or weights.std)
    for name, values in (('mean', weights.mean), ('std', weights.std)):
        if len(values) not in (1, weights.channels):
            raise UserError(f'{name}={values!r} must have 1 or {weights.channels} entries, one a channel of {path}')
    return weights


def _about(found: Found, path: Path) -> dict[str, Any]:
    """The file, where in it the encoder lies, unless at its top, and what was left out."""
    taken = {'taken_from': found.place} if found.place != '/' else {}
    return {'file': path.name, **taken, **({'left_out': first(found.left_out)} if found.left_out else {})}


def _preparation(weights: Weights, side: int, declared: dict[str, Any]) -> dict[str, Any]:
    """Sides and normalisation: as the file declares them, else what its origin uses."""
    if weights.model.get('stem', 'imagenet') != 'imagenet':
        return {'resize': 0, 'crop': 0, **(CIFAR if weights.channels == 3 else {})}
    crop = side or 224
    usual = {'resize': resize_for(crop), 'crop': crop}
    if weights.channels == 3:
        usual |= {'mean': IMAGENET_MEAN, 'std': ORIGINS[weights.origin].std}
    return usual | declared

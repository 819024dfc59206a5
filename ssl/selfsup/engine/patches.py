"""What an encoder makes of the patches of images: tokens, feature maps, and functions of them by name."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from .. import evals
from ..errors import UserError
from . import build
from .encoder import Encoder


def has_tokens(encoder: Encoder) -> bool:
    """Whether the encoder makes tokens of patches."""
    return hasattr(build.build_encoder(encoder.config), 'tokens')


def with_tokens(encoder: Encoder, name: str) -> Any:
    """The backbone, which makes tokens of patches.

    Raises:
      UserError: another backbone, naming the number and what has it.
    """
    module = build.build_encoder(encoder.config)
    if not hasattr(module, 'tokens'):
        raise UserError(
            f'--only={name} reads the tokens of patches, and {encoder.config.model.name} makes none; take a vision '
            f'transformer (model.name=vit_ti, ...), or --only=dense, which reads feature maps too'
        )
    return module


def variables(encoder: Encoder) -> dict[str, Any]:
    """Parameters and statistics of the backbone that is evaluated, as its `apply` takes them."""
    found = {kind: tree.get('encoder', {}) for kind, tree in encoder.evaluated.items()}
    return {kind: tree for kind, tree in found.items() if tree}


def summaries(encoder: Encoder, name: str = 'tokens') -> Callable[[Any], dict[str, Array]]:
    """Images -> :func:`selfsup.evals.summaries` of the evaluated network, compiled."""
    module, prepare, given = with_tokens(encoder, name), build.build_preparation(encoder.config), variables(encoder)
    found = jax.jit(lambda given, rows: evals.summaries(module, given, prepare(rows)))
    return lambda rows: found(given, rows)


def feature_maps(encoder: Encoder, prepare: Callable[[Any], Any] | None = None) -> Callable[[Any], Array]:
    """Images -> patch tokens after the last norm, or the last feature map, `[n, rows, columns, dim]`, compiled.

    Args:
      encoder: a vision transformer, or a network that can give its last feature map.
      prepare: what is done to images first; by default what evaluation does.

    Raises:
      UserError: an encoder of neither kind.
    """
    module: Any = build.build_encoder(encoder.config)
    prepare = prepare or build.build_preparation(encoder.config)
    if not hasattr(module, 'tokens') and not hasattr(module, 'maps'):
        raise UserError(
            f'{encoder.config.model.name} has neither tokens of patches nor feature maps; take a vision transformer, '
            f'a ResNet or the convnet (model.name)'
        )

    def of(given: Any, rows: Any) -> Array:
        seen = prepare(rows)
        if hasattr(module, 'maps'):
            return module.clone(maps=True).apply(given, seen, train=False)
        patches = module.apply(given, seen, method='tokens')[:, module.prefix :]
        return patches.reshape(len(patches), seen.shape[1] // module.patch, -1, patches.shape[2])

    compiled, given = jax.jit(of), variables(encoder)
    return lambda rows: compiled(given, rows)


def checked(encoder: Encoder, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The function of images, which refuses images that the encoder does not take; see :meth:`Encoder.check`."""

    def checking(rows: Any) -> Any:
        encoder.check(np.asarray(rows), call)
        return call(rows)

    return checking

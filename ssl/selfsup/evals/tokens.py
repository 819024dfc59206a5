"""Features of an encoder with tokens, each by its name: mean patch, class token, the last blocks side by side."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from .features import Features, labelled
from .knn import knn_grid
from .linear import linear_logistic

BLOCKS = 4  # of DINO's and DINOv2's linear evaluation


def summaries(encoder: Any, variables: Any, images: Array) -> dict[str, Array]:
    """What probes may read of a frozen encoder with tokens, by name.

    Args:
      encoder: a network with `tokens`, `pooled`, `prefix`, `class_token` and `depth` (:class:`selfsup.models.ViT`).
      variables: its parameters.
      images: prepared, `[n, height, width, channels]`.

    Returns:
      `mean`, the mean patch token after the last norm (registers and class token left out); `token`, the class token
      after it, where there is one; and `blocks4`, what `pool` says (class token or mean patch) of the outputs of the
      last 4 blocks, each after the last norm, side by side. A network of 2 or 3 blocks gives `blocks2` or `blocks3`,
      one of a single block none. `[n, features]` each, in at least float32.

    Convention: DINO joins the class tokens of the last 4 blocks, DINOv2 those of the last 1 or 4, with or without the
    mean patch of the last one.

    References:
      Caron et al. 2021, https://arxiv.org/abs/2104.14294; Oquab et al. 2023,
      https://arxiv.org/abs/2304.07193.
    """
    count = min(BLOCKS, encoder.depth)
    found = encoder.apply(variables, images, method='tokens', blocks=count, of='norms')
    outputs = found if count > 1 else (found,)
    named = {'mean': jnp.mean(outputs[-1][:, encoder.prefix :], axis=1)}
    if encoder.class_token:
        named['token'] = outputs[-1][:, 0]
    if count > 1:
        named[f'blocks{count}'] = jnp.concatenate([encoder.pooled(x) for x in outputs], axis=1)
    return named


def tokens(sets: Mapping[str, tuple[Features, Features]]) -> dict[str, float]:
    """k-NN and logistic regression of each kind of feature, the name of the kind in every key.

    Logistic regression is that of :func:`linear_logistic`: features are standardised by the statistics of train, which
    is a batch-norm without affine parameters before the probe (MAE, app. A.1), and C is chosen on a held-out part of
    train. k-NN is that of :func:`knn_grid`, on features as they are.

    Args:
      sets: kind -> features of train and test; rows without a label are left out.

    Returns:
      For each kind `knn_<kind>`, `linear_<kind>`, `chosen_knn_k_<kind>`, `chosen_knn_temperature_<kind>`,
      `chosen_C_<kind>` and `held_out_accuracy_<kind>`.
    """
    results: dict[str, float] = {}
    for kind, pair in sets.items():
        train, test = (labelled(part) for part in pair)
        near, linear = knn_grid(train, test), linear_logistic(train, test)
        results[f'knn_{kind}'] = near['knn']
        results[f'linear_{kind}'] = linear['linear_logistic']
        results |= {f'{key}_{kind}': near[key] for key in ('chosen_knn_k', 'chosen_knn_temperature')}
        results |= {f'{key}_{kind}': linear[key] for key in ('chosen_C', 'held_out_accuracy')}
    return results

"""Prediction of a target network's tokens: what I-JEPA and data2vec predict, and how the error counts."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from ._common import as_float, positive
from .masked import checked

# Added to variances inside the root, as torch's normalisations without parameters do.
EPSILON = 1e-5


def _standardized(x: Array, axis: int, eps: ArrayLike = EPSILON) -> Array:
    """Mean 0 and variance 1 along an axis (biased variance)."""
    centred = x - jnp.mean(x, axis=axis, keepdims=True)
    return centred / jnp.sqrt(jnp.mean(centred * centred, axis=axis, keepdims=True) + eps)


def standardize_tokens(
    tokens: Float[ArrayLike, 'batch length features'], *, instance: bool = False, eps: ArrayLike = EPSILON
) -> Float[Array, 'batch length features']:
    """Each token's features to mean 0 and variance 1: layer norm without parameters, as of I-JEPA's targets.

    Args:
      tokens: of the target network, after its last norm.
      instance: instance norm instead, over the tokens for each feature (DinoSR, of the outputs of blocks' MLPs).
      eps: ε, added to variances. I-JEPA and DinoSR: 1e-5; BootMAE: 1e-6.

    Returns:
      (x − mean) / √(variance + ε) over the features, or over the tokens, with the biased variance.

    Cost: O(batch·length·features); no state.

    References:
      Assran et al. 2023, https://arxiv.org/abs/2301.08243, and its code, which alone says so.
    """
    positive('eps', eps)
    return _standardized(as_float('tokens', tokens), 1 if instance else 2, eps)


def averaged_layers(
    layers: tuple[Float[ArrayLike, 'batch length features'], ...], *, instance: bool = False
) -> Float[Array, 'batch length features']:
    """data2vec's targets: LN(mean_l N(h_l)), layers normalised, averaged, and the mean normalised again.

    Args:
      layers: the outputs of some blocks of the target network, of one shape.
      instance: N is instance norm, over the tokens for each feature (data2vec 2.0); else layer norm, over the features
        of each token (data2vec for images). Neither has parameters; both have biased variances and ε = 1e-5.

    Returns:
      Targets of mean 0 and variance 1 over the features of each token.

    Raises:
      ValueError: no layers, or layers of different shapes.

    Cost: O(layers·batch·length·features); no state.

    Convention: layer norm of the mean is a flag of the authors' code for images (`post_target_layer_norm`), on in its
    published commands; fairseq's versions for speech and text use instance norm.

    References:
      Baevski et al. 2022, https://arxiv.org/abs/2202.03555, sect. 3.3; Baevski et al. 2023,
      https://arxiv.org/abs/2212.07525, sect. 3.2.
    """
    found = [as_float(f'layers[{number}]', layer) for number, layer in enumerate(layers)]
    shapes = {layer.shape for layer in found}
    if len(shapes) != 1 or found[0].ndim != 3:
        listed = ', '.join(str(list(shape)) for shape in sorted(shapes)) or 'none'
        raise ValueError(f'layers must be arrays of one shape [batch, length, features], and have {listed}')
    return _standardized(sum(_standardized(layer, 1 if instance else 2) for layer in found) / len(found), -1)


def masked_smooth_l1(
    predictions: Float[ArrayLike, 'batch tokens features'],
    targets: Float[ArrayLike, 'batch tokens features'],
    counted: Bool[ArrayLike, 'batch tokens'],
    *,
    beta: ArrayLike = 1.0,
) -> Float[Array, '']:
    """Mean over counted tokens and features of e²/2β where |e| < β, |e| − β/2 elsewhere (I-JEPA, data2vec).

    Args:
      predictions: of tokens of the target network.
      targets: those tokens (:func:`standardize_tokens`, :func:`averaged_layers`). Callers stop their gradient.
      counted: which tokens count: hidden ones, or those that do not only fill an array up.
      beta: where the square turns into the absolute value. I-JEPA: 1; data2vec's command for ViT-B: 2.

    Returns:
      A scalar from 0; the mean over the counted tokens of the whole batch, 0 if none counts. A prediction of zeros for
      targets of unit normal entries scores 0.42 with β = 1.

    Cost: O(batch·tokens·features); no state.

    Convention: I-JEPA's paper says squared distance, its code has this with β = 1.

    References:
      Assran et al. 2023, https://arxiv.org/abs/2301.08243, sect. 3; Baevski et al. 2022,
      https://arxiv.org/abs/2202.03555, eq. 4.
    """
    predictions, targets, counted = checked(predictions, targets, counted, name='counted')
    positive('beta', beta)
    error = jnp.abs(predictions - targets)
    value = jnp.where(error < beta, error * error / (2 * beta), error - beta / 2)
    value = jnp.mean(value, axis=2)
    return jnp.sum(jnp.where(counted, value, 0.0)) / jnp.maximum(jnp.sum(counted), 1)

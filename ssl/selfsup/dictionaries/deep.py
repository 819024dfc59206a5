"""Deep dictionaries: codes that are sparse at every layer, each of atoms of the layer below.

Layers are numbered from the signals: `dictionaries[0]` is `[units_0, dim]`, `dictionaries[i]` `[units_i, units_i−1]`.
The objective, with z_−1 = x and a coupling β_i of each layer but the first, whose is 1, is

    ½‖x − z_0·D_0‖² + ½ Σ_i β_i‖z_i−1 − z_i·D_i‖² + Σ_i λ_i‖z_i‖₁,

convex in the codes of all layers together, so that what a deep layer says is heard below. With a large β it becomes the
multi-layer model, in which z_i−1 = z_i·D_i holds exactly. Nothing stands between layers: the last one's atoms in the
space of signals are the product of all.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from ._common import both, dot, finite, matrix
from .lasso import fista, proximal
from .learning import fit_online, swept


def _layers(signals: ArrayLike, dictionaries: Sequence[ArrayLike]) -> tuple[Array, list[Array]]:
    """Finite signals and dictionaries whose widths follow, or an error that names the shapes."""
    if not dictionaries:
        raise ValueError('dictionaries must have at least one layer')
    found, width = [], None
    for number, given in enumerate(dictionaries):
        layer = matrix(f'dictionaries[{number}]', given, rows='units')
        finite(f'dictionaries[{number}]', layer)
        if width is not None and layer.shape[1] != width:
            raise ValueError(
                f'dictionaries[{number}] {list(layer.shape)} must have the {width} units of the layer below as width'
            )
        found, width = [*found, layer], len(layer)
    signals, first = both(signals, found[0])
    return signals, [first, *(d.astype(first.dtype) for d in found[1:])]


def _numbers(name: str, given: Sequence[ArrayLike], count: int) -> list[Array]:
    if len(given) != count:
        raise ValueError(f'{name} must be {count} numbers, not {len(given)}')
    return [jnp.asarray(value) for value in given]


def _couplings(coupling: ArrayLike | Sequence[ArrayLike], layers: int) -> list[Array]:
    """β of each layer; the first is 1."""
    given = [coupling] * (layers - 1) if np.ndim(coupling) == 0 else list(coupling)
    return [jnp.asarray(1.0), *_numbers('coupling', given, layers - 1)]


def effective_atoms(dictionaries: Sequence[Float[ArrayLike, '_units _below']]) -> list[Float[Array, '_units dim']]:
    """The atoms of each layer as signals: D_0, D_1·D_0, D_2·D_1·D_0 and so on."""
    layers = [matrix(f'dictionaries[{n}]', d, rows='units') for n, d in enumerate(dictionaries)]
    found = layers[:1]
    for layer in layers[1:]:
        found.append(dot(layer, found[-1]))
    return found


def deep_objective(
    signals: Float[ArrayLike, 'batch dim'],
    dictionaries: Sequence[Float[ArrayLike, '_units _below']],
    codes: Sequence[Float[ArrayLike, 'batch _units']],
    *,
    penalties: Sequence[ArrayLike],
    coupling: ArrayLike | Sequence[ArrayLike] = 1.0,
) -> Float[Array, ' batch']:
    """The objective of each signal; arguments as of :func:`deep_codes`, and the codes of the layers."""
    below, layers = _layers(signals, dictionaries)
    total = jnp.zeros(len(below), below.dtype)
    parts = zip(layers, codes, _numbers('penalties', penalties, len(layers)), _couplings(coupling, len(layers)),
                strict=True)  # fmt: skip
    for layer, given, penalty, weight in parts:
        z = matrix('codes', given)
        residual = below - dot(z, layer)
        total = total + 0.5 * weight * jnp.sum(residual**2, axis=1) + penalty * jnp.sum(jnp.abs(z), axis=1)
        below = z
    return total


def deep_codes(
    signals: Float[ArrayLike, 'batch dim'],
    dictionaries: Sequence[Float[ArrayLike, '_units _below']],
    *,
    penalties: Sequence[ArrayLike],
    coupling: ArrayLike | Sequence[ArrayLike] = 1.0,
    iterations: int = 300,
    nonnegative: bool = False,
) -> list[Float[Array, 'batch _units']]:
    """Codes of all layers together, of the least objective: one lasso whose dictionary has the layers as blocks.

    Args:
      signals: one a row.
      dictionaries: from the layer of the signals upwards, see the module; atoms of any length.
      penalties: λ, one a layer.
      coupling: β, one number or one for each layer but the first.
      iterations: of FISTA.
      nonnegative: codes from 0.

    Returns:
      One array of codes a layer. With one layer that of :func:`.lasso.fista`.

    Raises:
      ValueError: widths that do not follow, another number of penalties than of layers, values that are not finite.

    Cost: O(batch·iterations·(Σ units)·(dim + Σ units)).

    References:
      Boutin et al. 2021, https://doi.org/10.1371/journal.pcbi.1008629, eq. 1 (sparse codes of two layers with feedback,
      convolutional there); Sulam et al. 2020, https://arxiv.org/abs/1806.00701, the limit of a large coupling.
    """
    signals, layers = _layers(signals, dictionaries)
    given = _numbers('penalties', penalties, len(layers))
    if len(layers) == 1:
        return [fista(signals, layers[0], penalty=given[0], iterations=iterations, nonnegative=nonnegative)]
    roots = [jnp.sqrt(weight).astype(signals.dtype) for weight in _couplings(coupling, len(layers))]
    widths = [signals.shape[1], *(len(layer) for layer in layers)]
    # A layer's codes stand in the residual of their own layer by their atoms, and in that of the layer above as target.
    rows = []
    for number, layer in enumerate(layers):
        cells = [jnp.zeros((len(layer), width), layer.dtype) for width in widths[:-1]]
        cells[number] = roots[number] * layer
        if number + 1 < len(layers):
            cells[number + 1] = -roots[number + 1] * jnp.eye(len(layer), dtype=layer.dtype)
        rows.append(jnp.concatenate(cells, axis=1))
    wide = jnp.pad(signals, [(0, 0), (0, sum(widths[1:-1]))])
    each = [jnp.full(len(layer), penalty, layer.dtype) for layer, penalty in zip(layers, given, strict=True)]
    codes = proximal(wide, jnp.concatenate(rows), jnp.concatenate(each), iterations=iterations, nonnegative=nonnegative)
    return jnp.split(codes, np.cumsum(widths[1:-1]), axis=1)


@jax.jit
def _moved(dictionary: Array, codes: Array, below: Array) -> Array:
    """The atoms of a layer after one sweep; those that no code uses stay."""
    return swept(dictionary, dot(codes.T, codes), dot(codes.T, below), dictionary, sweeps=1)


class Deep(NamedTuple):
    """Dictionaries of all layers, and the codes of the signals they were fitted to."""

    dictionaries: list[Array]
    codes: list[Array]


def fit_deep(
    key: PRNGKeyArray,
    signals: Float[ArrayLike, 'rows dim'],
    *,
    units: Sequence[int],
    penalties: Sequence[ArrayLike],
    coupling: ArrayLike | Sequence[ArrayLike] = 1.0,
    batch: int = 256,
    epochs: int = 20,
    joint: int = 20,
    iterations: int = 300,
) -> Deep:
    """Layer by layer, each by online learning of the codes below, then all layers together.

    In the joint part codes of all layers (:func:`deep_codes`) and atoms, one sweep in each layer, take turns; neither
    raises the objective.

    Args:
      key: of the layers' first atoms and orders.
      signals: all of them.
      units: atoms of each layer.
      penalties, coupling, iterations: as in :func:`deep_codes`; without coupling a layer's first atoms are learned with
        its own λ.
      batch, epochs: of :func:`.learning.fit_online`, for each layer.
      joint: turns; 0 leaves the layers as learned one by one.

    References:
      Tariyal et al. 2016, https://doi.org/10.1109/ACCESS.2016.2611583 (layer by layer); Singhal and Majumdar 2019,
      https://arxiv.org/abs/1912.10801 (why all layers together; they minimise the error of the product instead).
    """
    signals = matrix('signals', signals)
    finite('signals', signals)
    given = _numbers('penalties', penalties, len(units))
    below, layers = signals, []
    keys = jax.random.split(key, len(units)) if len(units) > 1 else [key]
    for own, count, penalty in zip(keys, units, given, strict=True):
        found = fit_online(own, below, units=count, penalty=penalty, batch=batch, epochs=epochs).dictionary
        below = fista(below, found, penalty=penalty, iterations=iterations)
        layers.append(found)

    def coded() -> list[Array]:
        return deep_codes(signals, layers, penalties=penalties, coupling=coupling, iterations=iterations)

    codes = coded()
    for _ in range(joint):
        targets = [signals, *codes[:-1]]
        layers = [_moved(layer, z, target) for layer, z, target in zip(layers, codes, targets, strict=True)]
        codes = coded()
    return Deep(layers, codes)

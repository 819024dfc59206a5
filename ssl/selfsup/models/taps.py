"""Places inside a network by name: what it computes there, and what it makes of other values put there.

A tap is the path of a submodule, `layer2_0` or `block3/attn`: what its call gives. Where something worth naming is
computed between submodules (after an activation, before the first block), the network passes it through a :class:`Tap`
of that name, which has no parameters and changes nothing. Both functions read the calls that flax shows to
`nn.intercept_methods`, so any network of flax.linen has taps, whoever wrote it.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..errors import UserError, nearest


class Tap(nn.Module):
    """Gives its input; the name of the module is that of the place."""

    def __call__(self, x: Array) -> Array:
        return x


def _name(context: nn.module.InterceptorContext) -> str:
    """The path of the module that is called; '' for the network itself and for other methods than its call."""
    return '/'.join(context.module.path) if context.method_name == '__call__' else ''


def _without_remat(module: nn.Module) -> nn.Module:
    """The same network without rematerialised blocks, whose inner values may not leave the trace; equal parameters."""
    return module.clone(remat=False) if getattr(module, 'remat', False) else module


def _is_array(value: Any) -> bool:
    return hasattr(value, 'shape') and hasattr(value, 'dtype')


def activations(module: nn.Module, variables: Any, inputs: Array, names: Sequence[str] | None = None) -> dict[str, Any]:
    """What the taps give for a batch of inputs, with running statistics.

    Args:
      module, variables: the network and its parameters and statistics, as `module.apply` takes them.
      inputs: prepared, `[n, …]`.
      names: of the taps; None gives every submodule whose call gives one array.

    Returns:
      name -> `[n, …]`, in the order of `names`, or in that in which the calls end. Of a submodule that is called
      several times, the last call.

    Raises:
      UserError: a name that the network has no tap of, with the nearest.
    """
    found: dict[str, Any] = {}

    def keep(call: Callable, arguments: Any, keywords: Any, context: nn.module.InterceptorContext) -> Any:
        output = call(*arguments, **keywords)
        name = _name(context)
        if name and _is_array(output):
            found.pop(name, None)  # so that the last call decides the order too
            found[name] = output
        return output

    with nn.intercept_methods(keep):
        _without_remat(module).apply(variables, inputs, train=False)
    if names is None:
        return found
    check(names, found)
    return {name: found[name] for name in names}


def rest(
    module: nn.Module, variables: Any, name: str, shape: Sequence[int], dtype: Any = jnp.float32
) -> Callable[[Any], Any]:
    """The part of a network behind a tap: a function of the activation, differentiable in it.

    `rest(…)(activations(module, variables, inputs, [name])[name])` is `module.apply(variables, inputs)`, to the bit
    where both run operation by operation; compiled programs may round in another order. What stands before the tap is
    computed on zeros and not read; under `jax.jit` it is no part of the program.

    Args:
      module, variables: as of :func:`activations`.
      name: of the tap.
      shape: of one prepared input, without the batch: networks read the size of a grid from it.
      dtype: of the inputs.

    Returns:
      A function `[n, …] -> module's output`.

    Raises:
      UserError: a name that the network has no tap of; an activation of another shape than the tap's.
    """

    def call(activation: Any) -> Any:
        seen: dict[str, Any] = {}

        def put(inner: Callable, arguments: Any, keywords: Any, context: nn.module.InterceptorContext) -> Any:
            if _name(context) == name:
                expected = jax.eval_shape(lambda: inner(*arguments, **keywords))
                if not _is_array(expected) or expected.shape != activation.shape:
                    wanted = list(expected.shape) if _is_array(expected) else 'no single array'
                    raise UserError(f'tap {name} gives {wanted}, and the activation is {list(activation.shape)}')
                seen[name] = activation
                return activation
            output = inner(*arguments, **keywords)
            if _is_array(output):
                seen.setdefault(_name(context), output)
            return output

        inputs = jnp.zeros((activation.shape[0], *shape), dtype)
        with nn.intercept_methods(put):
            output = _without_remat(module).apply(variables, inputs, train=False)
        check([name], [known for known in seen if known])
        return output

    return call


def changed(module: nn.Module, variables: Any, inputs: Array, name: str, change: Array) -> Any:
    """The network's output where `change` is added to what a tap gives; differentiable in it.

    Unlike :func:`rest` it serves taps beside which values pass too, as a residual connection does.

    Raises:
      UserError: a name that the network has no tap of.
    """
    seen = set()

    def add(inner: Callable, arguments: Any, keywords: Any, context: nn.module.InterceptorContext) -> Any:
        output = inner(*arguments, **keywords)
        seen.add(_name(context))
        return output + change if _name(context) == name else output

    with nn.intercept_methods(add):
        output = _without_remat(module).apply(variables, inputs, train=False)
    check([name], sorted(seen - {''}))
    return output


def shapes(module: nn.Module, variables: Any, inputs: Any) -> dict[str, jax.ShapeDtypeStruct]:
    """Every tap's shape for a batch of inputs (an array, or its shape and dtype); nothing is computed."""
    return jax.eval_shape(lambda given, x: activations(module, given, x), variables, inputs)


def check(names: Sequence[str], known: Any) -> None:
    """Refuses names of taps that are not known."""
    for name in names:
        if name not in known:
            raise UserError(f'{name!r} is no tap of the encoder{nearest(name, known)}')


def layers(module: nn.Module, known: Sequence[str]) -> tuple[str, ...]:
    """The taps that a table over depth shows: the network's own list, or the submodules it calls itself.

    Args:
      module: the network; ours have a property `layers`.
      known: all its taps, in order (:func:`shapes`).
    """
    own = getattr(module, 'layers', None)
    return tuple(own) if own is not None else tuple(name for name in known if '/' not in name)


def pooled(module: nn.Module, activation: Array) -> Array:
    """An activation `[n, …, dim]` as `[n, dim]`, in at least float32.

    Maps `[n, rows, columns, dim]` become their mean over places; tokens what the network makes of them at its end
    (:meth:`ViT.pooled`: class token or mean patch) and, of networks without that, their mean; vectors stay.
    """
    activation = activation.astype(jnp.promote_types(activation.dtype, jnp.float32))
    if activation.ndim == 3 and hasattr(module, 'pooled'):
        return module.pooled(activation)
    places = math.prod(activation.shape[1:-1])
    return jnp.mean(activation.reshape(activation.shape[0], places, activation.shape[-1]), axis=1)

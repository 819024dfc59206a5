"""Compiled calls that tests share.

A function that is called operation by operation compiles each of them by itself, in every shape and type: some 45 ms
apiece on one core, and a loss has 35. Under `jax.jit` it is one program, and a second test that asks for the same
function with the same keywords gets that program.
"""

import functools
import inspect

import jax
import numpy as np
import selfsup.diagnostics
import selfsup.losses
from selfsup.losses import masked


@functools.cache
def compiled(function, **keywords):
    """`function` of arrays as one program; keywords that are no arrays are given here."""
    return jax.jit(functools.partial(function, **keywords))


@functools.cache
def with_gradients(function, *, of=(0, 1), **keywords):
    """Likewise the value and the gradients by the arguments `of`, by default those of two views."""
    return jax.jit(jax.value_and_grad(functools.partial(function, **keywords), argnums=of))


def called(function, *arguments, **keywords):
    """`function(*arguments, **keywords)` as one program, in NumPy; what is no array is static."""
    leaves, tree = jax.tree.flatten((arguments, keywords))
    arrays = [x if isinstance(x, np.ndarray | np.generic | jax.Array) else None for x in leaves]
    if all(x is None for x in arrays):
        return function(*arguments, **keywords)
    static = tuple(None if a is not None else x for a, x in zip(arrays, leaves, strict=True))
    found = _program(function, tree, static)(arrays)
    return jax.tree.map(lambda x: x if isinstance(x, jax.core.Tracer) else np.asarray(x), found)


@functools.cache
def _program(function, tree, static):
    def call(arrays):
        leaves = [x if a is None else a for a, x in zip(arrays, static, strict=True)]
        arguments, keywords = jax.tree.unflatten(tree, leaves)
        return function(*arguments, **keywords)

    return jax.jit(call)


class Programs:
    """A module whose functions are :func:`called`."""

    def __init__(self, module):
        self.module = module

    def __getattr__(self, name):
        found = getattr(self.module, name)
        return functools.partial(called, found) if inspect.isfunction(found) else found


class Compiled:
    """A flax module whose `init` and `apply` are :func:`called`."""

    def __init__(self, module):
        self.module = module

    def __getattr__(self, name):
        found = getattr(self.module, name)
        return functools.partial(called, found) if name in ('init', 'init_with_output', 'apply') else found

    def clone(self, **fields):
        return Compiled(self.module.clone(**fields))


losses, diagnostics = Programs(selfsup.losses), Programs(selfsup.diagnostics)


def patchify(images, patch):
    return called(masked.patchify, images, patch=patch)


def unpatchify(patches, patch, grid):
    return called(masked.unpatchify, patches, patch=patch, grid=grid)

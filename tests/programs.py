"""Compiled calls that tests share.

A function that is called operation by operation compiles each of them by itself, in every shape and type: some 45 ms
apiece on one core, and a loss has 35. Under `jax.jit` it is one program, and a second test that asks for the same
function with the same keywords gets that program.
"""

import functools

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
    """`function(*arguments, **keywords)` as one program, in NumPy; of the keywords those without arrays are fixed."""
    arrays = {k: v for k, v in keywords.items() if has_arrays(v)}
    if not has_arrays(arguments) and not arrays:
        return function(*arguments, **keywords)
    fixed = {k: v for k, v in keywords.items() if k not in arrays}
    found = compiled(function, **fixed)(*arguments, **arrays)
    return jax.tree.map(lambda x: x if isinstance(x, jax.core.Tracer) else np.asarray(x), found)


def has_arrays(tree):
    return any(isinstance(x, np.ndarray | np.generic | jax.Array) for x in jax.tree.leaves(tree))


class Programs:
    """A module whose functions are called as programs."""

    def __init__(self, module):
        self.module = module

    def __getattr__(self, name):
        return functools.partial(called, getattr(self.module, name))


losses, diagnostics = Programs(selfsup.losses), Programs(selfsup.diagnostics)


def patchify(images, patch):
    return called(masked.patchify, images, patch=patch)


def unpatchify(patches, patch, grid):
    return called(masked.unpatchify, patches, patch=patch, grid=grid)

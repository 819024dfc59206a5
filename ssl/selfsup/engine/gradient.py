"""Loss and gradient of one batch: in one piece, or with the network run over microbatches.

Most losses of this field need the whole batch, so the gradients of parts of a batch cannot be added up
as a supervised trainer does. They can be cut at the embeddings, since a method's `embed` works example
by example and only its `criterion` sees the batch: embed every microbatch without keeping activations,
differentiate the criterion with respect to all embeddings, then embed each microbatch again and
backpropagate its slice of that gradient (Gao et al. 2021, https://arxiv.org/abs/2101.06983, section 3).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array
from ml_collections import ConfigDict

from ..errors import UserError
from ..methods import METHODS, Method
from ..parallel import DATA_AXIS, constrain_batch
from ..signature import networks
from .controls import controlled

VIEWS, EMBED, CRITERION, REFRESH, EXAMPLES, COMPANIONS = range(6)  # streams of a step's key
Gradient = Callable[..., tuple[tuple[Array, tuple[Any, dict, Array]], Any]]


def make_gradient(
    method: Method, views: Callable, *, microbatches: int = 1, mesh: Any = None, control: str = 'none'
) -> Gradient:
    """The function `(params, extra, rows, key, sources) -> ((loss, (extra, metrics, features)), gradients)`.

    Args:
      method: whose loss it is.
      views: see :func:`selfsup.augment.make_views`.
      microbatches: how many pieces the network sees the batch in; `embed` runs twice if there are several.
        The result is that of one piece where no example's outputs depend on its neighbours (see
        :func:`check_microbatches`): random masks and dropout are drawn from keys of the examples.
      mesh: over which the batch, and each of its pieces, is spread.
      control: 'shuffled_targets' gives every example another example's targets; see :mod:`.controls`.

    `rows` has `input`, `index`, `step` and, for methods that see it, `label`; `sources` is, per view, the row it is
    drawn from or None. `features` are the first view's, without a gradient.
    """
    if microbatches == 1:
        return _whole(method, views, mesh, control)
    return _cached(method, views, microbatches, mesh, control)


def _criterion_batch(batch: dict) -> dict:
    """What a criterion sees of a batch: not the views."""
    return {name: value for name, value in batch.items() if name not in ('views', 'input', 'position')}


def _example_keys(key: Array, positions: Array) -> Array:
    """A key for each example, by its position in the global batch."""
    stream = jax.random.fold_in(key, EXAMPLES)
    return jax.vmap(lambda position: jax.random.fold_in(stream, position))(positions)


def _whole(method: Method, views: Callable, mesh: Any, control: str) -> Gradient:
    def gradient(params: Any, extra: Any, rows: dict, key: Array, sources: list) -> tuple:
        positions = jnp.arange(rows['index'].shape[0])
        with jax.named_scope('augmentation'):
            seen, sampled = views(jax.random.fold_in(key, VIEWS), rows['input'], positions, sources)
        batch = {name: value for name, value in rows.items() if name != 'input'}
        batch |= {'views': constrain_batch(seen, mesh), 'view_params': sampled, 'keys': _example_keys(key, positions)}

        def loss(params: Any) -> tuple[Array, tuple]:
            with jax.named_scope('forward'):
                outputs, new = method.embed(params, extra, batch, jax.random.fold_in(key, EMBED))
            features = jax.lax.stop_gradient(outputs['features'][0])
            outputs, known = controlled(control, outputs), _criterion_batch(batch)
            with jax.named_scope('loss'):
                value, (new, metrics) = method.criterion(
                    params, outputs, new, known, jax.random.fold_in(key, CRITERION)
                )
            return value, (new, metrics, features)

        return jax.value_and_grad(loss, has_aux=True)(params)

    return gradient


def _floats(outputs: Any) -> list[Array]:
    """The leaves that have a gradient: masks and numbers of patches have none."""
    return [leaf for leaf in jax.tree.leaves(outputs) if jnp.issubdtype(leaf.dtype, jnp.floating)]


def _with_floats(outputs: Any, floats: list[Array]) -> Any:
    """`outputs` with the leaves of :func:`_floats` replaced."""
    rest = iter(floats)
    return jax.tree.map(lambda leaf: next(rest) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, outputs)


def _cached(method: Method, views: Callable, microbatches: int, mesh: Any, control: str) -> Gradient:
    spread = None if mesh is None or mesh.size == 1 else NamedSharding(mesh, PartitionSpec(None, DATA_AXIS))

    def cut(tree: Any) -> Any:
        """Rows as `[microbatches, rows of one, …]`, every microbatch spread over all devices."""

        def one(x: Array) -> Array:
            x = x.reshape(microbatches, -1, *x.shape[1:])
            return x if spread is None else jax.lax.with_sharding_constraint(x, spread)

        return jax.tree.map(one, tree)

    def join(tree: Any) -> Any:
        return constrain_batch(jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree), mesh)

    def gradient(params: Any, extra: Any, rows: dict, key: Array, sources: list) -> tuple:
        shuffled = any(source is not None for source in sources)
        positions = jnp.arange(rows['index'].shape[0])
        own = {name: value for name, value in rows.items() if name != 'step'}
        chunks = cut({**own, 'position': positions})

        def embed(params: Any, chunk: dict) -> tuple[Any, tuple[Any, Any]]:
            position, inputs = chunk['position'], rows['input'] if shuffled else chunk['input']
            drawn = [position if s is None else s[position] for s in sources] if shuffled else sources
            with jax.named_scope('augmentation'):
                seen, sampled = views(jax.random.fold_in(key, VIEWS), inputs, position, drawn)
            batch = {**_criterion_batch(chunk), 'step': rows['step'], 'keys': _example_keys(key, position)}
            batch |= {'views': seen, 'view_params': sampled}
            with jax.named_scope('forward'):
                outputs, new = method.embed(params, extra, batch, jax.random.fold_in(key, EMBED))
            return outputs, (_statistics(new, extra), sampled)

        outputs, (statistics, sampled) = jax.lax.map(lambda chunk: embed(params, chunk), chunks)
        # Every piece moved the same old averages, by amounts that are linear in its own statistics.
        moved = _with_statistics(extra, [jnp.mean(s, axis=0) for s in statistics])
        batch = _criterion_batch(rows) | {'view_params': join(sampled), 'keys': _example_keys(key, positions)}

        whole = join(outputs)

        def loss(params: Any, floats: list[Array]) -> tuple[Array, tuple]:
            known = controlled(control, _with_floats(whole, floats))
            with jax.named_scope('loss'):
                return method.criterion(params, known, moved, batch, jax.random.fold_in(key, CRITERION))

        (value, (new, metrics)), (direct, cotangents) = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(
            params, _floats(whole)
        )

        def add(total: Any, piece: tuple[dict, Any]) -> tuple[Any, None]:
            chunk, cotangent = piece
            _, backpropagate = jax.vjp(lambda p: _floats(embed(p, chunk)[0]), params)
            return jax.tree.map(jnp.add, total, backpropagate(cotangent)[0]), None

        gradients, _ = jax.lax.scan(add, direct, (chunks, cut(cotangents)))
        return (value, (new, metrics, jax.lax.stop_gradient(whole['features'][0]))), gradients

    return gradient


def _is_statistic(path: tuple) -> bool:
    return any(getattr(part, 'key', None) == 'batch_stats' for part in path)


def _statistics(new: Any, old: Any) -> list[Array]:
    """The batch statistics of `extra`, which are all that `embed` may have changed in it."""
    pairs = zip(jax.tree_util.tree_leaves_with_path(new), jax.tree.leaves(old), strict=True)
    found = []
    for (path, leaf), before in pairs:
        if _is_statistic(path):
            found.append(leaf)
        elif leaf is not before:
            raise ValueError(f'embed changes extra{jax.tree_util.keystr(path)}; only its batch statistics may move')
    return found


def _with_statistics(extra: Any, statistics: list[Array]) -> Any:
    rest = iter(statistics)
    return jax.tree_util.tree_map_with_path(lambda path, leaf: next(rest) if _is_statistic(path) else leaf, extra)


def check_microbatches(config: ConfigDict, extra: Any, devices: int) -> None:
    """Refuses microbatches that would change what a step computes.

    Args:
      config: of the run.
      extra: the method's, or its shapes: batch statistics in it betray batch-norm.
      devices: over which each microbatch is spread.

    Raises:
      UserError: naming what couples the examples of a batch, and what would help.
    """
    parts, size, groups = config.train.microbatches, config.data.batch_size, config.train.batch_norm_groups
    if parts == 1:
        return
    if size % (parts * devices):
        raise UserError(
            f'train.microbatches={parts} must cut data.batch_size={size} into equal parts that are spread over '
            f'{devices} devices; a batch that is a multiple of {parts * devices} does'
        )
    leaves = jax.tree_util.tree_leaves_with_path(extra)
    paths = [[str(getattr(p, 'key', '')) for p in path] for path, _ in leaves if _is_statistic(path)]
    coupled = sorted({path[path.index('batch_stats') + 1] for path in paths})
    if not coupled:
        return
    own_networks = [n for n in networks(METHODS[config.method.name]) if n in config]
    iterative = any(config[n].get('last_norm') == 'iterative' for n in own_networks)
    own = set(coupled) - set(networks(METHODS[config.method.name]))
    why = ''
    if 'groups' in config.method and 'encoder' in coupled:
        why = f'{config.method.name} shuffles the places of its batch-norm groups over the whole batch'
    elif iterative or own:
        why = f'the normalisation of {"the projector" if iterative else ", ".join(own)} spans the whole batch'
    elif groups % parts:
        why = (
            f'the batch-norms of {", ".join(coupled)} must work in groups that lie inside a microbatch '
            f'(train.batch_norm_groups={groups} is no multiple of {parts})'
        )
    if why:
        raise UserError(
            f'train.microbatches={parts}: {why}; networks without batch-norm need no groups, and '
            f'model.remat=true saves memory without microbatches'
        )

"""Self-distillation of class tokens and of hidden patches: what iBOT and DINOv2 share."""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ...augment import masking
from ...errors import UserError
from ...losses._common import normalize
from ...signature import Domain
from ..base import Method, encode_with, forward, pairs, target_network, through, view_keys
from ..distillation.dino import last_layer, new_layer
from ..target import follow
from .patches import check_encoder, patch_grid

MASKS = 2  # stream of the examples' keys; 0 and 1 are the student's and the teacher's
MASK_KINDS = ('block', 'random')
PATCH_HEADS = ('shared', 'layer', 'own')
MaskKind = Annotated[str, Domain(str, choices=MASK_KINDS)]
PatchHead = Annotated[str, Domain(str, choices=PATCH_HEADS)]
Ratios = Annotated[tuple[float, float], Domain(above=0, below=1, several=True, length=2, static=True)]


class Scores(NamedTuple):
    """Scores against the prototypes.

    Attributes:
      student, teacher: of each crop's class token, `[batch, count]`.
      student_patches, teacher_patches: of hidden patches, `[batch·crops, patches, count]`, crops of an image side by
        side.
      hidden: `[batch·crops, patches]`, False for rows that fill up the fixed number of patches.
    """

    student: tuple
    teacher: tuple
    student_patches: Array
    teacher_patches: Array
    hidden: Array


def draw_masks(
    keys: Array, grid: tuple[int, int], *, kind: str, share: Any, ratio: tuple[float, float], least: int
) -> Array:
    """Which patches are hidden `[batch, patches]`: in a share of the examples, a uniformly drawn ratio of them.

    Args:
      keys: typed keys, one an example.
      grid: rows and columns of patches.
      kind: 'block', :func:`masking.block`, or 'random', single patches.
      share, ratio: probability that an image is masked, and the range of its share of hidden patches, rounded down.
      least: of blocks; 0 is iBOT's, (shorter side // 3)².
    """
    patches = grid[0] * grid[1]
    low, high = ratio

    def count_of(key: Array) -> Array:
        first, second = jax.random.split(jax.random.fold_in(key, 0))
        drawn = low + (high - low) * jax.random.uniform(second, (), jnp.float32)
        return jnp.where(jax.random.uniform(first, (), jnp.float32) < share, (patches * drawn).astype(int), 0)

    counts = jax.vmap(count_of)(keys)
    keys = jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys)
    if kind == 'random':
        noise = jax.vmap(lambda key: jax.random.uniform(key, (patches,), jnp.float32))(keys)
        return jnp.argsort(jnp.argsort(noise, axis=1), axis=1) < counts[:, None]
    try:
        return masking.block(keys, grid, counts, least=least or None)
    except ValueError as error:
        raise UserError(f"method.mask='block': {error}") from error


def most_hidden(grid: tuple[int, int], ratio: tuple[float, float]) -> int:
    """The most patches that a mask hides, which fixes shapes.

    Raises:
      UserError: ratios out of order, or so small that nothing is ever hidden.
    """
    low, high = ratio
    count = int(grid[0] * grid[1] * high)
    if not 0 < low <= high < 1:
        raise UserError(f'method.mask_ratio={ratio} must be two numbers in order, above 0 and below 1')
    if count < 1:
        raise UserError(f'method.mask_ratio={ratio} hides none of the {grid[0] * grid[1]} patches of a view')
    return count


def masked_distillation(
    encoder: nn.Module,
    projector: nn.Module,
    criterion: Callable,
    *,
    name: str,
    prototypes: int,
    patch_prototypes: int,
    patch_head: str,
    learn_gain: bool,
    mask: Callable[[Array, tuple[int, int]], Array],
    ratio: tuple[float, float],
    teacher_views: int,
    momentum: Any,
    fuse_views: bool,
    patch_mean: bool,
    state: dict[str, Array],
) -> Method:
    """A student that sees global crops with hidden patches, and an EMA teacher that sees them whole.

    Args:
      encoder, projector: of tokens; the projector ends in the bottleneck.
      criterion: of the method, on what :func:`scores` makes of the outputs.
      name: in errors.
      prototypes, patch_prototypes: rows of the last layer, and of that of the patches; 0 takes as many.
      patch_head: 'shared', one head; 'layer', a last layer of its own for patches; 'own', a whole head of its own.
      learn_gain: as in :func:`~selfsup.methods.distillation.dino.dino`.
      mask: `(keys, grid) -> hidden [batch, patches]`.
      ratio: of hidden patches, whose upper end bounds their number.
      teacher_views, momentum, fuse_views: as in `dino`.
      patch_mean: whether the targets hold the mean of all the teacher's normalised patch embeddings of an image.
      state: what the method keeps besides the target.
    """
    check_encoder(name, encoder)
    if patch_head == 'shared' and patch_prototypes not in (0, prototypes):
        raise UserError(
            f"method.patch_head='shared' needs method.patch_prototypes=0 or {prototypes}, not {patch_prototypes}"
        )
    still = encoder.clone(drop_path=0.0) if getattr(encoder, 'drop_path', 0.0) else encoder
    own = 'patch_projector' if patch_head == 'own' else 'projector'

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        images = batch['views'][0][:2]
        grid = patch_grid(encoder, images)
        most_hidden(grid, ratio)
        hidden = mask(jax.random.split(key, 2), grid)
        tokens, variables = encoder.init_with_output(jax.random.fold_in(key, 0), images, method='tokens', hidden=hidden)
        params, stats = {'encoder': variables['params']}, {'encoder': {}}
        features = encoder.pooled(tokens)
        for index, head in enumerate(dict.fromkeys(('projector', own)), 1):
            made = projector.init(jax.random.fold_in(key, index), features, train=False)
            params[head], stats[head] = made['params'], made.get('batch_stats', {})
        width = jax.eval_shape(lambda: forward(projector, params[own], stats[own], features, train=False)[0]).shape[1]
        layers = [
            new_layer(jax.random.fold_in(key, 98 + i), (count, width), learn_gain=learn_gain)
            for i, count in enumerate((prototypes, patch_prototypes or prototypes))
        ]
        params['prototypes'] = layers[0] if patch_head == 'shared' else {**layers[0], 'patches': layers[1]}
        target = jax.tree.map(jnp.copy, {'params': params, 'batch_stats': stats})
        return params, {'batch_stats': stats, 'target': target, **state}

    def run(network: nn.Module, state: dict, views: tuple, hidden: tuple, keys: tuple) -> tuple:
        """Tokens, features and embeddings of each view, and the batch statistics."""
        params, stats = state['params'], dict(state['batch_stats'])

        def tokens_of(view: Any, nothing: Any) -> tuple[Array, Any]:
            images, mask, keys = view
            seen = {'hidden': mask, 'train': True, 'keys': keys}
            return network.apply({'params': params['encoder']}, images, method='tokens', **seen), nothing

        def head(x: Array, stats: Any) -> tuple[Array, Any]:
            return forward(projector, params['projector'], stats, x, train=True)

        tokens, _ = through(tokens_of, tuple(zip(views, hidden, keys, strict=True)), None, fuse=fuse_views)
        features = tuple(network.pooled(x) for x in tokens)
        embeddings, stats['projector'] = through(head, features, stats['projector'], fuse=fuse_views)
        return tokens, features, embeddings, stats

    def patch_embeddings(state: dict, stats: dict, patches: Array) -> Array:
        """Patch tokens `[batch, patches, dim]` through their head; `stats` takes in their batch statistics."""
        rows = patches.reshape(-1, patches.shape[-1])
        z, stats[own] = forward(projector, state['params'][own], stats[own], rows, train=True)
        return z.reshape(*patches.shape[:2], -1)

    def embed(params: Any, extra: Any, batch: dict, key: Array) -> tuple[dict, dict]:
        views, target = batch['views'], extra['target']
        whole = pairs(views, count=teacher_views)
        sides = [f'{view.shape[1]}x{view.shape[2]}' for view in whole]
        if len(set(sides)) > 1:
            raise UserError(
                f'{name} hides patches of its first {teacher_views} views, which must be of one size, not '
                f'{" and ".join(sides)} (augment.views)'
            )
        grid = patch_grid(encoder, whole[0])
        bound = most_hidden(grid, ratio)
        drawn = view_keys(batch, MASKS)
        hidden = tuple(mask(drawn(v), grid) for v in range(len(whole)))
        found = [masking.places(h, bound) for h in hidden]
        student = {'params': params, 'batch_stats': extra['batch_stats']}
        teacher = jax.lax.stop_gradient(target)

        nothing = (None,) * (len(views) - len(whole))
        keys = tuple(view_keys(batch, 0)(v) for v in range(len(views)))
        tokens, features, embeddings, stats = run(encoder, student, views, (*hidden, *nothing), keys)
        predicted = tuple(
            patch_embeddings(student, stats, taken(x[:, encoder.prefix :], at))
            for x, (at, _) in zip(tokens, found, strict=False)
        )
        seen, _, classes, target_stats = run(still, teacher, whole, (None,) * len(whole), (None,) * len(whole))
        theirs, means = [], []
        for x, (at, _) in zip(seen, found, strict=True):
            patches = x[:, encoder.prefix :]
            if patch_mean:  # of all patches, so all pass through the head
                z = patch_embeddings(teacher, target_stats, patches)
                means.append(jnp.mean(normalize(z.astype(jnp.promote_types(z.dtype, jnp.float32))), axis=1))
                theirs.append(taken(z, at))
            else:
                theirs.append(patch_embeddings(teacher, target_stats, taken(patches, at)))
        targets = {'class': classes, 'patches': tuple(theirs), **({'mean': tuple(means)} if patch_mean else {})}
        outputs = {
            'features': features,
            'embeddings': embeddings,
            'patches': predicted,
            'hidden': tuple(real for _, real in found),
            'targets': jax.lax.stop_gradient(targets),
        }
        return outputs, {**extra, 'batch_stats': stats, 'target': {**target, 'batch_stats': target_stats}}

    return Method(
        init, embed, criterion, encode_with({'encoder': still, 'projector': projector}), follow(momentum),
        network=target_network, control='shuffled_targets',
    )  # fmt: skip


def taken(x: Array, numbers: Array) -> Array:
    """Rows of each example by their numbers: `[batch, patches, dim]` and `[batch, count]` to `[batch, count, dim]`."""
    return jnp.take_along_axis(x, numbers[:, :, None], axis=1)


def beside(parts: tuple) -> Array:
    """Arrays `[batch, …]`, one a crop, as one in which an image's crops stand side by side, so that none moves."""
    return jnp.stack(parts, axis=1).reshape(-1, *parts[0].shape[1:])


def patch_layer(prototypes: dict) -> dict:
    """The last layer of the patches, which may be that of the class tokens."""
    return prototypes.get('patches', prototypes)


def scores(params: Any, outputs: dict, extra: Any) -> Scores:
    """What the criteria of iBOT and DINOv2 compare, from the outputs of `embed`."""
    ours, theirs = params['prototypes'], jax.lax.stop_gradient(extra['target']['params']['prototypes'])
    targets = outputs['targets']
    return Scores(
        tuple(last_layer(ours, z) for z in outputs['embeddings']),
        tuple(last_layer(theirs, z) for z in targets['class']),
        last_layer(patch_layer(ours), beside(outputs['patches'])),
        last_layer(patch_layer(theirs), beside(targets['patches'])),
        beside(outputs['hidden']),
    )


def entropy(probabilities: Array, where: Array | None = None) -> Array:
    """Mean entropy in nats of rows of probabilities, over the rows that count; for metrics, no gradient."""
    rows = -jnp.sum(probabilities * jnp.log(jnp.maximum(probabilities, 1e-30)), axis=-1)
    where = jnp.ones(rows.shape, bool) if where is None else where
    return jax.lax.stop_gradient(jnp.sum(jnp.where(where, rows, 0.0)) / jnp.maximum(jnp.sum(where), 1))

"""DeeperCluster (Caron et al. 2019, https://arxiv.org/abs/1905.01278): turns and clusters of two levels as classes."""

from functools import partial
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import diagnostics, losses
from ...errors import UserError
from ...signature import Count, Domain
from ..base import Method, Refresh, init_modules, view_keys
from ..memory import check_size
from ..pretext.parts import known_answers, of_unchanged, one_part, part_features
from .deepcluster import fit_whitened, no_whitening, whitened
from .heads import begun, filled, head_logits, linear_heads, unclustered

TURNS = 4
OPERATION = 'turns'


def deepercluster(
    encoder: nn.Module,
    *,
    data_size: int,
    superclusters: Count = 4,
    clusters: Count = 20000,
    components: Count = 4096,
    iterations: Annotated[int, Domain(int, least=1, most=1000)] = 10,
    every_epochs: Count = 3,
    balanced: bool = True,
) -> Method:
    """DeeperCluster: an image is turned, and the pair of its turn and its cluster is learned, on two levels.

    Before the first epoch and every few epochs all images, without augmentation or turn, are clustered by their
    features (whitened by their first principal components, unit length): m superclusters of the whole set, then the
    images of each into k clusters of its own. The upper classes are the 4·m pairs of turn and supercluster; each has a
    classifier of its k clusters. The loss is the sum of both cross-entropies. Heads and their optimiser's state start
    anew after each clustering.

    Empty clusters go to the row farthest from its own centre; the authors split another one. They draw images evenly
    from the clusters of each upper class; here an image weighs the inverse of its cluster's size. Their heads see the
    features through a ReLU, and so do these. The control gives each image the turn and the clusters of another.

    Args:
      encoder: any, of square images. Authors: VGG-16 with Sobel filters in front, up to the last hidden layer.
      data_size: examples in the data set; `batch['index']` runs below it.
      superclusters: m. Authors: 4, so 16 upper classes.
      clusters: k, of each supercluster; m·k at most the number of images. Authors: 20000, which is their k of 320000
        over 16 upper classes.
      components: principal components kept, of the features' width at most. Authors: 4096.
      iterations: of k-means on both levels. Authors: 10.
      every_epochs: how often images are clustered. Authors: 3.
      balanced: whether clusters weigh the same in the loss. Authors: yes.

    The view's operation is `turns` (:func:`selfsup.augment.random_turns`): with `copies=1` one random turn of each
    image, as the authors; with more, each copy is a row of the loss. The features in training are those of the upright
    copy. Metrics: both terms, and the share of upper classes and of clusters that are right before the update.

    State: parameters `head`, `upper` `[1, dim, 4·m]` and `lower` `[4·m, dim, k]`; each image's supercluster and
    cluster, rows padded to a multiple of 256; sizes `[m, k]`, whitening, centres of both levels. `assign` asks the
    centres, m·k clusters.

    Raises:
      UserError: a view without `turns`, or more clusters than images.

    References:
      Caron et al. 2019, https://arxiv.org/abs/1905.01278; `clustering.py`, `trainer.py` of the authors.
    """
    check_size('deepercluster', data_size)
    if superclusters * clusters > data_size:
        raise UserError(
            f'deepercluster cannot make method.superclusters={superclusters} times method.clusters={clusters} '
            f'clusters of {data_size} images; at most so many'
        )
    modules = {'encoder': encoder}

    def parts_of(images: Array) -> Array:
        return images if images.ndim == 5 else one_part(images)

    def first(key: Array, batch: dict) -> tuple[dict, dict]:
        params, stats = init_modules(key, modules, parts_of(batch['views'][0])[:, 0])
        return params, {'batch_stats': stats}

    def head(key: Array, dim: int) -> dict[str, Any]:
        keys = jax.random.split(key)
        return {
            'upper': linear_heads(keys[0], 1, dim, TURNS * superclusters),
            'lower': linear_heads(keys[1], TURNS * superclusters, dim, clusters),
        }

    def state(dim: int) -> dict[str, Any]:
        kept = min(components, dim)
        return {
            'per_example': {'clusters': unclustered(data_size, 2)},
            'sizes': jnp.zeros((superclusters, clusters)),
            'super_prototypes': jnp.zeros((superclusters, kept)),
            'prototypes': jnp.zeros((superclusters, clusters, kept)),
            'whitening': no_whitening(dim, kept),
        }

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        answers, stats = known_answers(batch, OPERATION), extra['batch_stats']
        if answers is None:
            raise UserError(
                f"deepercluster needs a view with the operation {OPERATION!r}; augment.recipe='rotation' has one"
            )
        parts, keys = parts_of(batch['views'][0]), view_keys(batch)(0)
        features, moved = part_features(encoder, params['encoder'], stats['encoder'], parts, train=True, keys=keys)
        pooled = (of_unchanged(features, answers),)
        # The index is a target too: the control then changes turn and clusters together.
        targets = {'turns': answers, 'index': batch['index']}
        outputs = {'features': pooled, 'embeddings': pooled, 'parts': features, 'targets': targets}
        return outputs, {**extra, 'batch_stats': {'encoder': moved}}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        answers, parts = outputs['targets']['turns'], outputs['parts']
        own = extra['per_example']['clusters'][outputs['targets']['index']]
        above, below = (jnp.repeat(x, parts.shape[1]) for x in own.T)
        turn = jnp.argmax(answers, axis=-1).reshape(-1)
        classes = jnp.where(above >= 0, TURNS * above + turn, -1)
        weights = 1.0 / jnp.maximum(extra['sizes'][above, below], 1.0) if balanced else None
        z = jax.nn.relu(parts.reshape(-1, parts.shape[-1]))
        upper, lower = head_logits(params['head']['upper'], z)[:, 0], head_logits(params['head']['lower'], z)
        terms = losses.hierarchical_cross_entropy_terms(upper, lower, classes, below, weights=weights)
        within = jnp.take_along_axis(lower, jnp.maximum(classes, 0)[:, None, None], axis=1)[:, 0]
        hits = {
            'class_hits': jnp.mean(jnp.argmax(upper, axis=1) == classes),
            'cluster_hits': jnp.mean(jnp.argmax(within, axis=1) == below),
            'turn_accuracy': jnp.mean(jnp.argmax(upper, axis=1) % TURNS == turn),
        }
        return terms['upper'] + terms['lower'], (extra, {**terms, **hits})

    def refresh(params: Any, extra: Any, key: Array, features: Any) -> tuple[Any, Any, tuple]:
        whitening = fit_whitened(features, extra['prototypes'].shape[-1])
        z = whitened(whitening, features)
        start, inner, new = jax.random.split(key, 3)
        cluster = partial(diagnostics.kmeans, iterations=iterations, start='rows', empty='farthest')
        above_centres, above = cluster(start, z, clusters=superclusters)

        def within(number: Array) -> tuple[Array, Array]:
            return cluster(jax.random.fold_in(inner, number), z, clusters=clusters, valid=above == number)

        centres, members = jax.lax.map(within, jnp.arange(superclusters))
        below = jnp.max(members, axis=0)  # −1 in all but one of them
        sizes = jnp.sum(jax.nn.one_hot(members, clusters), axis=1)
        own = filled(extra['per_example']['clusters'], jnp.stack([above, below], axis=1))
        found = {
            'per_example': {'clusters': own},
            'sizes': sizes,
            'super_prototypes': above_centres,
            'prototypes': centres,
            'whitening': whitening,
        }
        return {**params, 'head': head(new, features.shape[1])}, {**extra, **found}, ('head',)

    def encode(network: dict[str, Any], inputs: Array) -> dict[str, Array]:
        parts, stats = parts_of(inputs), network['batch_stats']['encoder']
        features, _ = part_features(encoder, network['params']['encoder'], stats, parts, train=False)
        pooled = jnp.mean(features, axis=1)
        return {'features': pooled, 'embeddings': pooled}

    def assign(params: Any, extra: Any, outputs: dict) -> Array:
        z = whitened(extra['whitening'], outputs['features'])
        above = diagnostics.pairwise_distances(z, extra['super_prototypes'], metric='squared')
        flat = extra['prototypes'].reshape(superclusters * clusters, -1)
        below = diagnostics.pairwise_distances(z, flat, metric='squared')
        nearest = jax.nn.one_hot(jnp.argmin(above, axis=1), superclusters, dtype=bool)
        return jnp.where(jnp.repeat(nearest, clusters, axis=1), -below, -jnp.inf)

    base = Method(first, embed, criterion, encode, views=1, control='shuffled_targets')
    return base._replace(
        init=begun(base, head, state),
        refresh=Refresh(refresh, every_epochs=every_epochs, needs_features=True),
        assign=assign,
    )

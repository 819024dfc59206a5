"""ClusterNet (Shukla et al. 2018, https://arxiv.org/abs/1806.01547): clusters that a few labels guide."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import losses
from ...errors import UserError
from ...signature import Count, NonNegative, Share, Whole
from ..base import Method, embedding_width, encode_with, heads, init_modules, module_outputs, network_outputs, view_keys
from ..masked.patches import check_decoder


def clusternet(
    encoder: nn.Module,
    projector: nn.Module,
    decoder: nn.Module,
    *,
    clusters: Count = 10,
    labelled: Share = 0.02,
    label_seed: Whole = 0,
    margin: NonNegative = 2.0,
    pair_weight: NonNegative = 1.0,
    centre_weight: NonNegative = 1.0,
    reconstruction_weight: NonNegative = 1.0,
    pretrain_steps: Whole = 0,
    start_steps: Whole = 0,
    ramp_steps: Whole = 0,
) -> Method:
    """ClusterNet: an autoencoder whose codes lie near the centres of clusters, and pairs with a label keep to it.

    The probability of a cluster is the softmax of −‖z − c‖². Rows with a label are of the cluster of that number; the
    others, with a weight that grows from 0 to 1, of the nearest centre that has a row. Of both kinds, each by itself:
    :func:`selfsup.losses.pair_divergence` and :func:`selfsup.losses.centre_distance`; then the mean squared error of
    the pixels. Centres are running means of the codes of their rows (:func:`selfsup.losses.moved_centres`) and move
    before the loss. The mean over views, if there are several; the centres follow the first.

    It is semi-supervised: it sees the labels of a random share of the images. The control gives every image the label,
    and the place in the draw, of another.

    Args:
      encoder, projector: flax modules; the projector's output is the code z.
      decoder: of kind `mlp`, to which a layer with the values of an image is added. The paper's is convolutional.
      clusters: the classes; labels run below it, and one from it up is unknown.
      labelled: the share of the images whose labels are used. The paper: below 0.05.
      label_seed: draws them.
      margin: of pairs. That implementation: 2.
      pair_weight, centre_weight, reconstruction_weight: of the terms. That implementation: 1.
      pretrain_steps: steps of the autoencoder alone, after which labels count and centres begin.
      start_steps, ramp_steps: steps before rows without a label count, and over which their weight grows to 1. That
        implementation: 5 and 35 epochs of 60.

    There is no code of the authors. Terms, means and the update are those of an implementation by others
    (github.com/RahulBaboota/Semi-Supervised-Clustering-using-Neural-Networks), which begins with a trained autoencoder
    and the means of its labelled codes, draws labelled and unlabelled batches apart, and takes the true labels for the
    pairs of unlabelled rows. Here the nearest centres stand for those, a batch is a draw of all images, and a centre
    begins with the first labelled rows of its class after `pretrain_steps`.

    Metrics: the terms, `labelled_rows`, the share of them in the batch. State: centres `[clusters, dim]` and their
    counts. `assign` asks the centres.

    References:
      Shukla et al. 2018, https://arxiv.org/abs/1806.01547.
    """
    check_decoder('clusternet', decoder, 'mlp', has='widths')
    modules = heads(encoder, projector, None)

    def sized(images: Array) -> nn.Module:
        return decoder.clone(widths=(*decoder.widths, math.prod(images.shape[1:])))

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        images = batch['views'][0]
        params, stats = init_modules(key, modules, images)
        dim = embedding_width(modules, params, stats, batch)
        made = sized(images).init(jax.random.fold_in(key, 99), jnp.zeros((2, dim)), train=False)
        params = {**params, 'decoder': made['params']}
        stats = {**stats, 'decoder': made.get('batch_stats', {})}
        return params, {'batch_stats': stats, 'centres': jnp.zeros((clusters, dim)), 'counts': jnp.zeros(clusters)}

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        views, stats = batch['views'], extra['batch_stats']
        if any(x.shape != views[0].shape for x in views):
            raise UserError(
                f'clusternet takes views of one size, not {[list(x.shape[1:]) for x in views]} (augment.views)'
            )
        outputs, moved = network_outputs(modules, params, stats, views, train=True, fuse=False, keys=view_keys(batch))
        shown, moved['decoder'] = module_outputs(
            sized(views[0]), params['decoder'], stats['decoder'], outputs['embeddings'], train=True, fuse=False
        )
        targets = tuple(x.reshape(len(x), -1) for x in views)
        return {**outputs, 'reconstructions': shown, 'targets': targets}, {**extra, 'batch_stats': moved}

    def known(batch: dict) -> Array:
        """The labels that are used, −1 for the others."""
        root = jax.random.key(label_seed)
        lots = jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(root, i)))(batch['index'])
        label = batch['label']
        return jnp.where((lots < labelled) & (label >= 0) & (label < clusters), label, -1)

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        step = batch['step']
        labels = jnp.where(step >= pretrain_steps, known(batch), -1)
        grown = jnp.clip((step - start_steps + 1) / max(ramp_steps, 1), 0.0, 1.0) * (step >= start_steps)
        first = jax.lax.stop_gradient(outputs['embeddings'][0])
        held = losses.moved_centres(extra['centres'], extra['counts'], first, labels)

        def guessed(z: Array, centres: Array, counts: Array) -> Array:
            """The nearest centre that has a row, of rows without a label; −1 for the others, or before there is one."""
            nearest = jnp.argmax(losses.centre_logits(z, centres, known=counts > 0), axis=1)
            return jnp.where((labels < 0) & jnp.any(counts > 0), nearest, -1)

        share = jnp.broadcast_to(grown, labels.shape)
        centres, counts = losses.moved_centres(*held, first, guessed(first, *held), weights=share)
        found = []
        for z, x, target in zip(outputs['embeddings'], outputs['reconstructions'], outputs['targets'], strict=True):
            logits, guess = losses.centre_logits(z, centres, known=counts > 0), guessed(z, centres, counts)
            found.append(
                {
                    'pairs': losses.pair_divergence(logits, labels, margin=margin),
                    'guessed_pairs': losses.pair_divergence(logits, guess, margin=margin),
                    'centre': losses.centre_distance(z, centres, labels),
                    'guessed_centre': losses.centre_distance(z, centres, guess),
                    'reconstruction': jnp.mean((x.astype(logits.dtype) - target) ** 2),
                }
            )
        terms = jax.tree.map(lambda *values: sum(values) / len(values), *found)
        value = (
            pair_weight * (terms['pairs'] + grown * terms['guessed_pairs'])
            + centre_weight * (terms['centre'] + grown * terms['guessed_centre'])
            + reconstruction_weight * terms['reconstruction']
        )
        state = {'centres': centres, 'counts': counts}
        return value, ({**extra, **state}, {**terms, 'labelled_rows': jnp.mean(labels >= 0)})

    def assign(params: Any, extra: Any, outputs: dict) -> Array:
        return losses.centre_logits(outputs['embeddings'], extra['centres'], known=extra['counts'] > 0)

    return Method(init, embed, criterion, encode_with(modules), uses_labels=True, views=1, assign=assign)

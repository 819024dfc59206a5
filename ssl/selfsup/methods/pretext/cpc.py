"""CPC (van den Oord et al. 2018, https://arxiv.org/abs/1807.03748): the rows of patches below, from those above."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ... import losses
from ...errors import UserError
from ...models.mlp import dense
from ...signature import Count, Counts, Positive
from ..base import Method, forward, view_keys
from .parts import standardized


class RowsAbove(nn.Module):
    """The context of each place: residual layers that see its row and the rows above it, all columns.

    Attributes:
      width: channels inside a layer.
      depth: layers; each sees one row more and one column more on either side.
      dtype: compute type.
    """

    width: int
    depth: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, 'batch rows columns dim']) -> Float[Array, 'batch rows columns dim']:
        def conv(y: Array, width: int, kernel: tuple[int, int], name: str) -> Array:
            padding = ((kernel[0] - 1, 0), (kernel[1] // 2, kernel[1] // 2))
            return nn.Conv(width, kernel, padding=padding, dtype=self.dtype, name=name)(y)

        for layer in range(self.depth):
            y = nn.relu(conv(x, self.width, (1, 1), f'in{layer}'))
            y = conv(y, self.width, (1, 3), f'across{layer}')
            y = nn.relu(conv(y, self.width, (2, 1), f'down{layer}'))
            x = x + conv(y, x.shape[-1], (1, 1), f'out{layer}')
        return nn.relu(x)


class _Ahead(nn.Module):
    """W_k for every step, and the targets' own layer, all linear and of one width."""

    steps: tuple[int, ...]
    width: int

    @nn.compact
    def __call__(self, context: Array, encoded: Array) -> tuple[dict[str, Array], Array]:
        predictions = {
            f'ahead{k}': dense(context[:, :-k], self.width, bias=True, name=f'ahead{k}', dtype=None) for k in self.steps
        }
        return predictions, dense(encoded, self.width, bias=True, name='targets', dtype=None)


def overlapping(images: Array, patch: int, stride: int) -> Float[Array, 'batch rows columns patch patch channels']:
    """All patches of `patch` pixels whose corners stand on a grid of `stride`.

    Raises:
      UserError: patches that are larger than the image, or do not reach its end.
    """
    sides = images.shape[1:3]
    if patch > min(sides) or any((side - patch) % stride for side in sides):
        raise UserError(
            f'method.patch={patch} in steps of method.stride={stride} does not tile views of {sides[0]}x{sides[1]} '
            f'pixels: a side must be the patch and a multiple of the stride'
        )
    rows = jnp.stack([images[:, top : top + patch] for top in range(0, sides[0] - patch + 1, stride)], axis=1)
    columns = [rows[:, :, :, left : left + patch] for left in range(0, sides[1] - patch + 1, stride)]
    return jnp.stack(columns, axis=2)


def cpc(
    encoder: nn.Module,
    *,
    patch: Count = 8,
    stride: Count = 4,
    ahead: Counts = (3,),
    width: Count = 64,
    context_width: Count = 256,
    depth: Count = 5,
    scale: Positive = 0.1,
) -> Method:
    """CPC on images: a view is cut into overlapping patches, and features of the rows above predict those below.

    Each patch runs through the encoder by itself; a masked convolutional network sums up each row and those above it;
    for every k of `ahead` a linear layer W_k predicts the patch k rows below in the same column, against all patches of
    the batch. Patches next to one another overlap, so k = 1 with a stride of half a patch is half solved by copying.

    No code of the authors is public; this is the reading of CPC v2's pseudo-code (Hénaff et al.), with one sum over the
    steps. Its patches are also augmented one by one, which ours are not, and its targets are a linear layer of the
    encoding, as here.

    Args:
      encoder: any, of patches; without batch-norm in the papers, whose statistics tell which patches share an image.
      patch, stride: pixels. Papers: 64 and 32 of 256 (7x7 patches); 80 and 36 of 260 in v2.
      ahead: the k of the predictions. v1: up to 5 rows; v2: 3 alone, since its loop over i from `steps_to_ignore` = 2
        to below `steps_to_predict` = 3 predicts i + 1 rows below.
      width: of predictions and targets. v2: 64.
      context_width, depth: of the masked network. v2: 256 and 5.
      scale: of the logits. v2: 0.1.

    Features are the mean over patches of the encoding. Metric: `pretext_accuracy`, the share of predictions whose patch
    has the largest logit of all, of the first of `ahead`. The control predicts another image's patches. State: none
    beside batch statistics.

    Raises:
      UserError: patches that do not tile the view, or fewer rows than are predicted ahead.

    References:
      van den Oord et al. 2018, https://arxiv.org/abs/1807.03748, section 3.3; Hénaff et al. 2020,
      https://arxiv.org/abs/1905.09272, section 3 and appendix.
    """
    context = RowsAbove(context_width, depth)
    linear = _Ahead(tuple(ahead), width)

    def encoded(params: Any, stats: Any, images: Array, *, train: bool, keys: Any = None) -> tuple[Array, Any]:
        """`[batch, rows, columns, features]`."""
        patches = overlapping(images, patch, stride)
        batch, rows, columns = patches.shape[:3]
        if rows <= max(ahead):
            raise UserError(f'method.ahead={tuple(ahead)!r} needs more than {max(ahead)} rows of patches, not {rows}')
        flat = standardized(patches.reshape(batch, rows * columns, *patches.shape[3:]))
        keys = keys if keys is None else jnp.repeat(keys, rows * columns)
        y, stats = forward(encoder, params, stats, flat.reshape(-1, *flat.shape[2:]), train=train, keys=keys)
        return y.reshape(batch, rows, columns, -1).astype(jnp.promote_types(y.dtype, jnp.float32)), stats

    def init(key: Array, batch: dict) -> tuple[dict, dict]:
        images = batch['views'][0][:2]
        first = encoder.init(key, overlapping(images, patch, stride)[:, 0, 0], train=False)
        stats = {'encoder': first.get('batch_stats', {})}
        z, _ = encoded(first['params'], stats['encoder'], images, train=False)
        seen, variables = context.init_with_output(jax.random.fold_in(key, 1), z)
        last = linear.init(jax.random.fold_in(key, 2), seen, z)
        params = {'encoder': first['params'], 'context': variables['params'], 'ahead': last['params']}
        return params, {'batch_stats': stats}

    def embed(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
        stats = dict(extra['batch_stats'])
        z, stats['encoder'] = encoded(
            params['encoder'], stats['encoder'], batch['views'][0], train=True, keys=view_keys(batch)(0)
        )
        seen = context.apply({'params': params['context']}, z)
        predictions, targets = linear.apply({'params': params['ahead']}, seen, z)
        pooled = (jnp.mean(z, axis=(1, 2)),)
        outputs = {'features': pooled, 'embeddings': pooled, 'predictions': predictions, 'targets': targets}
        return outputs, {**extra, 'batch_stats': stats}

    def criterion(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
        predictions, targets = outputs['predictions'], outputs['targets']
        terms = {f'ahead{k}': losses.cpc(predictions[f'ahead{k}'], targets, scale=scale) for k in ahead}
        right = losses.cpc_correct(predictions[f'ahead{ahead[0]}'], targets)
        return sum(terms.values()), (extra, {**terms, 'pretext_accuracy': right})

    def encode(network: dict[str, Any], inputs: Array) -> dict[str, Array]:
        z, _ = encoded(network['params']['encoder'], network['batch_stats']['encoder'], inputs, train=False)
        pooled = jnp.mean(z, axis=(1, 2))
        return {'features': pooled, 'embeddings': pooled}

    return Method(init, embed, criterion, encode, views=1, control='shuffled_targets')

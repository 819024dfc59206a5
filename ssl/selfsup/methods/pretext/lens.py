"""Automatic shortcut removal (Minderer et al. 2020, https://arxiv.org/abs/2002.08822): a lens that edits the image."""

from collections.abc import Callable
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ... import losses
from ...errors import UserError
from ...signature import Count, Domain, NonNegative
from ..regulariser import Regulariser

ADVERSARIES = ('least_likely', 'reversed')
Adversary = Annotated[str, Domain(str, choices=ADVERSARIES)]


class Lens(nn.Module):
    """Images, or parts of images, edited: x + U(x), with U a network of two resolutions that is 0 at first.

    Attributes:
      width: channels inside.
    """

    width: int

    @nn.compact
    def __call__(
        self, images: Float[Array, '*batch height width channels']
    ) -> Float[Array, '*batch height width channels']:
        x = images.reshape(-1, *images.shape[-3:])
        fine = nn.relu(nn.Conv(self.width, (3, 3), name='fine')(x))
        coarse = nn.relu(nn.Conv(2 * self.width, (3, 3), strides=(2, 2), name='coarse')(fine))
        coarse = nn.relu(nn.Conv(2 * self.width, (3, 3), name='middle')(coarse))
        wide = jnp.repeat(jnp.repeat(coarse, 2, axis=1), 2, axis=2)[:, : x.shape[1], : x.shape[2]]
        joined = nn.relu(nn.Conv(self.width, (3, 3), name='joined')(jnp.concatenate([fine, wide], axis=-1)))
        edit = nn.Conv(x.shape[-1], (3, 3), kernel_init=nn.initializers.zeros, name='edit')(joined)
        return images + edit.reshape(images.shape).astype(images.dtype)


@jax.custom_vjp
def reversed_gradient(x: Array) -> Array:
    """The identity, whose gradient has the other sign."""
    return x


reversed_gradient.defvjp(lambda x: (x, None), lambda _, g: (-g,))


def lens(*, weight: NonNegative = 100.0, adversary: Adversary = 'least_likely', width: Count = 8) -> Regulariser:
    """A lens edits the images as little as it can so that the pretext task becomes harder: shortcuts go first.

    The encoder learns its task on the images as they are and as the lens L shows them, ½ of either; the lens learns
    against it, and to change little:

        encoder: ½·L_task(x) + ½·L_task(L(x));    lens: L_adv(L(x)) + weight·mean (L(x) − x)².

    With 'least_likely' L_adv is the cross-entropy towards the answer that the network holds for the least likely, with
    'reversed' it is −½·L_task. Both learn in one step, each with the other as it is. It stands beside any pretext task
    whose method predicts answers (`rotation`, `jigsaw`, `relative_patch`); 'reversed' beside any method. The first view
    alone is edited.

    Args:
      weight: λ, of the mean over batch, pixels and channels of the normalised images. The paper sums over pixels, and
        finds it the one number that needs tuning.
      adversary: of the paper's two. Paper: the least likely answer is the more stable.
      width: channels of the lens, a small U-Net of two resolutions. Paper: a larger U-Net.

    Metrics: `lens_change`, the root of the mean squared change; `lens_loss`, the task's loss on edited images; where
    the task tells it, `lens_accuracy`. Evaluated are images as they are; the paper joins the features of both. Each
    step runs the network twice (batch statistics move twice).

    Raises:
      UserError: 'least_likely' beside a method without answers.

    References:
      Minderer et al. 2020, https://arxiv.org/abs/2002.08822, section 3. There is no code of the authors.
    """
    network = Lens(width=width)

    def init(key: Array, features: int, view: Array) -> Any:
        return network.init(key, view[:1])['params']

    def embed_with(embed: Callable) -> Callable:
        def embedded(params: Any, extra: Any, batch: dict, key: Any) -> tuple[dict, dict]:
            outputs, new = embed(params, extra, batch, key)
            shown, rest = batch['views'][0], batch['views'][1:]
            edited = network.apply({'params': params['lens']}, shown)

            def seen(weights: Any, images: Array) -> tuple[dict, dict]:
                return embed(weights, new, {**batch, 'views': (images, *rest)}, key)

            outputs['lens_change'] = (edited - shown).astype(jnp.promote_types(shown.dtype, jnp.float32))
            if adversary == 'reversed':
                outputs['lens'], new = seen(params, reversed_gradient(edited))
                return outputs, new
            # The two passes are one in a compiled program: they differ in what gets a gradient alone.
            fooled, _ = seen(jax.lax.stop_gradient(params), edited)
            outputs['lens'], new = seen(params, jax.lax.stop_gradient(edited))
            answered = all(isinstance(outputs.get(name), jax.Array) for name in ('predictions', 'targets'))
            if not answered or outputs['predictions'].shape != outputs['targets'].shape:
                raise UserError(
                    "method.regularisers.lens.adversary='least_likely' needs a method that predicts answers, such as "
                    "rotation; 'reversed' does without"
                )
            outputs['lens_fooled'] = fooled['predictions']
            return outputs, new

        return embedded

    def around(criterion: Callable) -> Callable:
        def regularised(params: Any, outputs: dict, extra: Any, batch: dict, key: Any) -> tuple:
            own = {name: value for name, value in outputs.items() if not name.startswith('lens')}
            # Of a control the targets are others, which the edited images have as well.
            edited = {**outputs['lens'], **({'targets': own['targets']} if 'targets' in own else {})}
            value, (new, metrics) = criterion(params, own, extra, batch, key)
            harder, (_, theirs) = criterion(params, edited, extra, batch, key)
            change = jnp.mean(outputs['lens_change'] ** 2)
            total = (value + harder) / 2 + weight * change
            if adversary == 'least_likely':
                logits = outputs['lens_fooled']
                least = jax.nn.one_hot(jnp.argmin(logits, axis=-1), logits.shape[-1], dtype=logits.dtype)
                total = total + losses.cross_entropy(logits, least)
            metrics = {**metrics, 'lens_loss': harder, 'lens_change': jnp.sqrt(jax.lax.stop_gradient(change))}
            if 'pretext_accuracy' in theirs:
                metrics['lens_accuracy'] = theirs['pretext_accuracy']
            return total, (new, metrics)

        return regularised

    return Regulariser(around, init=init, embed=embed_with)

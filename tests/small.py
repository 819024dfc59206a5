"""Small networks, data and configs that tests share."""

import jax
import jax.numpy as jnp
import numpy as np
from selfsup import config, methods, models

ENCODER = models.ConvNet(widths=(8, 16))
PROJECTOR = models.MLP(widths=(32, 16))
BATCH = 16

# Every method with keywords that suit a batch of 16.
KEYWORDS = {
    'barlow_twins': {},
    'vicreg': {},
    'simclr': {'temperature': 0.2},
    'moco_v2': {'queue': 64, 'momentum': 0.9, 'groups': 4},
}


def make(name, **changes):
    return methods.METHODS[name](ENCODER, PROJECTOR, **{**KEYWORDS[name], **changes})


def images(n=BATCH, seed=0):
    from sklearn.datasets import load_digits

    chosen = load_digits().images[seed * n : (seed + 1) * n] / 16
    return jnp.asarray(chosen[..., None], jnp.float32)


def batch(n=BATCH, seed=0):
    x = images(n, seed)
    noise = np.random.default_rng(seed).normal(size=(2, *x.shape)).astype(np.float32)
    return {
        'views': tuple(x + 0.3 * e for e in noise),
        'index': jnp.arange(n),
        'view_params': (),
        'label': jnp.asarray(np.arange(n) % 10),
    }


def loss_and_gradient(method, params, extra, rows, key):
    def loss(p):
        outputs, new = method.embed(p, extra, rows, key)
        value, (new, metrics) = method.criterion(p, outputs, new, rows, key)
        return value, (new, metrics)

    return jax.value_and_grad(loss, has_aux=True)(params)


def tree_distance(a, b):
    """‖a − b‖ / ‖b‖ over whole trees."""
    flat = lambda t: np.concatenate([np.asarray(x, np.float64).ravel() for x in jax.tree.leaves(t)])  # noqa: E731
    a, b = flat(a), flat(b)
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def digits_config(method='simclr', *overrides):
    """A run of 12 steps on digits that takes seconds."""
    fields = [
        'model.widths=(8, 16)', 'projector.widths=(32, 16)', 'train.epochs=3', 'data.batch_size=320',
        'optimizer.warmup_epochs=1', 'train.log_every=2', 'monitor.every_epochs=1', 'checkpoint.every_epochs=1',
        'evaluate.label_draws=2',
    ]  # fmt: skip
    queue = ['method.queue=640', 'method.groups=4'] if method == 'moco_v2' else []
    return config.load(f'experiments/digits/{method}.py', [*fields, *queue, *overrides])

"""What every config of this folder shares."""

from ml_collections import ConfigDict
from selfsup.config import defaults

# Of methods that predict pixels or gradients.
MAE_ADAMW = dict(learning_rate=3e-3, beta2=0.95, weight_decay=0.05)


def digits(method: str) -> ConfigDict:
    """scikit-learn's 8x8 digits and a three-layer convolutional network, for 100 epochs."""
    c = defaults()
    c.method.name = method
    c.model.name = 'convnet'
    c.data.source = 'digits'
    c.data.pad = 2
    c.augment.recipe = 'digits'
    c.optimizer.learning_rate = 2e-3
    c.train.epochs = 100
    return c


def small_tokens(method: str) -> ConfigDict:
    """A transformer of two blocks on patches of 4x4, and the head of DINO's config."""
    c = digits(method)
    c.model.name = 'vit_ti'
    c.model.dim = 32
    c.model.depth = 2
    c.model.heads = 4
    c.model.patch = 4
    c.model.positions = 'sincos'
    c.model.pool = 'mean'
    c.model.init_kernels = 'xavier'
    c.projector.widths = (128, 128, 32)
    c.projector.activation = 'gelu'
    c.projector.last_norm = 'plain'
    c.data.batch_size = 128
    # The views of the other configs are as far apart as those of different images before such a network has learned.
    c.augment.recipe = ''
    c.augment.views.both = dict(
        count=2,
        affine=dict(degrees=10.0, translate=0.06, scale=(0.9, 1.1), shear=5.0),
        noise=dict(deviation=0.05),
    )
    c.optimizer.weight_decay = 0.05
    return c


def one_view(method: str) -> ConfigDict:
    """A transformer of three blocks on patches of 2x2 of one view, for methods that hide patches or pixels."""
    c = defaults()
    c.method.name = method
    c.model.name = 'vit_ti'
    c.model.dim = 64
    c.model.depth = 3
    c.model.heads = 4
    c.model.patch = 2
    c.model.pool = 'mean'
    c.model.init_kernels = 'xavier'
    c.data.source = 'digits'
    c.data.batch_size = 128
    c.checkpoint.best = 'rankme_features'  # one view has no pairs whose alignment could be measured
    c.augment.recipe = 'digits_masked'
    c.augment.mean = (0.14,)
    c.augment.std = (0.29,)
    return c

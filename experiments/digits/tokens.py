"""What the configs of this folder share whose method compares tokens of two views."""

from common import digits
from ml_collections import ConfigDict


def small_tokens(method: str) -> ConfigDict:
    """A transformer of two blocks on patches of 3x3, and the head of DINO's config."""
    c = digits(method)
    c.model.name = 'vit_ti'
    c.model.dim = 64
    c.model.depth = 2
    c.model.heads = 4
    c.model.patch = 3
    c.model.positions = 'sincos'
    c.model.init_kernels = 'xavier'
    c.projector.widths = (256, 256, 64)
    c.projector.activation = 'gelu'
    c.projector.last_norm = 'plain'
    c.data.batch_size = 64
    c.optimizer.weight_decay = 0.05
    c.optimizer.groups.prototypes = dict(freeze_steps=100)
    return c

"""What the configs of this folder share whose method compares tokens of two views."""

from common import digits
from ml_collections import ConfigDict


def small_tokens(method: str) -> ConfigDict:
    """A transformer of three blocks on patches of 2x2, and DINO's head."""
    c = digits(method)
    c.model.name = 'vit_ti'
    c.model.dim = 64
    c.model.depth = 3
    c.model.heads = 4
    c.model.patch = 2
    c.model.positions = 'sincos'
    c.model.init_kernels = 'xavier'
    c.projector.widths = (256, 256, 64)
    c.projector.hidden_norm = False
    c.projector.activation = 'gelu'
    c.data.batch_size = 128
    c.optimizer.weight_decay = 0.05
    c.optimizer.groups.prototypes = dict(freeze_steps=100)
    return c

"""Encoders and heads, flax.linen modules: `module(images, train, order=None) -> [batch, features]`."""

from .convnet import ConvNet
from .iternorm import IterNorm
from .mlp import MLP
from .norm import BatchNorm
from .resnet import ResNet, resnet18, resnet34, resnet50
from .sizes import check_sizes
from .vit import ViT, vit_b, vit_s, vit_ti

# config.model.name -> constructor; config.model's other fields are its keywords.
ENCODERS = {
    'convnet': ConvNet,
    'resnet18': resnet18,
    'resnet34': resnet34,
    'resnet50': resnet50,
    'vit_ti': vit_ti,
    'vit_s': vit_s,
    'vit_b': vit_b,
}

# config.projector.kind, config.predictor.kind, ... -> constructor; the section's other fields are its keywords.
NETWORKS = {'mlp': MLP}

__all__ = [
    'ENCODERS',
    'MLP',
    'NETWORKS',
    'BatchNorm',
    'ConvNet',
    'IterNorm',
    'ResNet',
    'ViT',
    'check_sizes',
    'resnet18',
    'resnet34',
    'resnet50',
    'vit_b',
    'vit_s',
    'vit_ti',
]

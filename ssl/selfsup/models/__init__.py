"""Encoders and heads, flax.linen modules: `module(images, train, order=None) -> [batch, features]`."""

from functools import partial

from .convnet import ConvNet
from .cross_decoder import CrossDecoder
from .decoder import ConvolutionalDecoder, LinearDecoder, TransformerDecoder
from .iternorm import IterNorm
from .mlp import MLP
from .norm import BatchNorm
from .resnet import ResNet, resnet18, resnet34, resnet50
from .sizes import check_sizes
from .vit import ViT, vit_b, vit_g, vit_h, vit_l, vit_s, vit_ti

# config.model.name -> constructor; config.model's other fields are its keywords.
ENCODERS = {
    'convnet': ConvNet,
    'resnet18': resnet18,
    'resnet34': resnet34,
    'resnet50': resnet50,
    'vit_ti': vit_ti,
    'vit_s': vit_s,
    'vit_b': vit_b,
    'vit_l': vit_l,
    'vit_h': vit_h,
    'vit_g': vit_g,
    'mlp': partial(MLP, widths=(256, 256, 256, 256)),  # of vectors
}

# The kinds of the other networks (projectors, predictors, decoders) -> constructor.
NETWORKS = {
    'mlp': MLP,
    'transformer': TransformerDecoder,
    'linear': LinearDecoder,
    'convolution': ConvolutionalDecoder,
    'cross': CrossDecoder,
}

__all__ = [
    'ENCODERS',
    'MLP',
    'NETWORKS',
    'BatchNorm',
    'ConvNet',
    'ConvolutionalDecoder',
    'CrossDecoder',
    'IterNorm',
    'LinearDecoder',
    'ResNet',
    'TransformerDecoder',
    'ViT',
    'check_sizes',
    'resnet18',
    'resnet34',
    'resnet50',
    'vit_b',
    'vit_g',
    'vit_h',
    'vit_l',
    'vit_s',
    'vit_ti',
]

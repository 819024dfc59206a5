"""How other code bases name the parameters of our encoders: one table a naming, one a place of origin.

The renamer is generic: an encoder's own parameters are enumerated, each finds its row by the module it
belongs to, and the name of the leaf decides the rest (`kernel` is `weight`, transposed).
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Our leaf -> theirs.
LEAVES = {'kernel': 'weight', 'scale': 'weight', 'bias': 'bias', 'gamma': 'gamma'} | {
    'mean': 'running_mean',
    'var': 'running_var',
}


class Naming(NamedTuple):
    """Names within one encoder.

    Attributes:
      modules: pattern of our module's path -> their name, with the pattern's groups and `{leaf}`.
      anchor: their name of the first convolution, by which the naming is recognised.
      token, positions: their names of the class token and of the table of positions, class token first.
      registers: their name of the register tokens; '' where there are none.
      class_position: whether the table has a row for the class token where there are registers; without one it stands
        in the class token itself.
      mask: their name of a mask token, which encoders here have not; it is written as zeros.
      heads: beginnings of names that belong to a classifier, which is left out.
    """

    modules: dict[str, str]
    anchor: str
    token: str = ''
    positions: str = ''
    registers: str = ''
    class_position: bool = True
    mask: str = ''
    heads: tuple[str, ...] = ()


RESNET = Naming(
    {
        r'(conv|bn)1': '{0}1.{leaf}',
        r'layer(\d)_(\d+)/(conv|bn)(\d)': 'layer{0}.{1}.{2}{3}.{leaf}',
        r'layer(\d)_(\d+)/downsample_conv': 'layer{0}.{1}.downsample.0.{leaf}',
        r'layer(\d)_(\d+)/downsample_bn': 'layer{0}.{1}.downsample.1.{leaf}',
    },
    anchor='conv1.weight',
    heads=('fc.',),
)
TIMM_VIT = Naming(
    {
        r'patch_embed': 'patch_embed.proj.{leaf}',
        r'block(\d+)/norm(\d)': 'blocks.{0}.norm{1}.{leaf}',
        r'block(\d+)/attn/(qkv|proj)': 'blocks.{0}.attn.{1}.{leaf}',
        r'block(\d+)/fc(\d)': 'blocks.{0}.mlp.fc{1}.{leaf}',
        r'block(\d+)/ls(\d)': 'blocks.{0}.ls{1}.{leaf}',
        r'norm': 'norm.{leaf}',
    },
    anchor='patch_embed.proj.weight',
    token='cls_token',
    positions='pos_embed',
    registers='reg_token',
    class_position=False,
    heads=('head.', 'pre_logits.'),
)
DINOV2_VIT = TIMM_VIT._replace(registers='register_tokens', class_position=True, mask='mask_token')
TORCHVISION_VIT = Naming(
    {
        r'patch_embed': 'conv_proj.{leaf}',
        r'block(\d+)/norm(\d)': 'encoder.layers.encoder_layer_{0}.ln_{1}.{leaf}',
        r'block(\d+)/attn/qkv': 'encoder.layers.encoder_layer_{0}.self_attention.in_proj_{leaf}',
        r'block(\d+)/attn/proj': 'encoder.layers.encoder_layer_{0}.self_attention.out_proj.{leaf}',
        r'block(\d+)/fc1': 'encoder.layers.encoder_layer_{0}.mlp.0.{leaf}',
        r'block(\d+)/fc2': 'encoder.layers.encoder_layer_{0}.mlp.3.{leaf}',
        r'norm': 'encoder.ln.{leaf}',
    },
    anchor='conv_proj.weight',
    token='class_token',
    positions='encoder.pos_embedding',
    heads=('heads.',),
)
NAMINGS = {
    'torchvision': {'resnet': RESNET, 'vit': TORCHVISION_VIT},
    'timm': {'resnet': RESNET, 'vit': TIMM_VIT},
    'dinov2': {'vit': DINOV2_VIT},
}
# torchvision before 0.14 called the layers of the block's MLP so; DINOv2's training cuts its blocks into chunks.
OLDER = (
    (r'\.mlp\.linear_1\.', '.mlp.0.'),
    (r'\.mlp\.linear_2\.', '.mlp.3.'),
    (r'^blocks\.\d+\.(\d+)\.', r'blocks.\1.'),
)


class Origin(NamedTuple):
    """How one code base packs an encoder into its files.

    Attributes:
      namings: the encoder's own names, by family.
      places: (key of the dictionary, prefix of the names) pairs at which the encoder may lie.
      beside: beginnings, at the level of the prefix, of what else those files hold: heads, momentum
        networks, queues. It is left out.
      marks: what must be there for a file to be taken as of this origin unasked; () with a place that is
        not bare is enough.
      model: fields of the model that the names and shapes do not tell, by its name.
      interpolation: of learned positions.
      std: by which its images are divided.
      url: where the names were checked.
    """

    namings: dict[str, Naming]
    places: tuple[tuple[str, str], ...]
    beside: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    model: Mapping[str, dict[str, Any]] = MappingProxyType({})
    interpolation: str = 'timm'
    std: tuple[float, ...] = IMAGENET_STD
    url: str = ''


BARE = ('', '')
ORIGINS = {
    'moco_v2': Origin(
        NAMINGS['torchvision'],
        (('state_dict', 'module.encoder_q.'), BARE),
        beside=('module.encoder_k.', 'module.queue'),
        url='https://github.com/facebookresearch/moco',
    ),
    'moco_v3': Origin(
        NAMINGS['timm'],
        (('state_dict', 'module.base_encoder.'), BARE),
        beside=('module.momentum_encoder.', 'module.predictor.'),
        model={'vit_s': {'heads': 12}},
        url='https://github.com/facebookresearch/moco-v3',
    ),
    'simsiam': Origin(
        NAMINGS['torchvision'],
        (('state_dict', 'module.encoder.'), BARE),
        beside=('module.predictor.',),
        url='https://github.com/facebookresearch/simsiam',
    ),
    'barlow_twins': Origin(
        NAMINGS['torchvision'],
        (('model', 'module.backbone.'), BARE),
        beside=('module.projector.', 'module.bn.'),
        marks=('module.bn.',),
        url='https://github.com/facebookresearch/barlowtwins',
    ),
    'vicreg': Origin(
        NAMINGS['torchvision'],
        (('model', 'module.backbone.'), ('model', 'backbone.'), BARE),
        beside=('module.projector.', 'projector.'),
        url='https://github.com/facebookresearch/vicreg',
    ),
    'dinov2': Origin(
        NAMINGS['dinov2'],
        (('teacher', 'backbone.'), BARE),
        beside=('mask_token', 'backbone.mask_token', 'dino_head.', 'ibot_head.'),
        marks=('mask_token', 'backbone.mask_token'),
        interpolation='dino',
        url='https://github.com/facebookresearch/dinov2',
    ),
    'dino': Origin(
        NAMINGS['timm'],
        (('teacher', 'module.backbone.'), ('teacher', 'backbone.'), BARE),
        beside=('module.head.', 'head.'),
        interpolation='dino',
        url='https://github.com/facebookresearch/dino',
    ),
    'swav': Origin(
        NAMINGS['torchvision'],
        (('state_dict', 'module.'), ('', 'module.'), BARE),
        beside=('module.projection_head.', 'module.prototypes', 'projection_head.', 'prototypes'),
        marks=('module.projection_head.', 'projection_head.'),
        std=(0.228, 0.224, 0.225),
        url='https://github.com/facebookresearch/swav',
    ),
    'torchvision': Origin(
        NAMINGS['torchvision'],
        (BARE,),
        interpolation='torchvision',
        url='https://github.com/pytorch/vision',
    ),
    'timm': Origin(
        NAMINGS['timm'],
        (BARE,),
        url='https://github.com/huggingface/pytorch-image-models',
    ),
}
ARCHITECTURES = ('resnet18', 'resnet34', 'resnet50', 'vit_ti', 'vit_s', 'vit_b', 'vit_l', 'vit_h', 'vit_g')
PLAIN = ('torchvision', 'timm')  # recognised by their names, wherever they lie


def rename(path: str, naming: Naming) -> str:
    """Their name of one of our parameters or statistics, given as 'layer1_0/conv1/kernel'."""
    if path in ('cls_token', 'registers'):
        name = naming.token if path == 'cls_token' else naming.registers
        if name:
            return name
    module, _, leaf = path.rpartition('/')
    for pattern, template in naming.modules.items():
        match = re.fullmatch(pattern, module)
        if match:
            return template.format(*match.groups(), leaf=LEAVES[leaf])
    raise ValueError(f'{path} has no name in the table of {naming.anchor}')


def transposed(array: np.ndarray, *, back: bool = False) -> np.ndarray:
    """A kernel in their order of axes, [out, in, …], from ours, […, in, out]; `back` the other way."""
    if array.ndim == 4:
        return np.transpose(array, (2, 3, 1, 0) if back else (3, 2, 0, 1))
    return array.T

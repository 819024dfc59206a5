"""Augmentation on the device: pure functions `(key, image, *, …) -> image`, batched by `vmap`.

An image is `[height, width, channels]`, uint8 or floating point in [0, 1]; what comes out is floating
point. `random_*` functions draw their parameters from the key, the others are given them; `report=True`
also returns what was drawn. Only :func:`mixup` and :func:`cutmix` take a batch. Operations on vectors
stand in :mod:`.vectors`, masks of patches in :mod:`.masking`.
"""

from ._common import to_float
from .blur import gaussian_blur, random_blur, sharpen
from .colour import color_jitter, grey_scale, jitter, random_grey, shift_hue
from .constants import NORMALISATION
from .geometry import crop_and_resize, random_flip, random_resized_crop, sample_crop
from .lab import cell_colours, colour_bins, to_lab
from .mixing import cutmix, mixup
from .operations import OPERATIONS, check_spec
from .patches import erase, jigsaw_tiles, random_cutout, random_erasing, random_patch_shuffle, shuffle_patches
from .pipeline import expand, make_evaluation, make_view, make_views, normalise
from .policy import rand_augment
from .pretext import (
    four_turns,
    hamming_permutations,
    random_jigsaw,
    random_part_turn,
    random_patch_pair,
    random_quarter,
    random_turns,
    turn_part,
)
from .recipes import RECIPES
from .tone import (
    autocontrast,
    equalise,
    posterise,
    quantise,
    random_autocontrast,
    random_equalise,
    random_gamma,
    random_noise,
    random_posterise,
    random_quantise,
    random_solarise,
    solarise,
)
from .vectors import random_corruption, random_dropout
from .warp import affine, affine_map, random_affine, random_rotation, rotate

__all__ = [
    'NORMALISATION',
    'OPERATIONS',
    'RECIPES',
    'affine',
    'affine_map',
    'autocontrast',
    'cell_colours',
    'check_spec',
    'color_jitter',
    'colour_bins',
    'crop_and_resize',
    'cutmix',
    'equalise',
    'erase',
    'four_turns',
    'gaussian_blur',
    'grey_scale',
    'hamming_permutations',
    'jigsaw_tiles',
    'jitter',
    'expand',
    'make_evaluation',
    'make_view',
    'make_views',
    'mixup',
    'normalise',
    'posterise',
    'quantise',
    'rand_augment',
    'random_affine',
    'random_autocontrast',
    'random_blur',
    'random_corruption',
    'random_dropout',
    'random_cutout',
    'random_equalise',
    'random_erasing',
    'random_flip',
    'random_gamma',
    'random_grey',
    'random_jigsaw',
    'random_noise',
    'random_part_turn',
    'random_quarter',
    'random_patch_pair',
    'random_patch_shuffle',
    'random_posterise',
    'random_quantise',
    'random_resized_crop',
    'random_rotation',
    'random_solarise',
    'random_turns',
    'rotate',
    'sample_crop',
    'sharpen',
    'shift_hue',
    'shuffle_patches',
    'solarise',
    'to_float',
    'to_lab',
    'turn_part',
]

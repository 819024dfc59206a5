"""Augmentation on the device: pure functions `(key, image, *, …) -> image`, batched by `vmap`."""

from .blur import gaussian_blur, random_blur
from .colour import color_jitter, grey_scale, random_gamma, random_grey, random_noise, random_solarise, solarise
from .geometry import affine, crop_and_resize, random_affine, random_flip, random_resized_crop, sample_crop
from .pipeline import check_spec, make_evaluation, make_view, make_views, to_float
from .recipes import RECIPES

__all__ = [
    'RECIPES',
    'affine',
    'check_spec',
    'color_jitter',
    'crop_and_resize',
    'gaussian_blur',
    'grey_scale',
    'make_evaluation',
    'make_view',
    'make_views',
    'random_affine',
    'random_blur',
    'random_flip',
    'random_gamma',
    'random_grey',
    'random_noise',
    'random_resized_crop',
    'random_solarise',
    'sample_crop',
    'solarise',
    'to_float',
]

"""Makes tests/augment_golden/arrays.npz, the reference values of tests/test_augment_golden.py.

    python tools/golden/augment/make.py      # in an environment with torch, torchvision and pillow 11

It imports nothing of ours, and the tests import neither torch nor torchvision. Pillow is the reference
of crop, resize and blur, torchvision's functions on float tensors of everything else. A case's name
is `operation/parameters`, parameters as a Python literal; `draws/…` hold 20,000 draws of torchvision's
samplers, `moments/…` the mean and variance of 20,000 views of one image. The versions used are in `versions`.
Pillow 11 resizes the width first, as every version did that the papers ran; Pillow 13 may resize the
height first, and where it cuts the cubic kernel's overshoot in between, the two differ by up to 4/255.
"""

import itertools
import math
from pathlib import Path

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image, ImageFilter
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

FILE = Path(__file__).parents[3] / 'tests' / 'augment_golden' / 'arrays.npz'
DRAWS = 20_000
BOXES = [(3, 5, 20, 15), (0, 0, 32, 28), (10, 2, 7, 9), (1, 1, 1, 1), (0, 13, 32, 15)]
AFFINES = [
    (30, (3, -2), 1.2, (10, 5)),
    (-75, (0, 4), 0.7, (-20, 0)),
    (0, (5, 0), 1.0, (0, 0)),
    (0, (0, 0), 1.0, (17, 0)),
]
OPERATIONS = {
    'identity': None, 'shear_x': 'ShearX', 'shear_y': 'ShearY', 'translate_x': 'TranslateX',
    'translate_y': 'TranslateY', 'rotate': 'Rotate', 'brightness': 'Brightness', 'saturation': 'Color',
    'contrast': 'Contrast', 'sharpness': 'Sharpness', 'posterise': 'Posterize', 'solarise': 'Solarize',
    'autocontrast': 'AutoContrast', 'equalise': 'Equalize',
}  # fmt: skip


def picture(height: int, width: int) -> np.ndarray:
    """Smooth colours, sharp edges, saturated and grey patches, black and white."""
    generator = np.random.Generator(np.random.Philox(key=11))
    coarse = generator.integers(0, 256, (height // 4, width // 4, 3)).astype(np.uint8)
    image = np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    image[2:8, 3:9] = (255, 0, 0)
    image[9:15, 3:9] = (0, 255, 40)
    image[2:8, 12:18] = 128
    image[16:24, 14:22] = generator.integers(0, 256, (8, 8, 3))
    image[-5:, :6] = 255
    image[-5:, 6:12] = 0
    return image


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255


def stored(image: torch.Tensor) -> np.ndarray:
    """Values in [0, 1] in 16 bits, channels last."""
    return np.round(image.clamp(0, 1).permute(1, 2, 0).numpy() * 65535).astype(np.uint16)


def given(small: np.ndarray, large: np.ndarray) -> dict[str, np.ndarray]:
    """Every operation for given parameters."""
    out: dict[str, np.ndarray] = {}
    pillow, x = Image.fromarray(small), tensor(small)
    for method, box, size in itertools.product(('bilinear', 'bicubic'), BOXES, (12, 40)):
        top, left, height, width = box
        cropped = pillow.crop((left, top, left + width, top + height))
        resized = cropped.resize((size, size), getattr(Image.Resampling, method.upper()))
        out[f'crop/{(method, box, size)}'] = np.asarray(resized)
    for sigma in (0.1, 0.4, 0.8, 1.3, 2.0, 4.0):
        out[f'blur_pillow/{(sigma,)}'] = np.asarray(pillow.filter(ImageFilter.GaussianBlur(sigma)))
    for sigma, kernel in ((0.1, 3), (0.8, 3), (2.0, 23), (1.0, 9)):
        out[f'blur_gaussian/{(sigma, kernel)}'] = stored(F.gaussian_blur(x, [kernel, kernel], [sigma, sigma]))
    for factor in (0.0, 0.3, 1.0, 1.8):
        out[f'brightness/{(factor,)}'] = stored(F.adjust_brightness(x, factor))
        out[f'contrast/{(factor,)}'] = stored(F.adjust_contrast(x, factor))
        out[f'saturation/{(factor,)}'] = stored(F.adjust_saturation(x, factor))
        out[f'sharpen/{(factor,)}'] = stored(F.adjust_sharpness(x, factor))
    for shift in (-0.5, -0.2, 0.0, 0.07, 0.35):
        out[f'hue/{(shift,)}'] = stored(F.adjust_hue(x, shift))
    changes = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
    factors = (1.4, 0.6, 1.7, -0.15)
    for order in itertools.permutations(range(4)):
        image = x
        for number in order:
            image = changes[number](image, factors[number])
        out[f'jitter/{(factors, order)}'] = stored(image)
    out['grey/()'] = stored(F.rgb_to_grayscale(x, num_output_channels=3))
    for threshold in (0.0, 0.3, 128 / 255, 1.0):
        out[f'solarise/{(threshold,)}'] = stored(F.solarize(x, threshold))
    for bits in (1, 3, 4, 8):
        out[f'posterise/{(bits,)}'] = stored(F.posterize(x, bits))
    out['autocontrast/()'] = stored(F.autocontrast(x * 0.5 + 0.2))
    out['equalise/()'] = stored(F.equalize(x))
    for name, image in (('small', x), ('large', tensor(large))):
        for angle in (15.0, -100.0):
            out[f'rotate/{(name, angle)}'] = stored(F.rotate(image, angle, v2.InterpolationMode.BILINEAR))
        for (angle, translate, scale, shear), method in itertools.product(AFFINES, ('bilinear', 'nearest')):
            mode = v2.InterpolationMode(method)
            moved = F.affine(image, angle, list(translate), scale, list(shear), mode)
            out[f'affine/{(name, angle, translate, scale, shear, method)}'] = stored(moved)
    out['erase/((4, 6, 9, 5), 0.5)'] = stored(F.erase(x, 4, 6, 9, 5, torch.full((3, 1, 1), 0.5)))
    out['normalise/()'] = F.normalize(x, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]).permute(1, 2, 0).numpy()
    policy = v2.RandAugment(num_ops=1)
    for (name, theirs), sign in itertools.product(OPERATIONS.items(), (1, -1)):
        if theirs is None:
            continue
        magnitudes, signed = policy._AUGMENTATION_SPACE[theirs]
        values = magnitudes(31, 32, 28)
        value = 0.0 if values is None else float(values[9]) * (sign if signed else 1)
        moved = policy._apply_image_or_video_transform(x, theirs, value, v2.InterpolationMode.NEAREST, policy._fill)
        out[f'policy/{(name, 0.3, sign)}'] = stored(moved)
    return out


def samplers() -> dict[str, np.ndarray]:
    """Draws of torchvision's samplers."""
    out: dict[str, np.ndarray] = {}
    for height, width, scale in (
        (224, 200, (0.08, 1.0)),
        (40, 120, (0.08, 1.0)),
        (96, 96, (0.05, 0.14)),
    ):
        image = torch.zeros(3, height, width)
        boxes = [
            torchvision.transforms.RandomResizedCrop.get_params(image, list(scale), [3 / 4, 4 / 3])
            for _ in range(DRAWS)
        ]
        out[f'draws/crop/{(height, width, scale)}'] = np.array(boxes, np.int16)
    boxes = []
    for _ in range(DRAWS):
        drawn = torchvision.transforms.RandomErasing.get_params(torch.zeros(1, 64, 48), (0.02, 0.33), (0.3, 3.3), [0.0])
        boxes.append(drawn[:4])
    out['draws/erasing/(64, 48)'] = np.array(boxes, np.int16)
    rows = []
    for _ in range(DRAWS):
        order, *factors = torchvision.transforms.ColorJitter.get_params((0.2, 1.8), (0.6, 1.4), (0.8, 1.2), (-0.2, 0.2))
        rows.append([*factors, *order.tolist()])
    out['draws/jitter/((0.8, 0.4, 0.2, 0.2),)'] = np.array(rows, np.float32)
    return out


def moments(image: np.ndarray) -> dict[str, np.ndarray]:
    """Mean and variance of views of one image under two recipes at 32 pixels, before normalisation."""

    def after(*, jitter: tuple, blur: float, solarise: float) -> v2.Compose:
        return v2.Compose([
            v2.RandomHorizontalFlip(), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True),
            v2.RandomApply([v2.ColorJitter(*jitter)], 0.8), v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(3, (0.1, 2.0))], blur), v2.RandomSolarize(128 / 255, solarise),
        ])  # fmt: skip

    crop = v2.RandomResizedCrop(32, (0.08, 1.0), interpolation=v2.InterpolationMode.BICUBIC)
    recipes = {
        'simclr': after(jitter=(0.8, 0.8, 0.8, 0.2), blur=0.5, solarise=0.0),
        'byol': after(jitter=(0.4, 0.4, 0.2, 0.1), blur=0.1, solarise=0.2),
    }
    pillow, out = Image.fromarray(image), {}
    for name, recipe in recipes.items():
        views = (recipe(crop(pillow)) for _ in range(DRAWS))
        out[f'moments/{name}'] = np.array([(float(v.mean()), float(v.var(correction=0))) for v in views], np.float32)
    return out


def main() -> None:
    """Writes the arrays."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    small, large = picture(32, 28), picture(64, 52)
    arrays = {'small': small, 'large': large, **given(small, large), **samplers(), **moments(large)}
    versions = f'torch {torch.__version__}, torchvision {torchvision.__version__}, pillow {PIL.__version__}'
    assert all(math.isfinite(float(np.sum(a, dtype=np.float64))) for a in arrays.values())
    np.savez_compressed(FILE, versions=np.array(versions), **arrays)
    print(f'{len(arrays)} arrays, {versions}')


if __name__ == '__main__':
    main()

"""The papers' augmentations as plain data: name -> `(size) -> {view name: specification}`.

A specification holds `size`, `count` (views drawn from it), `shared` (neighbours in the batch that share what is
drawn), `order` (of the views, where their sizes do not give it: :func:`.pipeline.expand`) and the operations it uses;
an operation that is absent is not done. :mod:`.pipeline` says what each key means and in which order they run.
"""

from typing import Any

Spec = dict[str, Any]


def _jitter(brightness: float, contrast: float, saturation: float, hue: float, p: float = 0.8) -> Spec:
    return dict(brightness=brightness, contrast=contrast, saturation=saturation, hue=hue, p=p)


def _natural(
    size: int,
    *,
    scale=(0.08, 1.0),
    method='bicubic',
    jitter: Spec,
    grey=0.2,
    blur=0.0,
    dialect='pillow',
    solarise=0.0,
    count=1,
) -> Spec:
    spec: Spec = dict(size=size, count=count, crop=dict(scale=scale, ratio=(3 / 4, 4 / 3), method=method))
    spec.update(flip=0.5, jitter=jitter, grey=grey)
    if blur:
        spec['blur'] = dict(p=blur, sigma=(0.1, 2.0), dialect=dialect)
    if solarise:
        spec['solarise'] = dict(p=solarise, threshold=128 / 255)
    return spec


def byol(size: int) -> dict[str, Spec]:
    """BYOL: blur 1.0 / 0.1, a sampled Gaussian of 23 taps at 224 as in its own code, solarise 0 / 0.2."""
    colours = _jitter(0.4, 0.4, 0.2, 0.1)
    return dict(
        first=_natural(size, jitter=colours, blur=1.0, dialect='gaussian'),
        second=_natural(size, jitter=colours, blur=0.1, dialect='gaussian', solarise=0.2),
    )


def vicreg(size: int) -> dict[str, Spec]:
    """VICReg and Barlow Twins: BYOL's with Pillow's blur."""
    colours = _jitter(0.4, 0.4, 0.2, 0.1)
    return dict(
        first=_natural(size, jitter=colours, blur=1.0),
        second=_natural(size, jitter=colours, blur=0.1, solarise=0.2),
    )


def simclr(size: int) -> dict[str, Spec]:
    """SimCLR on ImageNet, colour strength 1, blur by a sampled Gaussian of a tenth of the side."""
    return dict(both=_natural(size, jitter=_jitter(0.8, 0.8, 0.8, 0.2), blur=0.5, dialect='gaussian', count=2))


def moco_v2(size: int) -> dict[str, Spec]:
    """MoCo v2 (and SimSiam)."""
    view = _natural(size, scale=(0.2, 1.0), method='bilinear', jitter=_jitter(0.4, 0.4, 0.4, 0.1), blur=0.5, count=2)
    return dict(both=view)


def solo_symmetric(size: int) -> dict[str, Spec]:
    """solo-learn's `symmetric` for CIFAR."""
    return dict(both=_natural(size, jitter=_jitter(0.8, 0.8, 0.8, 0.2), blur=0.5, count=2))


def solo_symmetric_weak(size: int) -> dict[str, Spec]:
    """solo-learn's `symmetric_weak` for CIFAR."""
    return dict(both=_natural(size, jitter=_jitter(0.4, 0.4, 0.4, 0.1), blur=0.5, count=2))


def solo_asymmetric(size: int) -> dict[str, Spec]:
    """solo-learn's `asymmetric` for CIFAR: no blur, solarise in the second view."""
    colours = _jitter(0.4, 0.4, 0.2, 0.1)
    return dict(first=_natural(size, jitter=colours), second=_natural(size, jitter=colours, solarise=0.2))


def solo_vicreg(size: int) -> dict[str, Spec]:
    """solo-learn's VICReg recipe for CIFAR: solarise 0.1 in both views."""
    colours = _jitter(0.4, 0.4, 0.2, 0.1)
    return dict(both=_natural(size, scale=(0.2, 1.0), jitter=colours, solarise=0.1, count=2))


def digits(size: int) -> dict[str, Spec]:
    """For small grey digits: an affine map, gamma and noise."""
    del size  # the affine map keeps the size of the image
    view = dict(
        count=2,
        affine=dict(degrees=20.0, translate=0.12, scale=(0.75, 1.25), shear=15.0),
        gamma=dict(strength=0.5),
        noise=dict(deviation=0.1),
    )
    return dict(both=view)


def solo_ressl(size: int) -> dict[str, Spec]:
    """solo-learn's ReSSL recipe for CIFAR: the student's view strong, the teacher's only cropped and flipped."""
    strong = _natural(size, jitter=_jitter(0.4, 0.4, 0.2, 0.1), blur=0.5)
    weak = {name: strong[name] for name in ('size', 'count', 'crop', 'flip')}
    return dict(strong=strong, weak=weak)


def digits_weak(size: int) -> dict[str, Spec]:
    """`digits` for ReSSL: the student's view as there, the teacher's moved by at most a tenth and without noise."""
    strong = {**digits(size)['both'], 'count': 1}
    weak = dict(count=1, affine=dict(degrees=5.0, translate=0.05, scale=(0.9, 1.1), shear=5.0))
    return dict(strong=strong, weak=weak)


def digits_shared(size: int) -> dict[str, Spec]:
    """`digits`, and two more views in which 16 neighbours in the batch share what is drawn (CARE)."""
    view = digits(size)['both']
    return dict(both=view, shared={**view, 'shared': 16})


def digits_turned(size: int) -> dict[str, Spec]:
    """`digits` with the turn as an operation of its own, which reports its angle (SIE)."""
    view = digits(size)['both']
    affine = {**view['affine'], 'degrees': 0.0}
    return dict(both={**view, 'affine': affine, 'rotation': dict(degrees=20.0)})


def swav(size: int) -> dict[str, Spec]:
    """SwAV (and DeepCluster v2) with multi-crop: two global views, six local ones of 3/7 the side (224 and 96)."""
    look = dict(method='bilinear', jitter=_jitter(0.8, 0.8, 0.8, 0.2), blur=0.5)
    return dict(
        whole=_natural(size, scale=(0.14, 1.0), count=2, **look),
        local=_natural(round(size * 3 / 7), scale=(0.05, 0.14), count=6, **look),
    )


def dino(size: int) -> dict[str, Spec]:
    """DINO with multi-crop: two global views as BYOL's, eight local ones of 3/7 the side (224 and 96)."""
    colours = _jitter(0.4, 0.4, 0.2, 0.1)
    return dict(
        first=_natural(size, scale=(0.4, 1.0), jitter=colours, blur=1.0),
        second=_natural(size, scale=(0.4, 1.0), jitter=colours, blur=0.1, solarise=0.2),
        local=_natural(round(size * 3 / 7), scale=(0.05, 0.4), jitter=colours, blur=0.5, count=8),
    )


def dinov2(size: int) -> dict[str, Spec]:
    """DINOv2: DINO's views, global crops of 0.32 to 1 of the image and local ones of 0.05 to 0.32."""
    views = dino(size)
    for name, scale in (('first', (0.32, 1.0)), ('second', (0.32, 1.0)), ('local', (0.05, 0.32))):
        views[name]['crop']['scale'] = scale
    return views


def dinov2_14(size: int) -> dict[str, Spec]:
    """DINOv2's for patches of 14: local views of 7/16 the side (98 for 224), which such patches tile."""
    views = dinov2(size)
    views['local']['size'] = round(size * 7 / 16)
    return views


def solo_w_mse(size: int) -> dict[str, Spec]:
    """solo-learn's W-MSE recipe for CIFAR: crops from 0.2 as the authors', strong colours, no blur."""
    return dict(both=_natural(size, scale=(0.2, 1.0), jitter=_jitter(0.8, 0.8, 0.8, 0.2), count=2))


def digits_crops(size: int) -> dict[str, Spec]:
    """For methods that must know where a view comes from: crops instead of affine maps; `size` is their side."""
    crop = dict(scale=(0.4, 1.0), ratio=(3 / 4, 4 / 3), method='bilinear')
    return dict(both=dict(size=size, count=2, crop=crop, gamma=dict(strength=0.5), noise=dict(deviation=0.1)))


def digits_multicrop(size: int) -> dict[str, Spec]:
    """`digits` and two local views of 2/3 of `size`, the side of the padded digits."""
    whole = digits(size)['both']
    crop = dict(scale=(0.3, 0.6), ratio=(3 / 4, 4 / 3), method='bilinear')
    local = dict(size=round(size * 2 / 3), count=2, crop=crop, gamma=whole['gamma'], noise=whole['noise'])
    return dict(whole=whole, local=local)


def mae(size: int) -> dict[str, Spec]:
    """MAE: one view, cropped to at least a fifth of the image and flipped, nothing else."""
    crop = dict(scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3), method='bicubic')
    return dict(only=dict(size=size, count=1, crop=crop, flip=0.5))


def digits_masked(size: int) -> dict[str, Spec]:
    """One view of small grey digits for masked methods: a mild affine map, which keeps the size of the image."""
    del size
    return dict(only=dict(count=1, affine=dict(degrees=15.0, translate=0.08, scale=(0.85, 1.15), shear=10.0)))


def _parts(size: int, **task: Any) -> dict[str, Spec]:
    """A crop of at least 0.6 of the image, flipped, and grey in two of three images; then what cuts it into parts."""
    crop = dict(scale=(0.6, 1.0), ratio=(3 / 4, 4 / 3), method='bilinear')
    return dict(only=dict(size=size, count=1, crop=crop, flip=0.5, grey=0.66, **task))


def jigsaw(size: int) -> dict[str, Spec]:
    """Jigsaw: 3x3 tiles of 64 of 75 pixels, from an image enlarged to a multiple of three; 100 orders."""
    cell = -(-size // 3)
    return _parts(3 * cell, jigsaw=dict(grid=3, tile=round(cell * 64 / 75), permutations=100))


def _quarters(side: int, **look: Any) -> dict[str, Spec]:
    """One view of each quarter of an image, in the order of the quarters."""
    quarter = {place: dict(place=place, side=side) for place in range(4)}
    return {f'quarter{place}': dict(count=1, order=place, quarter=own, **look) for place, own in quarter.items()}


def jigclu(size: int) -> dict[str, Spec]:
    """JigClu: a patch of half the side of each quarter, each with its own colours and blur, as MoCo v2's."""
    return _quarters(size // 2, jitter=_jitter(0.4, 0.4, 0.4, 0.1), grey=0.2, blur=dict(p=0.5, sigma=(0.1, 2.0)))


def digits_quarters(size: int) -> dict[str, Spec]:
    """JigClu on digits, which no flip leaves as they are: patches of `size`/2, their shades and noise their own."""
    specs = _quarters(size // 2, gamma=dict(strength=0.5), noise=dict(deviation=0.1))
    for spec in specs.values():
        spec['quarter'].update(scale=(0.4, 1.0), flip=0.0)
    return specs


def colourisation(size: int) -> dict[str, Spec]:
    """Colourisation: one view, cropped a little and flipped, and the colours of 8x8 cells; paper: 64x64 of 256."""
    crop = dict(scale=(0.5, 1.0), ratio=(3 / 4, 4 / 3), method='bilinear')
    return dict(only=dict(size=size, count=1, crop=crop, flip=0.5, colours=dict(cells=8, step=10)))


def exemplar(size: int) -> dict[str, Spec]:
    """Exemplar as Kolesnikov et al. train it: eight views, cropped, flipped, grey in two of three."""
    crop = dict(scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), method='bilinear')
    colours = dict(brightness=32 / 255, contrast=0.5, saturation=0.5, hue=0.2, p=1.0)  # Inception's
    return dict(all=dict(size=size, count=8, crop=crop, flip=0.5, jitter=colours, grey=0.66))


def relational(size: int) -> dict[str, Spec]:
    """Relational reasoning: SimCLR's crops and colours without blur, eight views; the authors draw 32."""
    return dict(all=_natural(size, jitter=_jitter(0.8, 0.8, 0.8, 0.2), count=8))


def relative_patch(size: int) -> dict[str, Spec]:
    """Relative patch: patches of a quarter of the side, a quarter of one between them; paper: 96 pixels, 48."""
    patch = size // 4
    return _parts(size, patch_pair=dict(patch=patch, gap=patch // 4, jitter=patch // 8))


def rotation(size: int) -> dict[str, Spec]:
    """Rotation: one view, cropped a little and flipped, in all four turns; RotNet on CIFAR shifts by up to 4 of 32."""
    crop = dict(scale=(0.7, 1.0), ratio=(3 / 4, 4 / 3), method='bilinear')
    return dict(only=dict(size=size, count=1, crop=crop, flip=0.5, turns=dict(copies=4)))


def scarf(size: int) -> dict[str, Spec]:
    """SCARF, of vectors: the row itself, and one with 60 % of its features drawn from their marginals."""
    del size
    return dict(whole=dict(count=1), corrupted=dict(count=1, corrupt=dict(rate=0.6)))


def simcse(size: int) -> dict[str, Spec]:
    """SimCSE, of vectors: each view without a random part of the features; the paper drops 0.1 inside the network."""
    del size
    return dict(both=dict(count=2, drop=dict(rate=0.5)))


RECIPES = {
    'byol': byol,
    'colourisation': colourisation,
    'digits': digits,
    'digits_crops': digits_crops,
    'digits_masked': digits_masked,
    'digits_multicrop': digits_multicrop,
    'digits_quarters': digits_quarters,
    'digits_shared': digits_shared,
    'digits_turned': digits_turned,
    'digits_weak': digits_weak,
    'dino': dino,
    'dinov2': dinov2,
    'dinov2_14': dinov2_14,
    'exemplar': exemplar,
    'jigclu': jigclu,
    'jigsaw': jigsaw,
    'mae': mae,
    'moco_v2': moco_v2,
    'relational': relational,
    'relative_patch': relative_patch,
    'rotation': rotation,
    'scarf': scarf,
    'simclr': simclr,
    'simcse': simcse,
    'solo_asymmetric': solo_asymmetric,
    'solo_ressl': solo_ressl,
    'solo_symmetric': solo_symmetric,
    'solo_symmetric_weak': solo_symmetric_weak,
    'solo_vicreg': solo_vicreg,
    'solo_w_mse': solo_w_mse,
    'swav': swav,
    'vicreg': vicreg,
}

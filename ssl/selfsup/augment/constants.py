"""Mean and standard deviation per channel, of pixels in [0, 1], by data set, as the papers' code writes them."""

NORMALISATION: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    'half': ((0.5,), (0.5,)),  # to [-1, 1], any number of channels
    'cifar10': ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    'cifar100': ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    'imagenet': ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # and its parts, Imagenette and ImageNet-100
    'mnist': ((0.1307,), (0.3081,)),
}

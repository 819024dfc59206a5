"""FLOPs of one instruction of a compiled program."""

import math
import re

from .hlo import Instruction

CONTRACTIONS = {'dot', 'convolution'}
_ARITHMETIC = {
    'add', 'subtract', 'multiply', 'divide', 'maximum', 'minimum', 'negate', 'abs', 'exponential', 'log', 'tanh',
    'rsqrt', 'sqrt', 'power', 'sine', 'cosine', 'logistic', 'exponential-minus-one', 'log-plus-one', 'cbrt', 'erf',
    'remainder', 'floor', 'ceil', 'round-nearest-even', 'round-nearest-afz', 'sign', 'atan2', 'tan', 'clamp',
}  # fmt: skip
_REDUCTIONS = {'reduce', 'reduce-window', 'all-reduce', 'all-reduce-start', 'reduce-scatter'}
_FLOATS = {'f16', 'bf16', 'f32', 'f64'}


def arithmetic(body: dict[str, Instruction], one: Instruction) -> float:
    """FLOPs of what is neither product nor convolution: one an element of floating-point arithmetic."""
    if not one.arrays or one.arrays[0].dtype not in _FLOATS:
        return 0.0
    if one.op in _ARITHMETIC:
        return float(one.arrays[0].elements)
    if one.op in _REDUCTIONS and one.operands:
        operand = body.get(one.operands[0])
        inputs = len(one.arrays) * (operand.arrays[0].elements if operand and operand.arrays else 0)
        return float(max(inputs - sum(a.elements for a in one.arrays), 0))
    return 0.0


def contraction(body: dict[str, Instruction], one: Instruction) -> tuple[str, float]:
    """The type that decides the speed ('bf16', 'f32', 'highest', 'f64', 's8'), and the FLOPs.

    Takes products, convolutions, and the calls of cuBLAS and cuDNN that XLA makes of them.
    """
    operands = [body[name] for name in one.operands[:2] if name in body]
    if len(operands) < 2 or not all(o.arrays for o in operands):
        return 'f32', 0.0
    dtype = operands[0].arrays[0].dtype
    highest = dtype == 'f32' and ('operand_precision={highest' in one.text or _highest(one.text))
    dtype = 'bf16' if dtype == 'f16' else 'highest' if highest else dtype
    if one.op == 'dot' or '__cublas' in one.target:
        return dtype, _dot(operands[0], one)
    return dtype, _convolution(operands, one)


def _highest(text: str) -> bool:
    return bool(re.search(r'"operand_precision":\["HIGHEST"', text))


def _dot(left: Instruction, one: Instruction) -> float:
    contracted = re.search(r'lhs_contracting_dims=\{([\d,]*)\}', one.text) or re.search(
        r'"lhs_contracting_dimensions":\[([^\]]*)\]', one.text
    )
    axes = [int(a) for a in re.findall(r'\d+', contracted[1])] if contracted else []
    dims = left.arrays[0].dims
    return 2.0 * one.arrays[0].elements * math.prod(dims[a] for a in axes if a < len(dims))


def _window(text: str, count: int) -> list[dict[str, tuple[int, ...]]]:
    """Per spatial axis: size, stride, pad (low, high), dilations."""
    found = re.search(r'window=\{([^}]*)\}', text)
    fields = dict(part.split('=') for part in found[1].split()) if found else {}
    default = {'size': '1', 'stride': '1', 'pad': '0_0', 'lhs_dilate': '1', 'rhs_dilate': '1'}
    axes = {name: fields.get(name, 'x'.join([value] * count)).split('x') for name, value in default.items()}
    return [{name: tuple(map(int, values[i].split('_'))) for name, values in axes.items()} for i in range(count)]


def _meetings(size: int, out: int, axis: dict[str, tuple[int, ...]]) -> int:
    """Pairs of a place of the kernel and a place of the result that meet an element of the input, along one axis."""
    (kernel,), (stride,), (low, _) = axis['size'], axis['stride'], axis['pad']
    (spread,), (reach,) = axis['lhs_dilate'], axis['rhs_dilate']
    total = 0
    for k in range(kernel):
        for o in range(out):
            at = o * stride + k * reach - low
            total += at % spread == 0 and 0 <= at // spread < size
    return total


def _convolution(operands: list[Instruction], one: Instruction) -> float:
    labels = re.search(r'dim_labels=(\w+)_(\w+)->(\w+)', one.text)
    if not labels:
        return 0.0
    shapes = [operands[0].arrays[0].dims, operands[1].arrays[0].dims, one.arrays[0].dims]
    # The library's backward calls keep the forward convolution's window and labels.
    if 'BackwardInput' in one.target:
        shapes = [shapes[2], shapes[1], shapes[0]]
    elif 'BackwardFilter' in one.target:
        shapes = [shapes[0], shapes[2], shapes[1]]
    (image, kernel, out) = shapes
    spatial = [label for label in labels[3] if label.isdigit()]
    batches = re.search(r'batch_group_count=(\d+)', one.text)
    pairs = 1
    for label, axis in zip(spatial, _window(one.text, len(spatial)), strict=True):
        pairs *= _meetings(image[labels[1].index(label)], out[labels[3].index(label)], axis)
    examples = image[labels[1].index('b')] // (int(batches[1]) if batches else 1)
    # The kernel's input features are those of one group.
    features = kernel[labels[2].index('i')] * out[labels[3].index('f')]
    return 2.0 * examples * features * pairs

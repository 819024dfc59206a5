"""The operations of a specification: one row each, from which fields, checks and random streams are read."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from . import blur, colour, geometry, lab, patches, policy, pretext, tone, vectors, warp


class Operation(NamedTuple):
    """A row of :data:`OPERATIONS`.

    Attributes:
      stream: number of its stream of random numbers. Numbers are never given away again: runs of old configs keep
        their draws.
      function: `(key, example, *, …, report) -> (example, drawn)`; its keywords are the fields of a specification.
        `crop` and `flip`, which are resampled together, are done by :func:`.pipeline.make_view` itself.
      rank: of an example: 3 for images `[height, width, channels]`, 1 for vectors.
      colour: whether it needs three channels.
      bare: its value is the probability `p` alone, and no group of fields.
      extra: fields besides the function's keywords.
      reference: whether the function also takes `reference`, rows `[rows, …]` of the training set.
    """

    stream: int
    function: Callable
    rank: int = 3
    colour: bool = False
    bare: bool = False
    extra: tuple[str, ...] = ()
    reference: bool = False

    @property
    def fields(self) -> tuple[str, ...]:
        """The names that a specification may give."""
        parameters = inspect.signature(self.function).parameters.values()
        own = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in ('report', 'reference')]
        return (*own, *self.extra)


# In the order in which they run.
OPERATIONS: dict[str, Operation] = {
    'crop': Operation(0, geometry.sample_crop, extra=('method',)),
    'quarter': Operation(45, pretext.random_quarter),
    'affine': Operation(1, warp.random_affine),
    'rotation': Operation(9, warp.random_rotation),
    'flip': Operation(2, geometry.random_flip, bare=True),
    'rand_augment': Operation(10, policy.rand_augment, colour=True),
    'jitter': Operation(3, colour.color_jitter, colour=True),
    'grey': Operation(4, colour.random_grey, colour=True, bare=True),
    'blur': Operation(5, blur.random_blur),
    'solarise': Operation(6, tone.random_solarise),
    'posterise': Operation(11, tone.random_posterise),
    'equalise': Operation(12, tone.random_equalise, bare=True),
    'autocontrast': Operation(13, tone.random_autocontrast, bare=True),
    'quantise': Operation(14, tone.random_quantise),
    'gamma': Operation(7, tone.random_gamma),
    'noise': Operation(8, tone.random_noise),
    'patch_shuffle': Operation(15, patches.random_patch_shuffle),
    'cutout': Operation(16, patches.random_cutout),
    'erase': Operation(17, patches.random_erasing),
    'corrupt': Operation(18, vectors.random_corruption, rank=1, reference=True),
    'drop': Operation(30, vectors.random_dropout, rank=1),
    'colours': Operation(44, lab.cell_colours, colour=True),
    'part_turn': Operation(43, pretext.random_part_turn),
    # These give one axis more, so nothing runs after them.
    'jigsaw': Operation(40, pretext.random_jigsaw),
    'patch_pair': Operation(41, pretext.random_patch_pair),
    'turns': Operation(42, pretext.random_turns),
}

_WORDS = {
    'method': ('bilinear', 'bicubic'),
    'dialect': blur.DIALECTS,
    'spacing': ('random', 'uniform'),
    'part': pretext.PARTS,
}
_RANGES = ('scale', 'ratio', 'sigma')
_COUNTS = ('regions', 'grid', 'side', 'operations', 'bits', 'copies', 'permutations', 'patch', 'least', 'cells', 'step')
_WHOLES = ('tile', 'gap', 'jitter', 'place')
_MOST = {'size': 8192, 'count': 64, 'operations': 64, 'bits': 8}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_count(where: str, field: str, value: Any) -> None:
    if type(value) is not int or not 1 <= value <= _MOST.get(field, 2**31 - 1):
        most = f' of at most {_MOST[field]}' if field in _MOST else ''
        raise ValueError(f'{where} must be a positive integer{most}, not {value!r}')


def _check_field(where: str, field: str, entry: Any) -> None:
    """Refuses a value that cannot be meant; the operations check what is particular to them when they are traced."""
    if field in _WORDS:
        if entry not in _WORDS[field]:
            raise ValueError(f'{where} must be {" or ".join(map(repr, _WORDS[field]))}, not {entry!r}')
        return
    if field in _COUNTS:
        _check_count(where, field, entry)
        return
    if field in _WHOLES:
        if type(entry) is not int or entry < 0:
            raise ValueError(f'{where} must be an integer from 0, not {entry!r}')
        return
    if field in _RANGES:
        pair = isinstance(entry, (tuple, list)) and len(entry) == 2 and all(map(_is_number, entry))
        if not (pair and 0 < entry[0] <= entry[1]):
            raise ValueError(f'{where} must be a range (low, high) with 0 < low <= high, not {entry!r}')
        return
    if (field == 'kernel' and entry is None) or (field == 'value' and isinstance(entry, str)):
        return
    if not _is_number(entry):
        raise ValueError(f'{where} must be a number, not {entry!r}')
    if field in ('p', 'rate', 'flip') and not 0 <= entry <= 1:
        raise ValueError(f'{where} is a probability and must lie in [0, 1], not {entry!r}')
    if field == 'hue' and not 0 <= entry <= 0.5:
        raise ValueError(f'{where} must lie in [0, 0.5], not {entry!r}')
    if field == 'shear' and not 0 <= entry < 90:
        raise ValueError(f'{where} must lie in [0, 90), not {entry!r}')
    if field in ('brightness', 'contrast', 'saturation', 'deviation', 'strength', 'degrees') and not entry >= 0:
        raise ValueError(f'{where} must not be negative, and is {entry!r}')
    if field in ('threshold', 'translate') and not 0 <= entry <= 1:
        raise ValueError(f'{where} must lie in [0, 1], not {entry!r}')


def check_spec(name: str, spec: dict[str, Any]) -> None:
    """Refuses unknown operations and fields, probabilities outside [0, 1] and ranges upside down."""
    for operation, value in spec.items():
        if operation in ('size', 'count', 'shared'):
            _check_count(f'{name}.{operation}', operation, value)
            continue
        if operation == 'order':
            if type(value) is not int or value < 0:
                raise ValueError(f'{name}.order must be an integer from 0, not {value!r}')
            continue
        if operation not in OPERATIONS:
            raise ValueError(f'unknown operation {name}.{operation}; known are {", ".join(OPERATIONS)}')
        known = OPERATIONS[operation].fields
        if OPERATIONS[operation].bare:
            _check_field(f'{name}.{operation}', 'p', value)
            continue
        if not isinstance(value, dict):
            raise ValueError(f'{name}.{operation} must be a group of fields, not {value!r}')
        for field, entry in value.items():
            where = f'{name}.{operation}.{field}'
            if field not in known:
                raise ValueError(f'unknown field {where}; {operation} takes {", ".join(known)}')
            _check_field(where, field, entry)
    if 'crop' in spec and 'size' not in spec:
        raise ValueError(f'{name}.crop needs {name}.size')
    if dict(spec.get('crop', {})).get('scale', (1, 1))[1] > 1:
        raise ValueError(f'{name}.crop.scale={spec["crop"]["scale"]!r} asks for crops larger than the image')

"""Reads what `torch.save` wrote, without torch and without running anything that a file names.

A checkpoint is a pickle beside raw arrays: a zip archive since torch 1.6, one stream of pickles before. A
pickle names functions and asks for them to be called. Here a name is looked up in the table `HARMLESS`,
whose entries only keep data; any other name ends the reading with an error that says which.
"""

import pickle
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ..errors import UserError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001

# torch's name of an element type -> NumPy's; bfloat16 is read as 16 bits and widened.
ELEMENTS = {
    'Double': 'f8', 'Float': 'f4', 'Half': 'f2', 'BFloat16': 'bfloat16', 'Long': 'i8', 'Int': 'i4', 'Short': 'i2',
    'Char': 'i1', 'Byte': 'u1', 'Bool': '?', 'ComplexFloat': 'c8', 'ComplexDouble': 'c16',
}  # fmt: skip
DTYPES = (
    'float64', 'float32', 'float16', 'bfloat16', 'int64', 'int32', 'int16', 'int8', 'uint8', 'bool', 'complex64',
    'complex128', 'double', 'float', 'half', 'long', 'int', 'short',
)  # fmt: skip


class CodeError(UserError):
    """The file names something that is not plain data."""


def widened(raw: np.ndarray) -> np.ndarray:
    """bfloat16, given as its 16 bits, as float32."""
    return (raw.astype(np.uint32) << 16).view(np.float32)


class StorageType(NamedTuple):
    """A class of storages, such as `torch.FloatStorage`."""

    element: str


class Storage:
    """A flat array in the file, read when it is asked for."""

    def __init__(self, element: str, key: str, count: int):
        self.element, self.key, self.count = element, key, count
        self.read: Callable[[], bytes] | None = None
        self.order: Literal['<', '>'] = '<'

    @property
    def itemsize(self) -> int:
        return 2 if self.element == 'bfloat16' else np.dtype(self.element).itemsize

    def array(self) -> np.ndarray:
        if self.read is None:
            raise ValueError(f'storage {self.key} is not in the file')
        data = self.read()
        dtype = np.dtype('u2' if self.element == 'bfloat16' else self.element).newbyteorder(self.order)
        if len(data) != self.count * dtype.itemsize:
            raise ValueError(f'storage {self.key} has {len(data)} bytes for {self.count} numbers')
        return np.frombuffer(data, dtype)


class Tensor:
    """A view of a storage; :meth:`array` reads it."""

    def __init__(self, storage: Any, offset: Any, shape: Any, strides: Any):
        if not isinstance(storage, Storage):
            raise ValueError('a tensor without a storage')
        self.storage, self.offset = storage, int(offset)
        self.shape, self.strides = tuple(map(int, shape)), tuple(map(int, strides))
        if len(self.shape) != len(self.strides) or min((self.offset, *self.shape, *self.strides), default=0) < 0:
            raise ValueError('a tensor with an impossible shape')
        size = int(np.prod(self.shape, dtype=object)) if self.shape else 1
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        # A view must lie within its storage, and may not repeat it: else a small file could ask for any memory.
        if size and (last >= storage.count or size > storage.count):
            raise ValueError('a tensor that reaches beyond its storage')

    def array(self) -> np.ndarray:
        """The tensor as a contiguous array of the machine's byte order; bfloat16 becomes float32."""
        flat = self.storage.array()
        if 0 in self.shape:
            view = np.zeros(self.shape, flat.dtype)
        else:
            steps = [s * flat.itemsize for s in self.strides]
            view = np.lib.stride_tricks.as_strided(flat[self.offset :], self.shape, steps, writeable=False)
        view = np.array(view, view.dtype.newbyteorder('='), order='C')
        return widened(view) if self.storage.element == 'bfloat16' else view


class Mapping(dict):
    """In place of `OrderedDict` and its like; attributes that a file sets on it are dropped."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass


class Record:
    """In place of an object that only holds values, such as `argparse.Namespace`."""

    def __init__(self, *values: Any):
        self.values: Any = values

    def __setstate__(self, state: Any) -> None:
        self.values = state


class NumpyType:
    """In place of `numpy.dtype` of numbers, or of bytes for scalars of text."""

    def __init__(self, code: Any, *flags: Any):
        self.code = str(code)
        self.order: Literal['<', '>'] = '<'

    def __setstate__(self, state: Any) -> None:
        self.order = '>' if state[1] == '>' else '<'

    def dtype(self) -> np.dtype:
        if not re.fullmatch(r'[biufc]\d{1,2}|\?', self.code):
            raise ValueError(f'numpy type {self.code!r}')
        return np.dtype(self.code).newbyteorder(self.order)


class NumpyArray:
    """In place of an array that is being rebuilt."""

    def __init__(self, *values: Any):
        self.value: Any = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        flat = np.frombuffer(_as_bytes(data), kind.dtype())
        self.value = flat.reshape(shape, order='F' if fortran else 'C').astype(flat.dtype.newbyteorder('='))


def _as_bytes(data: Any) -> bytes:
    return data.encode('latin1') if isinstance(data, str) else bytes(data)


def _scalar(kind: Any, data: Any = b'') -> Any:
    return np.frombuffer(_as_bytes(data), kind.dtype())[0].item() if isinstance(kind, NumpyType) else Record(data)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *unused: Any) -> Tensor:
    return Tensor(storage, offset, shape, strides)


def _parameter(data: Any, *unused: Any) -> Any:
    return data


def _mapping(*pairs: Any) -> Mapping:
    return Mapping(*(p for p in pairs if isinstance(p, (list, dict))))


def _encode(text: str, encoding: str = 'latin1') -> bytes:
    return text.encode('latin1')


def _harmless() -> dict[str, Any]:
    """What a file may name, and what it gets for it."""
    table: dict[str, Any] = {
        'torch._utils._rebuild_tensor': _tensor,
        'torch._utils._rebuild_tensor_v2': _tensor,
        'torch._utils._rebuild_parameter': _parameter,
        'torch.Size': Record,
        'torch.device': Record,
        'torch.storage.UntypedStorage': StorageType('u1'),
        'torch.UntypedStorage': StorageType('u1'),
        'collections.OrderedDict': _mapping,
        'collections.defaultdict': _mapping,
        'argparse.Namespace': Record,
        'types.SimpleNamespace': Record,
        '_codecs.encode': _encode,
        'numpy.dtype': NumpyType,
        'numpy.ndarray': NumpyArray,
    }
    table |= {f'torch.{name}Storage': StorageType(element) for name, element in ELEMENTS.items()}
    table |= {f'torch.{name}': name for name in DTYPES}
    for core in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        table |= {f'{core}.scalar': _scalar, f'{core}._reconstruct': NumpyArray}
    for module in ('builtins', '__builtin__'):
        table |= {f'{module}.{kind.__name__}': kind for kind in (set, frozenset, list, tuple, dict)}
    for name in ('Path', 'PosixPath', 'WindowsPath', 'PurePosixPath', 'PureWindowsPath'):
        table |= {f'pathlib.{name}': Record, f'pathlib._local.{name}': Record}
    return table


HARMLESS = _harmless()


class _Reader(pickle.Unpickler):
    """An unpickler that resolves the names of `HARMLESS` alone, and collects the storages."""

    def __init__(self, file: Any, path: Path):
        super().__init__(file, encoding='latin1')
        self._path = path
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        found = HARMLESS.get(f'{module}.{name}')
        if found is None:
            raise CodeError(
                f'{self._path} names {module}.{name}, which is not plain data: it holds code or objects '
                f'besides its tensors, and nothing was run; save its state_dict alone'
            )
        return found

    def persistent_load(self, pid: Any) -> Storage:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != 'storage' or not isinstance(pid[1], StorageType):
            raise ValueError('an unknown kind of reference')
        key = str(pid[2])
        if len(pid) > 5 and pid[5] is not None:
            raise ValueError('a storage that is a view of another')
        if key not in self.storages:
            self.storages[key] = Storage(pid[1].element, key, int(pid[4]))
        return self.storages[key]


def _load_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    pickles = [n for n in names if n.count('/') <= 1 and n.endswith('data.pkl')]
    code = [n for n in names if '/code/' in n or n.endswith('constants.pkl')]
    if code:
        raise CodeError(
            f'{path} is a TorchScript program ({code[0]}), not a checkpoint of weights: it holds code; save its '
            f'state_dict alone'
        )
    if not pickles:
        seen = 'a NumPy archive' if any(n.endswith('.npy') for n in names) else f'a zip archive of {len(names)} files'
        raise UserError(f'{path} is not a checkpoint: it seems to be {seen}')
    prefix = pickles[0].removesuffix('data.pkl')
    with zipfile.ZipFile(path) as archive:
        with archive.open(pickles[0]) as file:
            reader = _Reader(file, path)
            tree = reader.load()
        order = archive.read(f'{prefix}byteorder') if f'{prefix}byteorder' in names else b'little'

    def read(name: str) -> bytes:
        with zipfile.ZipFile(path) as archive:
            return archive.read(name)

    for key, storage in reader.storages.items():
        storage.order = '>' if order == b'big' else '<'
        storage.read = lambda name=f'{prefix}data/{key}': read(name)
    return tree


def _load_legacy(path: Path) -> Any:
    with path.open('rb') as file:
        if _Reader(file, path).load() != LEGACY_MAGIC:
            raise ValueError('a pickle that torch did not write')
        if _Reader(file, path).load() != LEGACY_PROTOCOL:
            raise ValueError('an unknown version of the format')
        about = _Reader(file, path).load()
        reader = _Reader(file, path)
        tree = reader.load()
        keys = _Reader(file, path).load()
        start = file.tell()
        for key in keys:
            file.seek(start)
            storage = reader.storages.get(str(key))
            header = file.read(8)
            if storage is None or len(header) < 8:
                raise ValueError(f'storage {key} is missing')
            length = struct.unpack('<q', header)[0] * storage.itemsize
            if length < 0 or start + 8 + length > path.stat().st_size:
                raise ValueError(f'storage {key} does not lie within the file')

            def read(at: int = start + 8, length: int = length) -> bytes:
                with path.open('rb') as again:
                    again.seek(at)
                    return again.read(length)

            storage.read = read
            storage.order = '<' if about.get('little_endian', True) else '>'
            start += 8 + length
    return tree


def load(path: Path) -> Any:
    """The tree of a `.pth` file: dictionaries and lists whose tensors are :class:`Tensor`.

    Raises:
      UserError: if the file is damaged, is not a checkpoint, or names anything but plain data.
    """
    try:
        return _load_zip(path) if zipfile.is_zipfile(path) else _load_legacy(path)
    except UserError:
        raise
    # What a broken or hostile pickle can raise is open-ended, and all of it means the same to the user.
    except Exception as error:
        raise UserError(
            f'{path} is not a readable checkpoint, or it is damaged: {type(error).__name__}: {str(error)[:120]}'
        ) from error

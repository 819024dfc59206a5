"""Any file of weights as nested dictionaries of arrays that are read when they are needed."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from ..errors import UserError
from . import torch_file

# How files begin that are often taken for checkpoints.
OTHERS = (
    (b'version https://git-lfs', 'a Git LFS pointer: the weights themselves were not downloaded'),
    (b'<', 'a web page, so the download failed'),
    (b'\x89HDF', 'an HDF5 file'),
    (b'\x1f\x8b', 'a gzip archive'),
    (b'\x89PNG', 'a picture'),
    (b'\xff\xd8', 'a picture'),
    (b'\x93NUMPY', 'a NumPy array'),
    (b'{', 'a JSON text'),
    (b'%PDF', 'a PDF document'),
)


class Lazy(NamedTuple):
    """An array of a safetensors file."""

    shape: tuple[int, ...]
    array: Callable[[], np.ndarray]


def _load_safetensors(path: Path) -> dict[str, Lazy]:
    def read(name: str) -> np.ndarray:
        with safe_open(path, framework='np') as file:
            array = file.get_tensor(name)
        return array.astype(np.float32) if array.dtype == ml_dtypes.bfloat16 else array

    with safe_open(path, framework='np') as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return {name: Lazy(shape, partial(read, name)) for name, shape in shapes.items()}


def load(path: Path) -> Any:
    """The tree of a `.pth`, `.pth.tar`, `.pt`, `.bin` or `.safetensors` file, whatever its name ends in.

    Raises:
      UserError: saying what the file seems to be instead.
    """
    if path.is_dir():
        raise UserError(f'{path} is a folder, and neither a run nor an encoder: it has no config.json')
    if not path.is_file():
        raise UserError(f'there is no file {path}')
    with path.open('rb') as file:
        head = file.read(512)
    if head[8:9] == b'{':
        try:
            return _load_safetensors(path)
        except SafetensorError as error:
            raise UserError(f'{path} is a damaged safetensors file: {error}') from error
    if head[257:262] == b'ustar':
        raise UserError(f'{path} is not a readable checkpoint: it seems to be a tar archive; unpack it')
    for start, what in OTHERS:
        if head.lstrip().startswith(start):
            raise UserError(f'{path} is not a checkpoint: it seems to be {what}')
    # A legacy checkpoint begins as a pickle of protocol 2 does.
    if head[:2] not in (b'PK', b'\x80\x02'):
        what = 'empty' if not head else 'neither a zip archive, a pickle nor a safetensors file'
        raise UserError(f'{path} is not a checkpoint: it is {what}')
    return torch_file.load(path)

"""Writes checkpoints as `torch.save` does, without torch, so that tests can make any of them."""

import io
import pickle
import struct
import sys
import types
import zipfile

import numpy as np

STORAGES = {'float32': 'FloatStorage', 'float16': 'HalfStorage', 'int64': 'LongStorage'}


class Tensor:
    """A tensor to be written; its storage is its own."""

    def __init__(self, array, *, offset=0, shape=None, strides=None):
        self.array = np.ascontiguousarray(array)
        self.offset, self.shape = offset, self.array.shape if shape is None else shape
        self.strides = tuple(s // self.array.itemsize for s in self.array.strides) if strides is None else strides


class _Storage:
    def __init__(self, array, key):
        self.array, self.key = array, key


def _pickled(tree, fakes, kept):
    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if isinstance(value, _Storage):
                kind = getattr(fakes['torch'], STORAGES[value.array.dtype.name])
                return ('storage', kind, value.key, 'cpu', value.array.size)
            return None

        def reducer_override(self, value):
            if isinstance(value, Tensor):
                storage = _Storage(value.array, str(len(kept)))
                kept.append(storage)
                arguments = (storage, value.offset, value.shape, value.strides, False, {})
                return fakes['torch._utils']._rebuild_tensor_v2, arguments
            return NotImplemented

    out = io.BytesIO()
    Pickler(out, protocol=2).dump(tree)
    return out.getvalue()


def save(tree, path, *, legacy=False):
    """Writes a tree of dictionaries whose arrays are :class:`Tensor`, in the zip format or the one before it."""
    fakes = {'torch': types.ModuleType('torch'), 'torch._utils': types.ModuleType('torch._utils')}
    for name in STORAGES.values():
        setattr(fakes['torch'], name, type(name, (), {'__module__': 'torch'}))
    exec('def _rebuild_tensor_v2(*a): pass', vars(fakes['torch._utils']))
    old = {name: sys.modules.get(name) for name in fakes}
    sys.modules.update(fakes)
    try:
        kept = []
        data = _pickled(tree, fakes, kept)
    finally:
        for name, module in old.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module
    if legacy:
        with path.open('wb') as file:
            for value in (0x1950A86A20F9469CFC6C, 1001, {'little_endian': True}):
                pickle.dump(value, file, protocol=2)
            file.write(data)
            pickle.dump([s.key for s in kept], file, protocol=2)
            for storage in kept:
                file.write(struct.pack('<q', storage.array.size) + storage.array.tobytes())
        return
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('archive/data.pkl', data)
        archive.writestr('archive/byteorder', b'little')
        for storage in kept:
            archive.writestr(f'archive/data/{storage.key}', storage.array.tobytes())

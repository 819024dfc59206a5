"""A trained encoder, ready to call."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.errors import FlaxError
from ml_collections import ConfigDict

from .. import weights as foreign
from ..config import defaults, from_dict
from ..errors import UserError
from ..evals import extract
from ..evals.features import check_pixel_range
from ..files import expanded, is_whole, read_json
from ..methods import Method
from ..methods.base import backbone
from . import build
from .checkpoint import Checkpoints, shapes


class Encoder:
    """`encoder(images) -> features`, of one checkpoint.

    Attributes:
      config: the run's config.
      method, params, extra: what it is made of, for use in other code.
      step: the checkpoint's step; 0 for an imported encoder, which has no projector: its `embeddings`
        are its features.
      channels: of its images, where they are known; else 0.
      rank: axes of one input: 3 for images, 1 for vectors.
    """

    def __init__(
        self,
        config: ConfigDict,
        method: Method,
        params: Any,
        extra: Any,
        step: int,
        *,
        channels: int = 0,
        rank: int = 3,
    ):
        self.config, self.method, self.params, self.extra, self.step = config, method, params, extra, step
        self.channels, self.rank = channels, rank
        prepare = build.build_preparation(config)
        self._encode: Callable = jax.jit(lambda p, e, images: method.encode(method.network(p, e), prepare(images)))

    @property
    def evaluated(self) -> dict[str, Any]:
        """`params` and `batch_stats` of the network that :meth:`outputs` evaluates: the trained one, or its target."""
        return self.method.network(self.params, self.extra)

    def encode(self, params: Any, images: Any) -> Any:
        """Features of prepared images with `params` in the place of those `evaluated`; differentiable in them."""
        return self.method.encode({**self.evaluated, 'params': params}, images)['features']

    def check(self, images: np.ndarray, call: Callable[[Any], Any]) -> Any:
        """The shapes that `call`, which passes images through the network, gives of the first.

        Raises:
          UserError: images of another rank, range, number of channels or size than the encoder takes.
        """
        if images.ndim != self.rank + 1:
            wanted = '[n, height, width, channels]' if self.rank == 3 else f'[n, …] with {self.rank + 1} axes'
            raise UserError(f'images must have shape {wanted}, not {list(images.shape)}')
        if images.ndim == 4:
            check_pixel_range(images)
        if self.channels and images.shape[-1] != self.channels:
            raise UserError(f'the encoder takes images of {self.channels} channels, not {images.shape[-1]}')
        try:
            return jax.eval_shape(call, images[:1])
        except (ValueError, TypeError, FlaxError) as error:
            raise UserError(
                f'images of {"x".join(map(str, images.shape[1:]))} do not fit the encoder: {str(error).splitlines()[0]}'
            ) from error

    def outputs(self, images: Any) -> dict[str, np.ndarray]:
        """`features` and `embeddings`, `[n, …]` float32, of images of the data's size.

        Args:
          images: uint8 (0..255) or float ([0, 1]), `[n, height, width, channels]`.
        """
        images = np.asarray(images)

        def call(rows: Any) -> dict[str, Any]:
            return self._encode(self.params, self.extra, rows)

        self.check(images, call)
        out = extract(call, images, batch_size=self.config.evaluate.batch_size)
        return {name: np.asarray(value, np.float32) for name, value in out.items()}

    def __call__(self, images: Any) -> np.ndarray:
        """Features `[n, dim]`, float32; see :meth:`outputs`."""
        return self.outputs(images)['features']


def read_run(workdir: Path) -> tuple[ConfigDict, dict[str, Any]]:
    """The config of a run, and all that its config.json holds besides.

    Raises:
      UserError: if the folder is no workdir, or the file is damaged.
    """
    file = expanded(workdir) / 'config.json'
    if not file.is_file():
        raise UserError(f'{workdir} is no workdir of a run: it has no config.json')
    saved = read_json(file)
    try:
        return from_dict(saved['config']), saved
    except UserError as error:
        raise UserError(f'{file}: {error}') from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f'{file} is damaged: {type(error).__name__}: {error}') from error


def read_config(workdir: Path) -> ConfigDict:
    """The config of a run; raises as :func:`read_run` does."""
    return read_run(workdir)[0]


def imported(weights: foreign.Weights) -> Encoder:
    """An encoder of another code base, ready to call; its config says how it wants its images."""
    config = defaults()
    config.method = ConfigDict({'name': weights.origin or 'imported'})
    config.model = ConfigDict(weights.model)
    config.data.source = ''
    config.data.image_size, config.data.channels = weights.resize, weights.channels
    config.augment.mean, config.augment.std = weights.mean, weights.std
    config.augment.evaluation_resize, config.augment.evaluation_crop = weights.resize, weights.crop
    extra = {'batch_stats': {'encoder': weights.batch_stats}}
    method = backbone(build.build_encoder(config))
    return Encoder(config, method, {'encoder': weights.params}, extra, 0, channels=weights.channels)


def load(workdir: str, *, step: int | None = None) -> Encoder:
    """The encoder of a workdir, from its newest checkpoint or that of `step`; or of a folder of `selfsup.convert`."""
    root = expanded(workdir)
    if foreign.is_encoder(root):
        if step is not None:
            raise UserError(f'{workdir} is an encoder without steps; leave --step out')
        return imported(foreign.read(root))
    config, saved = read_run(root)
    file, shape = root / 'config.json', saved.get('image_shape')
    if (
        not isinstance(shape, list)
        or not 1 <= len(shape) <= 3
        or not all(is_whole(n, least=1, below=2**15) for n in shape)
    ):
        raise UserError(f'{file} is damaged: image_shape is {shape!r}')
    saved.setdefault('data_size', 0)  # absent from runs of before there were methods that need it
    for name, least in (('total_steps', 1), ('data_size', 0)):
        if not is_whole(saved.get(name), least=least, below=2**31):
            raise UserError(f'{file} is damaged: {name} is {saved.get(name)!r}')
    images = jax.ShapeDtypeStruct((2, *shape), np.float32)
    kind = {'rank': len(shape), 'channels': shape[-1] if len(shape) == 3 else 0}
    method = build.build_method(config, steps=saved['total_steps'], data_size=saved['data_size'])
    prepare = build.build_preparation(config)
    like = jax.eval_shape(lambda x: method.init(jax.random.key(config.seed), {'views': (prepare(x),)}), images)
    single = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    like = dict(zip(('params', 'extra'), shapes(like, jax.tree.map(lambda _: single, like)), strict=True))
    with contextlib.closing(Checkpoints(root, read_only=True)) as checkpoints:
        found = checkpoints.restore_network(like, step)
    if found is None:
        raise UserError(f'{workdir} holds no checkpoint yet')
    return Encoder(config, method, found[1]['params'], found[1]['extra'], found[0], **kind)

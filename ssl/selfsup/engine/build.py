"""From a config to the objects of a run."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from .. import augment, optim, signature
from ..config import keywords, takes
from ..data import crop_boxes, loader, sources
from ..errors import UserError
from ..methods import METHODS, Method
from ..models import ENCODERS, NETWORKS

# Training sets below this are no use: the held-out part and the batch statistics need examples.
SMALLEST_SET = 8


class Data(NamedTuple):
    """The sources of a run: `train` is what the encoder sees, `labelled` is it and the held-out part together."""

    train: sources.Source
    holdout: sources.Source
    labelled: sources.Source
    test: sources.Source

    @property
    def fingerprint(self) -> str:
        return f'{self.train.fingerprint}-{self.holdout.fingerprint}-{self.test.fingerprint}'


def open_data(config: ConfigDict, spec: str | None = None) -> Data:
    """The data of a config, or of another source read the same way."""
    c = config.data
    if not (spec or c.source):
        raise UserError('no data are named: set data.source, or --data for an encoder that has none of its own')
    whole, test = sources.open_source(spec or c.source, data_dir=c.dir, test_fraction=c.test_fraction)
    if c.per_class:
        whole = sources.first_of_each_class(whole, c.per_class)
    if len(whole) < SMALLEST_SET:
        raise UserError(f'{whole.name} holds {len(whole)} images; at least {SMALLEST_SET} are needed to train')
    fit = {'image_size': c.image_size, 'channels': c.channels, 'pad': c.pad}
    whole, test = (sources.fitted(part, **fit).heeding(c.on_corrupt) for part in (whole, test))
    train, holdout = sources.split(whole, c.holdout, seed=1, parts=('train', 'held out'))
    return Data(train, holdout, whole, test)


def build_encoder(config: ConfigDict, **fixed: Any) -> nn.Module:
    """The backbone of `config.model`."""
    constructor = ENCODERS[config.model.name]
    fields = {k: v for k, v in config.model.items() if k != 'name'}
    groups: dict[str, Any] = {'groups': norm_groups(config)} if takes(constructor, 'groups') else {}
    dtype = jnp.bfloat16 if config.train.precision == 'bfloat16' else None
    return constructor(**fields, **groups, dtype=dtype, **fixed)


def build_head(spec: ConfigDict, config: ConfigDict) -> nn.Module:
    """A network of the method besides the encoder, from its section: projector, predictor, ..."""
    constructor = NETWORKS[spec.kind]
    fields = {name: value for name, value in spec.items() if name != 'kind'}
    groups: dict[str, Any] = {'groups': norm_groups(config)} if takes(constructor, 'groups') else {}
    dtype = jnp.bfloat16 if config.train.precision == 'bfloat16' else None
    return constructor(**fields, **groups, dtype=dtype)


def norm_groups(config: ConfigDict) -> int:
    """Batch-norm groups of what the network sees at once, a microbatch."""
    return max(config.train.batch_norm_groups // config.train.microbatches, 1)


def build_method(
    config: ConfigDict, *, steps: int, data_size: int = 0, axis_name: str | None = None, **values: Any
) -> Method:
    """The method of `config.method`; `values` replace its hyper-parameters (a sweep passes traced arrays).

    `data_size` is the number of training images, for methods that keep something for each of them.
    """
    constructor = METHODS[config.method.name]
    fields = {k: v for k, v in config.method.items() if k in keywords(constructor)} | values
    if 'momentum_final' in fields:
        first, final = fields['momentum'], fields.pop('momentum_final')
        same = isinstance(first, float) and first == final
        fields['momentum'] = first if same else optim.momentum_cosine(first, final, steps=steps)
    for name, final in config.schedules.items():  # functions of the step, which methods.base evaluates
        fields[name] = optim.momentum_cosine(fields[name], final, steps=steps)
    taken = signature.networks(constructor)
    networks = [build_encoder(config) if n == 'encoder' else build_head(config[n], config) for n in taken]
    if takes(constructor, 'data_size'):
        fields['data_size'] = data_size
    return constructor(*networks, **fields, axis_name=axis_name)


def build_optimizer(config: ConfigDict, *, epoch_steps: int, **values: Any) -> tuple[optax.GradientTransformation, Any]:
    """The optimiser and its learning-rate schedule; `values` replace fields (a sweep passes traced arrays)."""
    c = {**config.optimizer, **values}
    warmup = round(c['warmup_epochs'] * epoch_steps)
    if c['schedule'] == 'cosine':
        rate = optim.warmup_cosine(
            c['learning_rate'],
            steps=config.train.epochs * epoch_steps,
            warmup_steps=warmup,
            start=c['warmup_start'],
            final_share=c['final_share'],
            inclusive=c['warmup_inclusive'],
        )
    else:
        rate = optim.warmup_constant(c['learning_rate'], warmup_steps=warmup, start=c['warmup_start'])
    if c['by_epoch']:
        rate = optim.by_epoch(rate, epoch_steps)
    groups = {name: optim.Group(**group) for name, group in config.optimizer.groups.items()}
    taken = {**keywords(optim.optimizer), **keywords(optim.OPTIMIZERS[c['name']])}  # other fields are other optimisers'
    chosen = {name: c[name] for name in taken if name != 'groups'}
    if c['weight_decay_final'] is not None:
        steps = config.train.epochs * epoch_steps
        chosen['weight_decay'] = optim.momentum_cosine(c['weight_decay'], c['weight_decay_final'], steps=steps)
    return optim.optimizer(c['name'], rate, peak=c['learning_rate'], groups=groups, **chosen), rate


def build_views(config: ConfigDict) -> Any:
    """The augmentation of a config: see :func:`selfsup.augment.make_views`."""
    c = config.augment
    return _named(
        'augment.views', augment.make_views({k: v.to_dict() for k, v in c.views.items()}, mean=c.mean, std=c.std)
    )


def build_preparation(config: ConfigDict) -> Any:
    """What evaluation does to images: see :func:`selfsup.augment.make_evaluation`."""
    c = config.augment
    prepare = augment.make_evaluation(resize=c.evaluation_resize, crop=c.evaluation_crop, mean=c.mean, std=c.std)
    return _named(f'augment.evaluation_resize={c.evaluation_resize} with evaluation_crop={c.evaluation_crop}', prepare)


def _named(fields: str, function: Callable) -> Callable:
    """The function of images, whose refusals name fields of the config."""

    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (ValueError, TypeError) as error:
            raise UserError(f'{fields}: {str(error).splitlines()[0]}') from error

    return call


def _check_channels(config: ConfigDict, source: sources.Source) -> None:
    """Refuses colour operations and normalisations that the images have no channels for."""
    c = config.augment
    channels = source.image_shape[-1]
    for view, spec in c.views.items():
        for operation in augment.pipeline.COLOUR:
            if operation in spec and channels != 3:
                raise UserError(
                    f'augment.views.{view}.{operation} needs 3 channels, and the images of {source.name} have '
                    f'{channels}; set data.channels=3 or take another augment.recipe'
                )
    for field in ('mean', 'std'):
        if len(c[field]) not in (1, channels):
            raise UserError(f'augment.{field} has {len(c[field])} entries for images of {channels} channels')


def build_feed(config: ConfigDict, source: sources.Source, mesh: Any) -> Any:
    """The feed of the training step."""
    c = config.data
    _check_channels(config, source)
    common: dict[str, Any] = {'seed': config.seed, 'batch_size': c.batch_size, 'mesh': mesh}
    if c.crop != 'device':
        common['crops'] = crop_boxes.crops(config.augment.views.to_dict())
    if c.crop == 'canvas':
        common['canvas'] = c.canvas
    return loader.make_feed(c.feed, source, **common, workers=c.workers, channels=c.channels)

"""From a config to the objects of a run."""

import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from .. import augment, optim
from ..data import crop_boxes, loader, sources, subsets
from ..data.batches import Rows, Work, work_on
from ..data.described import Described
from ..errors import UserError
from ..methods import METHODS, Method, regularised
from ..methods.base import scheduled
from ..models import ENCODERS, NETWORKS
from ..signature import domains, keywords, networks, takes

# Training sets below this are no use: the held-out part and the batch statistics need examples.
SMALLEST_SET = 8
# Examples of a data set that is not read: no method's clusters or neighbours are too many for it.
ANY_SIZE = 2**30
# Rows of the training set from which an augmentation may draw.
REFERENCE_ROWS = 4096
# Rows of the first batch that are in memory together: canvases of a large batch would be gigabytes.
READ_AT_ONCE = 64


class Data(NamedTuple):
    """The sources of a run.

    Attributes:
      train: what the encoder sees.
      holdout: what it never sees, for diagnostics during training.
      labelled: what probes learn from: the two together with what `data.subset` leaves out, or the train part of
        `data.probe_source`.
      test: what probes are tested on.
      probe_fingerprint: of `labelled` where it is another source; else ''.
    """

    train: sources.Source
    holdout: sources.Source
    labelled: sources.Source
    test: sources.Source
    probe_fingerprint: str = ''

    @property
    def fingerprint(self) -> str:
        parts = (self.train.fingerprint, self.holdout.fingerprint, self.test.fingerprint, self.probe_fingerprint)
        return '-'.join(filter(None, parts))


def open_data(config: ConfigDict, spec: str | None = None) -> Data:
    """The data of a config, or of another source read the same way; says on stderr what was left out.

    `data.labels` and `data.probe_source` are of the config's own source, not of another `spec`.
    """
    c = config.data
    if not (spec or c.source):
        raise UserError('no data are named: set data.source, or --data for an encoder that has none of its own')
    own = spec is None
    whole, test = training_set(config, spec)
    chosen = subsets.chosen(whole, c.subset) if own and c.subset else whole
    if len(chosen) < SMALLEST_SET:
        raise UserError(f'{chosen.name} holds {len(chosen)} examples; at least {SMALLEST_SET} are needed to train')
    used = brought(config, chosen)
    whole, test = used if chosen is whole else brought(config, whole), brought(config, test)
    train, holdout = held_out(config, used)
    if not (own and c.probe_source):
        _check_shapes(config, whole, test)
        _tell(whole, test)
        return Data(train, holdout, whole, test)
    probes = sources.open_source(c.probe_source, data_dir=c.dir, test_fraction=c.test_fraction)
    labelled, test = (brought(config, part) for part in probes)
    shared = sources.shared_rows(whole, test)
    if shared:
        raise UserError(
            f'data.source={c.source} would train on {shared[0]} ({len(shared)} in all), which the test of '
            f'data.probe_source={c.probe_source} holds; a test set is never trained on'
        )
    _check_shapes(config, whole, labelled, test)
    _tell(whole, labelled, test)
    return Data(train, holdout, labelled, test, labelled.fingerprint)


def training_set(config: ConfigDict, spec: str | None = None) -> tuple[sources.Source, sources.Source]:
    """All rows to train on, and the test set, as they are stored; :func:`open_data` takes a subset of them."""
    c, own = config.data, spec is None
    whole, test = sources.open_source(spec or c.source, data_dir=c.dir, test_fraction=c.test_fraction)
    if own and c.labels == 'none':
        if c.per_class:
            raise UserError(
                f'data.per_class={c.per_class} chooses by label, and data.labels=none has none; set it to 0'
            )
        whole, test = whole.unlabelled(), test.unlabelled()
    return (sources.first_of_each_class(whole, c.per_class) if c.per_class else whole), test


def _check_shapes(config: ConfigDict, whole: sources.Source, *others: sources.Source) -> None:
    """Refuses, before training, rows to probe or test on that are not as those to train on."""
    if config.data.crop != 'device':  # else readers cut all to one size
        return
    for part in others:
        if part.spec != whole.spec:
            raise UserError(
                f'{part.name} has rows {list(part.spec.shape)} {part.spec.dtype} and {whole.name} '
                f'{list(whole.spec.shape)} {whole.spec.dtype}; set data.image_size and data.channels'
            )


def held_out(config: ConfigDict, source: sources.Source) -> tuple[sources.Source, sources.Source]:
    """The rows that a run trains on, and those that it measures itself on (`data.holdout`), the same for every seed."""
    return sources.split(source, config.data.holdout, seed=1, parts=('train', 'held out'))


def brought(config: ConfigDict, source: sources.Source) -> sources.Source:
    """The source with its images as the config wants them."""
    c = config.data
    for field, usual in (('background', 'none'), ('orientation', 'stored')):
        if c[field] != usual and not source.spec.is_image:
            raise UserError(
                f'data.{field}={c[field]} is of images, and {source.name} holds {source.spec.unit} '
                f'{list(source.spec.shape)}; set it to {usual}'
            )
    upright = sources.treated(source, sources.Treatment(c.background, c.orientation))
    return sources.fitted(upright, image_size=c.image_size, channels=c.channels, pad=c.pad).heeding(c.on_corrupt)


def _tell(*parts: sources.Source) -> None:
    """Says before training what was left out of the parts; once in a run of several processes."""
    if jax.process_index() == 0:
        for line in dict.fromkeys(line for part in parts for line in part.notes):
            print(f'data: {line}', file=sys.stderr)


def build_encoder(config: ConfigDict, **fixed: Any) -> nn.Module:
    """The backbone of `config.model`."""
    constructor = ENCODERS[config.model.name]
    fields = {k: v for k, v in config.model.items() if k != 'name'}
    groups: dict[str, Any] = {'groups': norm_groups(config)} if takes(constructor, 'groups') else {}
    dtype = jnp.bfloat16 if config.train.precision == 'bfloat16' else None
    return constructor(**fields, **groups, dtype=dtype, **fixed)


def build_network(section: str, config: ConfigDict) -> nn.Module:
    """The projector, predictor or decoder of a config: its section's kind with the fields as keywords."""
    constructor: Any = NETWORKS[config[section].kind]
    groups: dict[str, Any] = {'groups': norm_groups(config)} if takes(constructor, 'groups') else {}
    dtype = jnp.bfloat16 if config.train.precision == 'bfloat16' else None
    fields = {name: value for name, value in config[section].items() if name != 'kind'}
    return constructor(**fields, **groups, dtype=dtype)


def norm_groups(config: ConfigDict) -> int:
    """Batch-norm groups of what the network sees at once, a microbatch."""
    return max(config.train.batch_norm_groups // config.train.microbatches, 1)


def build_method(config: ConfigDict, *, steps: int, data_size: int = 0, **values: Any) -> Method:
    """The method of `config.method`; `values` replace its hyper-parameters (a sweep passes traced arrays).

    A regulariser's are named `regularisers.<name>.<field>`. `data_size` is the number of training images, for methods
    that keep something for each of them.
    """
    constructor = METHODS[config.method.name]
    own = {name: value for name, value in values.items() if '.' not in name}
    fields = {k: v for k, v in config.method.items() if k in keywords(constructor)} | own
    for name in (name for name, domain in domains(constructor).items() if domain.scheduled):
        first, final = fields[name], fields.pop(f'{name}_final')
        same = isinstance(first, float) and first == final
        fields[name] = first if same else optim.momentum_cosine(first, final, steps=steps)
    for name, final in config.schedules.items():
        fields[name] = optim.momentum_cosine(fields[name], final, steps=steps)
    built = [build_encoder(config) if n == 'encoder' else build_network(n, config) for n in networks(constructor)]
    if takes(constructor, 'data_size'):
        fields['data_size'] = data_size
    chosen = {
        name: {field: values.get(f'regularisers.{name}.{field}', value) for field, value in given.items()}
        for name, given in config.method.get('regularisers', {}).items()
    }
    return regularised(scheduled(constructor, *built, **fields), chosen)


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
        rate = optim.warmup_constant(
            c['learning_rate'],
            steps=config.train.epochs * epoch_steps,
            warmup_steps=warmup,
            cooldown_steps=round(c['cooldown_epochs'] * epoch_steps),
            start=c['warmup_start'],
            final_share=c['final_share'],
        )
    if c['by_epoch']:
        rate = optim.by_epoch(rate, epoch_steps)
    groups = {name: optim.Group(**group) for name, group in config.optimizer.groups.items()}
    taken = {**keywords(optim.optimizer), **keywords(optim.OPTIMIZERS[c['name']])}  # other fields are other optimisers'
    chosen = {name: c[name] for name in taken if name != 'groups'}
    if c['weight_decay_final'] is not None:
        steps = config.train.epochs * epoch_steps
        chosen['weight_decay'] = optim.momentum_cosine(c['weight_decay'], c['weight_decay_final'], steps=steps)
    return optim.optimizer(c['name'], rate, peak=c['learning_rate'], groups=groups, **chosen), rate


def reference_rows(train: sources.Source, count: int) -> np.ndarray:
    """`count` rows of the training set, or all: the first of a seeded order, in the order of the set."""
    rows = np.random.Generator(np.random.Philox(key=1)).permutation(len(train))[:count]
    return train.select(np.sort(rows), 'reference').arrays()[0]


def build_views(config: ConfigDict, train: sources.Source | None = None) -> Any:
    """The augmentation of a config: see :func:`selfsup.augment.make_views`.

    `train` gives the reference rows of operations that draw from the training set: the first of a seeded order.
    """
    c = config.augment
    specs = {name: spec.to_dict() for name, spec in c.views.items()}
    reference = None
    if train is not None and any(
        augment.OPERATIONS[op].reference for spec in specs.values() for op in spec if op in augment.OPERATIONS
    ):
        reference = reference_rows(train, REFERENCE_ROWS)
    return _named('augment.views', augment.make_views(specs, mean=c.mean, std=c.std, reference=reference))


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
    channels = source.spec.shape[-1]
    way_out = 'set data.channels=3 or take another augment.recipe' if channels == 1 else 'take another augment.recipe'
    for view, spec in c.views.items():
        for operation in spec:
            row = augment.OPERATIONS.get(operation)
            if row and row.colour and channels != 3:
                raise UserError(
                    f'augment.views.{view}.{operation} needs 3 channels, and the images of {source.name} have '
                    f'{channels}; {way_out}'
                )
    for field in ('mean', 'std'):
        if len(c[field]) not in (1, channels):
            raise UserError(f'augment.{field} has {len(c[field])} entries for images of {channels} channels')


def build_feed(config: ConfigDict, source: sources.Source, mesh: Any, *, described: bool = False) -> Any:
    """The feed of the training step; `described` gives the shapes of its rows alone (:class:`Described`)."""
    c = config.data
    _check_channels(config, source)
    common: dict[str, Any] = {'batch_size': c.batch_size, 'mesh': mesh, **_cropping(config)}
    if described:
        return Described(c.feed, source, **common)
    return loader.make_feed(c.feed, source, seed=config.seed, **common, workers=c.workers)


def _cropping(config: ConfigDict) -> dict[str, Any]:
    """Which crops are taken as images are read, and in how many channels."""
    c = config.data
    crops = crop_boxes.crops(augment.expand(config.augment.views.to_dict())) if c.crop != 'device' else ()
    return {'crops': crops, 'canvas': c.canvas if c.crop == 'canvas' else 0, 'channels': c.channels}


def work_of(config: ConfigDict, source: sources.Source, rows: tuple[int, int]) -> Work:
    """What reads some rows of any step's batch, first and one past the last, as the run's feed does."""
    return work_on(source, seed=config.seed, batch_size=config.data.batch_size, rows=rows, **_cropping(config))


def read_first_batch(config: ConfigDict, source: sources.Source) -> dict[int, str]:
    """Reads the rows of the first step, and keeps none: number of each corrupt image that is skipped -> why.

    Raises:
      UserError: where the run would end for a row that cannot be read, or is not like the others.
    """
    size, skipped = config.data.batch_size, {}
    for first in range(0, size, READ_AT_ONCE):
        piece = Rows(work_of(config, source, (first, min(first + READ_AT_ONCE, size))), threads=os.cpu_count() or 1)
        piece(0)
        skipped |= piece.skipped
    return skipped

"""Refuses configs that cannot run, before anything is built: each fault names its field and what would be right."""

from typing import Any

from ml_collections import ConfigDict

from ..augment import check_spec
from ..errors import UserError, nearest
from ..evals.measures import MEASURES, measured
from ..methods import METHODS
from ..models import ENCODERS, NETWORKS
from ..models.fields import check_encoder
from ..optim import Group
from ..signature import check, keywords, takes
from .complete import network_sections
from .defaults import CONTROLS, defaults
from .fields import conform, value_at
from .known import _get, _require, check_known

# Above these a program would not fit, or not end being built; no published setting is near them.
MOST = {
    'augment.evaluation_crop': 8192,
    'augment.evaluation_resize': 8192,
    'augment.size': 8192,
    'data.canvas': 8192,
    'data.image_size': 8192,
    'data.pad': 8192,
    'data.workers': 256,
    'monitor.lidar_views': 1000,
    'train.epochs': 1_000_000,
    'train.steps_per_call': 10_000,
}


def _require_sizes(field: str, sizes: Any) -> None:
    """Refuses what is no tuple of positive integers."""
    good = isinstance(sizes, tuple) and len(sizes) > 0 and all(type(n) is int and n > 0 for n in sizes)
    _require(good, f'{field} must hold positive integers, not {sizes!r}')


def _validate_domains(config: ConfigDict) -> None:
    """Refuses values outside the domains that the constructors' signatures state, and above what can be built."""
    check('method', METHODS[config.method.name], {k: v for k, v in config.method.items() if k != 'name'})
    check_encoder(ENCODERS, config.model.to_dict())
    for section in network_sections(config):
        if takes(METHODS[config.method.name], section):
            if config[section].get('widths') == ():
                output, name = config.projector.widths[-1], config.method.name
                raise UserError(f'{section}.widths is empty, and {name} needs a {section}; widths must end in {output}')
            values = {k: v for k, v in config[section].items() if k != 'kind'}
            check(section, NETWORKS[config[section].kind], values)
    for field, most in MOST.items():
        value = _get(config, field)
        _require(value is None or value <= most, f'{field} must be at most {most}, not {value}')


def _validate_groups(config: ConfigDict) -> None:
    """Refuses parameter groups with other fields than :class:`selfsup.optim.Group` has."""
    known = Group()._asdict()
    for name, group in config.optimizer.groups.items():
        where = f'optimizer.groups.{name}'
        _require(isinstance(group, ConfigDict), f'{where} must be a group of fields, not {group!r}')
        for field in list(group):
            _require(field in known, f'{where}.{field} is unknown in a parameter group{nearest(field, known)}')
            conform(config, f'{where}.{field}', known[field])
            if field == 'schedule':
                _require(group.schedule in ('base', 'constant'), f'{where}.schedule must be base or constant')
            else:
                _require(group[field] >= 0, f'{where}.{field} must not be negative, and is {group[field]}')


def _validate_networks(config: ConfigDict) -> None:
    """Refuses fields of networks that the method does not take, and a predictor that cannot meet the projector."""
    name = config.method.name
    for section in network_sections(config):
        if takes(METHODS[name], section):
            continue
        reference = defaults()[section]
        given = [k for k, v in config[section].items() if k not in reference or v != reference[k]]
        # Every config has a projector's widths, which a method without one leaves unread.
        if given and section != 'projector':
            raise UserError(f'{section}.{given[0]}={config[section][given[0]]!r} is set, and {name} has no {section}')
    if not takes(METHODS[name], 'predictor') or config.predictor.kind != 'mlp':
        return
    widths, output = config.predictor.widths, config.projector.widths[-1]
    _require(
        widths[-1] == output,
        f'predictor.widths={widths!r} must end in {output}, as projector.widths={config.projector.widths!r} does',
    )


def validate(config: ConfigDict) -> None:
    """Refuses impossible values and combinations, before anything is built."""
    check_known(config)
    _require(config.control in CONTROLS, f'control={config.control!r} is unknown{nearest(config.control, CONTROLS)}')
    for field in ('data.batch_size', 'data.canvas', 'train.epochs', 'train.log_every', 'monitor.every_epochs',
                  'checkpoint.keep', 'monitor.max_samples', 'checkpoint.every_epochs', 'evaluate.batch_size',
                  'evaluate.neighbours', 'evaluate.label_draws', 'train.microbatches',
                  'train.batch_norm_groups'):  # fmt: skip
        _require(value_at(config, field) >= 1, f'{field} must be at least 1, not {value_at(config, field)}')
    for field in ('data.per_class', 'data.image_size', 'data.pad', 'data.workers', 'optimizer.weight_decay',
                  'optimizer.warmup_epochs', 'optimizer.warmup_start', 'optimizer.final_share',
                  'optimizer.clip_norm', 'optimizer.vector_scale', 'train.steps_per_call', 'train.stop_after_steps',
                  'train.stop_after_minutes', 'augment.evaluation_resize', 'augment.evaluation_crop',
                  'parallel.fsdp_least_bytes',
                  'seed', 'monitor.patience', 'monitor.least_deviation', 'monitor.least_deviation_normalized',
                  'monitor.least_rank'):  # fmt: skip
        _require(value_at(config, field) >= 0, f'{field} must not be negative, and is {value_at(config, field)}')
    final = config.optimizer.weight_decay_final
    _require(
        final is None or (isinstance(final, int | float) and final >= 0),
        f'optimizer.weight_decay_final must be a number from 0 or None, not {final!r}',
    )
    for field in ('optimizer.learning_rate', 'probe.learning_rate', 'optimizer.trust', 'evaluate.temperature',
                  'evaluate.inverse_regularization', 'monitor.most_alignment'):  # fmt: skip
        _require(value_at(config, field) > 0, f'{field} must be positive, not {value_at(config, field)}')
    _require(
        config.monitor.lidar_views >= 2, f'monitor.lidar_views must be at least 2, not {config.monitor.lidar_views}'
    )
    for name in config.monitor.measures:
        _require(name in MEASURES, f'monitor.measures: {name!r} is unknown{nearest(str(name), MEASURES)}')
    _require(config.data.batch_size >= 2, 'data.batch_size must be at least 2: statistics need two examples')
    for field, choices in (
        ('data.feed', ('auto', 'resident', 'streaming')),
        ('data.crop', ('device', 'reading', 'canvas')),
        ('data.on_corrupt', ('stop', 'skip')),
        ('data.channels', (0, 1, 3)),
        ('parallel.shard', ('replicated', 'fsdp')),
        ('data.labels', ('own', 'none')),
        ('data.background', ('none', 'white', 'black')),
        ('data.orientation', ('stored', 'exif')),
        ('train.precision', ('float32', 'bfloat16')),
        ('train.on_nonfinite', ('stop', 'skip')),
        ('monitor.on_collapse', ('warn', 'stop')),
        ('optimizer.name', ('sgd', 'adamw', 'lars', 'lars_clipped', 'lars_classic', 'larc')),
        ('optimizer.schedule', ('cosine', 'constant')),
    ):
        value = value_at(config, field)
        hint = nearest(value, map(str, choices)) if isinstance(value, str) else f'; known are {choices}'
        _require(value in choices, f'{field}={value!r} is unknown{hint}')
    for field in ('data.holdout', 'data.test_fraction'):
        _require(0 < value_at(config, field) < 1, f'{field} is a share between 0 and 1, not {value_at(config, field)}')
    for field in ('optimizer.momentum', 'optimizer.beta2'):
        _require(0 <= value_at(config, field) < 1, f'{field} must lie in [0, 1), not {value_at(config, field)}')
    _validate_domains(config)
    _validate_networks(config)
    _validate_groups(config)
    if config.evaluate.label_counts:
        _require_sizes('evaluate.label_counts', config.evaluate.label_counts)
    mean, std = config.augment.mean, config.augment.std
    _require(
        len(mean) == len(std) > 0,
        f'augment.mean and augment.std must have one entry, or one a channel, both; not {mean!r} and {std!r}',
    )
    _require(min(std) > 0, f'augment.std must be positive, not {std!r}')
    _require(
        config.optimizer.warmup_epochs <= config.train.epochs,
        f'optimizer.warmup_epochs={config.optimizer.warmup_epochs} is longer than train.epochs={config.train.epochs}',
    )
    _require(len(config.augment.views) > 0, 'augment.views is empty; name an augment.recipe or specify views')
    for name, spec in config.augment.views.items():
        _require(isinstance(spec, ConfigDict), f'augment.views.{name} must be a group of operations, not {spec!r}')
        try:
            check_spec(f'augment.views.{name}', spec.to_dict())
        except ValueError as error:
            raise UserError(str(error)) from error
    views = sum(spec.get('count', 1) for spec in config.augment.views.values())
    known = (*measured(views), *config.monitor.measures)
    if config.checkpoint.best not in known:
        why = f', with {views} view there are no pairs' if config.checkpoint.best == 'alignment' else ''
        raise UserError(
            f'checkpoint.best={config.checkpoint.best!r} is not measured{why}; known are {", ".join(known)}'
        )
    if 'queue' in config.method:
        least = min(keywords(METHODS[config.method.name])['queue'], 1)  # a method without one by default may do without
        _require(config.method.queue >= least, f'method.queue must be at least {least}, not {config.method.queue}')
    if 'queue' in config.method:
        queue, batch = config.method.queue, config.data.batch_size
        _require(
            queue % batch == 0,
            f'method.queue={queue} must be a multiple of data.batch_size={batch}; {max(queue // batch, 1) * batch} is',
        )
    if 'block' in config.method:
        block, batch, width = config.method.block, config.data.batch_size, config.projector.widths[-1]
        _require(batch % block == 0, f'method.block={block} must divide data.batch_size={batch}')
        _require(
            block > width or config.method.eps > 0,
            f'method.block={block} rows cannot whiten the {width} dims of projector.widths; take more rows or eps > 0',
        )
    for field in ('assign', 'teacher_views', 'centres'):
        views = sum(spec.get('count', 1) for spec in config.augment.views.values())
        if field in config.method:
            _require(config.method[field] <= views, f'method.{field}={config.method[field]} exceeds the {views} views')
    pieces, groups = config.train.microbatches, config.train.batch_norm_groups
    for field, count in (('train.microbatches', pieces), ('train.batch_norm_groups', groups)):
        _require(
            config.data.batch_size % count == 0, f'{field}={count} must divide data.batch_size={config.data.batch_size}'
        )
    if 'groups' in config.method:
        groups, batch = config.method.groups, config.data.batch_size
        _require(
            batch % groups == 0 and batch // groups >= 2,
            f'data.batch_size={batch} cannot be cut into method.groups={groups} groups of at least two',
        )

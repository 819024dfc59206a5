"""Refuses configs that cannot run, before anything is built: each fault names its field and what would be right."""

from ml_collections import ConfigDict

from .config import CONTROLS, defaults, flatten, keywords, takes, typed, value_at
from .errors import UserError, nearest


def check_known(config: ConfigDict) -> None:
    """Refuses fields that no part of the code reads, and wrong types, naming the nearest."""
    reference = flatten(defaults())
    open_groups = ('method.', 'model.', 'augment.views.', 'optimizer.groups.')
    if not isinstance(config.get('method'), ConfigDict) or not isinstance(config.get('model'), ConfigDict):
        raise UserError('method and model must be groups with a name, as in method.name')
    flat = flatten(config)
    for field, value in flat.items():
        if field in reference:
            converted = typed(field, value, reference[field])
            if converted is not value:
                *path, leaf = field.split('.')
                node = value_at(config, '.'.join(path)) if path else config
                with node.ignore_type():
                    node[leaf] = converted
        elif not field.startswith(open_groups):
            raise UserError(f'{field} is no field of a config{nearest(field, reference)}')
    for field in reference:
        if field not in flat and not field.startswith(open_groups):
            raise UserError(f'{field} is missing from the config; start from selfsup.config.defaults()')


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)


def _validate_predictor(config: ConfigDict) -> None:
    """Refuses a predictor that the method lacks or does not have, or that cannot meet the projector's output."""
    from .methods import METHODS

    name, widths, output = config.method.name, config.predictor.widths, config.projector.widths[-1]
    if not takes(METHODS[name], 'predictor'):
        _require(not widths, f'predictor.widths={widths!r}, and {name} has no predictor; leave it at ()')
        return
    _require(len(widths) > 0, f'predictor.widths is empty, and {name} needs a predictor; widths must end in {output}')
    _require(
        all(isinstance(w, int) and w > 0 for w in widths),
        f'predictor.widths must hold positive integers, not {widths!r}',
    )
    _require(
        widths[-1] == output,
        f'predictor.widths={widths!r} must end in {output}, as projector.widths={config.projector.widths!r} does',
    )


def validate(config: ConfigDict) -> None:
    """Refuses impossible values and combinations, before anything is built."""
    from .augment import check_spec
    from .engine.monitor import MEASURED, MEASURES
    from .methods import METHODS

    check_known(config)
    _require(config.control in CONTROLS, f'control={config.control!r} is unknown{nearest(config.control, CONTROLS)}')
    for field in ('data.batch_size', 'train.epochs', 'train.log_every', 'monitor.every_epochs', 'checkpoint.keep',
                  'monitor.max_samples', 'checkpoint.every_epochs', 'evaluate.batch_size', 'evaluate.neighbours',
                  'evaluate.label_draws', 'train.microbatches', 'train.batch_norm_groups'):  # fmt: skip
        _require(value_at(config, field) >= 1, f'{field} must be at least 1, not {value_at(config, field)}')
    for field in ('data.per_class', 'data.image_size', 'data.pad', 'data.workers', 'optimizer.weight_decay',
                  'optimizer.warmup_epochs', 'optimizer.warmup_start', 'optimizer.final_share',
                  'optimizer.clip_norm', 'optimizer.vector_scale', 'train.steps_per_call', 'train.stop_after_steps',
                  'train.stop_after_minutes', 'augment.evaluation_resize', 'augment.evaluation_crop',
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
    _require(config.seed < 2**32, f'seed must be below 2**32, not {config.seed}')
    _require(config.data.batch_size >= 2, 'data.batch_size must be at least 2: statistics need two examples')
    for field, choices in (
        ('data.feed', ('auto', 'resident', 'streaming')),
        ('data.crop', ('device', 'reading')),
        ('data.on_corrupt', ('stop', 'skip')),
        ('data.channels', (0, 1, 3)),
        ('train.precision', ('float32', 'bfloat16')),
        ('train.on_nonfinite', ('stop', 'skip')),
        ('monitor.on_collapse', ('warn', 'stop')),
        ('optimizer.name', ('sgd', 'adamw', 'lars', 'lars_clipped', 'lars_classic', 'larc')),
        ('optimizer.schedule', ('cosine', 'constant')),
        ('checkpoint.best', (*MEASURED, *config.monitor.measures)),
        ('projector.last_norm', ('none', 'plain', 'scale', 'affine', 'iterative')),
        ('projector.activation', ('relu', 'gelu')),
        ('predictor.last_norm', ('none', 'plain', 'scale', 'affine')),
        ('predictor.activation', ('relu', 'gelu')),
    ):
        value = value_at(config, field)
        hint = nearest(value, map(str, choices)) if isinstance(value, str) else f'; known are {choices}'
        _require(value in choices, f'{field}={value!r} is unknown{hint}')
    for field in ('data.holdout', 'data.test_fraction'):
        _require(0 < value_at(config, field) < 1, f'{field} is a share between 0 and 1, not {value_at(config, field)}')
    for field in ('optimizer.momentum', 'optimizer.beta2'):
        _require(0 <= value_at(config, field) < 1, f'{field} must lie in [0, 1), not {value_at(config, field)}')
    _require(
        len(config.projector.widths) > 0 and all(isinstance(w, int) and w > 0 for w in config.projector.widths),
        f'projector.widths must hold positive integers, not {config.projector.widths!r}',
    )
    _validate_predictor(config)
    _require(
        config.optimizer.warmup_epochs <= config.train.epochs,
        f'optimizer.warmup_epochs={config.optimizer.warmup_epochs} is longer than train.epochs={config.train.epochs}',
    )
    _require(len(config.augment.views) > 0, 'augment.views is empty; name an augment.recipe or specify views')
    for name, spec in config.augment.views.items():
        _require(isinstance(spec, ConfigDict), f'augment.views.{name} must be a group of operations, not {spec!r}')
        try:
            check_spec(f'augment.views.{name}', spec.to_dict())
        except (ValueError, TypeError, IndexError) as error:
            raise UserError(str(error)) from error
    for field in ('temperature', 'teacher_temperature', 'student_temperature', 'epsilon', 'groups', 'prototypes',
                  'iterations', 'clusterings', 'assign', 'directions', 'block', 'warmup_hold'):  # fmt: skip
        if field in config.method:
            _require(config.method[field] > 0, f'method.{field} must be positive, not {config.method[field]}')
    if 'queue' in config.method:
        least = min(keywords(METHODS[config.method.name])['queue'], 1)  # a method without one by default may do without
        _require(config.method.queue >= least, f'method.queue must be at least {least}, not {config.method.queue}')
    m = config.method
    _require(m.get('sigma') is None or m.sigma > 0, f'method.sigma must be positive or None, not {m.get("sigma")}')
    _require(
        0 <= m.get('positive_prior', 0) < 1, f'method.positive_prior must lie in [0, 1), not {m.get("positive_prior")}'
    )
    _require(
        m.get('concentration', 0) >= 0, f'method.concentration must not be negative, and is {m.get("concentration")}'
    )
    for field in ('momentum', 'momentum_final'):
        if field in config.method:
            value = config.method[field]
            _require(0 <= value <= 1, f'method.{field} must lie in [0, 1], not {value}')
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

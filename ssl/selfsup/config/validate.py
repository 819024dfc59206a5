"""Refuses configs that cannot run, before anything is built: each fault names its field and what would be right.

What one field may hold is its domain (`domains.py`, and the signatures of methods, networks and optimisers); here stand
the checks of several fields together.
"""

from typing import Any

from ml_collections import ConfigDict

from ..augment import check_spec
from ..errors import UserError, nearest
from ..evals.measures import MEASURES, measured
from ..methods import METHODS, REGULARISERS
from ..models import check_sizes
from ..optim import Group
from ..signature import check, networks, schedulable
from . import fields
from .complete import constructors, network_sections, reference, sections
from .defaults import LOGGERS
from .domains import field_domains
from .known import _require, check_known

# What a run may go on with besides networks: parameters by which methods of clusters sort images.
HEADS = ('head',)


def validate(config: ConfigDict) -> None:
    """Refuses impossible values and combinations, before anything is built.

    Raises:
      UserError: naming the field, its value and what would be right.
    """
    check_known(config, network_sections())
    flat = fields.flatten(config)
    for field, domain in field_domains().items():
        if field in flat:
            domain.check(field, flat[field])
    _check_start(config)
    _check_predictor_exists(config)
    for section, (constructor, values) in constructors(config).items():
        if section != 'optimizer':  # one flat section for all optimisers, whose fields have been checked above
            check(section, constructor, values)
            check_sizes(section, values)
    _check_absent_networks(config)
    _check_predictor(config)
    _check_groups(config)
    _check_schedules(config)
    _check_views(config)
    _check_monitor(config)
    _check_log(config)
    _check_batch(config)
    _check_method(config)
    _check_regularisers(config)
    _check_rate(config)


def _check_rate(config: ConfigDict) -> None:
    """Refuses a warm-up and a cool-down that are longer than the run, or a cool-down of a rate that falls anyway."""
    warmup, epochs, cooldown = config.optimizer.warmup_epochs, config.train.epochs, config.optimizer.cooldown_epochs
    _require(warmup <= epochs, f'optimizer.warmup_epochs={warmup} must be at most train.epochs={epochs}')
    _require(
        cooldown == 0 or config.optimizer.schedule == 'constant',
        f"optimizer.cooldown_epochs={cooldown} needs optimizer.schedule='constant'",
    )
    _require(
        warmup + cooldown <= epochs,
        f'optimizer.cooldown_epochs={cooldown} must be at most {epochs - warmup}, train.epochs without the warm-up',
    )


def _check_start(config: ConfigDict) -> None:
    """Refuses networks to start with that the method does not have, or that nothing gives."""
    _require(
        not (config.init_from and config.branch_from), 'init_from and branch_from are both set; a run has one start'
    )
    known, names = (*networks(METHODS[config.method.name]), *HEADS), config.init_networks
    if not config.init_from:
        _require(names == ('encoder',), f'init_networks={names!r} needs init_from')
        return
    for name in names:
        _require(name in known, f'init_networks: {name!r} is no network of {config.method.name}{nearest(name, known)}')
    _require('encoder' in names, f"init_networks={names!r} must hold 'encoder'")


def _check_absent_networks(config: ConfigDict) -> None:
    """Refuses fields of networks that the method does not have."""
    method = config.method.name
    for section in sorted(network_sections() - sections(config).keys()):
        unset = fields.flatten(reference(section))
        for field, value in fields.flatten(config.get(section, ConfigDict())).items():
            right = f'leave it at {unset[field]!r}' if field in unset else 'leave it out'
            same = field in unset and fields.same(value, unset[field])
            _require(same, f'{section}.{field}={value!r} is set, but {method} has no {section}; {right}')


def _check_predictor_exists(config: ConfigDict) -> None:
    """Refuses a method with a predictor whose config leaves it at the default, which has no layers."""
    taken = sections(config)
    if 'predictor' in taken and config.predictor.get('widths', None) == ():
        if 'projector' not in taken:
            raise UserError(
                f"predictor.kind='mlp' with predictor.widths=() is no predictor of {config.method.name}; "
                "set predictor.kind='transformer', or predictor.widths for a method whose predictor is an MLP"
            )
        width = config.projector.get('widths', ())[-1:]
        end = f'; its last must be {width[0]}' if width else ''
        raise UserError(f'predictor.widths=() must be the widths of the predictor of {config.method.name}{end}')


def _check_predictor(config: ConfigDict) -> None:
    """Refuses an MLP as predictor whose output is not as wide as the projector's."""
    taken = sections(config)
    projector, predictor = (config[n].get('widths', ()) if n in taken else () for n in ('projector', 'predictor'))
    if projector and predictor:
        output: int = projector[-1]
        _require(
            predictor[-1] == output,
            f'predictor.widths={predictor!r} must end in {output}, as projector.widths={projector!r} does',
        )


def _check_groups(config: ConfigDict) -> None:
    """Refuses parameter groups with other fields than :class:`selfsup.optim.Group` has."""
    types = Group()._asdict()
    for name, group in config.optimizer.groups.items():
        where = f'optimizer.groups.{name}'
        _require(isinstance(group, ConfigDict), f'{where} must be a group of fields, not {group!r}')
        for field in [field for field in group if field in types]:
            fields.conform(config, f'{where}.{field}', types[field])
        check(where, Group, group)


def _check_schedules(config: ConfigDict) -> None:
    """Refuses schedules of what is no number of the method, and final values outside its domain."""
    known = schedulable(METHODS[config.method.name])
    for name, final in config.schedules.items():
        if f'{name}_final' in config.method:
            raise UserError(f'unknown field schedules.{name}; set method.{name}_final')
        if name not in known:
            raise UserError(f'unknown field schedules.{name}{nearest(name, known)}')
        known[name].check(f'schedules.{name}', final)
        _require(
            config.method[name] is not None,
            f'method.{name} must be {known[name].describe()} where schedules.{name} is set, not None',
        )


def _check_views(config: ConfigDict) -> None:
    """Refuses specifications of views that the augmentation does not know."""
    mean, std = config.augment.mean, config.augment.std
    _require(
        len(mean) == len(std),
        f'augment.mean={mean!r} and augment.std={std!r} must have one entry, or one a channel, both',
    )
    _require(len(config.augment.views) > 0, 'augment.views is empty; name an augment.recipe or specify views')
    for name, spec in config.augment.views.items():
        _require(isinstance(spec, ConfigDict), f'augment.views.{name} must be a group of operations, not {spec!r}')
        try:
            check_spec(f'augment.views.{name}', spec.to_dict())
        except ValueError as error:
            raise UserError(str(error)) from error


def _check_monitor(config: ConfigDict) -> None:
    """Refuses measures that there are not."""
    for name in config.monitor.measures:
        _require(name in MEASURES, f'monitor.measures: {name!r} is unknown{nearest(str(name), MEASURES)}')
    views = _count_views(config)
    best, known = config.checkpoint.best, (*measured(views), *config.monitor.measures)
    why = f', with {views} view there are no pairs' if best == 'alignment' else ''
    _require(best in known, f'checkpoint.best={best!r} is not measured{why}; known are {", ".join(known)}')


def _check_log(config: ConfigDict) -> None:
    """Refuses loggers that there are not; whether their packages are installed matters to a run alone."""
    for name in config.log.to:
        _require(name in LOGGERS, f'log.to: {name!r} is unknown{nearest(str(name), LOGGERS)}')


def _count_views(config: ConfigDict) -> int:
    return sum(spec.get('count', 1) for spec in config.augment.views.values())


def _check_batch(config: ConfigDict) -> None:
    """Refuses parts that the batch cannot be cut into."""
    batch = config.data.batch_size
    for field in ('train.microbatches', 'train.batch_norm_groups'):
        count = fields.value_at(config, field)
        _require(batch % count == 0, f'{field}={count} must divide data.batch_size={batch}')
    for name, spec in config.augment.views.items():
        count = spec.get('shared', 1)
        _require(batch % count == 0, f'augment.views.{name}.shared={count} must divide data.batch_size={batch}')


def _check_method(config: ConfigDict) -> None:
    """Refuses hyper-parameters that do not go with the batch, the views or the width of the embedding."""
    method, batch = config.method, config.data.batch_size
    queue: Any = method.get('queue', 0)
    _require(
        queue % batch == 0,
        f'method.queue={queue} must be a multiple of data.batch_size={batch}; {max(queue // batch, 1) * batch} is',
    )
    if 'block' in method:
        block, width = method.block, config.projector.get('widths', (0,))[-1]
        _require(batch % block == 0, f'method.block={block} must divide data.batch_size={batch}')
        _require(
            block > width or method.eps > 0,
            f'method.block={block} rows cannot whiten the {width} dims of projector.widths; take more rows or eps > 0',
        )
    if 'column_groups' in method:
        count, width = method.column_groups, config.projector.get('widths', (0,))[-1]
        _require(width % count == 0, f'method.column_groups={count} must divide the {width} dims of projector.widths')
        _require(
            batch > width // count or method.eps > 0,
            f'data.batch_size={batch} rows cannot whiten {width // count} columns of a group; take eps > 0',
        )
    views = _count_views(config)
    for field in ('assign', 'teacher_views', 'centres'):
        count = method.get(field, 0)
        _require(count <= views, f'method.{field}={count} must be at most {views}, the number of views')
    groups = method.get('groups', 1)
    _require(
        groups == 1 or (batch % groups == 0 and batch // groups >= 2),
        f'method.groups={groups} must cut data.batch_size={batch} into equal groups of at least two',
    )


def _check_regularisers(config: ConfigDict) -> None:
    """Refuses regularisers that need more rows than the batch has, or cut it unevenly."""
    batch = config.data.batch_size
    for name, values in config.method.regularisers.items():
        built = REGULARISERS[name](**values)
        where, views = f'method.regularisers.{name}', min(_count_views(config), 2) if built.joined else 1
        _require(
            built.rows <= batch * views,
            f'{where} needs at least {built.rows} rows, and data.batch_size={batch} gives it {batch * views}',
        )
        _require(batch % built.parts == 0, f'{where} cuts data.batch_size={batch} into {built.parts} unequal parts')

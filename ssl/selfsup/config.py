"""The experiment configuration: every field with its meaning, overrides, checks and identity.

A config file has one function `get_config()` that starts from `defaults()` and sets plain values. This
module imports neither jax nor anything else heavy, so that config files stay plain.

The command line is read here rather than by `ml_collections.config_flags`: its errors are tracebacks,
and a mistyped field should end in one sentence with the nearest name.
"""

import ast
import hashlib
import json
import runpy
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from .errors import UserError, nearest

# Fields that may differ when a workdir is resumed: they do not change what a step computes, except
# `train.epochs`, which stretches schedules over the new length (and so repeats no shorter run).
RESUMABLE = (
    'train.epochs',
    'train.log_every',
    'train.stop_after_steps',
    'train.stop_after_minutes',
    'monitor.on_collapse',
    'checkpoint.keep',
    'checkpoint.every_epochs',
    'data.workers',
)
CONTROLS = ('none', 'shuffled_pairs')


def _head(widths: tuple[int, ...]) -> ConfigDict:
    """The fields of a projector or predictor: those of :class:`selfsup.models.MLP`."""
    c = ConfigDict()
    c.widths = widths  # output width of each layer
    c.hidden_norm = True  # batch-norm after all layers but the last
    c.last_norm = 'none'  # after the last: 'none', 'plain', 'scale', 'affine', 'iterative'
    c.hidden_bias = True  # biases of all layers but the last
    c.last_bias = True  # bias of the last
    c.activation = 'relu'  # or 'gelu'
    return c


def defaults() -> ConfigDict:
    """Every field of a config, with its meaning and default. Config files change what they need to."""
    c = ConfigDict()
    c.seed = 0  # everything random follows from it: initialisation, order, views
    c.control = 'none'  # 'shuffled_pairs' draws each positive from another image: nothing should be learned
    c.init_from = ''  # run, encoder folder or file of weights (selfsup.convert) whose encoder the run starts with

    c.method = ConfigDict()
    c.method.name = 'barlow_twins'  # a row of selfsup.methods.METHODS; its other fields are its keywords

    c.model = ConfigDict()
    c.model.name = 'resnet18'  # a row of selfsup.models.ENCODERS; its other fields are its keywords

    c.projector = _head((2048, 2048, 2048))
    c.predictor = _head(())  # after the projector, of the methods that have one (BYOL, SimSiam, ...); () for none

    c.data = ConfigDict()
    c.data.source = 'digits'  # digits, tfds:<name>, npz:<file>, folder:<path> or shards:<folder>
    c.data.dir = ''  # where TFDS keeps its data sets; '' is TFDS's own default
    c.data.batch_size = 256  # global, over all devices
    c.data.holdout = 0.1  # share of train never trained on; diagnostics during training use it
    c.data.test_fraction = 0.2  # share set apart for the test where a source has no test split
    c.data.per_class = 0  # keep only this many training images of each class; 0 keeps all
    c.data.image_size = 0  # resize (shorter side) and centre-crop every image on reading; 0 leaves them
    c.data.channels = 0  # 3 or 1 converts every image; 0 leaves them
    c.data.pad = 0  # zero border, in pixels, around every image
    c.data.feed = 'auto'  # 'resident' (all images on the device), 'streaming', or 'auto' by size
    c.data.workers = 0  # processes that decode for the streaming feed; 0 uses threads
    # Where the views' random crops are taken: on the 'device', from the image at data.image_size, or on
    # 'reading', from the full image as the papers do (streaming feed; image_size is then evaluation's).
    c.data.crop = 'device'
    c.data.on_corrupt = 'stop'  # an image that cannot be decoded: 'stop', or 'skip' to take the next one

    c.augment = ConfigDict()
    c.augment.recipe = 'digits'  # a row of selfsup.augment.RECIPES, copied into `views`; '' uses `views` alone
    c.augment.size = 224  # side of the views of recipes that crop
    c.augment.views = ConfigDict()  # view name -> specification (selfsup.augment.pipeline)
    c.augment.mean = (0.5,)  # normalisation of views and of evaluation images
    c.augment.std = (0.5,)  # likewise
    c.augment.evaluation_resize = 0  # shorter side of evaluation images; 0 leaves them
    c.augment.evaluation_crop = 0  # their centre crop; 0 keeps everything

    c.optimizer = ConfigDict()
    # sgd, adamw, lars (papers), lars_clipped (solo-learn), larc (SwAV), lars_classic (SimCLR)
    c.optimizer.name = 'adamw'
    c.optimizer.learning_rate = 1e-3  # peak, for this batch size: configs write the scaling out
    c.optimizer.weight_decay = 1e-4  # added to the gradient; decoupled for adamw
    c.optimizer.weight_decay_final = None  # a cosine to this over the run (DINO: 0.04 to 0.4); None keeps it
    c.optimizer.momentum = 0.9  # of sgd and lars; AdamW's first β
    c.optimizer.beta2 = 0.999  # adamw
    c.optimizer.trust = 1e-3  # lars: η (solo-learn: 0.02)
    c.optimizer.decay_vectors = False  # whether biases and norms (arrays of one axis) are decayed
    c.optimizer.vector_scale = 1.0  # factor on their learning rate (Barlow Twins' code: 0.024)
    c.optimizer.warmup_epochs = 10.0  # linear warm-up
    c.optimizer.warmup_start = 0.0  # learning rate at its start
    c.optimizer.warmup_inclusive = False  # its last step has the peak (SwAV, DINO, solo-learn), or the next one
    c.optimizer.final_share = 0.0  # the cosine ends at this share of the peak
    c.optimizer.schedule = 'cosine'  # cosine or constant, after the warm-up
    c.optimizer.by_epoch = False  # the schedule moves once an epoch (MoCo v2, SimSiam), or every step
    c.optimizer.clip_norm = 0.0  # global gradient norm; 0 does not clip
    c.optimizer.clip_each = False  # clip_norm is of each array (DINO), or of all together
    c.optimizer.groups = ConfigDict()  # top-level parameter key -> {scale, schedule, decay, freeze_steps}

    c.train = ConfigDict()
    c.train.epochs = 100  # passes over the training part; each drops its last incomplete batch
    c.train.precision = 'float32'  # activations: float32 or bfloat16; parameters and losses stay float32
    c.train.steps_per_call = 0  # steps per dispatch (lax.scan); 0 is 1 on CPU and 20 elsewhere
    c.train.log_every = 20  # steps between lines of metrics.jsonl
    c.train.stop_after_steps = 0  # end this session (not the run) after so many steps; 0 does not
    c.train.stop_after_minutes = 0.0  # likewise by the clock
    c.train.on_nonfinite = 'stop'  # a loss that is not finite: 'stop' or 'skip' the update

    c.probe = ConfigDict()
    c.probe.learning_rate = 1e-3  # Adam, for the linear probe that learns beside the encoder

    c.monitor = ConfigDict()
    c.monitor.every_epochs = 5  # how often the held-out part is measured
    c.monitor.max_samples = 25600  # images used for it
    c.monitor.measures = ('rankme', 'rankme_features')  # besides the alarm's numbers: selfsup.engine.monitor.MEASURES
    c.monitor.lidar_views = 10  # views of each image, where 'lidar' is among them
    c.monitor.on_collapse = 'warn'  # or 'stop': the alarm was raised twice in a row (selfsup.engine.monitor.raised)
    c.monitor.patience = 0  # end the run after so many measurements without a better checkpoint.best; 0 does not
    # Limits of the alarm on held-out embeddings (selfsup.diagnostics.collapse_alarm).
    c.monitor.least_deviation = 1e-3  # standard deviation
    c.monitor.least_deviation_normalized = 0.1  # that of unit rows, times the root of the width
    c.monitor.most_alignment = 0.9  # squared distance of pairs of views over that of strangers
    c.monitor.least_rank = 12.0  # effective rank, or a quarter of what is possible if that is less

    c.checkpoint = ConfigDict()
    c.checkpoint.every_epochs = 10  # how often one is written
    c.checkpoint.keep = 2  # newest ones kept, besides the best
    # The monitor's number by which the best is kept. Not RankMe: it is often highest before anything is
    # learned. 'alignment' (pairs over strangers, smaller is better) needs no labels and sees collapse.
    c.checkpoint.best = 'alignment'

    c.evaluate = ConfigDict()
    c.evaluate.batch_size = 512  # images encoded at once
    c.evaluate.neighbours = 20  # of the k-NN vote
    c.evaluate.temperature = 0.07  # of its weights exp(cosine / temperature)
    c.evaluate.label_counts = (1, 10)  # labels per class of the low-label probes
    c.evaluate.label_draws = 5  # random draws averaged for each of them
    c.evaluate.inverse_regularization = 1.0  # C of the logistic regression (scikit-learn's convention)
    return c


def load(path: str, overrides: list[str] = ()) -> ConfigDict:  # type: ignore[assignment]
    """The resolved, validated config of a file and `field=value` overrides.

    Raises:
      UserError: for anything that does not fit, naming the field.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(f'no config file {path}{nearest(file.name, [p.name for p in _siblings(file)])}')
    try:
        namespace = runpy.run_path(str(file))
    except Exception as error:
        raise UserError(f'{path} cannot be run as a config: {type(error).__name__}: {error}') from error
    if not callable(namespace.get('get_config')):
        raise UserError(f'{path} has no function get_config()')
    try:
        config = namespace['get_config']()
    except Exception as error:
        raise UserError(f'get_config() of {path} failed: {type(error).__name__}: {error}') from error
    if not isinstance(config, ConfigDict):
        raise UserError(f'get_config() of {path} must return the ConfigDict of selfsup.config.defaults()')
    return with_overrides(config, overrides)


def _siblings(file: Path) -> list[Path]:
    return list(file.parent.glob('*.py')) if file.parent.is_dir() else []


def with_overrides(config: ConfigDict, overrides: list[str] | tuple[str, ...]) -> ConfigDict:
    """A resolved, validated copy of `config` with `field=value` strings applied in order.

    Overrides of names (method, model, recipe) come first, since they decide which other fields exist.
    """
    from .methods import METHODS

    config = config.copy_and_resolve_references()
    naming = ('method.name=', 'model.name=', 'augment.recipe=', 'augment.size=')
    ordered = sorted(overrides, key=lambda o: not o.startswith(naming))
    names = [o for o in ordered if o.startswith(naming)]
    for override in names:
        field, _, value = override.partition('=')
        if field in ('method.name', 'model.name') and _get(config, field) != value:
            # Another method or model takes other keywords: the file's are dropped, its defaults used; and
            # so is the file's predictor where the other method has none.
            setattr(config, field.split('.')[0], ConfigDict({'name': value}))
            if field == 'method.name' and not takes(METHODS.get(value), 'predictor'):
                config.predictor = _head(())
        else:
            _override(config, override)
        if field == 'augment.recipe':
            config.augment.views = ConfigDict()
    fill(config)
    for override in ordered[len(names) :]:
        _override(config, override)
    validate(config)
    return config


def fill(config: ConfigDict) -> None:
    """Writes defaults that depend on names into the config: keywords of method and model, the recipe's views."""
    from .augment.recipes import RECIPES
    from .methods import METHODS
    from .models import ENCODERS

    _check_known(config)
    for section, table in (('method', METHODS), ('model', ENCODERS)):
        name = config[section].name
        if name not in table:
            raise UserError(f'{section}.name={name!r} is unknown{nearest(str(name), table)}')
        known = keywords(table[name])
        for field in config[section]:
            if field != 'name' and field not in known:
                raise UserError(f'{section}.{field} is no field of {name}{nearest(field, known)}')
        for field, value in known.items():
            if field not in config[section]:
                config[section][field] = value
    if config.augment.recipe:
        if config.augment.recipe not in RECIPES:
            hint = nearest(str(config.augment.recipe), RECIPES)
            raise UserError(f'augment.recipe={config.augment.recipe!r} is unknown{hint}')
        if not len(config.augment.views):
            config.augment.views = ConfigDict(RECIPES[config.augment.recipe](config.augment.size))


def keywords(constructor: Any) -> dict[str, Any]:
    """The configurable keywords of a method or model and their defaults."""
    import inspect

    reserved = ('encoder', 'projector', 'predictor', 'axis_name', 'data_size', 'dtype', 'groups_axis', 'parent', 'name')
    found: dict[str, Any] = {}
    is_model = not inspect.isfunction(constructor)
    for name, parameter in inspect.signature(constructor).parameters.items():
        if name in reserved or (is_model and name in ('groups', 'maps')):
            continue
        if parameter.default is not inspect.Parameter.empty:
            found[name] = parameter.default
        if name == 'momentum':
            found['momentum_final'] = parameter.default  # a cosine from momentum to this over the run
    return found


def takes(constructor: Any, name: str) -> bool:
    """Whether a method's constructor has a parameter of this name, such as `predictor` or `data_size`."""
    import inspect

    return constructor is not None and name in inspect.signature(constructor).parameters


def _get(config: ConfigDict, field: str) -> Any:
    node: Any = config
    for part in field.split('.'):
        node = node[part]
    return node


def flatten(config: Any, prefix: str = '') -> dict[str, Any]:
    """`{'data.batch_size': 256, …}`, tuples as they are."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        where = f'{prefix}{name}'
        if isinstance(value, (ConfigDict, dict)):
            flat.update(flatten(value, f'{where}.'))
        else:
            flat[where] = value
    return flat


def _override(config: ConfigDict, override: str) -> None:
    """Applies one `field=value`, converting the text to the field's type."""
    field, equals, text = override.partition('=')
    if not equals:
        raise UserError(f'{override!r} is no override; write --config.field=value')
    flat = flatten(config)
    *path, leaf = field.split('.')
    node: Any = config
    for part in path:
        node = node[part] if isinstance(node, ConfigDict) and part in node else None
    if not isinstance(node, ConfigDict) or (leaf not in node and field not in _open_fields(config)):
        raise UserError(f'{field} is no field of this config{nearest(field, flat)}')
    if leaf in node and isinstance(node[leaf], ConfigDict):
        raise UserError(f'{field} is a group of fields; set one of {", ".join(f"{field}.{k}" for k in node[leaf])}')
    old = node.get(leaf, None)
    with node.unlocked(), node.ignore_type():
        node[leaf] = _parse(field, text, old)


def _open_fields(config: ConfigDict) -> set[str]:
    """Fields that a file may leave out and a command line may still set."""
    known = ('scale', 'schedule', 'decay', 'freeze_steps')
    return {f'optimizer.groups.{group}.{name}' for group in config.optimizer.groups for name in known}


def _parse(field: str, text: str, old: Any) -> Any:
    """`text` as a value of the type of `old`."""
    if isinstance(old, str):
        return text
    try:
        value = ast.literal_eval({'true': 'True', 'false': 'False', 'none': 'None'}.get(text.lower(), text))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        value = text
    return _typed(field, value, old)


def _typed(field: str, value: Any, old: Any) -> Any:
    """`value` if it has the type of `old` (an integer may stand for a float, a list for a tuple)."""
    if old is None:
        return value
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(old, tuple) and isinstance(value, (list, tuple)):
        if old and any(not isinstance(v, type(old[0])) and not _number_for(v, old[0]) for v in value):
            raise UserError(f'{field} holds {type(old[0]).__name__} values, not {value!r}')
        return tuple(value)
    if type(value) is not type(old):
        raise UserError(f'{field} must be {_article(type(old).__name__)}, as {old!r} is, not {value!r}')
    return value


def _number_for(value: Any, example: Any) -> bool:
    return isinstance(example, float) and isinstance(value, int) and not isinstance(value, bool)


def _article(name: str) -> str:
    return f'an {name}' if name[0] in 'aeiou' else f'a {name}'


def _check_known(config: ConfigDict) -> None:
    """Refuses fields that no part of the code reads, and wrong types, naming the nearest."""
    reference = flatten(defaults())
    open_groups = ('method.', 'model.', 'augment.views.', 'optimizer.groups.')
    if not isinstance(config.get('method'), ConfigDict) or not isinstance(config.get('model'), ConfigDict):
        raise UserError('method and model must be groups with a name, as in method.name')
    flat = flatten(config)
    for field, value in flat.items():
        if field in reference:
            typed = _typed(field, value, reference[field])
            if typed is not value:
                *path, leaf = field.split('.')
                node = _get(config, '.'.join(path)) if path else config
                with node.ignore_type():
                    node[leaf] = typed
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

    _check_known(config)
    _require(config.control in CONTROLS, f'control={config.control!r} is unknown{nearest(config.control, CONTROLS)}')
    for field in ('data.batch_size', 'train.epochs', 'train.log_every', 'monitor.every_epochs', 'checkpoint.keep',
                  'monitor.max_samples', 'checkpoint.every_epochs', 'evaluate.batch_size', 'evaluate.neighbours',
                  'evaluate.label_draws'):  # fmt: skip
        _require(_get(config, field) >= 1, f'{field} must be at least 1, not {_get(config, field)}')
    for field in ('data.per_class', 'data.image_size', 'data.pad', 'data.workers', 'optimizer.weight_decay',
                  'optimizer.warmup_epochs', 'optimizer.warmup_start', 'optimizer.final_share',
                  'optimizer.clip_norm', 'optimizer.vector_scale', 'train.steps_per_call', 'train.stop_after_steps',
                  'train.stop_after_minutes', 'augment.evaluation_resize', 'augment.evaluation_crop',
                  'seed', 'monitor.patience', 'monitor.least_deviation', 'monitor.least_deviation_normalized',
                  'monitor.least_rank'):  # fmt: skip
        _require(_get(config, field) >= 0, f'{field} must not be negative, and is {_get(config, field)}')
    final = config.optimizer.weight_decay_final
    _require(
        final is None or (isinstance(final, int | float) and final >= 0),
        f'optimizer.weight_decay_final must be a number from 0 or None, not {final!r}',
    )
    for field in ('optimizer.learning_rate', 'probe.learning_rate', 'optimizer.trust', 'evaluate.temperature',
                  'evaluate.inverse_regularization', 'monitor.most_alignment'):  # fmt: skip
        _require(_get(config, field) > 0, f'{field} must be positive, not {_get(config, field)}')
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
        value = _get(config, field)
        hint = nearest(value, map(str, choices)) if isinstance(value, str) else f'; known are {choices}'
        _require(value in choices, f'{field}={value!r} is unknown{hint}')
    for field in ('data.holdout', 'data.test_fraction'):
        _require(0 < _get(config, field) < 1, f'{field} is a share between 0 and 1, not {_get(config, field)}')
    for field in ('optimizer.momentum', 'optimizer.beta2'):
        _require(0 <= _get(config, field) < 1, f'{field} must lie in [0, 1), not {_get(config, field)}')
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
    if 'groups' in config.method:
        groups, batch = config.method.groups, config.data.batch_size
        _require(
            batch % groups == 0 and batch // groups >= 2,
            f'data.batch_size={batch} cannot be cut into method.groups={groups} groups of at least two',
        )


def to_json(config: ConfigDict) -> str:
    """The config as text, keys sorted; tuples become lists."""
    return json.dumps(config.to_dict(), indent=2, sort_keys=True)


def identity(config: ConfigDict) -> str:
    """Hash of every field that changes what a run computes."""
    flat = {k: v for k, v in flatten(json.loads(to_json(config))).items() if k not in RESUMABLE}
    return hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest()[:16]


def differences(old: dict[str, Any], config: ConfigDict) -> list[str]:
    """One 'field: old -> new' line for each field that differs and may not."""
    before, now = flatten(json.loads(json.dumps(old))), flatten(json.loads(to_json(config)))
    return [
        f'{field}: {before.get(field, "absent")!r} -> {now.get(field, "absent")!r}'
        for field in sorted(before.keys() | now.keys())
        if before.get(field) != now.get(field) and field not in RESUMABLE
    ]


def _add_missing(config: ConfigDict, reference: ConfigDict) -> None:
    for name, value in reference.items():
        if name not in config:
            config[name] = value
        elif isinstance(value, ConfigDict) and isinstance(config[name], ConfigDict):
            _add_missing(config[name], value)


def from_dict(saved: dict[str, Any]) -> ConfigDict:
    """The config that a workdir's config.json holds (lists become tuples).

    Fields that did not exist yet when it was written get their defaults, which do what was done then.
    """

    def restore(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: restore(v) for k, v in value.items()}
        return tuple(restore(v) for v in value) if isinstance(value, list) else value

    config = ConfigDict(restore(saved))
    _add_missing(config, defaults())
    fill(config)
    validate(config)
    return config

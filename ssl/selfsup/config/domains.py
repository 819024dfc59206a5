"""The values that the fields of `defaults()` may have, in the vocabulary of the signatures.

Fields of the method, the encoder and the other networks have the domains of their constructors' signatures, and so
have those of the optimiser that its function or `optim.optimizer` takes. Checks of several fields together stand in
`validate.py`.
"""

from typing import Any

from ..data.pictures import BACKGROUNDS, ORIENTATIONS
from ..optim import OPTIMIZERS, optimizer
from ..signature import (
    Count,
    Domain,
    NonNegative,
    Numbers,
    OpenShare,
    OptionalCounts,
    OptionalNonNegative,
    Positive,
    Positives,
    Whole,
    at_least,
    at_most,
    domain_of,
    domains,
    one_of,
)
from .defaults import CONTROLS

# Upper bounds are where a program would not fit, or not end being built; no published setting is near them.
SIDE = 8192

FIELDS: dict[str, Any] = {
    'seed': Whole,
    'control': one_of(*CONTROLS),
    'data.batch_size': at_least(Count, 2),  # statistics need two examples
    'data.holdout': OpenShare,
    'data.test_fraction': OpenShare,
    'data.per_class': Whole,
    'data.image_size': at_most(Whole, SIDE),
    'data.channels': one_of(0, 1, 3),
    'data.pad': at_most(Whole, SIDE),
    'data.feed': one_of('auto', 'resident', 'streaming'),
    'data.workers': at_most(Whole, 256),
    'data.crop': one_of('device', 'reading', 'canvas'),
    'data.canvas': at_most(Count, SIDE),
    'data.on_corrupt': one_of('stop', 'skip'),
    'data.labels': one_of('own', 'none'),
    'data.background': one_of(*BACKGROUNDS),
    'data.orientation': one_of(*ORIENTATIONS),
    'augment.size': at_most(Count, SIDE),
    'augment.mean': Numbers,
    'augment.std': Positives,
    'augment.evaluation_resize': at_most(Whole, SIDE),
    'augment.evaluation_crop': at_most(Whole, SIDE),
    'optimizer.learning_rate': Positive,
    'optimizer.weight_decay_final': OptionalNonNegative,
    'optimizer.warmup_epochs': NonNegative,
    'optimizer.warmup_start': NonNegative,
    'optimizer.final_share': NonNegative,
    'optimizer.schedule': one_of('cosine', 'constant'),
    'optimizer.cooldown_epochs': NonNegative,
    'train.epochs': at_most(Count, 1_000_000),
    'train.precision': one_of('float32', 'bfloat16'),
    'train.steps_per_call': at_most(Whole, 10_000),
    'train.microbatches': Count,
    'train.batch_norm_groups': Count,
    'train.log_every': Count,
    'train.stop_after_steps': Whole,
    'train.stop_after_minutes': NonNegative,
    'train.on_nonfinite': one_of('stop', 'skip'),
    'parallel.shard': one_of('replicated', 'fsdp'),
    'parallel.fsdp_least_bytes': Whole,
    'probe.learning_rate': Positive,
    'monitor.every_epochs': Count,
    'monitor.max_samples': Count,
    'monitor.lidar_views': at_most(at_least(Count, 2), 1000),
    'monitor.on_collapse': one_of('warn', 'stop'),
    'monitor.patience': Whole,
    'monitor.least_deviation': NonNegative,
    'monitor.least_deviation_normalized': NonNegative,
    'monitor.most_alignment': Positive,
    'monitor.least_rank': NonNegative,
    'checkpoint.every_epochs': Count,
    'checkpoint.keep': Count,
    'evaluate.batch_size': Count,
    'evaluate.neighbours': Count,
    'evaluate.temperature': Positive,
    'evaluate.label_counts': OptionalCounts,
    'evaluate.label_draws': at_most(Count, 10_000),
    'evaluate.inverse_regularization': Positive,
}


def field_domains() -> dict[str, Domain]:
    """Field of the config -> domain, of all fields but those of the method and of networks."""
    own = {field: domain_of(annotation) for field, annotation in FIELDS.items()}
    rows = (optimizer, *OPTIMIZERS.values())
    return own | {f'optimizer.{name}': domain for row in rows for name, domain in domains(row).items()}

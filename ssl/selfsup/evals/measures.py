"""Label-free measures of a representation by name: what a run monitors and `select` ranks by."""

from collections.abc import Callable

from jaxtyping import Array

from .. import diagnostics

# What `collapse_alarm` calls a number -> what the metrics call it.
ALARM_NUMBERS = {
    'deviation': 'deviation',
    'deviation_normalized': 'deviation_normalized',
    'relative_alignment': 'alignment',
    'rank': 'rank',
}
MEASURED = (*ALARM_NUMBERS.values(), 'probe_accuracy')  # at every measurement of a run of several views


def measured(views: int) -> tuple[str, ...]:
    """Numbers of every measurement of a run whose method has so many views: with one there are no pairs to align."""
    return tuple(name for name in MEASURED if views > 1 or name != 'alignment')


# config.monitor.measures -> function of what one measurement holds: features and embeddings of the clean
# images, and `draws`, the embeddings of their views, [images, views, dim].
MEASURES: dict[str, Callable[[dict[str, Array]], Array]] = {
    'rankme': lambda x: diagnostics.rankme(x['embeddings']),
    'rankme_features': lambda x: diagnostics.rankme(x['features']),
    'lidar': lambda x: diagnostics.lidar(x['draws']),
    'alpha_req': lambda x: diagnostics.alpha_req(x['features']),
    'nesum': lambda x: diagnostics.nesum(x['features']),
    'stable_rank': lambda x: diagnostics.stable_rank(x['features']),
    'uniformity': lambda x: diagnostics.uniformity(x['embeddings']),
    'correlation': lambda x: diagnostics.feature_correlation(x['embeddings']),
    'lid_mle': lambda x: diagnostics.lid_mle(x['features']),
    'two_nn': lambda x: diagnostics.two_nn(x['features']),
}

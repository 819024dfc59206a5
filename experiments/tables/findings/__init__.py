"""Small experiments that repeat a finding of a paper in minutes: one file each, a row in :data:`FINDINGS`."""

from . import (
    class_collapse,
    closed_form,
    conditional_independence,
    cosine,
    embedding_limits,
    feature_bias,
    hubness,
    inner_product,
    length_collapse,
    parallel_lines,
    prominent_feature,
    provable_pretraining,
    representation_deficiency,
    stepwise,
    temperature,
    triplet_complexity,
)

FINDINGS = {
    'class_collapse': class_collapse.finding,
    'closed_form': closed_form.finding,
    'conditional_independence': conditional_independence.finding,
    'cosine': cosine.finding,
    'embedding_limits': embedding_limits.finding,
    'feature_bias': feature_bias.finding,
    'hubness': hubness.finding,
    'inner_product': inner_product.finding,
    'length_collapse': length_collapse.finding,
    'parallel_lines': parallel_lines.finding,
    'prominent_feature': prominent_feature.finding,
    'provable_pretraining': provable_pretraining.finding,
    'representation_deficiency': representation_deficiency.finding,
    'stepwise': stepwise.finding,
    'temperature': temperature.finding,
    'triplet_complexity': triplet_complexity.finding,
}

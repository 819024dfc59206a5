"""Small experiments that repeat a finding of a paper in minutes: one file each, a row in :data:`FINDINGS`."""

from . import (
    closed_form,
    conditional_independence,
    cosine,
    embedding_limits,
    feature_bias,
    inner_product,
    prominent_feature,
    provable_pretraining,
    stepwise,
)

FINDINGS = {
    'closed_form': closed_form.finding,
    'conditional_independence': conditional_independence.finding,
    'cosine': cosine.finding,
    'embedding_limits': embedding_limits.finding,
    'feature_bias': feature_bias.finding,
    'inner_product': inner_product.finding,
    'prominent_feature': prominent_feature.finding,
    'provable_pretraining': provable_pretraining.finding,
    'stepwise': stepwise.finding,
}

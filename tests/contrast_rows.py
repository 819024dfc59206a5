"""What is known of the losses of contrast_references.py: rows of loss_rows.LOSSES, its fields in order.

Golden values are those of the authors' code, or of lightly's where that is named, run on the golden inputs.
"""

from functools import partial

import contrast_references as r
import jax.numpy as jnp
import numpy as np
from selfsup import losses


def of_one_point(function, **keywords):
    """The loss of equal unit embeddings against a memory or a queue of the same point."""
    return lambda z: function(z / jnp.sqrt(6.0), z / jnp.sqrt(6.0), **keywords)


def emp_collapse(n, d):
    return -200 - np.log(1 + d / 0.2) / 2


ROWS = {
    # lemniscate's NCEAverage and NCECriterion, every row a negative
    'instance_nce': (
        r.instance_nce, r.instance_nce_reference, ({}, 3.8657911533), lambda n, d: np.log(n + 1) + n * np.log(1 + 1 / n),
        None, False, True, False, True, of_one_point(r.instance_nce, log_normalizer=None),
    ),
    # lemniscate's LinearAverage
    'instance_softmax': (
        r.instance_softmax, r.instance_softmax_reference, ({}, 0.2065675826), lambda n, d: np.log(n),
        None, False, True, False, True,
    ),
    'invariance_propagation': (
        r.invariance_propagation, r.invariance_propagation_reference, None,
        lambda n, d: -np.log(1 / n + 1e-7) - 0.6 * np.log(3 / (n - 1) + 1e-7), None, False, True, False, True,
        of_one_point(r.invariance_propagation, background=100),
    ),
    # torch's cross_entropy with label_smoothing, as the authors call it
    'diet': (r.diet, r.diet_reference, ({}, 3.1916960040), lambda n, d: np.log(n), None, False, True, False),
    'unisiam': (
        r.unisiam, r.unisiam_reference, ({}, 0.0737452805), lambda n, d: -1 + 0.05, None, True, False, True, False, None,
        r.unisiam_reference,
    ),
    'frossl': (losses.frossl, r.frossl_reference, ({}, -3.0610313540), lambda n, d: 0, None, True, False, True),
    'emp_ssl': (losses.emp_ssl, r.emp_ssl_reference, ({}, -202.7720018198), emp_collapse, None, True, True, True),
    'emp_ssl, as they are': (
        partial(losses.emp_ssl, normalized=False), partial(r.emp_ssl_reference, normalized=False),
        ({}, -205.3231197956), lambda n, d: -200 - np.log(1 + d * d / 0.2) / 2, None, False, True, True,
    ),
    # lightly's HypersphereLoss(t=2)
    'hypersphere': (
        losses.hypersphere, r.hypersphere_reference, ({}, -2.7222041273), lambda n, d: 0, None, True, True, True,
    ),
    # lightly's MACLLoss
    'macl': (
        losses.macl, r.macl_reference, ({}, 1.3867587843), lambda n, d: (2 * n - 1) * np.log(2 * n - 1) / (2 * n - 2),
        None, True, True, True, False, None, r.macl_reference,
    ),
    'macl, from an alignment': (
        partial(losses.macl, reference=0.5), partial(r.macl_reference, reference=0.5), ({}, 1.3182857290),
        lambda n, d: (2 * n - 1) * np.log(2 * n - 1) / (2 * n - 2), None, True, True, True, False, None,
        partial(r.macl_reference, reference=0.5),
    ),
    # lightly's CO2Regularizer with the queue of the tests
    'co2': (r.co2, r.co2_reference, ({}, 0.0242691281), lambda n, d: 0, lambda z: 0, True, False, True),
    'detcon': (
        r.detcon, r.detcon_reference, None, lambda n, d: 2 * np.log(2 * n - 1), None, True, True, True,
    ),
    # solo-learn's formula of All4One in torch, the targets being the views
    'feature_contrast': (
        r.feature_contrast, r.feature_contrast_reference, ({}, 1.4435086576), lambda n, d: 5, None, True, False, True,
        False, None, r.feature_contrast_reference,
    ),
    'patch_kernel_alignment': (
        r.patch_kernel_alignment, r.patch_kernel_alignment_reference, None, lambda n, d: 1, lambda z: 0,
        False, True, False, True,
    ),
    'info_nce_hardest': (
        r.info_nce_hardest, r.info_nce_hardest_reference, None, lambda n, d: np.log(6), None, True, False, False, False,
        lambda z: losses.info_nce_hardest(z, z, z[:7], hardest=5),
    ),
    'mochi': (
        r.mochi, r.mochi_reference, None, lambda n, d: np.log(1 + 7 + 2 + 3), None, True, False, False, False,
        lambda z: losses.mochi(
            z, z, z[:7], jnp.zeros((len(z), 2, 2), int), jnp.ones((len(z), 2)), jnp.zeros((len(z), 3), int),
            jnp.zeros((len(z), 3)), hardest=5,
        ),
        r.mochi_reference,
    ),
    'triplet_semihard': (
        losses.triplet_semihard, r.triplet_semihard_reference, None, lambda n, d: 0.5, None, False, True, True,
    ),
    'triplet_semihard, wide margin': (
        partial(losses.triplet_semihard, margin=30.0), partial(r.triplet_semihard_reference, margin=30.0), None,
        lambda n, d: 30.0, None, False, True, True,
    ),
}  # fmt: skip

"""What is known of every loss: a new loss is a new entry of LOSSES."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from contrast_rows import ROWS as CONTRAST
from loss_references import (
    barlow_reference,
    byol,
    byol_reference,
    cluster_negatives,
    cluster_negatives_reference,
    confident,
    confident_reference,
    debiased_reference,
    decoupled_reference,
    deepcluster,
    deepcluster_reference,
    dino,
    dino_reference,
    dinov2_class,
    dinov2_class_reference,
    dinov2_patches,
    dinov2_patches_reference,
    e2mc,
    e2mc_reference,
    empty_space,
    esimcse,
    esimcse_reference,
    flops,
    flops_reference,
    ibot_patches,
    ibot_patches_reference,
    icon_reference,
    info_nce,
    info_nce_in_batch_reference,
    info_nce_reference,
    intl_reference,
    koleo,
    koleo_reference,
    ldreg,
    ldreg_reference,
    lejepa,
    lejepa_reference,
    mmcr_reference,
    moco_v3_reference,
    msn,
    msn_reference,
    nnclr,
    nnclr_reference,
    ntxent_reference,
    prototype_nce,
    prototype_nce_reference,
    ressl,
    ressl_reference,
    scan_reference,
    sigreg,
    sigreg_reference,
    simsiam_reference,
    spectral_contrastive_reference,
    supcon,
    supcon_reference,
    swav,
    swav_reference,
    tico,
    tico_reference,
    vibcreg_reference,
    vicreg_reference,
    vicregl_local,
    vicregl_local_reference,
    visreg,
    visreg_reference,
    w_mse,
    w_mse_reference,
    whitened_contrastive,
    whitened_contrastive_reference,
)
from programs import compiled, with_gradients
from selfsup import losses


class Row(NamedTuple):
    """What is known of a loss of two views."""

    loss: Callable
    reference: Callable
    golden: tuple[dict, float] | None  # keywords, value on the golden inputs
    collapse: Callable | None  # (n, d) -> value when every embedding is the same
    aligned: Callable | None  # (z) -> value for two equal views, where it has a closed form
    scale_free: bool  # unchanged when a view is multiplied by a constant
    rotation_free: bool  # unchanged when both views are rotated alike
    swap_free: bool  # unchanged when the views change places
    stopped: bool = False  # no gradient reaches the second argument
    at_collapse: Callable | None = None  # (z) -> the loss there, where more than the two views must be one point
    held: Callable | None = None  # (z1, z2, at=views) -> the value with what carries no gradient held where `at` has it


LOSSES = {
    'barlow_twins': Row(
        losses.barlow_twins, barlow_reference, ({}, 0.0200166120), lambda n, d: d, None, False, False, True
    ),
    'vicreg': Row(
        losses.vicreg, vicreg_reference, ({}, 8.3672975509), lambda n, d: 25 * (1 - 0.01), None, False, False, True
    ),
    'ntxent': Row(
        losses.ntxent,
        ntxent_reference,
        ({'temperature': 0.5}, 1.8772075433),
        lambda n, d: np.log(2 * n - 1),
        None,
        True,
        True,
        True,
    ),
    'info_nce': Row(
        info_nce,
        info_nce_reference,
        None,
        lambda n, d: np.log(6),
        None,
        True,
        False,
        False,
        at_collapse=lambda z: losses.info_nce(z, z, z[:5]),
    ),
    'info_nce_in_batch': Row(
        losses.info_nce_in_batch, info_nce_in_batch_reference, None, lambda n, d: np.log(n), None, True, True, False
    ),
    'moco_v3': Row(
        losses.moco_v3,
        moco_v3_reference,
        ({'temperature': 0.2}, 0.2149645394),
        lambda n, d: 2 * np.log(n),
        None,
        True,
        True,
        False,
        stopped=True,
    ),
    'nnclr': Row(nnclr, nnclr_reference, None, lambda n, d: np.log(n), None, True, False, False, stopped=True),
    'ressl': Row(
        ressl,
        ressl_reference,
        None,
        lambda n, d: np.log(5),
        None,
        True,
        False,
        False,
        stopped=True,
        at_collapse=lambda z: losses.ressl(z, z, z[:5]),
    ),
    'simsiam': Row(
        losses.simsiam,
        simsiam_reference,
        ({}, -0.9581446559),
        lambda n, d: -1,
        lambda z: -1,
        True,
        True,
        True,
        stopped=True,
    ),
    'byol': Row(byol, byol_reference, ({}, 0.1674213762), lambda n, d: 0, lambda z: 0, True, True, True, stopped=True),
    'esimcse': Row(
        esimcse,
        esimcse_reference,
        None,
        lambda n, d: np.log(n + 5),
        None,
        True,
        False,
        False,
        at_collapse=lambda z: losses.esimcse(z, z, z[:5]),
    ),
    'whitened_contrastive': Row(
        whitened_contrastive,
        whitened_contrastive_reference,
        None,
        lambda n, d: 2 * np.log(n),
        None,
        True,
        False,
        False,
    ),
    'cluster_negatives': Row(
        cluster_negatives,
        cluster_negatives_reference,
        None,
        lambda n, d: np.log(2 * n),
        None,
        True,
        False,
        False,
        at_collapse=lambda z: losses.cluster_negatives(z, z, z[:5]),
    ),
    'spectral_contrastive': Row(
        losses.spectral_contrastive,
        spectral_contrastive_reference,
        ({'ball': 3.0}, -1.3477392918),
        lambda n, d: d**2 - 2 * d,
        None,
        False,
        True,
        True,
    ),
    'supcon': Row(supcon, supcon_reference, None, lambda n, d: np.log(2 * n - 1), None, True, True, True),
    'supcon, sum inside': Row(
        partial(supcon, sum_inside=True),
        partial(supcon_reference, sum_inside=True),
        None,
        lambda n, d: 0,  # nothing is larger than the median: one class, and every other view is a positive
        None,
        True,
        True,
        True,
    ),
    'decoupled': Row(
        losses.decoupled,
        decoupled_reference,
        ({}, -0.7292225363),
        lambda n, d: np.log(2 * n - 2),
        None,
        True,
        True,
        True,
    ),
    'decoupled, weighted': Row(
        partial(losses.decoupled, sigma=0.5),
        partial(decoupled_reference, sigma=0.5),
        ({'symmetric': False}, -0.6723331951),
        lambda n, d: np.log(2 * n - 2),
        None,
        True,
        True,
        True,
    ),
    'debiased': Row(
        losses.debiased,
        debiased_reference,
        ({}, 1.3344017558),
        lambda n, d: np.log(2 * n - 1),
        None,
        True,
        True,
        True,
    ),
    'debiased, hard negatives': Row(
        partial(losses.debiased, concentration=1.0),
        partial(debiased_reference, concentration=1.0),
        ({}, 2.2731648213),
        lambda n, d: np.log(2 * n - 1),
        None,
        True,
        True,
        True,
    ),
    'icon_views': Row(
        losses.icon_views,
        icon_reference,
        ({'learned_leak': 0.0}, 1.8772075433),
        lambda n, d: np.log(2 * n - 1),
        None,
        True,
        True,
        True,
    ),
    **{
        f'icon_views, {kernel}': Row(
            partial(losses.icon_views, kernel=kernel, temperature=1.5, target_leak=0.1),
            partial(icon_reference, kernel=kernel, temperature=1.5, target_leak=0.1),
            None,
            lambda n, d, kernel=kernel: np.log(2 * n - (kernel != 'cluster')),
            None,
            False,
            kernel != 'cluster',
            True,
        )
        for kernel in ('gaussian', 'student', 'cluster')
    },
    'w_mse': Row(w_mse, w_mse_reference, ({}, 0.1598540715), lambda n, d: 0, lambda z: 0, True, False, True),
    'vibcreg': Row(losses.vibcreg, vibcreg_reference, None, lambda n, d: 2 * 25 * (1 - 0.01), None, False, False, True),
    'tico': Row(
        tico,
        tico_reference,
        None,
        lambda n, d: 20,
        None,
        True,
        False,
        False,
        at_collapse=lambda z: losses.tico(z, z, jnp.full((6, 6), 1 / 6))[0],
    ),
    'mmcr': Row(losses.mmcr, mmcr_reference, ({}, -9.0995771708), lambda n, d: -np.sqrt(n), None, True, True, True),
    'mmcr, own norms': Row(
        partial(losses.mmcr, lambd=0.1),
        partial(mmcr_reference, lambd=0.1),
        ({}, -8.9393117950),
        lambda n, d: 0.1 * np.sqrt(2) - np.sqrt(n),
        None,
        True,
        True,
        True,
    ),
    'sigreg': Row(
        sigreg,
        sigreg_reference,
        None,
        lambda n, d: empty_space(n),
        None,
        False,
        False,
        True,
        at_collapse=lambda z: sigreg(0 * z, 0 * z),
    ),
    'lejepa': Row(
        lejepa,
        lejepa_reference,
        None,
        lambda n, d: 0.05 * empty_space(n),
        None,
        False,
        False,
        True,
        at_collapse=lambda z: lejepa(0 * z, 0 * z),
    ),
    'swav': Row(
        swav,
        swav_reference,
        None,
        lambda n, d: np.log(5),
        None,
        True,
        False,
        False,
        stopped=True,
        at_collapse=lambda z: losses.swav(z, z, prototypes=z[:5]),
    ),
    'dino': Row(dino, dino_reference, None, lambda n, d: np.log(d), None, False, False, False, stopped=True),
    'dinov2_class': Row(
        dinov2_class, dinov2_class_reference, None, lambda n, d: np.log(d), None, False, False, False, stopped=True
    ),
    'dinov2_patches': Row(
        dinov2_patches, dinov2_patches_reference, None, lambda n, d: np.log(d), None, False, False, False, stopped=True
    ),
    'ibot_patches': Row(
        ibot_patches,
        ibot_patches_reference,
        None,
        lambda n, d: np.log(d),
        None,
        False,
        False,
        False,
        stopped=True,
        at_collapse=lambda z: losses.ibot_patches(z[None], z[None], jnp.ones((1, len(z)), bool), jnp.zeros(6)),
    ),
    'intl': Row(losses.intl, intl_reference, ({}, 0.2241929380), lambda n, d: 2 + 0.02 * n, None, True, False, True),
    'intl, dimensions': Row(
        partial(losses.intl, axis=1),
        partial(intl_reference, axis=1),
        ({'trace_weight': 0.01}, 0.0702982382),
        lambda n, d: 2 + 0.02 * (np.log2(d) - 3) * d,
        None,
        True,
        False,
        True,
    ),
    **{
        name: Row(
            partial(ldreg, **fields),
            partial(ldreg_reference, **fields),
            None,
            lambda n, d: 0,
            None,
            False,  # both views alike it is; each by a constant of its own it is not
            True,
            False,
            stopped=True,
        )
        for name, fields in {
            'ldreg': {},
            'ldreg, likelihood': {'estimator': 'likelihood'},
            'ldreg, l2': {'form': 'l2'},
        }.items()
    },
    'e2mc': Row(e2mc, e2mc_reference, None, lambda n, d: -20 * np.log(1e-7), None, False, False, True),
    'e2mc, sigmoid': Row(
        partial(e2mc, squash='sigmoid'),
        partial(e2mc_reference, squash='sigmoid'),
        None,
        lambda n, d: -20 * np.log(1e-7),
        None,
        False,
        False,
        True,
    ),
    'visreg': Row(
        visreg,
        visreg_reference,
        None,
        lambda n, d: visreg_reference(np.ones((n, d)), np.ones((n, d))),
        None,
        False,
        False,
        True,
    ),
    'flops': Row(flops, flops_reference, None, lambda n, d: 2 * d, None, False, False, True),
    'koleo': Row(koleo, koleo_reference, None, lambda n, d: -np.log(1e-8 * (np.sqrt(d) + 1)), None, True, False, True),
    **{
        name: Row(
            partial(msn, **fields),
            partial(msn_reference, **fields),
            None,
            lambda n, d: np.log(5),
            None,
            True,
            False,
            False,
            stopped=True,
            at_collapse=lambda z: losses.msn((z,), z, prototypes=z[:5]),
        )
        for name, fields in {
            'msn': {},
            'msn, without Sinkhorn': {'iterations': 0, 'prior_weight': 2.0, 'entropy_weight': 0.5},
            'msn, power law': {'power': 0.25},
        }.items()
    },
    'deepcluster': Row(
        deepcluster,
        deepcluster_reference,
        None,
        lambda n, d: np.log(5),
        None,
        True,
        False,
        False,
        stopped=True,
        at_collapse=lambda z: losses.deepcluster(
            z, prototypes=jnp.ones((2, 5, 6)), assignments=jnp.zeros((len(z), 2), int)
        ),
    ),
    'confident_cross_entropy': Row(
        confident,
        confident_reference,
        None,
        lambda n, d: np.log(d),
        None,
        False,
        False,
        False,
        stopped=True,
        at_collapse=lambda z: confident(0 * z, 9 * jnp.eye(*z.shape)),
    ),
    'prototype_nce': Row(
        prototype_nce,
        prototype_nce_reference,
        None,
        lambda n, d: np.log(5),
        None,
        True,
        False,
        False,
        stopped=True,
        at_collapse=lambda z: losses.prototype_nce(
            z, jnp.ones((5, z.shape[1])), jnp.zeros(len(z), int), jnp.full(5, 0.2)
        ),
    ),
    'scan': Row(
        losses.scan,
        scan_reference,
        ({}, -7.5047789974),
        lambda n, d: -4 * np.log(d),
        None,
        False,
        False,
        False,
        at_collapse=lambda z: losses.scan(0 * z, 0 * z),
    ),
    **{name: Row(*row) for name, row in CONTRAST.items()},
    'vicregl_local': Row(
        vicregl_local, vicregl_local_reference, None, lambda n, d: 2 * 25 * (1 - 0.01), None, False, False, True
    ),
}
each = pytest.mark.parametrize('row', LOSSES.values(), ids=LOSSES.keys())
# One loss of each kind. Where a repetition over all of them compiles much, the quick suite takes these.
KINDS = ('barlow_twins', 'info_nce', 'mmcr, own norms', 'swav', 'vicregl_local')
each_kind = pytest.mark.parametrize(
    'row', [pytest.param(row, id=n, marks=[pytest.mark.slow] * (n not in KINDS)) for n, row in LOSSES.items()]
)


def value(loss, *given, **keywords):
    """The loss alone, of the program that gives its gradients too, unless there are keywords."""
    return compiled(loss, **keywords)(*given) if keywords else with_gradients(loss)(*given)[0]


def views(n=16, d=6, dtype=np.float64):
    """Two views, by default of the shape of the golden inputs, so that both take the same programs."""
    rng = np.random.default_rng(0)
    z1 = rng.normal(size=(n, d))
    return z1.astype(dtype), (z1 + 0.5 * rng.normal(size=(n, d))).astype(dtype)

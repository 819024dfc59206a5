"""Every loss through the same rows, which are in loss_rows.py."""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_rows import LOSSES, each, each_kind, value, views
from programs import compiled, with_gradients
from selfsup import losses
from tolerances import BFLOAT16, FLOAT32, FLOAT64, GOLDEN_FLOAT64, GRADIENT


@each
def test_equals_a_loop_in_numpy(row, x64):
    np.testing.assert_allclose(value(row.loss, *views()), row.reference(*views()), rtol=FLOAT64)


@each_kind
def test_fewer_rows_than_columns_equal_a_loop_in_numpy(row, x64):
    """Where products of samples are the cheaper ones."""
    np.testing.assert_allclose(compiled(row.loss)(*views(3)), row.reference(*views(3)), rtol=FLOAT64)


@each
def test_golden_value(row, golden, x64):
    if row.golden is None:
        np.testing.assert_allclose(value(row.loss, *golden), row.reference(*golden), rtol=FLOAT64)
        return
    keywords, expected = row.golden
    assert abs(float(value(row.loss, *golden, **keywords)) - expected) < GOLDEN_FLOAT64


@each_kind
def test_golden_value_in_float32(row, golden):
    if row.golden is not None:
        keywords, expected = row.golden
        single = value(row.loss, *(z.astype(np.float32) for z in golden), **keywords)
        np.testing.assert_allclose(single, expected, rtol=FLOAT32)


@each
def test_gradient(row, x64):
    z1, z2 = views()
    _, gradients = with_gradients(row.loss)(z1, z2)
    gradients = [np.asarray(g) for g in gradients]
    if row.stopped:
        assert not np.any(gradients[1])
    rng = np.random.default_rng(4)
    steps = rng.normal(size=z1.shape), rng.normal(size=z2.shape) * (not row.stopped)
    known = partial(row.held, at=(z1, z2)) if row.held else partial(value, row.loss)
    above, below = (float(known(z1 + e * steps[0], z2 + e * steps[1])) for e in (1e-4, -1e-4))
    slope = sum(np.sum(g * step) for g, step in zip(gradients, steps, strict=True))
    np.testing.assert_allclose((above - below) / 2e-4, slope, rtol=GRADIENT, atol=GRADIENT)


@each
def test_value_at_collapse(row, x64):
    same = np.ones((16, 6))
    if row.collapse is not None:
        at = row.at_collapse
        found = value(row.loss, same, same) if at is None else compiled(at)(same)
        np.testing.assert_allclose(found, row.collapse(16, 6), rtol=FLOAT32, atol=FLOAT32)


def test_value_at_perfect_alignment(x64):
    orthogonal = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0]
    centred = orthogonal[:, 1:5] - orthogonal[:, 1:5].mean(0)
    decorrelated = np.linalg.qr(centred)[0] * 4
    spread = decorrelated * 100  # ε of the standardisation no longer shows
    turned = decorrelated @ np.diag([1.0, 2.0, 3.0, 4.0])
    zero = {
        'vicreg': compiled(losses.vicreg)(decorrelated, decorrelated),  # aligned, spread, uncorrelated
        'barlow_twins': compiled(losses.barlow_twins)(spread, spread),
        'ntxent': compiled(losses.ntxent, temperature=0.01)(orthogonal, orthogonal),
        'info_nce': compiled(losses.info_nce, temperature=0.01)(orthogonal[:4], orthogonal[:4], orthogonal[4:]),
        'info_nce_in_batch': compiled(losses.info_nce_in_batch, temperature=0.01)(orthogonal, orthogonal),
        'nnclr': compiled(losses.nnclr, temperature=0.01)(orthogonal, orthogonal, orthogonal),
        'supcon': compiled(losses.supcon, temperature=0.01)(orthogonal, orthogonal, np.arange(8)),
        'debiased': compiled(losses.debiased, temperature=0.01, positive_prior=0.0)(orthogonal, orthogonal),
        'vibcreg': compiled(losses.vibcreg)(decorrelated, decorrelated),
        'w_mse': compiled(losses.w_mse)(decorrelated, turned),
    }
    for name, found in zero.items():
        assert float(found) < 1e-12, name
    np.testing.assert_allclose(compiled(losses.decoupled)(orthogonal, orthogonal), np.log(14) - 10, rtol=FLOAT64)


@each
def test_invariances(row, x64):
    z1, z2 = views()
    base = value(row.loss, z1, z2)
    order = np.random.default_rng(2).permutation(len(z1))
    np.testing.assert_allclose(value(row.loss, z1[order], z2[order]), base, rtol=FLOAT64)
    if row.swap_free:
        np.testing.assert_allclose(value(row.loss, z2, z1), base, rtol=FLOAT64)
    if row.rotation_free:
        turn = np.linalg.qr(np.random.default_rng(3).normal(size=(6, 6)))[0]
        np.testing.assert_allclose(value(row.loss, z1 @ turn, z2 @ turn), base, rtol=FLOAT64)
    if row.scale_free:
        np.testing.assert_allclose(value(row.loss, 3.0 * z1, 0.2 * z2), base, rtol=FLOAT64)


SINGLE = views(dtype=np.float32)
DEGENERATE = {
    'zeros': np.zeros((16, 6), np.float32),
    'duplicates': np.tile(np.arange(6, dtype=np.float32), (16, 1)),
    'one-hot': np.eye(16, 6, dtype=np.float32),
    'huge': np.float32(1e18) * SINGLE[0],
    'tiny': np.float32(1e-18) * SINGLE[0],
}
SINGULAR = ('zeros', 'duplicates', 'one-hot')  # in any precision; the others are at the ends of float32


@each_kind
def test_finite_in_half_precision(row):
    check_finite(row, SINGLE[0].astype(jnp.bfloat16), jnp.float32)


@each
@pytest.mark.parametrize('z', [DEGENERATE[name] for name in SINGULAR], ids=SINGULAR)
def test_finite_at_degenerate_inputs(row, z, x64):
    check_finite(row, z.astype(np.float64), jnp.float64)


@each_kind
@pytest.mark.parametrize('z', DEGENERATE.values(), ids=DEGENERATE.keys())
def test_finite_at_degenerate_inputs_in_float32(row, z, request):
    if 'huge' in request.node.name and not row.scale_free:
        z = z / np.float32(1e15)  # squares of squares: 1e3 is huge for a loss that keeps the scale
    check_finite(row, z, jnp.float32)


def check_finite(row, z, dtype):
    found, gradients = with_gradients(row.loss)(z, z[::-1])
    assert found.dtype == dtype
    assert np.isfinite(found)
    assert all(np.isfinite(np.asarray(g, np.float32)).all() for g in gradients)


def check_rows_of_zeros(row, dtype):
    z1, z2 = (z.astype(dtype) for z in SINGLE)
    z1[3] = z2[5] = 0  # one dead row in each view
    for gradient in with_gradients(row.loss)(z1, z2)[1]:
        sizes = np.linalg.norm(np.asarray(gradient, np.float32), axis=1)
        rest = np.delete(sizes, (3, 5)).max()
        assert (sizes[[3, 5]] <= 10 * rest + 1e-6).all(), sizes


@each
def test_a_row_of_zeros_gets_no_larger_gradient_than_others(row, x64):
    check_rows_of_zeros(row, 'float64')


@each_kind
def test_a_row_of_zeros_gets_no_larger_gradient_than_others_in_float32(row):
    check_rows_of_zeros(row, 'float32')


@each_kind
def test_a_row_of_zeros_gets_no_larger_gradient_than_others_in_float16(row):
    check_rows_of_zeros(row, 'float16')


@each
def test_half_precision_is_promoted(row):
    half = tuple(z.astype(jnp.bfloat16) for z in SINGLE)
    assert jax.eval_shape(row.loss, *half).dtype == jnp.float32


@each_kind
def test_half_precision_is_that_of_the_inputs_alone(row):
    half, _ = with_gradients(row.loss)(*(z.astype(jnp.bfloat16) for z in SINGLE))
    np.testing.assert_allclose(half, value(row.loss, *SINGLE), rtol=BFLOAT16)


SHIFTED = SINGLE[0] + np.float32(1), SINGLE[1]


@each
def test_one_trace_serves_all_values(row):
    traces = []

    @jax.jit
    def alone(z1, z2):
        traces.append(None)
        return row.loss(z1, z2)

    for pair in (SINGLE, SHIFTED):
        assert alone.trace(*pair).jaxpr.out_avals[0].shape == ()
    assert len(traces) == 1
    # NumPy arrays need no conversion by the caller.
    assert jax.eval_shape(partial(row.loss, *SINGLE)).dtype == jnp.float32


@each_kind
def test_the_value_alone_and_eager_is_that_which_comes_with_the_gradients(row):
    for pair in (SINGLE, SHIFTED):
        found = value(row.loss, *pair)
        np.testing.assert_allclose(row.loss(*pair), found, rtol=FLOAT32)
        np.testing.assert_allclose(compiled(row.loss)(*pair), found, rtol=FLOAT32)


def test_every_public_loss_is_tested_and_documented():
    masked = {
        'averaged_layers',
        'capi',
        'capi_targets',
        'dead_reconstruction',
        'dinosr',
        'hog',
        'masked_l1',
        'masked_mse',
        'masked_smooth_l1',
        'moved_codes',
        'nearest_codes',
        'nested_reconstruction',
        'reconstruction',
        'sparsity',
        'standardize_tokens',
    }
    memory = {'instance_normalizer', 'nearest', 'nearest_few', 'propagated'}
    kernels = {n for n in losses.__all__ if n.endswith('_kernel')} | {'icon', 'leak', 'perplexity_widths'}
    of_scores = {n for n in losses.__all__ if n.startswith('mi_')}
    # Tested on their own.
    parts = {
        'care', 'mixed_pairs', 'pair_margin', 'proxy_anchor', 'centre_scale_shape', 'cluster_cross_entropy', 'concentrations', 'membership_cross_entropy', 'multi_sinkhorn', 'slot_plan', 'partial_margin', 'transport',
        'amdim', 'balanced_clusters', 'centre_distance', 'centre_logits', 'moved_centres', 'pair_divergence', 'beclr', 'nearest_members', 'cpc', 'cpc_correct', 'cross_entropy', 'focal', 'group_whiten', 'hierarchical_cross_entropy', 'moved_centroids', 'sinkhorn', 'dino_centre', 'msn_targets', 'intl_weight', 'iterative_normalization',
        'iterative_scale', 'local_dimension', 'power_scale', 'sparsemax', 'sparsemax_loss', 'spectral_transform', 'trace_loss', 'weighted_triplet',
        *masked, *memory, *kernels, *of_scores,
    }  # fmt: skip
    names = {n for n in losses.__all__ if not n.endswith('_terms')} - parts
    # 'name, variant' is another row of `name`.
    assert names == {n.split(',')[0] for n in LOSSES}
    for name in losses.__all__:
        function = getattr(losses, name)
        for section in ('Args:', 'Returns:', 'References:'):
            assert section in function.__doc__, (name, section)
        for parameter in inspect.signature(function).parameters.values():
            arrays = (
                'z1', 'z2', 'query', 'key', 'queue', 'p', 'z', 'p1', 'p2', 'labels',
                'more', 'covariance', 'directions', 'scores', 'student', 'teacher', 'centre',
                'maps1', 'maps2', 'positions1', 'positions2', 'predictions', 'targets', 'hidden', 'counted',
                'tokens', 'layers', 'anchors', 'target', 'prototypes', 'images', 'sums', 'counts', 'codes',
                'memory', 'index', 'negatives', 'positives', 'neighbours', 'features', 'kernel', 'bias',
                'pairs', 'shares', 'own', 'own_shares',
                'assignments', 'centroids', 'logits', 'temperatures', 'lots', 'dim_lots', 'order', 'log_kernel', 'log_target', 'log_learned', 'log_average',
                'sources', 'weights', 'inputs', 'reconstructions', 'residual', 'atoms',
                'upper', 'lower', 'classes', 'clusters', 'member', 'members', 'memberships', 'centres',
                't1', 't2', 'regions1', 'regions2', 'reference', 'scale',
            )  # fmt: skip
            assert parameter.name in arrays or parameter.kind == parameter.KEYWORD_ONLY, (name, parameter)

"""Batch-norm against NumPy and against automatic differentiation of the two-pass form; views of one batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from selfsup import methods, models
from selfsup.methods.base import network_outputs
from selfsup.models.norm import _row_moments
from tolerances import BATCH_NORM_FLOAT64, BATCH_NORM_LARGE_MEAN, FLOAT64

SHAPES = {'maps': (8, 3, 2, 5), 'vectors': (8, 5)}
GROUPINGS = {'whole': (1, 1), 'groups': (4, 1), 'views': (1, 2), 'views and groups': (2, 2)}


def two_pass(x, scale, bias, segments, epsilon=1e-5):
    """Each segment's rows normalised, the variance in a second pass, for automatic differentiation."""
    y = jnp.zeros_like(x)
    for rows in segments:
        part = x[rows]
        axes = tuple(range(x.ndim - 1))
        mean = part.mean(axes, keepdims=True)
        variance = ((part - mean) ** 2).mean(axes, keepdims=True)
        gamma, beta = (v.reshape(*(1,) * len(axes), -1) for v in (scale, bias))
        y = y.at[rows].set((part - mean) / jnp.sqrt(variance + epsilon) * gamma + beta)
    return y


def segments_of(rows, groups, views):
    """Row numbers of each view's groups; views stand side by side."""
    return [np.arange(rows)[view::views].reshape(groups, -1)[g] for view in range(views) for g in range(groups)]


@pytest.mark.parametrize('groups, views', GROUPINGS.values(), ids=GROUPINGS.keys())
@pytest.mark.parametrize('shape', SHAPES.values(), ids=SHAPES.keys())
def test_value_and_gradient_are_those_of_two_passes(shape, groups, views, x64):
    rng = np.random.default_rng(0)
    x, weights = (jnp.asarray(rng.normal(size=shape)) for _ in range(2))
    x = 3 + 2 * x
    params = {'scale': jnp.asarray(rng.normal(size=5)), 'bias': jnp.asarray(rng.normal(size=5))}
    norm = models.BatchNorm(groups=groups, views=views)
    stats = {'mean': jnp.zeros(5), 'var': jnp.ones(5)}

    def ours(x, params):
        y, _ = norm.apply({'params': params, 'batch_stats': stats}, x, True, mutable=['batch_stats'])
        return jnp.sum(weights * jnp.sin(y))

    def theirs(x, params):
        return jnp.sum(weights * jnp.sin(two_pass(x, **params, segments=segments_of(len(x), groups, views))))

    (value, gradients), (expected, others) = (jax.jit(jax.value_and_grad(f, (0, 1)))(x, params) for f in (ours, theirs))
    np.testing.assert_allclose(value, expected, rtol=BATCH_NORM_FLOAT64)
    for mine, other in zip(jax.tree.leaves(gradients), jax.tree.leaves(others), strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=BATCH_NORM_FLOAT64 * float(jnp.abs(other).max()))


@pytest.mark.parametrize('mean', [0.0, 100.0, -3000.0])
def test_variance_in_float32_survives_a_large_mean(mean):
    """An image's middle value is taken off first; E[x²] − E[x]² would lose all digits at 3,000 deviations."""
    x = (mean + np.random.default_rng(0).normal(size=(16, 8, 8, 3))).astype(np.float32)
    row_mean, row_variance = (np.asarray(v, np.float64) for v in jax.jit(_row_moments)(x))
    variance = np.mean(row_variance + (row_mean - row_mean.mean(0)) ** 2, axis=0)
    np.testing.assert_allclose(variance, x.astype(np.float64).var((0, 1, 2)), rtol=BATCH_NORM_LARGE_MEAN)
    np.testing.assert_allclose(row_mean.mean(0), x.astype(np.float64).mean((0, 1, 2)), atol=1e-6 * max(abs(mean), 1))


def test_a_row_far_from_the_others_costs_no_digits():
    x = np.random.default_rng(0).normal(size=(16, 8, 8, 3)).astype(np.float32)
    x[0] += 1000
    row_mean, row_variance = (np.asarray(v, np.float64) for v in jax.jit(_row_moments)(x))
    variance = np.mean(row_variance + (row_mean - row_mean.mean(0)) ** 2, axis=0)
    np.testing.assert_allclose(variance, x.astype(np.float64).var((0, 1, 2)), rtol=BATCH_NORM_LARGE_MEAN)


NETWORKS = {
    'convnet': ((models.ConvNet(widths=(4, 8)), models.MLP(widths=(8, 4))), (8, 8, 3)),
    'resnet': ((models.ResNet(stages=(1,), width=4, stem='cifar'), models.MLP(widths=(8, 4), last_norm='plain')), (8, 8, 3)),
    'iterative': ((models.MLP(widths=(8, 6)), models.MLP(widths=(8, 4), last_norm='iterative')), (6,)),
    'vit': ((models.ViT(dim=8, depth=1, heads=2, patch=4), models.MLP(widths=(8, 4))), (8, 8, 3)),
}  # fmt: skip


def one_by_one(modules, params, stats, views):
    """The views one after the other through each module, as networks without a field `views` run."""
    outputs, stats = {}, dict(stats)
    for name, label in (('encoder', 'features'), ('projector', 'embeddings')):
        rows = []
        for x in views:
            variables = {'params': params[name], 'batch_stats': stats[name]}
            y, new = modules[name].apply(variables, x, train=True, mutable=['batch_stats'])
            rows.append(y)
            stats[name] = new.get('batch_stats', stats[name])
        outputs[label] = views = tuple(rows)
    return outputs, stats


@small.each(NETWORKS, quick=('resnet',))
def test_views_in_one_batch_equal_views_one_by_one(name, x64):
    """Values, gradients and running averages; the third view has its own shape where the network takes several."""
    networks, shape = NETWORKS[name]
    rng = np.random.default_rng(0)
    views = [jnp.asarray(mean + rng.normal(size=(6, *shape))) for mean in (0, 2)]
    views += [views[0][:, :4, :4]] if len(shape) == 3 else []
    modules = dict(zip(('encoder', 'projector'), networks, strict=True))
    method = methods.simclr(*networks)
    wide = lambda tree: jax.tree.map(lambda v: v.astype(jnp.float64), tree)  # noqa: E731
    params, extra = wide(method.init(jax.random.key(0), {'views': views}))

    def loss(params, run):
        outputs, stats = run(params)
        return sum(jnp.sum(jnp.sin((n + 1) * z)) for n, z in enumerate(outputs['embeddings'])), (outputs, stats)

    def batched(params):
        return network_outputs(modules, params, extra['batch_stats'], tuple(views), train=True, fuse=False)

    def separate(params):
        return one_by_one(modules, params, extra['batch_stats'], views)

    both = [jax.jit(jax.value_and_grad(lambda p, run=run: loss(p, run), has_aux=True))(params) for run in (batched, separate)]  # fmt: skip
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=FLOAT64, atol=FLOAT64), *both)


def test_views_in_one_batch_are_one_convolution():
    """`fuse_views=False` costs no second set of kernels."""
    encoder, projector = models.ConvNet(widths=(4, 8)), models.MLP(widths=(8, 4))
    rows = {'views': (jnp.zeros((4, 8, 8, 1)),) * 2}
    counts = {}
    for fuse in (True, False):
        method = methods.simclr(encoder, projector, fuse_views=fuse)
        params, extra = jax.eval_shape(method.init, jax.random.key(0), rows)
        text = jax.jit(method.embed).lower(params, extra, rows, jax.random.key(1)).as_text()
        counts[fuse] = text.count('stablehlo.convolution')
    assert counts == {True: 2, False: 2}

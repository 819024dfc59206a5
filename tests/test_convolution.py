"""The models' convolution: flax's parameters and numbers, XLA's gradient, and XLA's own program off the CPU."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from selfsup import models, parallel
from selfsup.models.convolution import Conv, convolve
from tolerances import BFLOAT16, CONVOLUTION_FLOAT64, FLOAT32

PAD_1, PAD_2, PAD_3, NONE = (((n, n), (n, n)) for n in (1, 2, 3, 0))
# Kernel, strides, padding, input channels.
SHAPES = {
    '3x3': ((3, 3), (1, 1), PAD_1, 4),
    '3x3 of many channels': ((3, 3), (1, 1), PAD_1, 40),
    '3x3, stride 2': ((3, 3), (2, 2), PAD_1, 40),
    '3x3, padding 2': ((3, 3), (1, 1), PAD_2, 3),
    '5x5, stride 2': ((5, 5), (2, 2), PAD_2, 33),
    '7x7, stride 2': ((7, 7), (2, 2), PAD_3, 3),
    '1x1': ((1, 1), (1, 1), NONE, 40),
    '1x1, stride 2': ((1, 1), (2, 2), NONE, 40),
    'patches': ((4, 4), (4, 4), NONE, 3),
    'lopsided': ((2, 3), (1, 2), ((1, 0), (0, 2)), 5),
}
TOLERANCES = {'float64': CONVOLUTION_FLOAT64, 'float32': FLOAT32, 'bfloat16': BFLOAT16}


def xla(x, kernel, strides, padding):
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


def ours(x, kernel, strides, padding):
    return convolve(x, kernel, strides=strides, padding=padding)


def arrays(size, channels, dtype=jnp.float64, batch=3):
    rng = np.random.default_rng(0)
    return tuple(jnp.asarray(rng.normal(size=s), dtype) for s in ((batch, 9, 8, channels), (*size, channels, 6), (6,)))


def gradients(convolution, x, kernel, strides, padding):
    def loss(x, kernel):
        return jnp.sum(jnp.sin(convolution(x, kernel, strides, padding).astype(jnp.float64)))

    return jax.jit(jax.grad(loss, (0, 1)))(x, kernel)


def distance(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.linalg.norm(a - b) / np.linalg.norm(b)


@pytest.mark.parametrize('dtype', TOLERANCES)
@pytest.mark.parametrize('size, strides, padding, channels', SHAPES.values(), ids=SHAPES.keys())
def test_gradients_are_those_of_xla(size, strides, padding, channels, dtype, x64):
    x, kernel, _ = arrays(size, channels, dtype)
    for mine, theirs in zip(
        gradients(ours, x, kernel, strides, padding), gradients(xla, x, kernel, strides, padding), strict=True
    ):
        assert mine.dtype == theirs.dtype and mine.shape == theirs.shape
        assert distance(mine, theirs) < TOLERANCES[dtype]


def transformed(how, convolution):
    """Gradient of a kernel of the sum of three inputs' outputs, by one of jax's transformations."""
    x, kernel, _ = arrays((3, 3), 4, batch=8)
    images = jnp.stack([x, 2 * x, x - 1])
    apply = jax.checkpoint(convolution, static_argnums=(2, 3)) if how == 'remat' else convolution

    def loss(kernel, x):
        return jnp.mean(jnp.sin(apply(x, kernel, (1, 1), PAD_1)))

    if how == 'members':  # of a sweep: every one has a kernel of its own
        return jax.vmap(jax.grad(loss))(jnp.stack([kernel, 2 * kernel, -kernel]), images).sum(0)
    if how == 'scan':
        step = lambda total, x: (total + jax.grad(loss)(kernel, x), None)  # noqa: E731
        return jax.lax.scan(step, jnp.zeros_like(kernel), images)[0]
    if how == 'shard_map':
        mesh = parallel.data_mesh(4)
        one = jax.shard_map(
            lambda x: jax.lax.pmean(jax.grad(lambda k: jax.lax.pmean(loss(k, x), 'data'))(kernel), 'data'),
            mesh=mesh, in_specs=PartitionSpec('data'), out_specs=PartitionSpec(),
        )  # fmt: skip
        return jax.jit(one)(x)
    if how == 'pmap':
        return jax.pmap(
            lambda x: jax.lax.pmean(jax.grad(lambda k: jax.lax.pmean(loss(k, x), 'data'))(kernel), 'data'), 'data'
        )(x.reshape(4, 2, *x.shape[1:]))[0]
    return jax.grad(lambda k: sum(loss(k, x) for x in images))(kernel)


@pytest.mark.parametrize('how', ['members', 'scan', 'remat', 'shard_map', 'pmap'])
def test_gradients_under_transformations(how, x64):
    assert distance(transformed(how, ours), transformed(how, xla)) < CONVOLUTION_FLOAT64


@pytest.mark.parametrize('how', ['shard_map', 'pmap'])
def test_devices_agree_with_one(how, x64):
    x, kernel, _ = arrays((3, 3), 4, batch=8)
    whole = jax.grad(lambda k: jnp.mean(jnp.sin(xla(x, k, (1, 1), PAD_1))))(kernel)
    assert distance(transformed(how, ours), whole) < CONVOLUTION_FLOAT64


def instructions(function, *arguments, platform):
    """Sorted convolutions and products of a function's program for a platform, which need not be there."""
    text = jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()
    lines = (line.strip().partition(' = ')[2] for line in text.splitlines())
    names = ('stablehlo.convolution', 'stablehlo.dot_general')
    return sorted(line.partition(' dim_numbers')[2] for line in lines if line.startswith(names))


@pytest.mark.parametrize('platform, same', [('cpu', False), ('cuda', True), ('rocm', True), ('tpu', True)])
def test_other_backends_have_the_program_of_xla(platform, same):
    x, kernel, _ = arrays((3, 3), 4, jnp.float32)

    def both(convolution):
        return jax.grad(lambda x, k: jnp.sum(convolution(x, k, (1, 1), PAD_1) ** 2), (0, 1))

    mine, theirs = (instructions(both(c), x, kernel, platform=platform) for c in (ours, xla))
    assert len(theirs) == 3
    assert (mine == theirs) == same


@pytest.mark.parametrize('bias', [True, False])
def test_the_module_is_that_of_flax(bias):
    x = arrays((3, 3), 4, jnp.float32)[0]
    mine = Conv(6, (3, 3), strides=(2, 2), padding=PAD_1, use_bias=bias)
    theirs = nn.Conv(6, (3, 3), strides=(2, 2), padding=PAD_1, use_bias=bias)
    variables = theirs.init(jax.random.key(0), x)
    jax.tree.map(np.testing.assert_array_equal, mine.init(jax.random.key(0), x), variables)
    np.testing.assert_array_equal(mine.apply(variables, x), theirs.apply(variables, x))
    half = Conv(6, (3, 3), padding=PAD_1, dtype=jnp.bfloat16)
    assert half.apply(half.init(jax.random.key(0), x), x).dtype == jnp.bfloat16


ENCODERS = {
    'convnet': (models.ConvNet(widths=(4, 8)), (3, 3), 2),
    'resnet': (models.ResNet(stages=(1, 1), width=4, stem='cifar'), (3, 3), 6),
    'vit': (models.ViT(dim=8, depth=1, heads=2, patch=4), (4, 4), 1),
}


@pytest.mark.parametrize('module, size, count', ENCODERS.values(), ids=ENCODERS.keys())
def test_every_model_uses_it(module, size, count):
    """On a CPU no weight gradient is left to XLA's convolution: it would contract over the batch."""
    x = jnp.zeros((2, 8, 8, 3))
    variables = jax.eval_shape(module.init, jax.random.key(0), x)
    kernels = [v for v in jax.tree.leaves(variables['params']) if v.ndim == 4]
    assert len(kernels) == count and kernels[0].shape[:2] == size

    def loss(params, rest):
        y, _ = module.apply({'params': params, **rest}, x, train=True, mutable=list(rest))
        return jnp.sum(y)

    rest = {name: value for name, value in variables.items() if name != 'params'}
    found = instructions(jax.grad(loss), variables['params'], rest, platform='cpu')
    assert found and not any('[f, 0, 1, b]' in line for line in found)

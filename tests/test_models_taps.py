"""Networks cut at named places: what a tap gives, and the rest behind it."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from programs import Compiled
from selfsup import models
from selfsup.errors import UserError
from selfsup.models import taps

NETWORKS = {
    'resnet': (models.ResNet(stages=(1, 1), width=4, stem='cifar'), (8, 8, 3)),
    'resnet_remat': (models.ResNet(stages=(1,), width=4, stem='imagenet', remat=True), (16, 16, 3)),
    'convnet': (models.ConvNet(widths=(4, 6)), (8, 8, 1)),
    'vit': (models.ViT(dim=8, depth=2, heads=2, patch=4, registers=1, positions='sincos'), (8, 8, 1)),
    'vit_mean': (models.ViT(dim=8, depth=1, heads=2, patch=4, pool='mean', remat=True), (8, 8, 1)),
    'mlp': (models.MLP((6, 5, 4)), (3,)),
}
LAYERS = {
    'resnet': ('stem', 'layer1_0', 'layer2_0'),
    'resnet_remat': ('stem', 'layer1_0'),
    'convnet': ('layer0', 'layer1'),
    'vit': ('embedded', 'block0', 'block1', 'norm'),
    'vit_mean': ('embedded', 'block0', 'norm'),
    'mlp': ('layer0', 'layer1'),
}
# Programs of a whole and of its parts fuse products and sums in other ways: a few roundings of float32, of order 1.
PROGRAMS = 1e-5


@functools.cache
def made(name):
    module, shape = NETWORKS[name]
    inputs = jnp.asarray(small.noise((3, *shape), 1.0))
    return module, jax.tree.map(jnp.asarray, Compiled(module).init(jax.random.key(0), inputs)), inputs


@small.each(NETWORKS, quick=('resnet', 'vit'))
def test_every_layer_and_the_rest_behind_it_make_the_whole(name):
    module, variables, inputs = made(name)

    @jax.jit
    def parts(variables, inputs):
        found = taps.activations(module, variables, inputs, LAYERS[name])
        behind = {at: taps.rest(module, variables, at, inputs.shape[1:])(value) for at, value in found.items()}
        return module.apply(variables, inputs, train=False), found, behind

    whole, found, behind = jax.device_get(parts(variables, inputs))
    assert taps.layers(module, ()) == LAYERS[name] and tuple(found) == tuple(sorted(LAYERS[name]))
    for at, value in behind.items():
        np.testing.assert_allclose(value, whole, rtol=PROGRAMS, atol=PROGRAMS, err_msg=at)


@pytest.mark.slow
@pytest.mark.parametrize('name', NETWORKS)
def test_operation_by_operation_the_composition_is_exact(name):
    module, variables, inputs = made(name)
    whole = np.asarray(module.apply(variables, inputs, train=False))
    for at, value in taps.activations(module, variables, inputs, LAYERS[name]).items():
        np.testing.assert_array_equal(taps.rest(module, variables, at, inputs.shape[1:])(value), whole, err_msg=at)


def test_what_stands_before_a_tap_is_no_part_of_the_rest():
    module, variables, inputs = made('convnet')
    behind = taps.rest(module, variables, 'layer1', inputs.shape[1:])
    value = small.noise((3, 4, 4, 6), 1.0)
    # The rest of the convnet is the mean over places, whatever the first layers' parameters are.
    np.testing.assert_allclose(behind(value), value.mean(axis=(1, 2)), rtol=PROGRAMS, atol=PROGRAMS)
    slope = jax.grad(lambda x: behind(x)[0, 2])(value)
    expected = np.zeros_like(value)
    expected[0, :, :, 2] = 1 / 16
    np.testing.assert_allclose(slope, expected, rtol=PROGRAMS)


def test_taps_are_all_submodules_and_layers_their_list():
    module, variables, inputs = made('vit')
    known = taps.shapes(module, variables, inputs)
    assert {'patch_embed', 'block1/attn/qkv', 'block0/norm2'} < set(known)
    assert known['block0/attn/qkv'].shape == (3, 6, 24) and known['embedded'].shape == (3, 6, 8)

    class Foreign(nn.Module):
        """A network without a list of its own."""

    assert taps.layers(Foreign(), ['a', 'a/b', 'c']) == ('a', 'c')


def test_pooling_is_the_mean_over_places_or_that_of_the_network():
    rows = jnp.asarray(small.noise((2, 6, 8), 1.0))
    vit = NETWORKS['vit'][0]
    np.testing.assert_array_equal(taps.pooled(vit, rows), rows[:, 0])
    np.testing.assert_allclose(taps.pooled(vit.clone(pool='mean'), rows), rows[:, 2:].mean(axis=1), rtol=1e-5)
    maps = jnp.asarray(small.noise((2, 3, 5, 4), 1.0))
    np.testing.assert_allclose(taps.pooled(NETWORKS['resnet'][0], maps), maps.mean(axis=(1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(taps.pooled(NETWORKS['mlp'][0], rows[:, 0]), rows[:, 0])


@pytest.mark.parametrize(
    'call, message',
    [
        (
            lambda m, v, x: taps.activations(m, v, x, ['layre1']),
            "'layre1' is no tap of the encoder; did you mean layer1",
        ),
        (
            lambda m, v, x: taps.rest(m, v, 'norm9', x.shape[1:])(x),
            "'norm9' is no tap of the encoder; did you mean norm",
        ),
        (
            lambda m, v, x: taps.rest(m, v, 'layer1', x.shape[1:])(x),
            r'tap layer1 gives \[3, 4, 4, 6\], and the activation',
        ),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(UserError, match=message):
        jax.eval_shape(functools.partial(call, *made('convnet')[:1]), *made('convnet')[1:])

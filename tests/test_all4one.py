"""All4One against NumPy in float64, its transformer against torch's numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from contrast_references import feature_contrast_reference
from loss_references import info_nce_in_batch_reference, unit
from programs import losses
from selfsup.errors import UserError
from selfsup.methods.contrastive.all4one import place_codes
from selfsup.models.post_norm import PostNormTransformer, dropped
from test_method_contracts import KEY, begun, one_step, zero
from tolerances import FLOAT32, FLOAT64, GOLDEN_FLOAT64

# Arrays of a block in the order of torch's parameters.
ORDER = [f'{layer} {part}' for layer in ('qkv', 'proj', 'fc1', 'fc2') for part in ('kernel', 'bias')]
ORDER += [f'{layer} {part}' for layer in ('norm1', 'norm2') for part in ('scale', 'bias')]


def layer_norm(x, p):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * p['scale'] + p['bias']


def transformer_reference(params, x, depth, heads):
    """Token by token and head by head."""
    params = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
    for block in range(depth):
        p = {name.removeprefix(f'block{block}_'): v for name, v in params.items()}
        width = x.shape[2] // heads
        attended = np.zeros_like(x)
        for b, tokens in enumerate(x):
            query, key, value = np.split(tokens @ p['qkv']['kernel'] + p['qkv']['bias'], 3, axis=1)
            for h in range(heads):
                own = slice(h * width, (h + 1) * width)
                for i in range(len(tokens)):
                    weights = np.exp(key[:, own] @ query[i, own] / np.sqrt(width))
                    attended[b, i, own] = weights @ value[:, own] / weights.sum()
        x = layer_norm(x + attended @ p['proj']['kernel'] + p['proj']['bias'], p['norm1'])
        hidden = np.maximum(x @ p['fc1']['kernel'] + p['fc1']['bias'], 0)
        x = layer_norm(x + hidden @ p['fc2']['kernel'] + p['fc2']['bias'], p['norm2'])
    return x


def mlp_reference(params, x):
    """The predictor of the tests: a batch-norm of the batch's own statistics and a ReLU between two layers."""
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
    x = x @ p['linear0']['kernel'] + p['linear0']['bias']
    x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) * p['norm0']['scale'] + p['norm0']['bias']
    return np.maximum(x, 0) @ p['linear1']['kernel'] + p['linear1']['bias']


def codes_reference(count, dim):
    """solo-learn's loop over channels; an odd count is cut from the next even one."""
    codes = np.zeros((count, dim))
    for c in range(count):
        for x in range(dim):
            angle = x / 10000 ** (2 * (c // 2) / (count + count % 2))
            codes[c, x] = np.cos(angle) if c % 2 else np.sin(angle)
    return codes


def test_a_step_is_that_of_numpy(x64):
    rows = jax.tree.map(lambda x: x.astype(np.float64) if x.dtype == np.float32 else x, small.batch())
    method, rows, params, extra = begun('all4one', rows, dropout=0.0, depth=2)
    params, extra = jax.tree.map(
        lambda x: x.astype(np.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x, (params, extra)
    )
    value, outputs, before, after, metrics = one_step(method, rows, params, extra)
    (z1, z2), targets, (p1, p2) = (
        jax.tree.map(np.asarray, outputs[k]) for k in ('embeddings', 'targets', 'predictions')
    )
    queue = np.asarray(before['queue'])
    near = [queue[np.argsort(-unit(t) @ queue.T, axis=1)[:, :5]] for t in targets]
    asked = [mlp_reference(params['second_predictor'], z) for z in (z1, z2)]
    asked = [np.concatenate([a[:, None], n[:, :4]], axis=1) for a, n in zip(asked, near, strict=True)]
    codes = codes_reference(5, z1.shape[1])
    centroids, shifted = (
        [transformer_reference(params['transformer'], x + codes, 2, 2)[:, 0] for x in both] for both in (near, asked)
    )

    def symmetric(asking, answers, temperature):
        pairs = ((asking[0], answers[1]), (asking[1], answers[0]))
        return sum(info_nce_in_batch_reference(a, b, temperature=temperature) for a, b in pairs) / 2

    expected = {
        'neighbour': symmetric([n[:, 0] for n in near], (p1, p2), 0.2),
        'centroid': symmetric(centroids, shifted, 0.1),
        'feature': feature_contrast_reference(z1, z2, at=[unit(t) for t in targets]) / 10,
    }
    for name, term in expected.items():
        np.testing.assert_allclose(metrics[name], term, rtol=FLOAT64, err_msg=name)
    total = 0.5 * expected['neighbour'] + 0.5 * expected['centroid'] + 0.5 * 10 * expected['feature']
    np.testing.assert_allclose(value, total, rtol=FLOAT64)
    np.testing.assert_allclose(after['queue'][:16], unit(targets[0]), rtol=FLOAT64)
    np.testing.assert_array_equal(after['queue'][16:], before['queue'][16:])


def test_the_transformer_is_torchs(golden, x64):
    """`torch.nn.TransformerEncoder` of two post-norm layers, its parameters 0.5·sin(0.7k + n) in their order."""
    x, y = golden
    module = PostNormTransformer(depth=2, heads=2, mlp_ratio=2.0, dropout=0.0)
    sequence = jnp.stack([x[:4], y[:4], x[4:8]], axis=1)
    like = jax.eval_shape(lambda: module.init(jax.random.key(0), sequence))['params']
    params: dict = {}
    for n, name in enumerate(f'block{block}_{name}' for block in range(2) for name in ORDER):
        layer, part = name.split()
        shape = like[layer][part].shape
        flat = 0.5 * np.sin(0.7 * np.arange(np.prod(shape)) + n)
        params.setdefault(layer, {})[part] = flat.reshape(shape[::-1]).T if part == 'kernel' else flat
    found = module.apply({'params': params}, sequence)
    np.testing.assert_allclose(found, transformer_reference(params, np.asarray(sequence), 2, 2), rtol=FLOAT64)
    expected = [
        [-0.4305664174, -0.1410522095, -0.7245691806, -0.0890368318, 0.4752238478, 0.3925263374],
        [-0.4305531662, -0.1133993445, -0.6988781512, -0.081165561, 0.4812933687, 0.4276268398],
        [-0.4311115247, -0.2884492682, -0.6046500467, -0.115096267, 0.4373768086, 0.2802408309],
        [-0.430767679, -0.144693959, -0.6715412812, -0.0837938204, 0.4879100647, 0.4177836822],
    ]
    np.testing.assert_allclose(found[:, 0], expected, atol=GOLDEN_FLOAT64)


def test_dropout_keeps_the_mean_and_is_drawn_for_each_example():
    keys = jax.random.split(jax.random.key(0), 64)
    ones = np.ones((64, 5, 40), np.float32)
    found = np.asarray(dropped(jnp.asarray(ones), 0.25, keys, 3))
    assert set(np.unique(found)) == {0.0, np.float32(1 / 0.75)}
    # 12,800 draws: a standard error of 0.005 of the mean
    assert abs(found.mean() - 1.0) < 0.02
    np.testing.assert_array_equal(found[8:16], dropped(jnp.asarray(ones[8:16]), 0.25, keys[8:16], 3))
    assert (found != np.asarray(dropped(jnp.asarray(ones), 0.25, keys, 4))).any()
    assert (found[0] != found[1]).any()


def test_where_its_gradients_go_and_what_is_refused():
    method, rows, params, extra = begun('all4one')
    (_, _), gradients = small.loss_and_gradient(method, params, extra, rows, KEY)
    assert not any(zero(gradients[name]) for name in ('encoder', 'projector', 'predictor', 'second_predictor'))
    assert not zero(gradients['transformer'])
    start = {k: params[k] for k in ('encoder', 'projector')}
    assert small.tree_distance(extra['target']['params'], start) == 0
    with pytest.raises(UserError, match='method.neighbours=65 rows cannot be chosen from method.queue=64'):
        small.make('all4one', neighbours=65)
    with pytest.raises(UserError, match='method.transformer_heads=3 must divide the 16 numbers of an embedding'):
        small.initial(small.make('all4one', transformer_heads=3), rows)


def test_the_few_nearest_begin_with_the_nearest():
    rng = np.random.default_rng(3)
    z, queue = rng.normal(size=(4, 6)).astype(np.float32), rng.normal(size=(9, 6)).astype(np.float32)
    few = losses.nearest_few(z, queue, count=3)
    np.testing.assert_allclose(few[:, 0], losses.nearest(z, queue), rtol=FLOAT32)
    order = np.argsort(-unit(z) @ unit(queue).T, axis=1)[:, :3]
    np.testing.assert_allclose(few, unit(queue)[order], rtol=FLOAT32)
    with pytest.raises(ValueError, match='count=10 rows cannot be chosen from a queue of 9'):
        losses.nearest_few(z, queue, count=10)


def test_codes_of_an_even_and_an_odd_number_of_neighbours():
    for count in (4, 5):
        np.testing.assert_allclose(place_codes(count, 7), codes_reference(count, 7), rtol=FLOAT32, atol=1e-6)

"""Gradients of a frozen transformer as features, against differentiation of its parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp, softmax
from selfsup import config, models
from selfsup.data.sources import from_arrays
from selfsup.engine import build, evaluations, gradient_evals
from selfsup.engine.encoder import Encoder
from selfsup.evals import gradient_features as fungi
from selfsup.methods.base import backbone

VIT = models.ViT(dim=8, depth=2, heads=2, patch=4, positions='sincos', pool='token')
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
VIEWS = RNG.normal(size=(3, 4, 8, 8, 1)).astype(np.float32)
SIGNS = RNG.choice([-1.0, 1.0], size=(5, 8, 9)).astype(np.float32)
HEADS = [fungi.random_head(jax.random.key(n), 8, 6) for n in range(2)]
NEGATIVES = np.asarray(fungi.normalize(jnp.asarray(RNG.normal(size=(7, 6)).astype(np.float32))))
LOSSES = {
    'kl': (fungi.uniform_kl(HEADS[0]), 1),
    'simclr': (fungi.contrast(HEADS[0], NEGATIVES), 4),
    'dino': (fungi.distillation(*HEADS, whole=2), 4),
}


@pytest.mark.parametrize('name', LOSSES)
def test_the_features_are_projected_gradients_of_the_last_projection(name):
    loss, count = LOSSES[name]
    views = jnp.asarray(VIEWS[:, :count])

    @jax.jit
    def both(views):
        variables = VIT.init(KEY, views[:, 0])

        def of(kernel, rows):
            params = jax.tree.map(lambda x: x, variables['params'])
            params['block1']['attn']['proj'] = kernel
            return loss(VIT.apply({'params': params}, rows))

        each = jax.vmap(jax.grad(of), in_axes=(None, 0))(variables['params']['block1']['attn']['proj'], views)
        return fungi.gradient_features(VIT, variables, views, loss, SIGNS), each

    found, each = jax.device_get(both(views))
    gradient = np.concatenate([each['kernel'].transpose(0, 2, 1), each['bias'][:, :, None]], axis=2).astype(np.float64)
    expected = np.einsum('noi,koi->nk', gradient, SIGNS)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_the_losses_are_their_formulas(x64):
    z = RNG.normal(size=(4, 8))
    latent = [np.asarray(head(jnp.asarray(z))) for head in HEADS]
    logs = log_softmax(latent[0][:1], axis=1)
    assert float(LOSSES['kl'][0](jnp.asarray(z[:1]))) == pytest.approx(-logs.mean() - np.log(6), rel=1e-6)
    rows = latent[0] / np.linalg.norm(latent[0], axis=1, keepdims=True)
    total = 0.0
    for i in range(4):
        others = [rows[i] @ rows[k] / 0.07 for k in range(4) if k != i] + list(NEGATIVES @ rows[i] / 0.07)
        total += logsumexp(others) - np.mean([rows[i] @ rows[j] / 0.07 for j in range(4) if j != i])
    assert float(LOSSES['simclr'][0](jnp.asarray(z))) == pytest.approx(total / 4, rel=1e-6)
    targets, found = softmax(latent[1][:2] / 0.07, axis=1), log_softmax(latent[0] / 0.1, axis=1)
    assert float(LOSSES['dino'][0](jnp.asarray(z))) == pytest.approx(-(targets @ found.T).mean(), rel=1e-6)


def test_windows_are_halves_of_the_image_on_a_grid():
    image = np.arange(64, dtype=np.float32).reshape(1, 8, 8, 1)
    found = np.asarray(gradient_evals.windows(jnp.asarray(image)))
    assert found.shape == (1, 9, 8, 8, 1)
    # A window is four pixels a side, brought to eight by interpolation, which keeps the mean of its middle.
    for number, (y, x) in enumerate((y, x) for y in (0, 2, 4) for x in (0, 2, 4)):
        assert found[0, number].mean() == pytest.approx(image[0, y : y + 4, x : x + 4].mean(), abs=1e-4)


@pytest.mark.slow
def test_an_encoder_has_neighbours_by_features_and_by_gradients(monkeypatch):
    monkeypatch.setattr(gradient_evals, 'SIGNS', 3 * 8 * 9)
    fields = ['model.name=vit_ti', 'model.dim=8', 'model.depth=2', 'model.heads=2', 'model.patch=4', 'data.pad=0']
    made = config.load('experiments/digits/simclr.py', [*fields, 'evaluate.batch_size=16'])
    method = backbone(build.build_encoder(made))
    params, extra = jax.jit(lambda x: method.init(KEY, {'views': (x,)}))(jnp.zeros((1, 8, 8, 1)))
    encoder = Encoder(made, method, params, extra, 0, channels=1)
    pixels = (255 * RNG.uniform(size=(70, 8, 8))).astype(np.uint8)
    pixels[::2, :4] //= 4
    rows = from_arrays('made', pixels, np.arange(70) % 2)
    data = {'train': rows.select(np.arange(40), 'a'), 'test': rows.select(np.arange(40, 70), 'b')}
    found = evaluations.of_encoder(encoder, data, ('gradients',))
    assert set(found) == {
        *(f'gradients_knn{name}' for name in ('', '_features', '_kl', '_simclr', '_dino')),
        'gradients_linear', 'gradients_linear_features',
    }  # fmt: skip
    assert all(0 <= value <= 1 for value in found.values()) and found['gradients_linear'] > 0.7

"""Methods that predict which cluster a target network's patch falls to: DinoSR and CAPI."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from selfsup import losses
from tolerances import FLOAT32

KEY = jax.random.key(3)
# Their Sinkhorn adds 1e-8 to its sums of exponentials, and runs in float32.
AUTHORS = 1e-5


def one_view(n=small.BATCH):
    rows = small.batch(n)
    return {**rows, 'views': rows['views'][:1], 'view_params': rows['view_params'][:1]}


def begun(name, **changes):
    method, rows = small.make(name, **changes), one_view()
    return (method, rows, *small.initial(method, rows))


@pytest.mark.slow
def test_dinosr_takes_the_codes_of_the_targets_mlps_before_its_codebooks_move():
    """Codes of hidden patches by the codebooks as they were; the loss is theirs; then the batch enters the books."""
    method, rows, params, extra = begun('dinosr', rate=0.5)
    outputs, _ = small.embed(method, params, extra, rows, KEY)
    value, (new, metrics) = small.criterion(method, params, outputs, extra, rows, KEY)
    encoder = small.OWN_NETWORKS['dinosr']['encoder']
    frozen = {'params': extra['target']['params']['encoder']}
    mlps = encoder.apply(frozen, rows['views'][0], method='tokens', blocks=2, of='mlp')
    tokens = np.stack([np.asarray(x[:, 1:], np.float64) for x in mlps], axis=2)
    tokens = (tokens - tokens.mean(1, keepdims=True)) / np.sqrt(tokens.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(outputs['targets'], tokens, atol=1e-3)
    # The rest from what the method gave, so that rounding chooses no other code.
    places, counted = np.asarray(outputs['places']), np.asarray(outputs['counted'])
    hidden = np.asarray(outputs['targets'])[np.arange(16)[:, None], places]
    books = extra['codebooks']
    codes = losses.nearest_codes(hidden, books['sums'], books['counts'])
    np.testing.assert_allclose(value, losses.dinosr(outputs['predictions'], codes, counted), rtol=FLOAT32)
    sums, counts = losses.moved_codes(books['sums'], books['counts'], hidden, codes, counted, rate=0.5)
    np.testing.assert_allclose(new['codebooks']['sums'], sums, atol=FLOAT32)
    np.testing.assert_allclose(new['codebooks']['counts'], counts, rtol=FLOAT32)
    assert set(np.unique(np.asarray(new['codebooks']['counts']) != 1.0)) == {False, True}
    assert all(1 <= float(metrics[name]) <= 6 for name in ('target_perplexity', 'prediction_perplexity'))


@pytest.mark.slow
def test_dinosr_perplexities_are_one_at_collapse():
    method, rows, params, extra = begun('dinosr')
    outputs, _ = small.embed(method, params, extra, rows, KEY)
    certain = {**outputs, 'predictions': outputs['predictions'].at[..., 2].set(1e3)}
    same = {**certain, 'targets': jnp.zeros_like(outputs['targets'])}
    _, (_, metrics) = small.criterion(method, params, same, extra, rows, KEY)
    np.testing.assert_allclose([metrics['target_perplexity'], metrics['prediction_perplexity']], 1.0, rtol=1e-4)


def normal(seed, shape):
    return np.random.RandomState(seed).randn(*shape)


# The authors' functions, printed with ten digits: Sinkhorn at each place, the loss of the clusters, of predictions.
@pytest.mark.slow
def test_capi_equals_the_authors(x64):
    scores = jnp.asarray(normal(0, (8, 4, 16)) * 0.05).swapaxes(0, 1)  # theirs are [place, batch, cluster]
    targets = losses.capi_targets(scores).swapaxes(0, 1)
    np.testing.assert_allclose(jnp.sum(targets**2), 2.7317078743, rtol=AUTHORS)
    np.testing.assert_allclose(targets[0, 0, :4], [0.1075042, 0.0711800, 0.0866328, 0.1258251], atol=1e-6)
    x, weight, bias = normal(0, (4, 4, 16)), normal(1, (8, 16)), 0.1 * normal(2, (8,))
    units = x / np.linalg.norm(x, axis=-1, keepdims=True)
    scores = jnp.asarray((units @ weight.T + bias).swapaxes(0, 1))
    targets = losses.capi_targets(scores)
    np.testing.assert_allclose(jnp.sum(targets**2), 8.1003259, rtol=AUTHORS)
    np.testing.assert_allclose(losses.capi(scores, targets), 3.5246765614, rtol=AUTHORS)
    # By the mistake of one balance over all places, whose tiny sums their 1e-8 moves more.
    whole = losses.capi_targets(scores.swapaxes(0, 1).reshape(16, 1, 8))
    np.testing.assert_allclose(jnp.sum(whole**2), 13.1427232, rtol=1e-3)
    student = jnp.asarray(normal(3, (16, 8))).reshape(4, 4, 8).swapaxes(0, 1)
    np.testing.assert_allclose(losses.capi(student, targets), 11.2747225620, rtol=AUTHORS)


@pytest.mark.slow
def test_capi_at_its_edges(own_checks):
    flat, targets = jnp.zeros((2, 3, 5)), losses.capi_targets(jnp.zeros((2, 3, 5)))
    np.testing.assert_allclose(targets, 0.2, rtol=FLOAT32)
    np.testing.assert_allclose(losses.capi(flat, targets), np.log(5), rtol=FLOAT32)
    scores = jnp.asarray(normal(0, (6, 3, 5)), jnp.float32)
    through = jax.grad(lambda s: losses.capi(scores, losses.capi_targets(s)) + losses.capi_targets(s).sum())(scores)
    assert float(jnp.abs(through).max()) == 0
    huge = losses.capi_targets(1e4 * scores)
    assert bool(jnp.isfinite(huge).all()) and bool(jnp.isfinite(losses.capi(1e4 * scores, huge)))
    for call, message in (
        (lambda: losses.capi_targets(scores[0]), r'\[batch, places, count\], not \[3, 5\]'),
        (lambda: losses.capi(scores, scores[:, :2]), r'\[6, 3, 5\] and \[6, 2, 5\]'),
        (lambda: losses.capi(scores, scores, temperature=0.0), 'temperature must be positive'),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.slow
def test_capi_predicts_the_targets_clusters_and_moves_them_without_the_networks():
    """The loss is the sum of both parts; each part has parameters of its own."""
    method, rows, params, extra = begun('capi')
    outputs, _ = small.embed(method, params, extra, rows, KEY)
    value, (_, metrics) = small.criterion(method, params, outputs, extra, rows, KEY)
    tokens, places = outputs['targets'], outputs['places']
    encoder = small.OWN_NETWORKS['capi']['encoder']
    expected = encoder.apply({'params': extra['target']['params']['encoder']}, rows['views'][0], method='tokens')
    np.testing.assert_allclose(tokens, expected[:, 1:], atol=FLOAT32)
    rows_of = params['prototypes']
    units = tokens / jnp.linalg.norm(tokens, axis=-1, keepdims=True)
    scores = jnp.matmul(units, rows_of['clusters']['kernel'], precision='highest')
    targets = losses.capi_targets(scores)
    predicted = outputs['predictions'] / jnp.linalg.norm(outputs['predictions'], axis=-1, keepdims=True)
    student = jnp.matmul(predicted, rows_of['direction'].T, precision='highest')
    wanted = jnp.take_along_axis(targets, places[..., None], axis=1)
    parts = losses.capi(student, wanted), losses.capi(scores, targets)
    np.testing.assert_allclose([metrics['prediction_loss'], metrics['clustering_loss']], parts, rtol=1e-4)
    np.testing.assert_allclose(value, sum(parts), rtol=1e-4)
    _, gradients = small.loss_and_gradient(method, params, extra, rows, KEY)
    alone = jax.grad(lambda kernel: losses.capi(jnp.matmul(units, kernel, precision='highest'), targets))
    np.testing.assert_allclose(
        gradients['prototypes']['clusters']['kernel'], alone(rows_of['clusters']['kernel']), atol=1e-4
    )

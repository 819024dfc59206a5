"""Methods that predict which cluster a target network's patch falls to: DinoSR."""

import jax
import jax.numpy as jnp
import numpy as np
import small
from selfsup import losses
from tolerances import FLOAT32

KEY = jax.random.key(3)


def one_view(n=small.BATCH):
    rows = small.batch(n)
    return {**rows, 'views': rows['views'][:1], 'view_params': rows['view_params'][:1]}


def begun(name, **changes):
    method, rows = small.make(name, **changes), one_view()
    return (method, rows, *small.initial(method, rows))


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


def test_dinosr_perplexities_are_one_at_collapse():
    method, rows, params, extra = begun('dinosr')
    outputs, _ = small.embed(method, params, extra, rows, KEY)
    certain = {**outputs, 'predictions': outputs['predictions'].at[..., 2].set(1e3)}
    same = {**certain, 'targets': jnp.zeros_like(outputs['targets'])}
    _, (_, metrics) = small.criterion(method, params, same, extra, rows, KEY)
    np.testing.assert_allclose([metrics['target_perplexity'], metrics['prediction_perplexity']], 1.0, rtol=1e-4)

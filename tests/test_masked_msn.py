"""MSN: which view is masked, which is the target's, the loss by its formula, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from selfsup import losses
from selfsup.augment import masking
from selfsup.errors import UserError
from selfsup.losses.masked import patchify, unpatchify
from selfsup.methods import msn
from selfsup.methods.base import view_keys
from selfsup.methods.masked.msn import MASKS
from tolerances import FLOAT32

KEY = jax.random.key(3)
ENCODER, PROJECTOR = small.TOKENS['encoder'], small.TOKENS['projector']


def begun(rows=None, **changes):
    rows = small.batch() if rows is None else rows
    method = small.make('msn', **changes)
    return (method, rows, *small.started(method, rows))


def multicrop(rows):
    return {**rows, 'views': (*rows['views'], *(v[:, 1:7, 1:7] for v in rows['views']))}


def zero(tree):
    return all(float(jnp.abs(x).max()) == 0 for x in jax.tree.leaves(tree))


def value_of(method, rows, params, extra):
    outputs, extra = method.embed(params, extra, rows, KEY)
    return method.criterion(params, outputs, extra, rows, KEY)[0]


def test_dropped_patches_do_not_reach_the_anchor():
    """The second view is the masked anchor; each image loses patches of its own."""
    method, rows, params, extra = begun()
    outputs, _ = small.embed(method, params, extra, rows, KEY)
    _, hidden = masking.random(view_keys(rows, MASKS)(0), (4, 4), 0.25)
    assert len({tuple(row) for row in np.asarray(hidden)}) > 1
    patches = jnp.where(hidden[..., None], 9.0, patchify(rows['views'][1], 2))
    other = {**rows, 'views': (rows['views'][0], unpatchify(patches, 2, (4, 4)))}
    changed, _ = small.embed(method, params, extra, other, KEY)
    np.testing.assert_allclose(changed['predictions'][0], outputs['predictions'][0], atol=1e-6)
    seen = jnp.where(hidden[..., None], patchify(rows['views'][1], 2), 9.0)
    other = {**rows, 'views': (rows['views'][0], unpatchify(seen, 2, (4, 4)))}
    changed, _ = small.embed(method, params, extra, other, KEY)
    assert float(jnp.abs(changed['predictions'][0] - outputs['predictions'][0]).max(1).min()) > 1e-3


@pytest.mark.parametrize('masked', [1, 2])
def test_the_first_view_is_the_targets_and_small_views_are_whole(masked):
    method, rows, params, extra = begun(multicrop(small.batch()), masked_views=masked)
    outputs, _ = small.embed(method, params, extra, rows, KEY)
    assert [len(outputs[k]) for k in ('features', 'embeddings', 'predictions', 'targets')] == [4, 4, 3, 1]
    whole = [ENCODER.apply({'params': params['encoder']}, view) for view in rows['views']]
    same = [bool(np.allclose(a, b, atol=FLOAT32)) for a, b in zip(outputs['features'], whole, strict=True)]
    assert same == [True, *([False] * masked), *([True] * (3 - masked))]
    expected = PROJECTOR.apply({'params': params['projector']}, whole[0])
    np.testing.assert_allclose(outputs['targets'][0], expected, atol=FLOAT32)


def test_the_loss_is_that_of_its_parts_and_the_metrics_tell_collapse():
    method, rows, params, extra = begun(prior_weight=2.0, entropy_weight=0.5, power=0.25, iterations=0)
    outputs, before = small.embed(method, params, extra, rows, KEY)
    value, (_, metrics) = small.criterion(method, params, outputs, before, rows, KEY)
    fields = {'prototypes': params['prototypes'], 'iterations': 0}
    expected = losses.msn(
        outputs['predictions'], outputs['targets'][0], power=0.25, prior_weight=2.0, entropy_weight=0.5, **fields
    )
    np.testing.assert_allclose(value, expected, rtol=FLOAT32)
    wanted = losses.msn_targets(outputs['targets'][0], params['prototypes'], iterations=0)
    assert int(metrics['prototypes_used']) == len(np.unique(jnp.argmax(wanted, axis=1)))
    np.testing.assert_allclose(metrics['target_confidence'], wanted.max(axis=1).mean(), rtol=FLOAT32)
    collapsed = {**outputs, 'targets': (jnp.ones_like(outputs['targets'][0]),)}
    _, (_, metrics) = small.criterion(method, params, collapsed, before, rows, KEY)
    assert int(metrics['prototypes_used']) == 1


def test_the_target_gets_no_gradient_follows_and_is_what_is_evaluated():
    method, rows, params, extra = begun()

    def through_target(target):
        return value_of(method, rows, params, {**extra, 'target': {**extra['target'], 'params': target}})

    assert zero(jax.grad(through_target)(extra['target']['params']))
    gradients = jax.grad(lambda p: value_of(method, rows, p, extra))(params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0, jax.tree_util.keystr(path)
    moved = jax.tree.map(lambda x: x + 0.5, params)
    _, later = method.after(moved, extra, jnp.asarray(0))
    old, now = extra['target']['params'], later['target']['params']
    assert set(now) == {'encoder', 'projector'}
    expected = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, old, {k: moved[k] for k in old})
    assert small.tree_distance(now, expected) < 1e-6
    found = [method.encode(method.network(p, extra), rows['views'][0])['features'] for p in (moved, params)]
    np.testing.assert_array_equal(*found)


BAD = {
    'encoder': (lambda: msn(small.ENCODER, PROJECTOR), 'msn needs an encoder of patches .*, not ConvNet'),
    'ratio': (lambda: value_of(*begun(ratio=0.95)), 'method.ratio=0.95 keeps none of the 16 patches'),
    'masked': (lambda: value_of(*begun(masked_views=2)), 'method.masked_views=2 must be at most 1'),
    'views': (lambda: value_of(*begun({**small.batch(), 'views': small.batch()['views'][:1]})), 'needs 2 views'),
}


@pytest.mark.parametrize('call, message', BAD.values(), ids=BAD.keys())
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(UserError, match=message) as caught:
        call()
    assert '\n' not in str(caught.value)

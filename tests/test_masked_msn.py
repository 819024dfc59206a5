"""MSN: which view is masked, which is the target's, the loss by its formula, and what is refused."""

import jax
import numpy as np
import pytest
import small
from programs import called, compiled, losses, patchify, unpatchify
from selfsup.augment import masking
from selfsup.errors import UserError
from selfsup.methods import msn
from selfsup.methods.base import view_keys
from selfsup.methods.masked.msn import MASKS
from tolerances import FLOAT32

KEY = jax.random.key(3)
ENCODER, PROJECTOR = small.TOKENS['encoder'], small.TOKENS['projector']


def begun(rows=None, **changes):
    """A method, a batch, and the parameters, which are the same whatever changes."""
    rows = small.batch() if rows is None else rows
    return (small.make('msn', **changes), rows, *small.started(small.make('msn'), small.batch()))


def multicrop(rows):
    return {**rows, 'views': (*rows['views'], *(v[:, 1:7, 1:7] for v in rows['views']))}


def zero(tree):
    return not any(np.any(x) for x in jax.tree.leaves(tree))


def value_of(method, rows, params, extra):
    outputs, extra = method.embed(params, extra, rows, KEY)
    return method.criterion(params, outputs, extra, rows, KEY)[0]


@pytest.mark.slow
def test_dropped_patches_do_not_reach_the_anchor():
    """The second view is the masked anchor; each image loses patches of its own."""
    method, rows, params, extra = begun()
    outputs, _ = small.embed(method, params, extra, rows, KEY)
    hidden = np.asarray(jax.jit(lambda rows: masking.random(view_keys(rows, MASKS)(0), (4, 4), 0.25)[1])(rows))
    assert len({tuple(row) for row in hidden}) > 1
    own, nine = patchify(rows['views'][1], 2), np.float32(9)
    patches = np.where(hidden[..., None], nine, own)
    other = {**rows, 'views': (rows['views'][0], unpatchify(patches, 2, (4, 4)))}
    changed, _ = small.embed(method, params, extra, other, KEY)
    np.testing.assert_allclose(changed['predictions'][0], outputs['predictions'][0], atol=1e-6)
    seen = np.where(hidden[..., None], own, nine)
    other = {**rows, 'views': (rows['views'][0], unpatchify(seen, 2, (4, 4)))}
    changed, _ = small.embed(method, params, extra, other, KEY)
    assert np.abs(np.subtract(changed['predictions'][0], outputs['predictions'][0])).max(1).min() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize('masked', [1, 2])
def test_the_first_view_is_the_targets_and_small_views_are_whole(masked):
    method, rows, params, extra = begun(multicrop(small.batch()), masked_views=masked)
    outputs, _ = small.embed(method, params, extra, rows, KEY)
    assert [len(outputs[k]) for k in ('features', 'embeddings', 'predictions', 'targets')] == [4, 4, 3, 1]
    whole = [called(ENCODER.apply, {'params': params['encoder']}, view) for view in rows['views']]
    same = [bool(np.allclose(a, b, atol=FLOAT32)) for a, b in zip(outputs['features'], whole, strict=True)]
    assert same == [True, *([False] * masked), *([True] * (3 - masked))]
    expected = called(PROJECTOR.apply, {'params': params['projector']}, whole[0])
    np.testing.assert_allclose(outputs['targets'][0], expected, atol=FLOAT32)


@pytest.mark.slow
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
    assert int(metrics['prototypes_used']) == len(np.unique(np.argmax(wanted, axis=1)))
    np.testing.assert_allclose(metrics['target_confidence'], wanted.max(axis=1).mean(), rtol=FLOAT32)
    collapsed = {**outputs, 'targets': (np.ones_like(outputs['targets'][0]),)}
    _, (_, metrics) = small.criterion(method, params, collapsed, before, rows, KEY)
    assert int(metrics['prototypes_used']) == 1


def test_the_target_gets_no_gradient_follows_and_is_what_is_evaluated():
    method, rows, params, extra = begun()

    def through_target(target):
        return value_of(method, rows, params, {**extra, 'target': {**extra['target'], 'params': target}})

    assert zero(jax.jit(jax.grad(through_target))(extra['target']['params']))
    _, gradients = small.loss_and_gradient(method, params, extra, rows, KEY)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0, jax.tree_util.keystr(path)
    moved = jax.tree.map(lambda x: np.asarray(x) + np.float32(0.5), params)
    _, later = compiled(method.after)(moved, extra, 0)
    old, now = jax.device_get(extra['target']['params']), later['target']['params']
    assert set(now) == {'encoder', 'projector'}
    expected = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, old, {k: moved[k] for k in old})
    assert small.tree_distance(now, expected) < 1e-6
    encode = compiled(method.encode)
    found = [encode(method.network(p, extra), rows['views'][0])['features'] for p in (moved, params)]
    np.testing.assert_array_equal(*found)


def shapes(method, rows, params, extra):
    return jax.eval_shape(lambda: value_of(method, rows, params, extra))


BAD = {
    'encoder': (lambda: msn(small.ENCODER, PROJECTOR), 'msn needs an encoder of patches .*, not ConvNet'),
    'ratio': (lambda: shapes(*begun(ratio=0.95)), 'method.ratio=0.95 keeps none of the 16 patches'),
    'masked': (lambda: shapes(*begun(masked_views=2)), 'method.masked_views=2 must be at most 1'),
    'views': (lambda: shapes(*begun({**small.batch(), 'views': small.batch()['views'][:1]})), 'needs 2 views'),
}


@pytest.mark.parametrize('call, message', BAD.values(), ids=BAD.keys())
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(UserError, match=message) as caught:
        call()
    assert '\n' not in str(caught.value)

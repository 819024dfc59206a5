"""What sparse autoencoders promise: their losses, dead units, resampling, thresholds, atoms, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from selfsup import config, dictionaries, losses, methods, models
from selfsup.engine.run import Run
from selfsup.engine.step import TrainState, make_refresh
from selfsup.errors import UserError
from selfsup.methods.dictionary import autoencoder, matryoshka, progressive
from selfsup.optim import optimizer
from tolerances import FLOAT32, FLOAT64

KEY = jax.random.key(3)
UNITS, DIM = 16, 6


def vectors(n=32, dim=DIM, seed=0):
    x = jnp.asarray(np.random.default_rng(seed).normal(size=(n, dim)) + 1.0, jnp.float32)
    return {
        'views': (x,),
        'keys': jax.random.split(jax.random.key(0), n),
        'step': jnp.asarray(5),
        'index': jnp.arange(n),
    }


def made(name, units=UNITS, **keywords):
    networks = () if name == 'matching_pursuit' else (models.MLP(widths=(units,)),)
    return methods.METHODS[name](*networks, **keywords)


def begun(name, rows=None, **keywords):
    rows = vectors() if rows is None else rows
    method = made(name, **keywords)
    return (method, rows, *small.initial(method, rows))


def one(method, rows, params, extra):
    outputs, _ = small.embed(method, params, extra, rows, KEY)
    value, (new, metrics) = small.criterion(method, params, outputs, extra, rows, KEY)
    return value, outputs, new, metrics


def test_losses_follow_their_formulas(x64):
    rng = np.random.default_rng(0)
    x, codes, atoms, centre = (rng.normal(size=s) for s in ((5, 4), (5, 8), (8, 4), 4))
    codes = np.maximum(codes, 0)
    whole = x - codes @ atoms - centre
    np.testing.assert_allclose(losses.reconstruction(x, codes @ atoms + centre), (whole**2).sum(1).mean(), rtol=FLOAT64)
    prefixes = [((x - centre - codes[:, :m] @ atoms[:m]) ** 2).sum(1).mean() for m in (0, 2, 5, 8)]
    for empty, expected in ((True, np.mean(prefixes)), (False, np.mean(prefixes[1:]))):
        found = losses.nested_reconstruction(x, codes, atoms, centre, sizes=(2, 3, 3), empty=empty)
        np.testing.assert_allclose(found, expected, rtol=FLOAT64)
    one_group = losses.nested_reconstruction(x, codes, atoms, centre, sizes=(8,), empty=False)
    np.testing.assert_allclose(one_group, losses.reconstruction(x, codes @ atoms + centre), rtol=FLOAT64)
    left = ((x - codes @ atoms) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
    np.testing.assert_allclose(losses.dead_reconstruction(x, codes @ atoms), left, rtol=FLOAT64)
    assert losses.dead_reconstruction(np.ones((3, 2)), np.zeros((3, 2))) == 0
    np.testing.assert_allclose(losses.sparsity(codes), codes.sum(1).mean(), rtol=FLOAT64)
    np.testing.assert_allclose(losses.sparsity(codes, p=0.3), (codes**0.3).sum(1).mean(), rtol=FLOAT64)
    norms = (codes**0.5).sum(1) ** 2
    np.testing.assert_allclose(losses.sparsity(codes, p=0.5, root=True), norms.mean(), rtol=FLOAT64)


@pytest.mark.parametrize('root', [False, True])
def test_the_penalty_of_a_code_of_zero_has_a_finite_gradient(root):
    codes = jnp.asarray([[0.0, 2.0], [0.0, 0.0]])
    gradient = jax.grad(lambda f: losses.sparsity(f, p=0.5, root=root))(codes)
    assert np.isfinite(gradient).all() and (np.asarray(gradient)[codes == 0] == 0).all()


@pytest.mark.parametrize(
    ('call', 'words'),
    [
        (lambda x: losses.reconstruction(x, x[:2]), ['inputs', 'reconstructions', '[4, 3]', '[2, 3]']),
        (lambda x: losses.dead_reconstruction(x, x[:2]), ['residual', '[2, 3]']),
        (lambda x: losses.nested_reconstruction(x, x, x, x[0], sizes=(3,)), ['atoms', '[4, 3]']),
        (
            lambda x: losses.nested_reconstruction(x, x[:, :2], x[:2], x[0], sizes=(1, 2)),
            ['sizes', '2 units', '(1, 2)'],
        ),
        (lambda x: losses.sparsity(x[0]), ['codes', '[3]']),
    ],
)
def test_bad_shapes_are_refused(call, words, own_checks):
    with pytest.raises(ValueError) as caught:
        call(jnp.ones((4, 3)))
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_linear_encoder_begins_as_the_transposed_atoms_and_the_centre_at_the_geometric_median():
    _, rows, params, _ = begun('topk', active=3)
    kernel, bias = (params['encoder']['linear0'][k] for k in ('kernel', 'bias'))
    np.testing.assert_array_equal(kernel.T, params['dictionary']['atoms'])
    assert not bias.any()
    np.testing.assert_allclose(jnp.linalg.norm(kernel, axis=0), 1, rtol=FLOAT32)
    expected = dictionaries.geometric_median(rows['views'][0])
    np.testing.assert_allclose(params['dictionary']['centre'], expected, rtol=FLOAT32)
    other = vectors(seed=1)['views'][0]
    given = small.initial(made('topk', active=3), {**rows, 'reference': other})[0]['dictionary']['centre']
    np.testing.assert_allclose(given, dictionaries.geometric_median(other), rtol=FLOAT32)
    deep = methods.METHODS['topk'](models.MLP(widths=(8, UNITS)), active=3)
    params, _ = small.initial(deep, rows)
    assert float(jnp.abs(params['encoder']['linear1']['bias']).max()) > 0


@pytest.mark.parametrize('name', ['topk', 'archetypal', 'batch_topk', 'gated', 'matching_pursuit'])
def test_decoding_codes_gives_the_embeddings_and_images_are_taken_as_rows(name):
    keywords = {'units': UNITS} if name == 'matching_pursuit' else {}
    keywords |= {} if name == 'gated' else {'active': 3}
    keywords |= {'points': 32} if name == 'archetypal' else {}
    method, rows, params, extra = begun(name, **keywords)
    network, x = method.network(params, extra), rows['views'][0]
    found = method.encode(network, x)
    np.testing.assert_allclose(method.decode(network, found['features']), found['embeddings'], rtol=FLOAT32, atol=1e-6)
    images = method.encode(network, x.reshape(-1, 3, 2, 1))
    np.testing.assert_array_equal(images['features'], found['features'])
    outputs, _ = small.embed(method, params, extra, rows, KEY)
    np.testing.assert_allclose(outputs['features'][0], found['features'], rtol=FLOAT32, atol=1e-6)


@pytest.mark.slow
def test_dead_units_reconstruct_what_is_left_and_come_back():
    method, rows, params, extra = begun(
        'topk', vectors(n=6), active=2, dead_after=33, auxiliary_active=2, auxiliary_weight=0.5
    )
    value, outputs, new, metrics = one(method, rows, params, extra)
    on = np.asarray((outputs['features'][0] != 0).any(0))
    np.testing.assert_array_equal(new['idle'], np.where(on, 0, 6))
    assert metrics['auxiliary_loss'] == 0 and metrics['dead'] == 0  # 6 examples are not yet 33
    dead = ~on
    idle = jnp.where(dead, 40, 0)
    value, outputs, new, metrics = one(method, rows, params, {**extra, 'idle': idle})
    drive, x = np.asarray(outputs['drive']), np.asarray(rows['views'][0])
    acts = np.where(dead, np.maximum(drive, 0), 0)
    acts = np.where(acts >= np.sort(acts, axis=1)[:, [-2]], acts, 0)
    residual = x - np.asarray(outputs['embeddings'][0])
    expected = ((residual - acts @ params['dictionary']['atoms']) ** 2).sum() / (
        (residual - residual.mean(0)) ** 2
    ).sum()
    np.testing.assert_allclose(metrics['auxiliary_loss'], 0.5 * expected, rtol=1e-4)
    np.testing.assert_allclose(value, metrics['auxiliary_loss'] + metrics['reconstruction_loss'], rtol=FLOAT32)
    assert metrics['dead'] == pytest.approx(dead.mean()) and metrics['l0'] <= 2

    def loss(p):
        outputs, _ = method.embed(p, extra, rows, KEY)
        return method.criterion(p, outputs, {**extra, 'idle': idle}, rows, KEY)[0]

    kernel = jax.grad(loss)(params)['encoder']['linear0']['kernel']
    assert dead.any() and (np.abs(np.asarray(kernel))[:, dead].max(0) > 0).all()


def test_atoms_stay_of_length_one_and_get_no_gradient_along_themselves():
    method, rows, params, extra = begun('topk', active=3)
    _, gradients = small.loss_and_gradient(method, params, extra, rows, KEY)
    along = jnp.sum(gradients['dictionary']['atoms'] * params['dictionary']['atoms'], axis=1)
    np.testing.assert_allclose(along, 0, atol=1e-5)
    moved, _ = method.after(jax.tree.map(lambda a, g: a - g, params, gradients), extra, 0)
    np.testing.assert_allclose(jnp.linalg.norm(moved['dictionary']['atoms'], axis=1), 1, rtol=FLOAT32)


@pytest.mark.slow
def test_resampling_puts_dead_units_at_rows_that_fit_badly_and_resets_their_moments():
    method, rows, params, extra = begun('relu_l1', resample=3, dead_after=100)
    x = rows['views'][0].at[7].set(30.0)  # fits worst by far
    _, _, extra, _ = one(method, {**rows, 'views': (x,)}, params, extra)
    assert int(jnp.isfinite(extra['sample']['priority']).sum()) == 3
    np.testing.assert_allclose(extra['sample']['rows'][0], x[7], rtol=FLOAT32)
    idle = jnp.zeros(UNITS, jnp.int32).at[jnp.array([2, 5, 6, 9])].set(100)
    new, after, reset = jax.jit(method.refresh.update)(params, {**extra, 'idle': idle}, KEY, None)
    taken = np.asarray([2, 5, 6])
    atoms, centre = np.asarray(new['dictionary']['atoms']), params['dictionary']['centre']
    np.testing.assert_allclose(atoms[2], (x[7] - centre) / jnp.linalg.norm(x[7] - centre), rtol=1e-4)
    np.testing.assert_allclose(new['encoder']['linear0']['kernel'].T[taken], 0.2 * atoms[taken], rtol=1e-4)
    kept = np.setdiff1d(np.arange(UNITS), taken)
    np.testing.assert_array_equal(new['dictionary']['atoms'][kept], params['dictionary']['atoms'][kept])
    np.testing.assert_array_equal(
        new['encoder']['linear0']['kernel'][:, kept], params['encoder']['linear0']['kernel'][:, kept]
    )
    assert (
        after['idle'][9] == 100
        and not after['idle'][taken].any()
        and not np.isfinite(after['sample']['priority']).any()
    )
    again = method.refresh.update(new, after, KEY, None)[0]  # nothing is drawn yet: nothing moves
    assert small.tree_distance(again, new) == 0
    np.testing.assert_array_equal(np.flatnonzero(reset['encoder']['linear0']['bias']), taken)

    rule = optimizer('adamw', lambda step: 0.1, peak=0.1)
    moments = rule.init(params)._replace(inner={k: jax.tree.map(jnp.ones_like, params) for k in ('first', 'second')})
    state = TrainState(jnp.asarray(4), params, {**extra, 'idle': idle}, moments, {})
    refreshed = make_refresh(method, rule, shardings=None)(jax.tree.map(jnp.copy, state), None, 0)
    first = refreshed.opt_state.inner['first']
    np.testing.assert_array_equal(np.flatnonzero(first['encoder']['linear0']['bias'] == 0), taken)
    np.testing.assert_array_equal(np.flatnonzero(~np.any(first['dictionary']['atoms'], axis=1)), taken)
    assert first['dictionary']['centre'].all()


def test_the_sample_is_drawn_in_proportion_to_the_error():
    """Of rows whose squared errors are as 1 to 3, over many keys."""
    method, _, params, extra = begun('relu_l1', resample=1)
    params = jax.tree.map(jnp.zeros_like, params)
    outputs = {'targets': jnp.asarray([[1.0], [3.0**0.5]]) * jnp.eye(DIM)[:1], 'drive': jnp.zeros((2, UNITS))}
    outputs['features'] = (outputs['drive'],)

    def drawn(key):
        return method.criterion(params, outputs, extra, {'step': 5}, key)[1][0]['sample']['rows'][0, 0]

    found = jax.jit(jax.vmap(drawn))(jax.random.split(KEY, 4000))
    assert abs(float(jnp.mean(found > 1.5)) - 0.75) < 0.03  # 4 standard errors


def test_batch_topk_shares_units_in_training_and_thresholds_rows_at_evaluation():
    method, rows, params, extra = begun('batch_topk', active=3, threshold_momentum=0.5)
    _, outputs, new, metrics = one(method, rows, params, extra)
    assert metrics['l0'] == 3
    _, least = dictionaries.batch_top_k(outputs['drive'], active=3)
    np.testing.assert_allclose(extra['threshold'], least, rtol=1e-4)  # at first that of the initial dictionary
    moved = jnp.float32(7.0)
    _, _, new, _ = one(method, rows, params, {**extra, 'threshold': moved})
    np.testing.assert_allclose(new['threshold'], 0.5 * moved + 0.5 * least, rtol=FLOAT32)
    encoded = method.encode(method.network(params, new), rows['views'][0])['features']
    np.testing.assert_allclose(encoded, dictionaries.above(outputs['drive'], new['threshold']), rtol=FLOAT32, atol=1e-6)


def test_matryoshka_has_groups_of_stated_shares():
    assert matryoshka.sizes((1 / 16, 1 / 16, 1 / 8, 1 / 4, 1 / 2), 256) == (16, 16, 32, 64, 128)
    assert matryoshka.sizes((0.3, 0.7), 16) == (4, 12)
    method, rows, params, extra = begun('matryoshka', active=3, shares=(0.25, 0.75), auxiliary_weight=0.0)
    value, outputs, *_ = one(method, rows, params, extra)
    codes, _ = dictionaries.batch_top_k(outputs['drive'], active=3)
    own = params['dictionary']
    expected = losses.nested_reconstruction(rows['views'][0], codes, own['atoms'], own['centre'], sizes=(4, 12))
    np.testing.assert_allclose(value, expected, rtol=FLOAT32)
    plain, *_ = one(made('batch_topk', active=3, auxiliary_weight=0.0), rows, params, extra)
    single, *_ = one(
        made('matryoshka', active=3, shares=(1.0,), empty=False, auxiliary_weight=0.0), rows, params, extra
    )
    np.testing.assert_allclose(single, plain, rtol=FLOAT32)


@pytest.mark.parametrize('units', [4, 16])
def test_each_prefix_of_a_progressive_autoencoder_is_a_topk_autoencoder(units):
    """Mean of the losses of `topk` with the first units alone and a share of the active ones."""
    assert progressive.prefixes((1 / 4, 1 / 4, 1 / 2), 256, 8) == [(64, 2), (128, 4), (256, 8)]
    assert progressive.prefixes((0.3, 0.7), 16, 5) == [(4, 2), (16, 5)]
    with pytest.raises(UserError, match='at least 1'):
        progressive.prefixes((0.01, 0.99), 16, 5)
    share = (units / UNITS, 1 - units / UNITS) if units < UNITS else (1.0,)
    method, rows, params, extra = begun('progressive', active=6, shares=share, auxiliary_weight=0.0)
    value, outputs, *_ = one(method, rows, params, extra)

    def cut(kept, active):
        parts = {name: params['encoder']['linear0'][name][..., :kept] for name in ('kernel', 'bias')}
        own = {**params['dictionary'], 'atoms': params['dictionary']['atoms'][:kept]}
        part = made('topk', units=kept, active=active, auxiliary_weight=0.0)
        cut_params = {**params, 'encoder': {'linear0': parts}, 'dictionary': own}
        return one(part, rows, cut_params, {**extra, 'idle': extra['idle'][:kept]})[0]

    whole = cut(UNITS, 6)
    expected = whole if units == UNITS else (whole + cut(units, 2)) / 2
    np.testing.assert_allclose(value, expected, rtol=FLOAT32)
    np.testing.assert_allclose((outputs['features'][0] != 0).sum(1).max(), 6)


def test_gates_learn_from_their_own_losses_and_the_dictionary_does_not():
    method, rows, params, extra = begun('gated', weight=0.3, weight_warmup=0)
    units = {'gate': jnp.full(UNITS, -0.1), 'gain': jnp.full(UNITS, 0.2), 'magnitude': jnp.full(UNITS, 0.05)}
    params = {**params, 'units': units}
    value, outputs, _, metrics = one(method, rows, params, extra)
    drive, own, x = outputs['drive'], params['dictionary'], rows['views'][0]
    opening = jnp.maximum(drive - 0.1, 0)
    codes = jnp.where(drive > 0.1, jnp.maximum(jnp.exp(0.2) * drive + 0.05, 0), 0)
    np.testing.assert_allclose(outputs['features'][0], codes, rtol=FLOAT32)
    error = lambda f: jnp.mean(jnp.sum((x - f @ own['atoms'] - own['centre'][None]) ** 2, axis=1))  # noqa: E731
    expected = error(codes) + error(opening) + 0.3 * jnp.mean(jnp.sum(opening, axis=1))
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    np.testing.assert_allclose(metrics['gate_loss'], error(opening), rtol=1e-4)

    def gate_alone(dictionary):
        outputs, _ = method.embed({**params, 'dictionary': dictionary}, extra, rows, KEY)
        held = {**outputs, 'drive': outputs['drive'], 'features': (jnp.zeros_like(outputs['drive']),)}
        return method.criterion({**params, 'dictionary': dictionary}, held, extra, rows, KEY)[0]

    assert not jax.grad(gate_alone)(own)['atoms'].any()


def test_jump_relu_has_the_papers_penalty_and_the_one_that_holds_a_number():
    shared = {'weight': 0.2, 'weight_warmup': 10, 'threshold': 0.3, 'bandwidth': 0.2}
    method, rows, params, extra = begun('jump_relu', **shared)
    _, outputs, _, metrics = one(method, rows, params, extra)
    number = float(jnp.mean(jnp.sum(outputs['drive'] > 0.3, axis=1)))
    assert metrics['l0'] == pytest.approx(number) and number > 1
    np.testing.assert_allclose(metrics['sparsity_loss'], 0.2 * 0.5 * number, rtol=FLOAT32)  # step 5 of 10
    metrics = one(made('jump_relu', **shared, target=4.0), rows, params, extra)[3]
    np.testing.assert_allclose(metrics['sparsity_loss'], 0.2 * 0.5 * (number / 4 - 1) ** 2, rtol=1e-4)
    thresholds = [
        small.loss_and_gradient(made('jump_relu', **shared, after_jump=half), params, extra, rows, KEY)[1]['units']
        for half in (False, True)
    ]
    inside = lambda low: (outputs['drive'] > low) & (outputs['drive'] < 0.4)  # noqa: E731
    lost = (jnp.sum(inside(0.2), axis=0) - jnp.sum(inside(0.3), axis=0)) / 32 * 0.2 * 0.5 / 0.2
    np.testing.assert_allclose(thresholds[1]['threshold'] - thresholds[0]['threshold'], lost, rtol=1e-3, atol=1e-5)
    free = small.embed(made('jump_relu', **shared, centred=False), params, extra, rows, KEY)[0]['drive']
    kernel = params['encoder']['linear0']['kernel']
    np.testing.assert_allclose(free, rows['views'][0] @ kernel, rtol=1e-4, atol=1e-5)


def test_p_anneal_lowers_p_in_stages_and_keeps_the_penalty_from_jumping():
    shared = {'weight': 0.1, 'weight_warmup': 0, 'p_final': 0.4, 'anneal_start': 3, 'anneal_steps': 8, 'changes': 3}
    method, rows, params, extra = begun('p_anneal', **shared)
    codes = small.embed(method, params, extra, rows, KEY)[0]['features'][0]
    step = jax.jit(lambda extra, number: one(method, {**rows, 'step': number}, params, extra)[2:])
    extra = {**extra, 'norms': jnp.stack([jnp.full(10, losses.sparsity(codes, p=p)) for p in (1.0, 0.8)], axis=1)}
    penalties, factors = [], []
    for number in range(12):
        extra, metrics = step(extra, number)
        penalties.append(float(metrics['sparsity_loss'])), factors.append(float(extra['factor']))
    powers = [1.0] * 3 + [0.8] * 4 + [0.6] * 4 + [0.4]
    changes = [n for n in range(1, 12) if factors[n] != factors[n - 1]]
    assert changes == [3, 7, 11]
    # The codes do not change here, so the first penalty of the first new stage is the last of the old one.
    np.testing.assert_allclose(penalties[3], penalties[2], rtol=1e-4)
    for number, (p, factor) in enumerate(zip(powers, factors, strict=True)):
        np.testing.assert_allclose(penalties[number], 0.1 * factor * losses.sparsity(codes, p=p), rtol=1e-4)


def test_archetypes_begin_as_centres_and_stay_near_the_hull():
    method, _, params, extra = begun('archetypal', active=3, points=24, delta=0.1)
    np.testing.assert_array_equal(extra['points'][:UNITS].shape, params['dictionary']['relaxation'].shape)
    network = method.network(params, extra)
    atoms = method.decode(network, jnp.eye(UNITS)) - method.decode(network, jnp.zeros((1, UNITS)))
    np.testing.assert_allclose(atoms, extra['points'][:UNITS], rtol=1e-4, atol=1e-5)
    assert not method.decode(network, jnp.zeros((1, UNITS))).any()  # nothing is added
    far = jax.tree.map(lambda x: x + 1.0, params)
    own = method.after(far, extra, 0)[0]['dictionary']
    np.testing.assert_allclose(own['weights'].sum(1), 1, rtol=FLOAT32)
    np.testing.assert_allclose(jnp.linalg.norm(own['relaxation'], axis=1), 0.1, rtol=FLOAT32)
    few = vectors(n=20)
    assert small.initial(method, few)[1]['points'].shape == (24, DIM)  # the rows repeat


def test_csr_adds_a_wider_reconstruction_and_pushes_codes_apart():
    """Against NumPy in float64: the formula of the authors' main_visual.py, sums over dims."""
    weights = {'wider_weight': 0.5, 'contrast_weight': 2.0, 'temperature': 0.3, 'auxiliary_weight': 0.0}
    method, rows, params, extra = begun('csr', active=2, wider=3, **weights)
    value, outputs, _, metrics = one(method, rows, params, extra)
    x, drive = (np.asarray(outputs[name], np.float64) for name in ('targets', 'drive'))
    atoms, centre = (np.asarray(params['dictionary'][name], np.float64) for name in ('atoms', 'centre'))

    def kept(count):
        least = np.sort(drive, axis=1)[:, -count][:, None]
        return np.maximum(np.where(drive >= least, drive, 0), 0)

    f = kept(2) / np.linalg.norm(kept(2), axis=1, keepdims=True)
    both = np.exp(np.concatenate([f, f]) @ np.concatenate([f, f]).T / 0.3)
    number = np.tile(np.arange(len(x)), 2)
    same = (number[:, None] == number[None]) & ~np.eye(2 * len(x), dtype=bool)
    other = number[:, None] != number[None]
    contrast = -np.log((both * same).sum(1) / ((both * same).sum(1) + (both * other).sum(1))).mean()
    narrow, wide = (((x - kept(k) @ atoms - centre) ** 2).sum(1).mean() for k in (2, 6))
    np.testing.assert_allclose(metrics['contrast_loss'], 2.0 * contrast, rtol=FLOAT32)
    np.testing.assert_allclose(metrics['wider_loss'], 0.5 * wide, rtol=FLOAT32)
    np.testing.assert_allclose(value, narrow + 0.5 * wide + 2.0 * contrast, rtol=FLOAT32)
    most = begun('csr', active=10, wider=9)  # more than there are units: all
    assert np.isfinite(one(*most)[0])


def test_matching_pursuit_has_no_encoder_and_reconstructs_greedily():
    method, rows, params, extra = begun('matching_pursuit', units=UNITS, active=4)
    assert set(params) == {'dictionary'}
    own = params['dictionary']
    codes = dictionaries.matching_pursuit(rows['views'][0] - own['centre'][None], own['atoms'], rounds=4)
    value, outputs, _, _ = one(method, rows, params, extra)
    np.testing.assert_allclose(outputs['features'][0], codes, rtol=1e-4, atol=1e-5)
    reconstructed = codes @ own['atoms'] + own['centre'][None]
    np.testing.assert_allclose(value, losses.reconstruction(rows['views'][0], reconstructed), rtol=1e-4)


def test_what_an_encoder_must_be():
    assert autoencoder.is_linear({'linear0': {'kernel': jnp.ones((6, 16)), 'bias': jnp.ones(16)}}, (16, 6))
    assert autoencoder.is_linear({'linear0': {'kernel': jnp.ones((6, 16))}}, (16, 6))
    assert not autoencoder.is_linear({'kernel': jnp.ones((6, 16)), 'bias': jnp.ones(6)}, (16, 6))
    deep = methods.METHODS['relu_l1'](models.MLP(widths=(8, UNITS)), resample=2)
    with pytest.raises(ValueError, match='resample=2 needs an encoder of one linear layer'):
        small.initial(deep, vectors())


FIELDS = ['model.widths=(16,)', 'train.epochs=1', 'data.batch_size=64', 'optimizer.warmup_epochs=0']


@pytest.mark.parametrize(
    ('name', 'fields', 'words'),
    [
        ('topk', ['method.active=17'], ['active', '1 to 16', '17']),
        ('matching_pursuit', ['method.units=4', 'method.each=5'], ['each=5', 'units=4']),
        ('matryoshka', ['method.shares=(0.5, 0.6)'], ['shares', 'sum to 1']),
        ('progressive', ['method.shares=(0.5, 0.6)'], ['shares', 'sum to 1']),
        ('archetypal', ['method.points=15'], ['points=15', '16 units']),
        ('topk', ['control=shuffled_pairs'], ['control', 'shuffled_targets']),
    ],
)
def test_a_config_that_cannot_be_is_refused_in_one_line(name, fields, words):
    with pytest.raises(UserError) as caught:
        Run(config.load(f'experiments/dictionaries/{name}.py', [*FIELDS, *fields]), devices=1)
    message = str(caught.value)
    assert '\n' not in message and all(word in message for word in words), message


@pytest.mark.parametrize('value', [0.0, np.nan])
def test_features_without_variance_or_not_finite_are_refused(value, tmp_path):
    rows = np.full((200, 5), value, np.float32)
    np.savez(tmp_path / 'features.npz', train_features=rows, test_features=rows)
    c = config.load('experiments/dictionaries/topk.py', [*FIELDS, f'data.source=features:{tmp_path / "features.npz"}'])
    with pytest.raises(UserError, match='are all the same|not finite') as caught:
        Run(c, devices=1).start()
    assert '\n' not in str(caught.value)

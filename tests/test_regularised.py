"""Regularisers of any method: their values, their seams in the config, and that they are exact as methods are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from selfsup import config, losses, methods, signature
from selfsup.engine import build, sweep
from selfsup.errors import UserError
from selfsup.methods.regularised import REGULARISERS, regularised
from test_gradient import ENCODER as NORMLESS
from test_gradient import HEAD, both_ways, close
from test_methods_parallel import FLOAT64, assert_agree, one_and_many
from tolerances import FLOAT32

# Every regulariser with keywords that suit a batch of 16 and embeddings of 16.
CHOSEN = {
    'covariance': {'weight': 0.5},
    'e2mc': {'entropy_weight': 2.0, 'covariance_weight': 3.0},
    'flops': {'weight': 0.2},
    'koleo': {'weight': 0.3, 'groups': 2},
    'ldreg': {'weight': 0.2, 'neighbours': 8},
    'lens': {'weight': 2.0, 'adversary': 'reversed', 'width': 2},
    'lorot': {'weight': 0.5},
    'matryoshka': {'widths': (4, 8), 'weight': 0.5},
    'sigreg': {'weight': 0.1, 'directions': 8},
    'variance': {'weight': 2.0},
    'visreg': {'directions': 8},
}
REFUSED_METHODS = {'nnclr': 'pointer, queue', 'swav': 'filled, pointer, prototypes, queue', 'tico': 'covariance'}


def with_all(name='simclr', chosen=CHOSEN, **changes):
    return regularised(small.make(name, **changes), chosen)


def test_every_regulariser_is_in_the_table():
    assert CHOSEN.keys() == REGULARISERS.keys()


@pytest.mark.parametrize('name', REGULARISERS)
def test_domains_hold_their_defaults(name):
    known = signature.domains(REGULARISERS[name])
    assert known.keys() == {*signature.keywords(REGULARISERS[name]), *signature.required(REGULARISERS[name])}
    for field, default in signature.keywords(REGULARISERS[name]).items():
        assert known[field].holds(default)


def outputs_of(method, rows):
    params, extra = small.started(method, rows)
    outputs, extra = small.embed(method, params, extra, rows, jax.random.key(1))
    return params, outputs, extra


def expected(name, first, second, features):
    """What each row of CHOSEN adds to the loss, from the losses."""
    views = first, second
    if name == 'covariance':
        return 0.5 * losses.vicreg_terms(*views)['covariance']
    if name == 'variance':
        return 2.0 * losses.vicreg_terms(*views)['variance']
    if name == 'e2mc':
        terms = [losses.e2mc_terms(z) for z in views]
        return sum(3.0 * t['covariance'] - t['entropy'] for t in terms)
    if name == 'flops':
        return 0.1 * sum(losses.flops(z) for z in features)
    if name == 'koleo':
        return 0.3 * sum(losses.koleo(z, groups=2) for z in features)
    if name == 'ldreg':
        return 0.2 * losses.ldreg(jnp.concatenate(features), neighbours=8)
    if name == 'matryoshka':
        return 0.5 * sum(losses.ntxent(first[:, :d], second[:, :d], temperature=0.2) for d in (4, 8))
    return None  # draws directions


@pytest.mark.parametrize('name', [n for n in CHOSEN if n not in ('lens', 'lorot', 'sigreg', 'visreg')])
def test_a_regulariser_adds_its_term(name):
    method, rows = with_all(chosen={name: CHOSEN[name]}), small.batch()
    params, outputs, extra = outputs_of(method, rows)
    plain, _ = small.criterion(small.make('simclr'), params, outputs, extra, rows, jax.random.key(2))
    whole, (_, metrics) = small.criterion(method, params, outputs, extra, rows, jax.random.key(2))
    added = jax.jit(lambda z, h: expected(name, *z, h))(outputs['embeddings'], outputs['features'])
    np.testing.assert_allclose(whole - plain, added, rtol=1e-4, atol=1e-5)
    assert any(metric.startswith(name) for metric in metrics)


def test_without_regularisers_a_method_is_itself():
    method = small.make('simclr')
    assert regularised(method, {}) is method


def test_draws_of_the_method_are_its_own():
    """LeJEPA draws directions; those of SIGReg beside it are others, and its own stay."""
    rows, key = small.batch(), jax.random.key(2)
    method = with_all('lejepa', {'sigreg': {'weight': 1.0, 'directions': 32}})
    params, outputs, extra = outputs_of(method, rows)
    plain, (_, own) = small.criterion(small.make('lejepa'), params, outputs, extra, rows, key)
    whole, _ = small.criterion(method, params, outputs, extra, rows, key)
    np.testing.assert_allclose(own['sigreg'] * 0.05 + 0.95 * own['invariance'], plain, rtol=FLOAT32)
    assert abs((whole - plain) - own['sigreg']) > 1e-4


def test_ldreg_begins_at_its_step_and_flops_rises():
    chosen = {'ldreg': {'weight': 1.0, 'neighbours': 8, 'begin': 3}, 'flops': {'weight': 1.0, 'ramp': 10}}
    method, rows = with_all(chosen=chosen), small.batch()
    params, outputs, extra = outputs_of(method, rows)
    plain, _ = small.criterion(small.make('simclr'), params, outputs, extra, rows, jax.random.key(2))
    for step, ramp in ((0, 0.0), (3, 0.09), (20, 1.0)):
        rows['step'] = jnp.asarray(step)
        whole, (_, metrics) = small.criterion(method, params, outputs, extra, rows, jax.random.key(2))
        added = metrics['ldreg'] * (step >= 3) + ramp * metrics['flops']
        np.testing.assert_allclose(whole - plain, added, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['mae', 'dino'])
def test_methods_of_other_families_have_them_too(name):
    """One view, of masked patches; targets and prototypes."""
    chosen = {n: k for n, k in CHOSEN.items() if n != 'matryoshka'}
    chosen['koleo'] = {'groups': 1}
    method, rows = with_all(name, chosen), small.batch()
    rows = {**rows, 'views': rows['views'][:1]} if name == 'mae' else rows
    (loss, (_, metrics)), gradients = small.loss_and_gradient(
        method, *small.started(method, rows), rows, jax.random.key(3)
    )
    assert np.isfinite(loss) and 'ldreg_dimension' in metrics
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradients))


def test_matryoshka_wraps_predictions_and_targets_too():
    """BYOL on 8 of 16 numbers is BYOL of networks whose outputs are cut there."""
    rows, method = small.batch(), with_all('byol', {'matryoshka': {'widths': (8,), 'weight': 1.0}})
    params, outputs, extra = outputs_of(method, rows)
    whole, (_, metrics) = small.criterion(method, params, outputs, extra, rows, jax.random.key(2))
    cut = jax.tree.map(lambda z: z[:, :8], {k: outputs[k] for k in ('predictions', 'targets', 'embeddings')})
    base = small.make('byol')
    parts = [small.criterion(base, params, {**outputs, **o}, extra, rows, jax.random.key(2))[0] for o in ({}, cut)]
    np.testing.assert_allclose(whole, sum(parts), rtol=FLOAT32)
    np.testing.assert_allclose(metrics['matryoshka_8'], parts[1], rtol=FLOAT32)


@pytest.mark.parametrize('name', REFUSED_METHODS)
def test_matryoshka_refuses_what_has_the_width_of_an_embedding(name):
    method, rows = with_all(name, {'matryoshka': {'widths': (8,)}}), small.batch()
    with pytest.raises(UserError, match=f'matryoshka needs a method without {REFUSED_METHODS[name]}'):
        jax.eval_shape(method.init, jax.random.key(0), rows)


def test_a_method_that_embeds_fewer_views_gives_fewer_rows():
    """The target network of INTL has the first of two views."""
    method, rows = with_all('intl_m', {'ldreg': {'neighbours': 16}}), small.batch()
    state = jax.eval_shape(lambda: method.init(jax.random.key(0), rows))
    with pytest.raises(UserError, match='method.regularisers.ldreg needs at least 17 rows, and gets 16'):
        jax.eval_shape(lambda p, e: small.loss_and_gradient.__wrapped__(method, p, e, rows, jax.random.key(1)), *state)


@pytest.mark.parametrize('widths', [(8, 4), (8, 16), (4, 4)])
def test_matryoshka_refuses_widths_that_are_no_prefixes(widths):
    method = with_all(chosen={'matryoshka': {'widths': widths}})
    with pytest.raises(UserError, match='must ascend and end below 16, the width of an embedding'):
        jax.eval_shape(method.init, jax.random.key(0), small.batch())


def of_run(*fields):
    return config.load('experiments/digits/simclr.py', [*small.digits_fields(), *fields])


def test_a_command_line_names_a_regulariser_that_the_file_does_not():
    c = of_run('method.regularisers.ldreg.weight=0.05')
    assert c.method.regularisers.to_dict() == {'ldreg': {**signature.keywords(REGULARISERS['ldreg']), 'weight': 0.05}}
    assert of_run().method.regularisers.to_dict() == {}
    other = of_run('method.regularisers.ldreg.weight=0.05', 'method.name=vicreg')
    assert other.method.regularisers.ldreg.weight == 0.05
    assert config.from_dict(c.to_dict()).to_dict() == c.to_dict()


BAD = {
    'name': (['method.regularisers.ldrge.weight=0.1'], 'did you mean method.regularisers.ldreg.weight'),
    'field': (['method.regularisers.ldreg.wieght=0.1'], 'did you mean method.regularisers.ldreg.weight'),
    'domain': (['method.regularisers.ldreg.weight=-1.0'], 'method.regularisers.ldreg.weight must be a number from 0'),
    'word': (['method.regularisers.ldreg.of=feature'], 'did you mean features'),
    'group': (['method.regularisers.ldreg=1'], 'method.regularisers.ldreg is a group of fields'),
    'whole group': (['method.regularisers=ldreg'], 'method.regularisers is a group of fields'),
    'rows': (
        ['method.regularisers.ldreg.neighbours=640'],
        'method.regularisers.ldreg needs at least 641 rows, and data.batch_size=320 gives it 640',
    ),
    'parts': (
        ['method.regularisers.koleo.groups=3'],
        'method.regularisers.koleo cuts data.batch_size=320 into 3 unequal parts',
    ),
    'missing': (['method.regularisers.matryoshka.weight=2.0'], 'method.regularisers.matryoshka.widths is missing'),
}


@pytest.mark.parametrize('fields, message', BAD.values(), ids=BAD.keys())
def test_a_regulariser_that_cannot_be_is_refused_before_anything_is_built(fields, message):
    with pytest.raises(UserError, match=message):
        of_run(*fields)


def test_a_file_that_names_an_unknown_regulariser():
    c = config.defaults()
    c.method.regularisers = {'kolea': {}}
    with pytest.raises(UserError, match='method.regularisers.kolea is unknown; did you mean koleo'):
        config.with_overrides(c, [])
    c.method.regularisers = {'koleo': 3}
    with pytest.raises(UserError, match='method.regularisers.koleo must be a group of fields, not 3'):
        config.with_overrides(c, [])
    c = config.defaults()
    with c.ignore_type():
        c.method.regularisers = ('koleo',)
    with pytest.raises(UserError, match='method.regularisers must be a group of fields'):
        config.with_overrides(c, [])


def test_the_numbers_of_a_regulariser_can_be_swept():
    c = of_run('method.regularisers.ldreg.neighbours=16', 'method.regularisers.flops.ramp=5')
    fields = {'method.regularisers.ldreg.weight', 'method.regularisers.flops.weight'}
    assert fields <= {*sweep.fields_of(c)}
    assert sweep._split({'method.regularisers.ldreg.weight': 2.0})[0] == {'regularisers.ldreg.weight': 2.0}
    rows = small.batch()

    def loss(weight):
        method = build.build_method(c, steps=10, **{'regularisers.ldreg.weight': weight})
        params, extra = method.init(jax.random.key(0), rows)
        outputs, extra = method.embed(params, extra, rows, jax.random.key(1))
        value, (_, metrics) = method.criterion(params, outputs, extra, rows, jax.random.key(2))
        return value, metrics['ldreg']

    values, terms = jax.jit(jax.vmap(loss))(jnp.asarray([0.0, 1.0]))
    np.testing.assert_allclose(values[1] - values[0], terms[0], rtol=1e-4)


ALL = {
    **CHOSEN,
    'matryoshka': {'widths': (2, 4)},
    'ldreg': {'weight': 0.2, 'neighbours': 8, 'estimator': 'likelihood', 'form': 'l2'},
}


@pytest.mark.parametrize(
    'how', [pytest.param(h, marks=pytest.mark.slow) for h in ('jit', 'pmap', 'shard_map', 'shard_map, unchecked')]
)
def test_devices_agree(how, x64):
    def made(name, axis_name=None):
        def construct(*networks):
            return regularised(methods.METHODS[name](*networks, **small.KEYWORDS[name]), ALL)

        wrapped = methods.over_axis(construct, axis_name) if axis_name else construct
        return wrapped(small.ENCODER, small.PROJECTOR)

    assert_agree(*one_and_many('simclr', how, 4, double=True, made=made), FLOAT64, FLOAT64)


@pytest.mark.slow
def test_microbatches_are_exact(x64):
    method = regularised(methods.simclr(NORMLESS, HEAD, temperature=0.2), ALL)
    found, wanted = both_ways(method, method)
    close(found, wanted)

"""Gradients by microbatches are those of the whole batch, or are refused; rematerialised networks change nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
import tolerances
from selfsup import methods, models, signature
from selfsup.engine.gradient import make_gradient
from selfsup.engine.run import Run
from selfsup.errors import UserError

PARTS = 4
ENCODER = models.ViT(dim=8, depth=1, heads=2, patch=4, grid=2)
HEAD = models.MLP(widths=(16, 8), hidden_norm=False)
# The rest run in the slow suite; those whose own batch-norm cannot be cut are refused (see below).
QUICK = ('simclr',)
UNCUT = ('amdim', 'colourisation', 'detcon', 'jigclu', 'vicregl')


def close(found, wanted):
    """Loss, state, metrics, features and gradients, each as a whole: a bias before a batch-norm has no gradient."""
    (value, (extra, metrics, features)), gradients = found
    (value_, (extra_, metrics_, features_)), gradients_ = wanted
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for name in (name for name in extra if jax.tree.leaves(extra[name])):
        assert small.tree_distance(extra[name], extra_[name]) < tolerances.FLOAT64, name
    for a, b in ((value, value_), (metrics, metrics_), (features, features_), (gradients, gradients_)):
        assert small.tree_distance(a, b) < tolerances.FLOAT64


def noisy(key, images, positions, sources):
    """Two views of few operations; each example's depends on its position alone."""
    keys, out = jax.vmap(lambda position: jax.random.fold_in(key, position))(positions), []
    for view, source in enumerate(sources):
        own = images if source is None else images[source]
        noise = jax.vmap(lambda k, v=view: jax.random.normal(jax.random.fold_in(k, v), images.shape[1:]))(keys)
        out.append(own / 255 + 0.3 * noise)
    return tuple(out), (small.answers(positions),) * 2


def rows(size=small.BATCH):
    images = np.asarray(small.images(size) * 255).astype(np.uint8)
    return {
        'step': jnp.zeros((), jnp.int32),
        'input': jnp.asarray(images),
        'index': jnp.arange(size),
        'label': jnp.asarray(np.arange(size) % 5),
    }


def both_ways(cut, whole, parts=PARTS, sources=(None, None), views=noisy):
    """What a method gives by microbatches, and in one piece."""
    batch, key = rows(), jax.random.key(3)
    seen, sampled = views(key, batch['input'], batch['index'], sources)
    first = {
        'views': seen,
        'index': batch['index'],
        'view_params': sampled,
        'label': batch['label'],
        'step': batch['step'],
    }
    state = small.started(whole, jax.tree.map(jnp.asarray, first))
    state = jax.tree.map(lambda x: x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x, state)
    found = []
    for method, count in ((cut, parts), (whole, 1)):
        gradient = jax.jit(make_gradient(method, views, microbatches=count))
        found.append(gradient(*state, batch, key, list(sources)))
    return found


def uncoupled(name):
    constructor = methods.METHODS[name]
    given = {'encoder': ENCODER, 'projector': HEAD, 'predictor': HEAD, **small.OWN_NETWORKS.get(name, {})}
    networks = [given[network] for network in signature.networks(constructor)]
    return constructor(*networks, **small.KEYWORDS[name])


@pytest.mark.parametrize(
    'name',
    [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in sorted(methods.METHODS) if n not in UNCUT],
)
def test_microbatches_are_exact_for_every_method(name, x64):
    found, wanted = both_ways(uncoupled(name), uncoupled(name))
    close(found, wanted)
    # Without a projector, the atoms of a dictionary, the heads of clusters or of examples, or the encoder itself.
    heads = (*signature.networks(methods.METHODS[name])[1:], 'dictionary', 'head', 'per_example', 'encoder')
    head = wanted[1][next(part for part in heads if part in wanted[1])]
    assert all(np.abs(x).max() > 0 for x in jax.tree.leaves(head))


def multicrop(key, images, positions, sources):
    """`noisy`, and two crops of a quarter of the image."""
    whole, _ = noisy(key, images, positions, sources)
    return (*whole, *(view[:, 2:6, 2:6] for view in whole)), ({},) * 4


@small.each(['mae', 'simclr'], quick=())
@pytest.mark.parametrize('parts', [pytest.param(2, marks=pytest.mark.slow), 8])
def test_masks_stochastic_depth_and_crops_do_not_depend_on_microbatches(name, parts, x64):
    """What is drawn for an example follows its own key, whatever the piece of the batch it stands in."""
    if name == 'mae':
        networks = small.OWN_NETWORKS['mae']
        method = methods.mae(networks['encoder'].clone(drop_path=0.5, depth=2), networks['decoder'], ratio=0.5)
    else:
        method = methods.simclr(ENCODER.clone(drop_path=0.5, depth=2), HEAD, temperature=0.2)
    found, wanted = both_ways(method, method, parts=parts, views=noisy if name == 'mae' else multicrop)
    close(found, wanted)


@small.each(['barlow_twins', 'simclr'], quick=())
def test_groups_of_batch_norm_may_lie_inside_microbatches(name, x64):
    """One view at a time, and two of them as one batch; statistics included."""

    def grouped(count):
        encoder, head = models.ConvNet(widths=(4, 8), groups=count), models.MLP(widths=(16, 8), groups=count)
        return methods.METHODS[name](encoder, head, **small.KEYWORDS[name])

    sources = (None, jnp.roll(jnp.arange(small.BATCH), 1)) if name == 'simclr' else (None, None)
    found, wanted = both_ways(grouped(4 // PARTS), grouped(4), sources=sources)
    close(found, wanted)


@pytest.mark.slow
@pytest.mark.parametrize('control', ['none', 'shuffled_pairs'])
def test_a_run_by_microbatches_on_two_devices_is_the_run(control):
    steps = []
    for parts in (1, 2):
        c = small.digits_config('simclr', f'control={control}', 'data.batch_size=64', 'train.batch_norm_groups=4')
        c.train.microbatches = parts
        run = Run(c, devices=2)
        steps.append(run.dispatch(run.start(), *run.feed(0, 1)))
    (one, metrics), (cut, cut_metrics) = steps
    assert small.tree_distance(cut.params, one.params) < tolerances.FLOAT32
    np.testing.assert_allclose(cut_metrics['loss'], metrics['loss'], rtol=tolerances.FLOAT32)


@pytest.mark.parametrize(
    'method, overrides, message',
    [
        ('simclr', ('train.microbatches=3',), 'train.microbatches=3 must divide data.batch_size=320'),
        ('simclr', ('train.batch_norm_groups=3',), 'train.batch_norm_groups=3 must divide data.batch_size=320'),
        ('simclr', ('train.microbatches=2',), 'encoder, projector must work in groups .* no multiple of 2'),
        (
            'barlow_twins',
            ('train.microbatches=4', 'train.batch_norm_groups=2'),
            r'train.microbatches=4: .*\(train.batch_norm_groups=2 is no multiple of 4\); .*model.remat=true',
        ),
        ('moco_v2', ('train.microbatches=2', 'train.batch_norm_groups=2'), 'moco_v2 shuffles the places'),
        (
            'vibcreg',
            ('train.microbatches=2', 'train.batch_norm_groups=2', 'projector.last_norm=iterative'),
            'the normalisation of the projector spans the whole batch',
        ),
        (
            'vicregl',
            ('train.microbatches=2', 'train.batch_norm_groups=2'),
            'the normalisation of local_projector spans the whole batch',
        ),
        ('simclr', ('train.microbatches=320',), 'must cut data.batch_size=320 into equal parts .* 2 devices'),
    ],
)
def test_microbatches_that_would_change_the_numbers_are_refused(method, overrides, message):
    with pytest.raises(UserError, match=message):
        Run(small.digits_config(method, *overrides), devices=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    'model, fields',
    [
        (models.ResNet, {'stages': (1, 1), 'width': 4, 'stem': 'cifar'}),
        pytest.param(
            models.ViT,
            {'dim': 8, 'depth': 2, 'heads': 2, 'patch': 4, 'grid': 2, 'drop_path': 0.5},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_rematerialised_networks_change_nothing(model, fields, x64):
    images = jnp.asarray(small.images(6), jnp.float64)
    results = []
    for remat in (False, True):
        network = model(**fields, remat=remat)
        variables = jax.tree.map(jnp.float64, jax.jit(network.init)(jax.random.key(0), images))

        def loss(params, network=network, rest=variables):
            out, stats = network.apply(
                {**rest, 'params': params},
                images,
                train=True,
                mutable=['batch_stats'],
                rngs={'dropout': jax.random.key(1)},
            )
            return jnp.sum(out**2), stats

        results.append(jax.jit(jax.value_and_grad(loss, has_aux=True))(variables['params']))
    assert small.tree_distance(results[1], results[0]) < tolerances.FLOAT64

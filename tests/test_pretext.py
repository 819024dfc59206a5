"""Methods that answer what was done to an image: what they see, predict and refuse, and that their control controls."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from jax.test_util import check_grads
from programs import compiled, losses
from selfsup import augment, config, models
from selfsup import losses as plain
from selfsup.engine import loop, report
from selfsup.engine.controls import controlled
from selfsup.engine.run import Run
from selfsup.errors import UserError
from selfsup.methods import regularised
from selfsup.methods.pretext import parts
from selfsup.methods.pretext.relational import related
from tolerances import BFLOAT16, FLOAT32, FLOAT64, GRADIENT

KEY = jax.random.key(3)
NAMES = ('jigsaw', 'relative_patch', 'rotation')
# Views of two images of 12 x 12, by the recipes' operations.
SPECS = {
    'jigsaw': {'jigsaw': {'grid': 3, 'tile': 3, 'permutations': 6}},
    'relative_patch': {'patch_pair': {'patch': 3, 'gap': 1}},
    'rotation': {'turns': {'copies': 4}},
}
OPERATIONS = {name: next(iter(spec)) for name, spec in SPECS.items()}
ENCODER = models.ConvNet(widths=(8, 16))


def seen(name, n=small.BATCH):
    """A batch of the task, of random images of 12 x 12."""
    images = jnp.asarray(np.random.default_rng(0).uniform(size=(n, 12, 12, 1)), jnp.float32)
    views, sampled = jax.jit(augment.make_views({'only': SPECS[name]}))(KEY, images, jnp.arange(n))
    rows = {'views': views, 'view_params': sampled, 'index': jnp.arange(n), 'step': jnp.zeros((), jnp.int32)}
    return images, {**rows, 'keys': jax.random.split(KEY, n)}


def made(name, **changes):
    answers = {'jigsaw': 6, 'relative_patch': 8, 'rotation': 4}[name]
    return small.methods.METHODS[name](ENCODER, models.MLP(widths=(16, answers)), **changes)


def traced(method, rows):
    """Raises what a step of the method would, and computes nothing."""

    def step():
        params, extra = method.init(KEY, rows)
        outputs, extra = method.embed(params, extra, rows, KEY)
        return method.criterion(params, outputs, extra, rows, KEY)

    jax.eval_shape(step)


def reference(logits, answers):
    """In float64 NumPy."""
    logits = np.asarray(logits, np.float64)
    log_sum = np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1)) + logits.max(-1)
    return np.mean(log_sum - (logits * answers).sum(-1))


def test_cross_entropy_is_the_formula(x64):
    rng = np.random.default_rng(0)
    for shape in ((6, 5), (4, 3, 5)):
        logits, answers = rng.normal(size=shape), np.eye(5)[rng.integers(0, 5, shape[:-1])]
        np.testing.assert_allclose(losses.cross_entropy(logits, answers), reference(logits, answers), rtol=FLOAT64)
        check_grads(
            lambda z, a=answers: plain.cross_entropy(z, a), (logits,), 1, modes='rev', atol=GRADIENT, rtol=GRADIENT
        )
    soft = rng.dirichlet(np.ones(5), 6)
    np.testing.assert_allclose(losses.cross_entropy(np.log(soft), soft), -np.mean((soft * np.log(soft)).sum(-1)))
    np.testing.assert_allclose(losses.cross_entropy(np.zeros((6, 5)), soft), np.log(5), rtol=FLOAT64)  # collapse


def test_cross_entropy_in_half_precision_and_of_huge_logits(own_checks):
    logits, answers = np.random.default_rng(0).normal(size=(6, 5)), np.eye(5)[[0, 1, 2, 3, 4, 0]]
    half = losses.cross_entropy(jnp.asarray(logits, jnp.bfloat16), jnp.asarray(answers, jnp.bfloat16))
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, reference(logits, answers), rtol=BFLOAT16)
    assert np.isfinite(losses.cross_entropy(np.float32(1e30) * logits, np.float32(answers)))
    with pytest.raises(ValueError, match=r'must have the same shape, and are \[6, 5\] and \[6, 4\]'):
        plain.cross_entropy(jnp.ones((6, 5)), jnp.ones((6, 4)))


def test_focal_loss_is_the_formula(x64):
    rng = np.random.default_rng(0)
    logits, answers = 3 * rng.normal(size=20), (rng.uniform(size=20) < 0.3).astype(float)
    right = 1 / (1 + np.exp(-np.where(answers == 1, logits, -logits)))
    for gamma, alpha in ((2.0, 0.5), (0.0, 0.5), (1.5, 0.25)):
        weight = np.where(answers == 1, alpha, 1 - alpha)
        expected = np.mean(-weight * (1 - right) ** gamma * np.log(right))
        value = losses.focal(logits, answers, gamma=gamma, alpha=alpha)
        np.testing.assert_allclose(value, expected, rtol=FLOAT64)
    check_grads(lambda z: plain.focal(z, answers), (logits,), 1, modes='rev', atol=GRADIENT, rtol=GRADIENT)
    np.testing.assert_allclose(losses.focal(np.zeros(20), answers), 0.125 * np.log(2), rtol=FLOAT64)  # collapse


def test_focal_loss_of_huge_logits_is_finite_and_shapes_must_agree(own_checks):
    logits, answers = np.float32([1e4, -1e4, 50.0, -50.0]), np.float32([1, 1, 0, 0])
    value, gradient = jax.value_and_grad(plain.focal)(logits, answers)
    np.testing.assert_allclose(value, 0.5 * (1e4 + 50.0) / 4, rtol=FLOAT32)
    assert np.isfinite(gradient).all() and gradient[0] == 0
    with pytest.raises(ValueError, match=r'must have the same shape, and are \[4\] and \[3\]'):
        plain.focal(logits, answers[:3])


def test_triplets_of_several_views_are_all_pairs(x64):
    from contrast_references import triplet_semihard_reference

    views = [np.random.default_rng(v).normal(size=(5, 3)) / 2 for v in range(4)]
    expected = triplet_semihard_reference(*views)
    np.testing.assert_allclose(losses.triplet_semihard(*views), expected, rtol=FLOAT64)


@pytest.mark.slow
def test_exemplar_normalises_rows_or_the_columns_of_the_batch():
    rows = small.batch()
    for normalized, axis in (('rows', 1), ('columns', 0)):
        method = small.make('exemplar', normalized=normalized)
        params, extra = small.initial(method, rows)
        outputs, _ = small.embed(method, params, extra, rows, KEY)
        z = np.concatenate(outputs['embeddings']).astype(np.float64)
        z = np.split(z / np.linalg.norm(z, axis=axis, keepdims=True), 2)
        value = small.criterion(method, params, outputs, extra, rows, KEY)[0]
        np.testing.assert_allclose(value, losses.triplet_semihard(*map(np.float32, z)), rtol=1e-4)


def test_relations_are_those_of_the_authors():
    """`aggregate` of relationnet.py on numbered rows: image and view of both, and the answers; the shift starts again."""
    views = tuple(jnp.stack([jnp.arange(3.0), jnp.full(3, float(v))], axis=1) for v in range(3))
    found, answers = related(views)
    expected = []
    for shift, (a, b) in zip((1, 2, 1), ((0, 1), (0, 2), (1, 2)), strict=True):
        expected += [[i, a, i, b] for i in range(3)] + [[i, a, (i - shift) % 3, b] for i in range(3)]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(answers, np.tile(np.repeat([1, 0], 3), 3))


def test_relational_trains_its_head_in_the_criterion():
    """Statistics of the head move there, over all pairs; with them the loss is the formula's."""
    rows = small.batch()
    predictor = models.MLP(widths=(16, 1), activation='leaky_relu')
    method = small.methods.relational(ENCODER, predictor, gamma=0.0)
    params, extra = small.initial(method, rows)
    outputs, extra = small.embed(method, params, extra, rows, KEY)
    seen_, answers = related(outputs['features'])
    state = {'params': params['predictor'], 'batch_stats': extra['batch_stats']['predictor']}
    logits, moved = predictor.apply(state, seen_, train=True, mutable=['batch_stats'])
    value, (new, metrics) = small.criterion(method, params, outputs, extra, rows, KEY)
    expected = 0.5 * np.mean(np.log1p(np.exp(np.where(answers == 1, -logits[:, 0], logits[:, 0]))))
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    assert small.tree_distance(new['batch_stats']['predictor'], moved['batch_stats']) < FLOAT32
    np.testing.assert_allclose(metrics['pretext_accuracy'], np.mean((logits[:, 0] > 0) == (answers == 1)), rtol=FLOAT32)
    with pytest.raises(UserError, match='predictor.widths must end in 1, whether .* not 2'):
        traced(small.methods.relational(ENCODER, models.MLP(widths=(2,))), rows)
    one = {**rows, 'views': tuple(x[:1] for x in rows['views']), 'keys': rows['keys'][:1]}
    with pytest.raises(UserError, match='needs a batch of at least two images'):
        traced(method, one)


@small.each(NAMES, quick=('rotation',))
def test_a_task_is_encoder_predictor_and_cross_entropy(name):
    _, rows = seen(name)
    method = made(name)
    params, extra = small.initial(method, rows)
    outputs, new = small.embed(method, params, extra, rows, KEY)
    answers = rows['view_params'][0][OPERATIONS[name]]['answer']
    np.testing.assert_array_equal(outputs['targets'], answers)
    view = rows['views'][0]
    flat = (parts.standardized(view) if name != 'rotation' else view).reshape(-1, *view.shape[2:])
    state = {'params': params['encoder'], 'batch_stats': extra['batch_stats']['encoder']}
    features, moved = ENCODER.apply(state, flat, train=True, mutable=['batch_stats'])
    shape = (small.BATCH * 4, 16) if name == 'rotation' else (small.BATCH, view.shape[1] * 16)
    head = {'params': params['predictor'], 'batch_stats': extra['batch_stats']['predictor']}
    predictor = models.MLP(widths=(16, answers.shape[-1]))
    logits, _ = predictor.apply(head, features.reshape(shape), train=True, mutable=['batch_stats'])
    np.testing.assert_allclose(outputs['predictions'].reshape(logits.shape), logits, rtol=1e-4, atol=1e-4)
    assert small.tree_distance(new['batch_stats']['encoder'], moved['batch_stats']) < FLOAT32
    value, (_, metrics) = small.criterion(method, params, outputs, new, rows, KEY)
    np.testing.assert_allclose(value, reference(outputs['predictions'], answers), rtol=FLOAT32)
    right = np.argmax(outputs['predictions'], -1) == np.argmax(answers, -1)
    np.testing.assert_allclose(metrics['pretext_accuracy'], right.mean(), rtol=FLOAT32)
    # What the probe learns from: the upright copy, or the mean over an image's parts.
    by_part = features.reshape(small.BATCH, -1, 16)
    expected = by_part[answers[..., 0] == 1] if name == 'rotation' else by_part.mean(axis=1)
    np.testing.assert_allclose(outputs['features'][0], expected, rtol=1e-4, atol=1e-5)
    assert (method.views, method.control) == (1, 'shuffled_targets')


@small.each(NAMES, quick=('jigsaw',))
def test_the_control_gives_every_image_the_answers_of_another(name):
    """What the images show says nothing of the answers then: none that was right stays right for all of a batch."""
    _, rows = seen(name)
    method = made(name)
    params, extra = small.initial(method, rows)
    outputs, extra = small.embed(method, params, extra, rows, KEY)
    shuffled = controlled('shuffled_targets', outputs)
    np.testing.assert_array_equal(shuffled['targets'], np.roll(outputs['targets'], 1, axis=0))
    own, other = (jnp.argmax(x['targets'], -1) for x in (outputs, shuffled))
    assert 0.02 < float(jnp.mean(own == other)) < 0.6
    perfect = {**shuffled, 'predictions': 20.0 * outputs['targets']}
    value, (_, metrics) = small.criterion(method, params, perfect, extra, rows, KEY)
    assert float(metrics['pretext_accuracy']) < 0.6 and float(value) > 1


def test_evaluated_features_are_the_mean_over_cells_or_those_of_the_image():
    images, rows = seen('jigsaw')
    params, extra = small.initial(made('jigsaw'), rows)
    cut = jnp.stack([images[:, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4] for i in range(3) for j in range(3)], axis=1)
    np.testing.assert_array_equal(parts.cells(3)(images), cut)
    state = {'params': params['encoder'], 'batch_stats': extra['batch_stats']['encoder']}
    each = ENCODER.apply(state, parts.standardized(cut).reshape(-1, 4, 4, 1)).reshape(small.BATCH, 9, 16)
    for grid, expected in (
        (3, each.mean(axis=1)),
        (1, ENCODER.apply(state, parts.standardized(images[:, None])[:, 0])),
    ):
        method = made('jigsaw', evaluation_grid=grid)
        found = compiled(method.encode)(method.network(params, extra), images)['features']
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    # Of sides that the grid does not divide, the centre.
    np.testing.assert_array_equal(parts.cells(3)(jnp.pad(images, ((0, 0), (1, 1), (0, 1), (0, 0)))), cut)


def test_parts_are_standardized_each_by_itself():
    x = np.random.default_rng(0).uniform(size=(2, 3, 4, 4, 3)) * 50 + 7
    x[1, 2] = 3.0  # no contrast
    found = np.asarray(parts.standardized(jnp.asarray(x, jnp.float32)))
    np.testing.assert_allclose(found[0].mean(axis=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(found[0].std(axis=(1, 2, 3)), 1, rtol=1e-4)
    np.testing.assert_array_equal(found[1, 2], 0)


def test_a_view_without_the_task_and_a_predictor_of_another_length_are_refused():
    _, rows = seen('rotation')
    other = small.methods.METHODS['rotation'](ENCODER, models.MLP(widths=(5,)))
    with pytest.raises(UserError, match="predictor.widths must end in 4, the answers of 'turns', not in 5"):
        traced(other, rows)
    bare = {**rows, 'view_params': ({},)}
    with pytest.raises(UserError, match="rotation needs a view with the operation 'turns'; augment.recipe='rotation'"):
        traced(made('rotation'), bare)
    _, rows = seen('jigsaw')
    with pytest.raises(UserError, match="jigsaw sees 4 parts of an image, and the operation 'jigsaw' gives 9"):
        traced(made('jigsaw', grid=2), rows)
    with pytest.raises(UserError, match=r'method.evaluation_grid=13 is larger than the images \[12, 12\]'):
        parts.cells(13)(jnp.zeros((1, 12, 12, 1)))


CIFAR5K = 'experiments/cifar5k_pretext/{}.py'


@pytest.mark.parametrize(
    'name, overrides, message',
    [
        ('jigsaw', ['augment.views.only.jigsaw.permutations=400000'], 'permutations=400000 must lie in 1 ... 362880'),
        ('jigsaw', ['augment.views.only.size=32'], r'augment.views: grid=3 does not divide the image \[32, 32, 3\]'),
        ('jigsaw', ['augment.views.only.jigsaw.tile=12'], 'tile=12 is larger than the cells'),
        ('relative_patch', ['augment.views.only.patch_pair.patch=12'], 'needs 42 pixels a side, and the image has'),
        ('relative_patch', ['augment.views.only.patch_pair.gap=-1'], 'gap must be an integer from 0'),
        ('rotation', ['predictor.widths=()'], r'predictor.widths=\(\) is no predictor of rotation; set .*predictor.widths'),
    ],
)  # fmt: skip
def test_tasks_that_do_not_fit_the_images_end_in_one_line(name, overrides, message, tmp_path):
    file = tmp_path / 'images.npz'
    np.savez(file, images=np.zeros((160, 32, 32, 3), np.uint8), labels=np.arange(160) % 10)
    with pytest.raises(UserError, match=message):
        Run(
            config.load(
                CIFAR5K.format(name), [*overrides, f'data.source=npz:{file}', 'data.per_class=8', 'data.batch_size=16']
            )
        )


def colour_batch():
    images = jnp.asarray(np.random.default_rng(0).uniform(size=(8, 8, 8, 3)), jnp.float32)
    views, sampled = jax.jit(augment.make_views({'only': {'colours': {'cells': 4, 'step': 60}}}))(
        KEY, images, jnp.arange(8)
    )
    return {'views': views, 'view_params': sampled, 'keys': jax.random.split(KEY, 8), 'step': jnp.zeros((), jnp.int32)}


def test_colourisation_weighs_rare_colours_by_its_running_mean():
    rows = colour_batch()
    predictor = models.MLP(widths=(13,))
    method = small.methods.colourisation(ENCODER, predictor, step=60, smoothing=0.0, memory=0.5)
    params, extra = small.initial(method, rows)
    outputs, extra = small.embed(method, params, extra, rows, KEY)
    assert outputs['predictions'].shape == outputs['targets'].shape == (8, 4, 4, 13)
    value, (new, metrics) = small.criterion(method, params, outputs, extra, rows, KEY)
    answers, logits = (np.asarray(outputs[n], np.float64).reshape(-1, 13) for n in ('targets', 'predictions'))
    frequency = 0.5 / 13 + 0.5 * answers.mean(axis=0)
    np.testing.assert_allclose(new['frequency'], frequency, rtol=1e-5)
    raw = 1 / (0.5 * frequency + 0.5 / 13)
    weights = answers @ (raw / (frequency * raw).sum())
    log_sum = np.log(np.exp(logits).sum(axis=1))
    np.testing.assert_allclose(value, np.mean(weights * (log_sum - (logits * answers).sum(axis=1))), rtol=1e-4)
    np.testing.assert_allclose(metrics['commonest'], answers.mean(axis=0).max(), rtol=FLOAT32)


def test_colourisation_never_sees_colours():
    rows = colour_batch()
    method = small.methods.colourisation(ENCODER, models.MLP(widths=(13,)), step=60)
    params, extra = small.initial(method, rows)
    view = rows['views'][0]
    shade = jnp.sum(view * jnp.asarray([0.299, 0.587, 0.114])[None, None, None], axis=-1, keepdims=True)
    turned = 2 * jnp.broadcast_to(shade, view.shape) - view  # other colours of the same grey
    found = [compiled(method.encode)(method.network(params, extra), x)['features'] for x in (view, turned)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)
    other = small.methods.colourisation(ENCODER, models.MLP(widths=(12,)), step=60)
    with pytest.raises(
        UserError, match='predicts 12 bins at 4x4 places, and the operation colours has 13 at 4x4 cells'
    ):
        traced(other, rows)
    with pytest.raises(UserError, match="colourisation needs a view with the operation 'colours'"):
        traced(method, {**rows, 'view_params': ({},)})
    with pytest.raises(UserError, match='needs an encoder that gives feature maps, and ViT does not'):
        small.methods.colourisation(small.VIT, models.MLP(widths=(13,)))


@pytest.mark.slow
def test_lorot_is_a_linear_layer_on_the_features_beside_any_criterion():
    rows = small.batch()
    plain_method = small.make('simclr')
    method = regularised(plain_method, {'lorot': {'weight': 0.5}})
    params, extra = small.started(method, rows)
    assert params['lorot']['kernel'].shape == (16, 16) and set(params) == {'encoder', 'projector', 'lorot'}
    outputs, extra = small.embed(method, params, extra, rows, KEY)
    value, (_, metrics) = small.criterion(method, params, outputs, extra, rows, KEY)
    alone, _ = small.criterion(plain_method, params, outputs, extra, rows, KEY)
    expected, right = [], []
    for features, drawn in zip(outputs['features'], rows['view_params'], strict=True):
        logits = np.asarray(features) @ np.asarray(params['lorot']['kernel']) + np.asarray(params['lorot']['bias'])
        expected.append(reference(logits, drawn['part_turn']['answer']))
        right.append(np.mean(logits.argmax(1) == np.argmax(drawn['part_turn']['answer'], 1)))
    np.testing.assert_allclose(metrics['lorot'], np.mean(expected), rtol=1e-4)
    np.testing.assert_allclose(metrics['lorot_accuracy'], np.mean(right), rtol=FLOAT32)
    np.testing.assert_allclose(value - alone, 0.5 * np.mean(expected), rtol=1e-4)
    _, gradients = small.loss_and_gradient(method, params, extra, rows, KEY)
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves((gradients['lorot'], gradients['encoder'])))


def test_lorot_needs_a_turned_part_and_its_number_of_answers():
    rows = small.batch()
    for changes, message in (
        ({'view_params': ({}, {})}, 'lorot needs a view with the operation part_turn, and has none'),
        ({}, 'lorot.answers=4 must be 16, those of part_turn'),
    ):
        with pytest.raises(UserError, match=message):
            traced(regularised(small.make('simclr'), {'lorot': {'answers': 4}}), {**rows, **changes})


@small.each(['byol', 'moco_v2', 'swav'], quick=())
def test_lorot_goes_with_targets_queues_and_prototypes(name):
    """Its parameters pass through what a method does to its own after a step."""
    rows = small.batch()
    method = regularised(small.make(name), {'lorot': {'weight': 0.5}})
    params, extra = small.started(method, rows)
    (value, (extra, metrics)), _ = small.loss_and_gradient(method, params, extra, rows, KEY)
    later, extra = method.after(params, extra, jnp.asarray(0))
    assert small.tree_distance(later['lorot'], params['lorot']) == 0
    assert np.isfinite(value) and metrics['lorot'] > 0
    assert 'lorot' not in extra.get('target', {}).get('params', {})


def test_the_report_states_the_accuracy_of_the_task():
    lines = [{'step': n, 'pretext_accuracy': n / 10} for n in range(8)] + [{'step': 8, 'rankme': 3.0}]
    assert report._task(lines) == '0.500'  # of the last five, 0.3 to 0.7
    assert report._task([{'step': 1, 'loss': 2.0}]) == ''


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_a_task_is_trained_resumed_and_reported(name, tmp_path):
    """Two epochs in two sessions, as one: the metrics of every step are the same, and the report has the task's accuracy."""
    file = tmp_path / 'images.npz'
    rng = np.random.default_rng(0)
    np.savez(file, images=rng.integers(0, 256, (160, 32, 32, 3), np.uint8), labels=np.arange(160) % 10)
    small_run = [
        f'data.source=npz:{file}', 'data.per_class=8', 'data.batch_size=16', 'model.widths=(4, 8)', 'train.epochs=2',
        'optimizer.warmup_epochs=1', 'train.log_every=1', 'evaluate.label_draws=1',
        'evaluate.label_counts=(1,)', 'evaluate.neighbours=2',
    ]  # fmt: skip
    whole, parts_ = tmp_path / 'whole', tmp_path / 'parts'
    assert loop.train(config.load(CIFAR5K.format(name), small_run), str(whole)) == 0
    for more in (['train.stop_after_steps=2'], []):
        loop.train(config.load(CIFAR5K.format(name), [*small_run, *more]), str(parts_))
    assert (whole / 'metrics.jsonl').read_text() == (parts_ / 'metrics.jsonl').read_text()
    text = (whole / 'report.md').read_text()
    assert f'- {report.TASK}: 0.' in text and 'left out' not in text
    assert report.TASK in (whole / 'report.html').read_text()

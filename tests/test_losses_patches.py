"""Losses of iBOT and DINOv2 against the numbers of the authors' functions, and at their edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from programs import compiled, with_gradients
from selfsup import losses
from tolerances import FLOAT32, FLOAT64, GOLDEN_FLOAT64, GRADIENT


def noise(seed, shape):
    return np.random.RandomState(seed).randn(*shape)


# Two images, two crops each; four patches; 16 prototypes. Rows are crop-major.
CLASS_S, CLASS_T, LOCAL = noise(0, (4, 16)), noise(1, (4, 16)), noise(4, (4, 16))
PATCH_S, PATCH_T = noise(2, (4, 4, 16)), noise(3, (4, 4, 16))
HIDDEN = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 1]], bool)
ZEROS = np.zeros(16)


def halves(x):
    return x[:2], x[2:]


def test_ibot_equals_the_authors_and_its_centres(x64):
    """Two calls: the second uses the centres of the first."""
    rows = PATCH_T.reshape(-1, 16)
    sums, centres = [], [(ZEROS, ZEROS)]
    for _ in range(2):
        centre, patch_centre = centres[-1]
        classes = compiled(losses.dino)(halves(CLASS_S), halves(CLASS_T), centre)
        patches = compiled(losses.ibot_patches)(PATCH_S, PATCH_T, HIDDEN, patch_centre)
        sums.append((float(classes), float(patches)))
        moved = compiled(losses.dino_centre)
        centres.append((moved(centre, halves(CLASS_T)), moved(patch_centre, (rows,))))
    np.testing.assert_allclose(sums, [[16.8671236326, 19.4574825823], [17.1721293266, 19.2466963302]], atol=2e-9)
    for found, total, first in zip(
        centres[1], (0.0303041824, 0.0333321477),
        ((0.0221226, -0.0429404, -0.0214259), (-0.0470820, 0.0138845, 0.0021337)), strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(np.sum(found), total, atol=1e-9)
        np.testing.assert_allclose(np.asarray(found)[:3], first, atol=1e-7)
    local = compiled(losses.dino)((*halves(CLASS_S), *halves(LOCAL)), halves(CLASS_T), ZEROS)
    np.testing.assert_allclose(local, 18.4217667193, atol=2e-9)


def test_dinov2_equals_the_authors(x64):
    """Their sums of global and local pairs, weighted as in their total; Sinkhorn there is in float32."""
    crops = (*halves(CLASS_S), *halves(LOCAL))
    value = compiled(losses.dinov2_class)(crops, halves(CLASS_T))
    np.testing.assert_allclose(value, (2 * 17.7356678569 + 70.5435855821) / 6, rtol=FLOAT32)
    classes = compiled(losses.dinov2_class)(halves(CLASS_S), halves(CLASS_T))
    np.testing.assert_allclose(classes, 17.7356678569, rtol=FLOAT32)
    patches = compiled(losses.dinov2_patches)(PATCH_S, PATCH_T, HIDDEN)
    np.testing.assert_allclose(patches, 16.0607544403, rtol=FLOAT32)
    for rows, expected in ((CLASS_T, 0.9554765821), (PATCH_T[HIDDEN], 3.9981296941)):
        targets = np.asarray(compiled(losses.sinkhorn, epsilon=0.07)(rows))
        np.testing.assert_allclose(np.sum(targets**2), expected, rtol=FLOAT32)


KOLEO = with_gradients(losses.koleo, of=0)


def test_koleo_equals_the_authors(x64):
    value, gradient = KOLEO(noise(0, (4, 16)))
    np.testing.assert_allclose(value, -0.3633471158, atol=GOLDEN_FLOAT64)
    np.testing.assert_allclose(np.linalg.norm(gradient), 0.1026091, rtol=1e-6)
    np.testing.assert_allclose(KOLEO(noise(0, (3, 16))[[0, 1, 2, 0]])[0], 8.2136293792, rtol=FLOAT64)
    # All rows equal, for widths of 16 to 768.
    for dim, expected in ((16, 16.81), (192, 15.72), (384, 15.40), (768, 15.06)):
        np.testing.assert_allclose(compiled(losses.koleo)(np.ones((6, dim))), expected, atol=0.006)


def test_koleo_in_groups_is_the_mean_over_them_and_in_numpy_the_same(x64):
    z = noise(5, (12, 7))
    whole = compiled(losses.koleo, groups=3)(z)
    parts = [compiled(losses.koleo)(part) for part in z.reshape(3, 4, 7)]
    np.testing.assert_allclose(whole, np.mean(parts), rtol=FLOAT64)
    u = z / np.linalg.norm(z, axis=1, keepdims=True)
    distances = np.linalg.norm(u[:, None] - u[None] + 1e-8, axis=2) + 10 * np.eye(12)
    np.testing.assert_allclose(compiled(losses.koleo)(z), -np.mean(np.log(distances.min(1) + 1e-8)), rtol=1e-7)
    check_grads(compiled(losses.koleo), (z,), order=1, modes=['rev'], rtol=GRADIENT)


def test_rows_that_coincide_get_no_gradient_from_koleo():
    z = noise(0, (5, 8)).astype(np.float32)
    z[3] = z[0]
    for rows, largest in ((z, 10), (np.ones_like(z), 1e-6), (np.zeros_like(z), 1e-6)):
        assert np.abs(KOLEO(rows)[1]).max() < largest


def reference(student, targets, hidden):
    """Loops over images and their hidden patches."""
    total = 0.0
    for s, t, m in zip(student / 0.1, targets, hidden, strict=True):
        own = [np.log(np.exp(a - a.max()).sum()) + a.max() - b @ a for a, b, h in zip(s, t, m, strict=True) if h]
        total += np.mean(own) if own else 0.0
    return total / len(student)


def test_patch_losses_equal_loops_and_central_differences(x64):
    centre = noise(9, (16,)) / 10
    t = np.exp((PATCH_T - centre) / 0.07)
    expected = reference(PATCH_S, t / t.sum(2, keepdims=True), HIDDEN)
    found = compiled(losses.ibot_patches)(PATCH_S, PATCH_T, HIDDEN, centre)
    np.testing.assert_allclose(found, expected, rtol=FLOAT64)
    q = np.zeros_like(PATCH_T)
    q[HIDDEN] = np.exp(PATCH_T[HIDDEN] / 0.07)
    for _ in range(3):
        q /= q.sum((0, 1), keepdims=True)
        q /= np.where(HIDDEN, q.sum(2), 1)[:, :, None]
    found = compiled(losses.dinov2_patches)(PATCH_S, PATCH_T, HIDDEN)
    np.testing.assert_allclose(found, reference(PATCH_S, q, HIDDEN), rtol=FLOAT64)
    for loss in (lambda s: losses.ibot_patches(s, PATCH_T, HIDDEN, centre),
                 lambda s: losses.dinov2_patches(s, PATCH_T, HIDDEN)):  # fmt: skip
        check_grads(jax.jit(loss), (PATCH_S,), order=1, modes=['rev'], rtol=GRADIENT)


EACH = {
    'ibot': lambda s, t, m: losses.ibot_patches(s, t, m, np.zeros(16, np.float32)),
    'dinov2': losses.dinov2_patches,
}
each = pytest.mark.parametrize('loss', [with_gradients(loss) for loss in EACH.values()], ids=EACH.keys())


@each
def test_only_hidden_patches_of_the_student_count_and_the_teacher_gets_no_gradient(loss):
    s, t = (x.astype(np.float32) for x in (PATCH_S, PATCH_T))
    value, gradients = loss(s, t, HIDDEN)
    gradient = np.abs(gradients[0])
    assert gradient[~HIDDEN].max() == 0 and gradient[HIDDEN].sum(1).min() > 1e-4
    other = np.where(HIDDEN[..., None], t, np.float32(7))
    np.testing.assert_allclose(loss(s, other, HIDDEN)[0], value, rtol=FLOAT32)
    assert not np.any(gradients[1])


@each
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_collapse_nothing_hidden_and_large_scores_are_finite(loss, dtype):
    zeros, large = np.zeros((4, 4, 16), jnp.dtype(dtype)), (1e4 * PATCH_T).astype(jnp.dtype(dtype))
    nothing = np.zeros((4, 4), bool)
    np.testing.assert_allclose(loss(zeros, zeros, HIDDEN)[0], 0.75 * np.log(16), rtol=FLOAT32)  # 3 of 4 images
    for s, t, m in ((zeros, large, HIDDEN), (large, zeros, HIDDEN), (large, large, nothing)):
        value, gradients = loss(s, t, m)
        assert value.dtype == jnp.float32 and np.isfinite(value)
        assert np.isfinite(np.asarray(gradients[0], np.float32)).all()
    assert loss(large, large, nothing)[0] == 0


REFUSED = {
    'shapes': (lambda: losses.ibot_patches(PATCH_S, PATCH_T[:, :3], HIDDEN, ZEROS), r'\[4, 4, 16\] and \[4, 3, 16\]'),
    'hidden': (lambda: losses.dinov2_patches(PATCH_S, PATCH_T, HIDDEN[:, :3]), r'hidden must have shape \[4, 4\]'),
    'centre': (lambda: losses.ibot_patches(PATCH_S, PATCH_T, HIDDEN, ZEROS[:5]), r'centre must have shape \[16\]'),
    'temperature': (lambda: losses.dinov2_patches(PATCH_S, PATCH_T, HIDDEN, student_temperature=0), 'be positive'),
    'crops': (lambda: losses.dinov2_class((CLASS_S,), (CLASS_T,)), 'at least 2 student crops'),
    'rows': (lambda: losses.dinov2_class((CLASS_S, LOCAL), (CLASS_T[:2],)), 'teacher must have the shape of student'),
    'groups': (lambda: losses.koleo(CLASS_S, groups=3), 'cut the 4 rows of z into equal parts of at least 2, not 3'),
    'one row': (lambda: losses.koleo(CLASS_S[:1]), 'z needs at least 2 row'),
}


@pytest.mark.parametrize('call, message', REFUSED.values(), ids=REFUSED.keys())
def test_arrays_that_do_not_fit_are_refused(call, message, own_checks):
    with pytest.raises(ValueError, match=message):
        call()


def test_flags_that_are_no_booleans_are_refused(own_checks):
    with pytest.raises(TypeError, match='hidden must be a boolean array, not int'):
        losses.ibot_patches(PATCH_S, PATCH_T, HIDDEN.astype(int), ZEROS)


def test_msn_equals_the_authors(x64):
    """Two anchors of four images, eight prototypes, with and without Sinkhorn."""
    rows, anchors, target = noise(0, (8, 16)), noise(1, (8, 16)), noise(2, (4, 16))
    terms = compiled(losses.msn_terms, iterations=0)((anchors[:4], anchors[4:]), target, prototypes=rows)
    found = [terms[name] for name in ('cross_entropy', 'prior', 'entropy')]
    np.testing.assert_allclose(found, [4.4103168158, 0.1612077099, 1.1307421402], atol=GOLDEN_FLOAT64)
    balanced = compiled(losses.msn_terms)((anchors[:4], anchors[4:]), target, prototypes=rows)
    np.testing.assert_allclose(balanced['cross_entropy'], 4.1667046407, atol=GOLDEN_FLOAT64)
    wanted = np.asarray(compiled(losses.msn_targets)(target, rows))
    np.testing.assert_allclose(wanted[0, :4], [0.0258294, 0.1716634, 0.0798298, 0.1199610], atol=1e-7)


def test_msn_prior_is_a_divergence_from_a_power_law(x64):
    """Predictions that follow the prior have none of it; prototypes are learned through the anchors alone."""
    rows, z = np.eye(6), 0.1 * np.log(np.arange(1, 7) ** -0.25)
    z = np.append(z, np.sqrt(1 - np.sum(z**2)))[None]
    wide = np.concatenate([rows, np.zeros((6, 1))], axis=1)
    terms = jax.jit(losses.msn_terms)
    prior = {p: float(terms((z,), z, prototypes=wide, power=p)['prior']) for p in (0.0, 0.25, 0.5)}
    assert prior[0.25] < 1e-12 < 1e-3 < min(prior[0.0], prior[0.5])
    rows, anchor, target = (noise(seed, (4, 16)) for seed in (3, 4, 5))
    own = jax.jit(jax.grad(lambda c: losses.msn((anchor,), target, prototypes=c)))(rows)
    fixed = np.asarray(compiled(losses.msn_targets)(target, rows))
    logs = lambda c: jax.nn.log_softmax(unit(anchor) @ unit(c).T / 0.1)  # noqa: E731
    mean = lambda c: jnp.mean(jnp.exp(logs(c)), axis=0)  # noqa: E731
    by_hand = jax.grad(lambda c: -jnp.mean(jnp.sum(fixed * logs(c), 1)) + jnp.sum(mean(c) * jnp.log(4 * mean(c))))
    np.testing.assert_allclose(own, jax.jit(by_hand)(rows), atol=1e-9)


def unit(x):
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)

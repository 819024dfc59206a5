"""Optimal transport, classifiers of clusters, concentrations; and twenty steps against SCAN's and SeLa's authors."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import compiled
from scipy.optimize import linprog
from selfsup import losses
from tolerances import FLOAT32, FLOAT64, GOLDEN_FLOAT64
from trajectories import cluster_problem as problem


def numbers(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def sinkhorn_reference(scores, rows, columns, epsilon, iterations=20000):
    """The plan by Cuturi's iteration on the kernel itself."""
    kernel, u = np.exp(scores / epsilon), np.ones(len(rows))
    for _ in range(iterations):
        v = columns / (kernel.T @ u)
        u = rows / (kernel @ v)
    return u[:, None] * kernel * v[None]


def test_transport_reaches_the_plan_of_any_marginals(x64):
    scores = numbers((9, 4))
    rows, columns = (np.random.default_rng(s).uniform(0.2, 2.0, n) for s, n in ((1, 9), (2, 4)))
    plan = np.asarray(compiled(losses.transport, epsilon=0.2, iterations=5000, tolerance=1e-13)(scores, rows, columns))
    columns = columns * rows.sum() / columns.sum()
    np.testing.assert_allclose(plan, sinkhorn_reference(scores, rows, columns, 0.2), rtol=1e-8)
    np.testing.assert_allclose(plan.sum(1), rows, rtol=FLOAT64)
    np.testing.assert_allclose(plan.sum(0), columns, rtol=FLOAT64)


def test_transport_ends_at_its_tolerance_and_sinkhorn_is_its_even_case(x64):
    scores = np.random.default_rng(4).uniform(-1, 1, size=(12, 4))
    for tolerance in (1e-1, 1e-3):
        plan = np.asarray(compiled(losses.transport, tolerance=tolerance)(scores))
        assert np.abs(plan.sum(0) - 1 / 4).sum() < tolerance
    three = compiled(losses.transport, iterations=3, tolerance=0.0)(scores)
    np.testing.assert_allclose(12 * np.asarray(three), compiled(losses.sinkhorn)(scores), rtol=FLOAT64)
    np.testing.assert_allclose(compiled(losses.transport)(np.zeros((12, 4))), np.full((12, 4), 1 / 48), rtol=FLOAT64)


def test_transport_of_little_entropy_is_an_assignment_of_least_cost(x64):
    """Against linear programming."""
    scores = numbers((6, 3), 7)
    sums = np.zeros((9, 18))
    for i in range(6):
        for k in range(3):
            sums[i, 3 * i + k] = sums[6 + k, 3 * i + k] = 1.0
    best = -linprog(-scores.ravel(), A_eq=sums, b_eq=[1 / 6] * 6 + [1 / 3] * 3).fun
    found = compiled(losses.transport, epsilon=2e-3, iterations=20000, tolerance=1e-9)(scores)
    np.testing.assert_allclose(np.sum(np.asarray(found) * scores), best, atol=1e-5)


def test_transport_leaves_out_what_holds_nothing_and_does_not_overflow():
    scores = numbers((8, 4)).astype(np.float32)
    rows, columns = np.float32([1, 1, 1, 1, 1, 1, 0, 0]), np.float32([1, 0, 1, 1])
    call = compiled(losses.transport, epsilon=0.1, tolerance=1e-6, iterations=3000)
    plan = np.asarray(call(scores, rows, columns))
    assert (plan[6:] == 0).all() and (plan[:, 1] == 0).all()
    part = call(scores[:6][:, [0, 2, 3]], rows[:6], columns[[0, 2, 3]])
    np.testing.assert_allclose(plan[:6][:, [0, 2, 3]], part, rtol=1e-3, atol=FLOAT32)
    assert np.isfinite(call(1e4 * scores, rows, columns)).all()


def test_transport_has_no_gradient_and_refuses_marginals_that_do_not_fit(own_checks):
    scores = numbers((5, 3)).astype(np.float32)
    gradient = jax.grad(lambda s: jnp.sum(losses.transport(s, iterations=3) * s**2))(scores)
    np.testing.assert_allclose(gradient, 2 * scores * losses.transport(scores, iterations=3), rtol=FLOAT32)
    with pytest.raises(ValueError, match=r'shares must have shape \[3\], not \[4\]'):
        losses.transport(scores, None, np.ones(4, np.float32))
    with pytest.raises(ValueError, match='own_shares must be at least 0 and not all 0'):
        losses.transport(scores, np.float32([1, 1, 1, 1, -1]))
    with pytest.raises(ValueError, match='epsilon must be positive'):
        losses.transport(scores, epsilon=0.0)


def test_memberships_in_several_anchors_are_those_of_the_iteration_itself(x64):
    scores, several, epsilon = np.random.default_rng(3).uniform(-1, 1, (8, 4)), 2, 0.2
    q = np.exp(np.asarray([0.25, 0.25, 1.0, 1.0])[:, None, None] * scores / epsilon)
    for _ in range(20):
        q = q / q.sum(1, keepdims=True) * 8 / 4
        q = q / q.sum(0, keepdims=True)
        q = q / q.sum(2, keepdims=True)
    expected = q[2:].sum(0)
    call = partial(compiled, losses.multi_sinkhorn, epsilon=epsilon)
    found = call(several=several, scaled=False)(scores)
    np.testing.assert_allclose(found, expected, rtol=FLOAT64)
    np.testing.assert_allclose(np.sum(found, axis=1), several, rtol=FLOAT64)
    spread = expected.max(1, keepdims=True) - expected.min(1, keepdims=True)
    expected = (expected - expected.min(1, keepdims=True)) / spread
    np.testing.assert_allclose(call(several=several)(scores), expected, atol=FLOAT64)
    np.testing.assert_allclose(call(several=2, scaled=False)(0 * scores), 0.5, rtol=FLOAT64)
    np.testing.assert_allclose(call(several=4, scaled=False)(scores), 1.0, rtol=FLOAT64)
    assert np.isfinite(call(several=2)(1e3 * scores)).all()
    with pytest.raises(ValueError, match='several must lie between 1 and the 4 anchors of scores, and is 5'):
        losses.multi_sinkhorn(scores, several=5)


@pytest.mark.parametrize('several', [1, 2, 4])
def test_every_marginal_of_slots_rows_and_anchors_is_kept(several, x64):
    scores = np.random.default_rng(3).uniform(-1, 1, (12, 4))
    plan = np.asarray(compiled(losses.slot_plan, several=several, epsilon=0.3, iterations=3000)(scores))
    assert plan.shape == (4, 12, 4) and (plan >= 0).all()
    for axis, total in ((0, 1.0), (1, 12 / 4), (2, 1.0)):
        np.testing.assert_allclose(plan.sum(axis), total, rtol=1e-8)
    # Slots of one gain are alike, and the weak ones take what the strong ones leave.
    np.testing.assert_allclose(plan[-several:], np.broadcast_to(plan[-1], (several, 12, 4)), rtol=1e-8)
    found = compiled(losses.multi_sinkhorn, several=several, epsilon=0.3, iterations=3000, scaled=False)(scores)
    np.testing.assert_allclose(found, plan[-several:].sum(0), rtol=1e-12)
    np.testing.assert_allclose(np.sum(found, axis=0), several * 12 / 4, rtol=1e-8)
    gradient = jax.grad(lambda s: jnp.sum(losses.slot_plan(s, several=several) * s[None]))(scores)
    np.testing.assert_allclose(gradient, losses.slot_plan(scores, several=several).sum(0), rtol=FLOAT64)


def test_memberships_are_learned_by_binary_cross_entropy_of_exponentials(x64):
    scores, targets = (np.random.default_rng(s).uniform(a, 1, (5, 3)) for s, a in ((0, -1), (1, 0)))
    p = 1 / (1 + np.exp(-np.exp(scores / 0.5)))
    expected = -np.mean(targets * np.log(p) + (1 - targets) * np.log(1 - p))
    call = compiled(losses.membership_cross_entropy, temperature=0.5)
    np.testing.assert_allclose(call(scores, targets), expected, rtol=FLOAT64)
    np.testing.assert_allclose(call(0 * scores, targets), np.log(1 + np.e) - targets.mean(), rtol=FLOAT64)
    sure = compiled(losses.membership_cross_entropy)(np.ones((5, 3)), targets)
    np.testing.assert_allclose(sure, np.exp(10) * np.mean(1 - targets), rtol=FLOAT64)
    assert not np.any(jax.grad(losses.membership_cross_entropy, argnums=1)(jnp.asarray(scores), targets))


def test_cluster_cross_entropy_weighs_rows_and_leaves_out_what_has_no_cluster(x64):
    logits, own = numbers((7, 2, 5)), np.random.default_rng(1).integers(0, 5, (7, 2))
    own[2, 1] = own[4] = -1
    weights = np.random.default_rng(2).uniform(size=(7, 2))
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    cells = [(i, h) for i in range(7) for h in range(2) if own[i, h] >= 0]
    entropy = {c: -np.log(shares[(*c, own[c])]) for c in cells}
    found = compiled(losses.cluster_cross_entropy)
    np.testing.assert_allclose(found(logits, own), np.mean(list(entropy.values())), rtol=FLOAT64)
    expected = sum(weights[c] * entropy[c] for c in cells) / sum(weights[c] for c in cells)
    np.testing.assert_allclose(found(logits, own, weights=weights), expected, rtol=FLOAT64)
    assert float(found(logits, np.full((7, 2), -1))) == 0
    np.testing.assert_allclose(found(np.zeros((7, 2, 5)), own), np.log(5), rtol=FLOAT64)


def test_two_levels_are_the_class_and_the_cluster_by_the_classifier_of_the_class(x64):
    upper, lower = numbers((7, 3)), numbers((7, 3, 4))
    rng = np.random.default_rng(1)
    classes, clusters, weights = rng.integers(0, 3, 7), rng.integers(0, 4, 7), rng.uniform(size=7)
    classes[2] = clusters[2] = -1

    def entropy(row, k):
        return np.log(np.exp(row).sum()) - row[k]

    rows = [i for i in range(7) if i != 2]
    expected = [
        sum(weights[i] * entropy(upper[i], classes[i]) for i in rows) / weights[rows].sum(),
        sum(weights[i] * entropy(lower[i, classes[i]], clusters[i]) for i in rows) / weights[rows].sum(),
    ]
    terms = compiled(losses.hierarchical_cross_entropy_terms)(upper, lower, classes, clusters, weights=weights)
    np.testing.assert_allclose([terms['upper'], terms['lower']], expected, rtol=FLOAT64)
    call = compiled(losses.hierarchical_cross_entropy)
    np.testing.assert_allclose(call(upper, lower, classes, clusters, weights=weights), sum(expected), rtol=FLOAT64)
    np.testing.assert_allclose(call(0 * upper, 0 * lower, classes, clusters), np.log(12), rtol=FLOAT64)
    assert float(call(upper, lower, np.full(7, -1), np.full(7, -1))) == 0
    other = lower.copy()
    other[np.arange(7), (classes + 1) % 3] += 5  # of classes that are not a row's own
    np.testing.assert_allclose(
        call(upper, other, classes, clusters), call(upper, lower, classes, clusters), rtol=FLOAT64
    )
    gradient = jax.grad(lambda x: losses.hierarchical_cross_entropy(upper, x, classes, clusters))(lower)
    assert (np.asarray(gradient)[2] == 0).all() and np.abs(gradient).max() > 0


def test_clusters_that_do_not_fit_are_refused(own_checks):
    z = numbers((7, 5)).astype(np.float32)
    with pytest.raises(ValueError, match=r'logits \[batch, heads, count\] and assignments .* \[7, 1, 5\] and \[7\]'):
        losses.cluster_cross_entropy(z[:, None], np.zeros(7, int))
    with pytest.raises(ValueError, match=r'upper \[batch, classes\] and lower .* \[7, 5\] and \[7, 4, 3\]'):
        losses.hierarchical_cross_entropy(z, numbers((7, 4, 3)).astype(np.float32), np.zeros(7, int), np.zeros(7, int))
    with pytest.raises(ValueError, match=r'classes and clusters must have one entry a row of upper.* \[7\], \[6\]'):
        losses.hierarchical_cross_entropy(z, numbers((7, 5, 3)).astype(np.float32), np.zeros(7, int), np.zeros(6, int))
    with pytest.raises(ValueError, match=r'weights must have the shape of assignments, \[7, 1\], not \[7\]'):
        losses.cluster_cross_entropy(z[:, None], np.zeros((7, 1), int), weights=z[:, 0])
    with pytest.raises(ValueError, match=r'assignments \[batch\] and temperatures \[count\] do not fit z of \[7, 5\]'):
        losses.prototype_nce(z, z[:3], np.zeros(6, int), np.ones(3, np.float32))


def concentrations_reference(z, centres, own, temperature):
    """The authors' loop."""
    found = np.zeros(len(centres))
    sizes = np.bincount(own[own >= 0], minlength=len(centres))
    for k, size in enumerate(sizes):
        if size > 1:
            found[k] = np.linalg.norm(z[own == k] - centres[k], axis=1).mean() / np.log(size + 10)
    found[sizes <= 1] = found.max()
    found = found.clip(np.percentile(found, 10), np.percentile(found, 90))
    return temperature * found / found.mean()


def test_concentrations_are_those_of_the_authors_loop(x64):
    z, centres = numbers((40, 3)), numbers((6, 3), 1)
    own = np.random.default_rng(2).integers(0, 5, 40)
    own[:3], own[own == 4] = -1, 3
    own[5] = 4  # a cluster of one row, and 5 has none
    found = compiled(losses.concentrations, temperature=0.3)(z, centres, own)
    np.testing.assert_allclose(found, concentrations_reference(z, centres, own, 0.3), rtol=FLOAT64)
    np.testing.assert_allclose(losses.concentrations(centres, centres, np.arange(6)), 0.2, rtol=FLOAT64)


def margin_reference(z, prototypes, own, classes, columns, scale, margin):
    z, prototypes, total = z[:, columns], prototypes[:, columns], 0.0
    for row, k in zip(z, own, strict=True):
        cosines = {c: prototypes[c] @ row / np.linalg.norm(row) / np.linalg.norm(prototypes[c]) for c in classes}
        logits = {c: scale * (np.cos(np.arccos(v) + margin) if c == k else v) for c, v in cosines.items()}
        total += np.log(sum(np.exp(v) for v in logits.values())) - logits[k]
    return total / len(z)


def test_partial_margin_is_arcface_over_what_was_drawn(x64):
    z, prototypes, own = numbers((3, 8)), numbers((10, 8), 1), np.asarray([7, 2, 7])
    lots, dim_lots = np.random.default_rng(2).uniform(size=10), np.random.default_rng(3).uniform(size=8)
    others = [k for k in np.argsort(-lots) if k not in (2, 7)]
    part = partial(compiled, losses.partial_margin, scale=8.0, margin=0.3)
    found = part(class_share=0.5, dim_share=0.5)(z, prototypes, own, lots, dim_lots)
    expected = margin_reference(z, prototypes, own, [2, 7, *others[:3]], np.argsort(-dim_lots)[:4], 8.0, 0.3)
    np.testing.assert_allclose(found, expected, rtol=FLOAT64)
    whole = part(class_share=1.0, dim_share=1.0)(z, prototypes, own)
    np.testing.assert_allclose(whole, margin_reference(z, prototypes, own, range(10), range(8), 8.0, 0.3), rtol=FLOAT64)


def test_partial_margin_moves_what_was_drawn_alone_and_its_margin_is_no_part_of_the_gradient(x64):
    z, prototypes, own = numbers((3, 8)), numbers((10, 8), 1), np.asarray([7, 2, -1])
    lots = np.random.default_rng(2).uniform(size=10)

    def value(z, prototypes, margin):
        return losses.partial_margin(z, prototypes, own, lots, class_share=0.4, dim_share=1.0, scale=8.0, margin=margin)

    by_z, by_prototypes = jax.jit(jax.grad(value, argnums=(0, 1)))(z, prototypes, 0.0)
    drawn = {2, 7, *[k for k in np.argsort(-lots) if k not in (2, 7)][:2]}
    assert {k for k in range(10) if np.abs(by_prototypes[k]).max() > 0} == drawn
    assert np.abs(by_z[2]).max() == 0
    step = 1e-6 * numbers(z.shape, 5)
    ahead, behind = (jax.jit(value)(z + s * step, prototypes, 0.0) for s in (1, -1))
    np.testing.assert_allclose((ahead - behind) / 2, np.sum(by_z * step), rtol=1e-6)
    same = np.repeat(prototypes[:1], 3, axis=0)  # at cosine 1 the derivative of cos(arccos x + m) is infinite
    assert np.isfinite(jax.jit(jax.grad(value))(same, prototypes, 0.3)).all()


def test_without_a_sure_row_there_are_no_labels():
    z = numbers((6, 4)).astype(np.float32)
    value, gradient = jax.value_and_grad(lambda z2: losses.confident_cross_entropy(z, z2, threshold=0.999))(z)
    assert float(value) == 0 and (np.asarray(gradient) == 0).all()


def trained(case, recorded):
    """Losses and last weights of our twenty steps; of SeLa also labels and plans."""
    kernel, found = jnp.asarray(problem.kernel(case)), {'loss': [], 'labels': [], 'plans': []}

    def scores(kernel, step, view):
        return jnp.einsum('bd,hdk->hbk', problem.features(step, view), kernel)

    losses_of = {
        'scan': lambda a, b, own: losses.scan(a[0], b[0], entropy_weight=problem.ENTROPY_WEIGHT),
        'scan_self_label': lambda a, b, own: losses.confident_cross_entropy(a[0], b[0], threshold=problem.THRESHOLD),
        'sela': lambda a, b, own: losses.cluster_cross_entropy(jnp.moveaxis(a, 0, 1), own),
    }

    @jax.jit
    def advance(kernel, views, own):
        def loss(kernel):
            return losses_of[case](*(jnp.einsum('bd,hdk->hbk', v, kernel) for v in views), own)

        value, gradient = jax.value_and_grad(loss)(kernel)
        return kernel - problem.RATE[case] * gradient, value

    own = None
    for step in range(problem.STEPS):
        if case == 'sela' and step % problem.RELABEL == 0:
            plans = [
                losses.transport(s, epsilon=1 / problem.SHARPNESS, iterations=int(count), tolerance=0.0)
                for s, count in zip(
                    jax.nn.log_softmax(scores(kernel, -1, 0)),
                    recorded['iterations'][step // problem.RELABEL],
                    strict=True,
                )
            ]
            own = jnp.argmax(jnp.stack(plans), axis=-1).T
            found['plans'].append(np.stack(plans))
            found['labels'].append(own.T)
        views = tuple(problem.features(step, view) for view in (0, 1))
        kernel, value = advance(kernel, views, own)
        found['loss'].append(value)
    return {**{name: np.asarray(x) for name, x in found.items() if x}, 'kernel': np.asarray(kernel)}


@pytest.mark.parametrize('case', problem.RATE)
def test_twenty_steps_are_the_authors(case, x64):
    """Recorded by `tools/golden/trajectories/record_clusters.py` in float64; SeLa's iterations are as many as theirs."""
    with np.load(problem.FILE) as stored:
        theirs = {name.split('/')[1]: stored[name] for name in stored if name.split('/')[0] == case}
    ours = trained(case, theirs)
    assert set(ours) == set(theirs) - {'iterations'}
    for name, values in ours.items():
        np.testing.assert_allclose(values, theirs[name], rtol=GOLDEN_FLOAT64, atol=1e-12, err_msg=name)


def test_selas_labels_do_not_depend_on_where_the_transport_ends(x64):
    with np.load(problem.FILE) as stored:
        labels = stored['sela/labels'][0]
    kernel = problem.kernel('sela')
    shares = jax.nn.log_softmax(jnp.einsum('bd,hdk->hbk', problem.features(-1, 0), kernel))
    move = partial(losses.transport, epsilon=1 / problem.SHARPNESS, iterations=5000, tolerance=1e-6)
    np.testing.assert_array_equal(jnp.argmax(jax.lax.map(move, shares), axis=-1), labels)

"""Findings: their recorded numbers, pages and figures, and what each measures."""

import itertools
import json

import numpy as np
import pytest
import small
from selfsup import evals, losses, methods, reproduce
from selfsup.errors import UserError

from experiments.tables.findings import (
    FINDINGS,
    __main__,
    class_collapse,
    embedding_limits,
    hierarchy,
    label_shift,
    memorisation,
    parallel_lines,
    prominent_feature,
    quality,
    representation_deficiency,
    stepwise,
    triplet_complexity,
    web_noise,
)
from experiments.tables.findings.finding import held

RECORDED = {name: __main__.PAGES / f'{name}.json' for name in FINDINGS}
QUICK = ('inner_product',)  # the others take seconds to a minute for a seed


@pytest.mark.parametrize('name', FINDINGS)
def test_every_finding_is_recorded_over_its_seeds_with_a_figure(name):
    recorded = json.loads(RECORDED[name].read_text())
    assert tuple(recorded['seeds']) == FINDINGS[name].seeds and RECORDED[name].with_suffix('.png').is_file()
    assert {len(values) for values in recorded['numbers'].values()} == {len(recorded['seeds'])}
    page = RECORDED[name].with_suffix('.md').read_text()
    for sentence, good in held(FINDINGS[name], recorded['numbers']).items():
        assert f'- {"Holds" if good else "**Does not hold**"}: {sentence}' in page


@pytest.mark.parametrize(
    'name', [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FINDINGS]
)
def test_the_first_seed_gives_the_recorded_numbers(name):
    recorded = json.loads(RECORDED[name].read_text())['numbers']
    found = FINDINGS[name].measure(FINDINGS[name].seeds[0])
    assert set(found) == set(recorded)
    for key, value in found.items():
        assert value == pytest.approx(recorded[key][0], rel=__main__.CLOSE, abs=__main__.CLOSE), key


def test_a_finding_that_does_not_show_is_said_so():
    numbers = {'euclidean': [0.1, 0.1], 'whitened': [0.0, 0.01], 'whitened_dependent_pair': [1, 1]}
    verdicts = list(held(FINDINGS['inner_product'], numbers).values())
    assert verdicts == [False, True]


def test_the_search_finds_the_only_planted_direction_and_its_slope_is_right():
    rng = np.random.default_rng(0)
    truth = rng.choice([-1.0, 1.0], size=60)
    plus = np.stack([truth, np.zeros(60)], axis=1) + 0.1 * rng.normal(size=(60, 2))
    minus = np.stack([-truth, np.zeros(60)], axis=1) + 0.1 * rng.normal(size=(60, 2))
    w = prominent_feature.search(plus, minus, rng)
    assert prominent_feature.agreement(w, plus, minus, truth) == 1 and abs(w[0]) > 3 * abs(w[1])


def test_three_documents_in_the_plane_have_every_pair_and_a_logistic_curve_has_its_half_time(monkeypatch):
    # A start may end in a bad optimum, which is why a measurement takes several.
    assert any(embedding_limits.is_realised(3, 2, np.random.default_rng(seed)) for seed in range(5))
    monkeypatch.setattr(stepwise, 'MODES', 2)
    monkeypatch.setattr(stepwise, 'WIDTH', 2)
    gamma = np.diag([1.0, 0.5])
    found = stepwise.half_times(gamma, 1e-3 * np.eye(2), 8000)
    expected = [np.log(1 / (g * 1e-6) - 1) / (8 * g) for g in (1.0, 0.5)]
    np.testing.assert_allclose(found, expected, rtol=0.02)  # the step is 0.004 of the largest time constant


@pytest.mark.parametrize('share', [0.0, 0.5, 1.0])
def test_the_share_of_the_loss_with_coarse_labels(share):
    rng = np.random.default_rng(0)
    z1, z2 = (rng.normal(size=(12, 5)).astype(np.float32) for _ in range(2))
    labels = np.arange(12) % 10
    method = class_collapse.with_share(share, methods.supcon(small.ENCODER, small.PROJECTOR))
    value, _ = method.criterion({}, {'embeddings': (z1, z2)}, {}, {'label': labels}, None)
    halves = losses.supcon(z1, z2, (labels > 4).astype(np.int32), temperature=0.5)
    expected = share * halves + (1 - share) * losses.ntxent(z1, z2, temperature=0.5)
    assert float(value) == pytest.approx(float(expected), rel=1e-6)


def test_all_pairs_of_words_have_the_same_ratios_without_deviation_and_own_ones_with():
    def ratios(deviation: float) -> np.ndarray:
        first, second = np.split(parallel_lines.contexts(0, deviation), 2)
        np.testing.assert_allclose(np.concatenate([first, second]).sum(axis=1), 1.0)
        return first / second

    same, own = ratios(0.0), ratios(1.0)
    np.testing.assert_allclose(same, np.tile(same[:1], (parallel_lines.PAIRS, 1)))
    assert own.std(axis=0).min() > 0.1


def test_negative_sampling_finds_the_shifted_mutual_information():
    vectors, excess = parallel_lines.contrasted(parallel_lines.contexts(0, 0.0), np.random.default_rng(0))
    assert vectors.shape == (2 * parallel_lines.PAIRS, parallel_lines.DIM) and abs(excess) < 1e-7
    assert parallel_lines.parallel(vectors) > parallel_lines.parallel(vectors, shift=1)


def test_triplets_are_of_three_points_with_the_nearer_one_first_and_are_learned():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(10, 2))
    rows = triplet_complexity.triplets(rng, truth, 2000)
    anchor, near, far = rows.T
    assert np.all((anchor != near) & (anchor != far) & (near != far))
    assert {tuple(row) for row in np.sort(rows, axis=1)} == set(itertools.combinations(range(10), 3))

    def nearer(x: np.ndarray) -> float:
        first, second = (np.linalg.norm(x[anchor] - x[one], axis=1) for one in (near, far))
        return float(np.mean(first < second))

    assert nearer(truth) == 1.0 and nearer(triplet_complexity.learned(rng, rows, 10, 2)) > 0.98


def test_curves_that_depend_on_triplets_over_a_size_alone_lie_on_one_another_over_that_size():
    found = {
        f'error_{n}_{d}_{share:g}': np.array([1 / (share * d)])  # a function of triplets / n
        for n, d in triplet_complexity.SETTINGS
        for share in triplet_complexity.PER_PARAMETER
    }
    assert triplet_complexity.spread(found, 'points') == pytest.approx(0.0, abs=1e-9)
    assert triplet_complexity.spread(found, 'parameters') > 0.5 and triplet_complexity.spread(found, 'triplets') > 0.5


def test_a_class_differs_at_right_angles_from_its_super_class_and_not_from_another():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 200)
    place = np.array([digit in hierarchy.SUPER[0] for digit in labels]) * 4.0 - 2.0
    rows = np.concatenate([place[:, None], 2.0 * np.eye(10)[labels]], axis=1) + 0.1 * rng.normal(size=(2000, 11))
    white = evals.Features(rows - rows.mean(axis=0), labels)
    assert hierarchy.cosines(white, hierarchy.SUPER) < 0.05
    assert hierarchy.cosines(white, hierarchy.SUPER, own=False) > 0.5
    sizes = [len(group) for group in hierarchy.regrouped(rng)]
    assert sizes == [len(group) for group in hierarchy.SUPER]


def test_shares_of_classes_are_found_from_counts_of_cells_in_domains():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(label_shift.CLASSES, 0.5), size=label_shift.DOMAINS).T
    shares[:, : label_shift.CLASSES] = np.eye(label_shift.CLASSES)  # factors are unique where some domains are pure
    domains = np.repeat(np.arange(label_shift.DOMAINS), 2000)
    labels = np.array([rng.choice(label_shift.CLASSES, p=shares[:, domain]) for domain in domains])
    each = label_shift.CELLS // label_shift.CLASSES
    found = label_shift.shares_of_classes(labels * each + rng.integers(0, each, len(labels)), domains, seed=0)
    apart = np.abs(found[:, None] - shares[None]).max(axis=2)
    assert apart.min(axis=1).max() < 0.05 and sorted(apart.argmin(axis=1)) == list(range(label_shift.CLASSES))


def test_foreign_images_fill_the_range_of_digits_and_detectors_find_what_is_apart():
    rng = np.random.default_rng(0)
    images = web_noise.foreign(rng, 20)
    assert images.shape == (20, 8, 8, 1) and images.dtype == np.uint8
    assert np.all(images.min(axis=(1, 2, 3)) == 0) and np.all(images.max(axis=(1, 2, 3)) == 255)

    labels = rng.integers(0, 10, 600).astype(np.int32)
    out = np.arange(600) >= 500
    rows = np.where(out[:, None], 0.0, 3.0 * np.eye(10)[labels]) + 0.3 * rng.normal(size=(600, 10))
    rows = np.concatenate([rows, 4.0 * out[:, None] + rng.normal(size=(600, 1))], axis=1).astype(np.float32)
    found = web_noise.detected(rows, labels, out, rng)
    for name in web_noise.DETECTORS:
        flag = found[f'{name}_flag']
        assert flag.shape == (600,) and flag[out].mean() > 0.8 > 0.2 > flag[~out].mean(), name


def test_the_mode_of_large_losses_is_dropped_whichever_comes_first():
    losses = np.concatenate([np.linspace(3.0, 3.2, 40), np.linspace(0.0, 0.2, 160)])
    assert np.array_equal(web_noise.high_loss(losses), losses > 1.0)
    assert np.array_equal(web_noise.high_loss(losses[::-1]), losses[::-1] > 1.0)


@pytest.mark.parametrize('kind', quality.SEVERITIES)
def test_corruptions_grow_with_their_level_and_the_score_is_of_the_nearer_anchors(kind):
    images = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1)).astype(np.uint8)
    rows = [quality.corrupted(images, kind, level, np.random.default_rng(1)) for level in quality.LEVELS]
    assert np.array_equal(rows[0], images) and all(row.dtype == np.uint8 for row in rows)
    moved = [np.abs(row.astype(float) - images).mean() for row in rows]
    assert np.all(np.diff(moved) > 0)
    good, bad = np.eye(2)[[0, 0]], np.eye(2)[[1, 1]]
    np.testing.assert_allclose(quality.score(np.array([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]]), good, bad), [1, -1, 0])


def test_outlying_images_are_those_far_from_the_mean_of_their_class():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 10)
    images = (100 + 100 * labels[:, None, None, None] + rng.integers(0, 5, (20, 4, 4, 1))).astype(np.uint8)
    images[13] = 100  # an image of class 1 that looks like class 0
    assert memorisation.outlying(images, labels).argmax() == 13


def test_ranks_are_of_the_tokens_that_are_counted():
    tokens = np.zeros((4, 3, 5), np.float32)
    tokens[:, 0, 0] = tokens[:, 1, 1] = tokens[:, 2, 2] = 1.0
    assert representation_deficiency.ranks(tokens) == pytest.approx((3, 3))
    assert representation_deficiency.ranks(tokens, np.tile([True, True, False], (4, 1))) == pytest.approx((2, 2))


def test_a_repeated_finding_stands_beside_the_recorded_one(tmp_path, capsys):
    assert reproduce.main(['findings', 'inner_product', '--seeds=0', f'--workdir={tmp_path}']) == 0
    *sentences, last = capsys.readouterr().out.splitlines()
    count = len(json.loads(RECORDED['inner_product'].read_text())['numbers'])
    assert len(sentences) == 2 and all(': holds: ' in line for line in sentences)
    assert last.startswith(f'inner_product: {count} of {count} numbers are within')
    assert {file.name for file in tmp_path.iterdir()} == {f'inner_product.{end}' for end in ('json', 'md', 'png')}


@pytest.mark.parametrize(
    'words, message',
    [
        (['cosin'], "'cosin' is no finding; did you mean cosine"),
        (['cosine', '--workdir=setup.py'], '--workdir=setup.py is no folder'),
        (['cosine', '--seeds=a'], '--seeds must be a whole number'),
    ],
)
def test_bad_arguments(words, message):
    with pytest.raises(UserError, match=message):
        __main__.main(words)

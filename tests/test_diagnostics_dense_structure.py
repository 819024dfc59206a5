"""DSE: its parts against loops, in units of the spread, and what they say of planted structures."""

import jax
import numpy as np
import pytest
from selfsup import diagnostics

KEY = jax.random.key(0)
SETTINGS = {'local_clusters': 3, 'global_clusters': 6, 'group': 4, 'normalized': False}


def planted(noise=0.01, images=8, seed=0):
    """Patches of six classes, three in each image, five patches of each: tokens and their classes."""
    rng = np.random.default_rng(seed)
    centres = 3.0 * np.linalg.qr(rng.normal(size=(7, 6)))[0].T
    classes = np.stack([np.repeat((np.arange(3) + 3 * (n % 2)) % 6, 5) for n in range(images)])
    return centres[classes] + noise * rng.normal(size=(*classes.shape, 7)), classes


def radius(rows):
    rows = rows - rows.mean(axis=0)
    return np.linalg.svd(rows, compute_uv=False).sum() / np.sqrt(max(len(rows) - 1, rows.shape[1]))


def test_the_parts_are_those_of_loops_over_the_clusters(x64):
    tokens, classes = planted()
    found = diagnostics.dense_structure(KEY, tokens, **SETTINGS)
    scale = np.linalg.norm(tokens - tokens.mean(axis=(0, 1)), axis=-1).mean()
    image = np.mean([np.mean([radius(z[c == k]) for k in np.unique(c)]) for z, c in zip(tokens, classes, strict=True)])
    radii, apart = [], []
    for start in (0, 4):
        z, c = tokens[start : start + 4].reshape(-1, 7), classes[start : start + 4].ravel()
        radii += [radius(z[c == k]) for k in range(6)]
        centres = np.stack([z[c == k].mean(axis=0) for k in range(6)])
        apart.append(
            np.mean(
                [min(np.linalg.norm(x - centres[k]) for k in range(6) if k != own) for x, own in zip(z, c, strict=True)]
            )
        )
    expected = {'inter': np.mean(apart) / scale, 'intra_image': image / scale, 'intra_group': np.mean(radii) / scale}
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(value, rel=1e-9), name
    whole = expected['inter'] + found['dimension'] - (expected['intra_image'] + expected['intra_group']) / 2
    assert float(found['dse']) == pytest.approx(float(whole))


def test_the_dimension_is_the_effective_rank_over_images(x64):
    rows = np.random.default_rng(0).normal(size=(12, 5))
    sigma = np.linalg.svd(rows, compute_uv=False)
    share = sigma / sigma.sum()
    expected = np.exp(-(share * np.log(share)).sum()) / 5
    tokens = np.repeat(rows[:, None], 6, axis=1)  # the order of places does not matter
    found = diagnostics.dense_structure(KEY, tokens, **{**SETTINGS, 'global_clusters': 3})
    assert float(found['dimension']) == pytest.approx(expected, rel=1e-9)
    assert float(found['intra_image']) == pytest.approx(0, abs=1e-9)


def test_scale_and_turns_change_nothing_and_unit_rows_are_an_option(x64):
    tokens, _ = planted()
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(7, 7)))[0]
    plain, moved = (diagnostics.dense_structure(KEY, z, **SETTINGS) for z in (tokens, 5.0 * tokens @ turn))
    lengths = np.random.default_rng(2).uniform(0.5, 2.0, size=(8, 15, 1))
    unit = {**SETTINGS, 'normalized': True}
    one, other = (diagnostics.dense_structure(KEY, z, **unit) for z in (tokens, lengths * tokens))
    for name in plain:
        assert float(plain[name]) == pytest.approx(float(moved[name]), rel=1e-6), name
        assert float(one[name]) == pytest.approx(float(other[name]), rel=1e-6), name


def test_blurred_classes_and_collapse_are_lower():
    clear, blurred = (
        float(diagnostics.dense_structure(KEY, planted(noise)[0], **SETTINGS)['dse']) for noise in (0.05, 1.5)
    )
    same = diagnostics.dense_structure(KEY, np.ones((8, 15, 7)), **SETTINGS)
    assert clear > blurred > float(same['dse'])
    assert float(same['dse']) == pytest.approx(1 / 7) and float(same['inter']) == 0


@pytest.mark.parametrize(
    'shape, change, message',
    [
        ((8, 7), {}, r'tokens must have shape \[images, places, dim\], not \[8, 7\]'),
        ((6, 5, 7), {}, 'tokens of 6 images cannot be cut into groups of 4'),
        ((8, 2, 7), {}, '2 places of an image do not suffice for 3 clusters'),
        ((8, 5, 7), {'global_clusters': 1}, r'for 1 \(two or more\)'),
    ],
)
def test_tokens_that_do_not_suffice_are_refused(shape, change, message, own_checks):
    with pytest.raises(ValueError, match=message):
        diagnostics.dense_structure(KEY, np.ones(shape), **{**SETTINGS, **change})

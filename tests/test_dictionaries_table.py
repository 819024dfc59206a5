"""The table of sparse autoencoders at equal L0: its search, its configs of features, and runs side by side."""

import numpy as np
import pytest
from tolerances import FLOAT32

from experiments.tables import dictionaries, equal_l0
from experiments.tables.seeds import Together


def test_the_search_goes_along_the_line_of_what_was_tried():
    assert equal_l0.following([(2.0, 16.0)], 8, rises=False) == pytest.approx(4.0)
    assert equal_l0.following([(6.0, 8.0 * 1.5)], 8, rises=True) == pytest.approx(4.0)
    assert equal_l0.following([(1.0, 800.0)], 8, rises=False) == pytest.approx(4.0)  # a factor of 4 at most
    law = lambda weight: 40 / weight**0.5  # noqa: E731
    tried = [(w, law(w)) for w in (1.0, 4.0)]
    assert law(equal_l0.following(tried, 16, rises=False)) == pytest.approx(16)
    # Two points that say the opposite of what must hold are not believed.
    assert equal_l0.following([(2.0, 10.0), (4.0, 12.0)], 8, rises=False) == pytest.approx(2 * 10 / 8)


@pytest.fixture(scope='module')
def features(tmp_path_factory):
    rng = np.random.default_rng(0)
    rows = rng.exponential(size=(700, 12)) * (rng.random((700, 12)) < 0.3) @ rng.normal(size=(12, 8))
    file = tmp_path_factory.mktemp('features') / 'f.npz'
    np.savez(file, train_features=rows[:600], train_labels=rows[:600].argmax(1) % 3, test_features=rows[600:],
             test_labels=rows[600:].argmax(1) % 3)  # fmt: skip
    return str(file)


@pytest.mark.parametrize('name', dictionaries.names())
def test_every_config_can_train_on_features(name, features):
    overrides = equal_l0.on_features(name, features, times=4, active=5, epochs=2)
    made = equal_l0.load(name, *overrides)
    assert made.method.get('units', made.model.widths[-1]) == 32 and made.method.dead_after == 600
    if name == 'p_anneal':
        steps = 2 * (600 // equal_l0.BATCH)
        assert made.method.anneal_steps == max(round(500 * steps / equal_l0.DIGITS_STEPS), 1)
    assert made.method.get('active', 5) == 5 and made.method.get('resample', 0) == 0


@pytest.mark.slow
def test_runs_side_by_side_are_the_runs_of_their_seeds(features):
    fields = equal_l0.on_features('relu_l1', features, times=2, active=3, epochs=3)
    fields += ['data.batch_size=100', 'method.weight_warmup=4']
    together = Together(equal_l0.load('relu_l1', *fields), ('method.weight',), 2)
    state = together.train([4, 7], {'method.weight': [0.5, 2.0]})
    for number, (seed, weight) in enumerate(((4, 0.5), (7, 2.0))):
        alone = dictionaries.train(equal_l0.load('relu_l1', *fields, f'seed={seed}', f'method.weight={weight}'))
        rows = alone.run.data.test.images()
        expected, found = (e.outputs(rows) for e in (alone.encoder, together.member(state, number)))
        for part in expected:
            np.testing.assert_allclose(found[part], expected[part], rtol=1e-3, atol=100 * FLOAT32)

"""Several encoders as one: joined features, their gain, and the command."""

import json

import numpy as np
import pytest
from selfsup import evals, evaluate
from selfsup import train as training
from selfsup.errors import UserError
from selfsup.evals import Features
from selfsup.evals.concatenated import joined

LABELS = np.arange(240) % 4


def halves(noise=0.6):
    """Two encoders of four classes: each tells one bit of the class."""
    rng = np.random.default_rng(0)
    bits = np.stack([LABELS // 2, LABELS % 2], axis=1) * 2.0 - 1.0
    rows = [
        np.concatenate([bits[:, [n]] + noise * rng.normal(size=(240, 1)), np.ones((240, 1))], axis=1) for n in (0, 1)
    ]
    return [
        tuple(Features(r[part].astype(np.float32), LABELS[part]) for part in (slice(160), slice(160, 240)))
        for r in rows
    ]


def test_encoders_that_know_different_things_gain():
    found = evals.concatenated(halves(noise=0.3))
    assert found['concatenated_alone'] < 0.6 and found['concatenated_2'] > 0.95
    assert found['concatenated_gain'] == pytest.approx(found['concatenated_2'] - found['concatenated_alone'])
    assert found['concatenated_knn_2'] > 0.9 and found['concatenated_few_10_2'] > 0.9
    assert found['concatenated_width'] == 4 and abs(found['concatenated_cka']) < 0.1


def test_an_encoder_beside_itself_gains_nothing():
    first = halves()[0]
    found = evals.concatenated([first, first, first])
    for name in ('', 'knn_', 'few_10_'):
        for n in (2, 3):
            assert found[f'concatenated_{name}{n}'] == pytest.approx(found[f'concatenated_{name}1'], abs=0.02), name
        assert found[f'concatenated_{name}alone'] == pytest.approx(found[f'concatenated_{name}1'])
    assert found['concatenated_cka'] == pytest.approx(1, abs=1e-4)
    assert found['concatenated_1'] == pytest.approx(
        evals.linear_logistic(joined(first[:1]), joined(first[1:]))['linear_logistic']
    )


def test_cosines_of_joined_rows_are_means_of_cosines():
    parts = [
        Features(np.random.default_rng(n).normal(size=(5, 3 + n)).astype(np.float32), LABELS[:5]) for n in range(3)
    ]
    rows = joined(parts).features
    units = [p.features / np.linalg.norm(p.features, axis=1, keepdims=True) for p in parts]
    np.testing.assert_allclose(rows @ rows.T, np.mean([u @ u.T for u in units], axis=0), atol=1e-6)
    assert rows.shape == (5, 12)


def test_rows_without_a_label_are_left_out_and_other_samples_refused():
    (train, test), (other, other_test) = halves()
    shown = evals.concatenated([(train, test), (other, other_test)])
    more = [
        Features(np.concatenate([p.features, p.features[:3]]), np.append(p.labels, [-1] * 3)) for p in (train, other)
    ]
    assert evals.concatenated([(more[0], test), (more[1], other_test)]) == pytest.approx(shown)
    with pytest.raises(UserError, match='several encoders are to be joined, and 1 is given'):
        evals.concatenated([(train, test)])
    with pytest.raises(UserError, match='train: sample 0 has label 0 and 1'):
        evals.concatenated([(train, test), (other._replace(labels=np.roll(other.labels, -1)), other_test)])


def test_the_command_joins_files_of_features(tmp_path, capsys):
    for name, (train, test) in zip('ab', halves(), strict=True):
        arrays = {'train_features': train.features, 'train_labels': train.labels}
        np.savez(tmp_path / f'{name}.npz', **arrays, test_features=test.features, test_labels=test.labels)
    files = ['--features', str(tmp_path / 'a.npz'), '--with', str(tmp_path / 'b.npz')]
    assert evaluate.main([*files, '--only=concatenated']) == 0
    assert 'concatenated_gain' in capsys.readouterr().out
    with pytest.raises(UserError, match='--only=concatenated joins several encoders; name the others by --with=A,B'):
        evaluate.main([*files[:2], '--only=concatenated'])


@pytest.mark.slow
def test_the_command_joins_runs_of_several_seeds_on_own_and_on_other_data(tmp_path):
    runs = [tmp_path / f'seed{seed}' for seed in range(3)]
    fields = ['model.widths=(4, 8)', 'projector.widths=(8, 8)', 'train.epochs=1', 'data.batch_size=64']
    for seed, run in enumerate(runs):
        assert training.main(['digits/simclr', f'--workdir={run}', f'seed={seed}', *fields]) == 0
    command = [f'--workdir={runs[0]}', f'--with={runs[1]},{runs[2]}', '--only=concatenated']
    assert evaluate.main(command) == 0
    own = json.loads((runs[0] / 'evaluation.json').read_text())
    assert own['concatenated_width'] == 24 and own['concatenated_3'] > own['concatenated_alone'] > 0.3
    other = [f'--out={tmp_path / "o.json"}', '--data=shapes:200', '--image-size=8', '--channels=1']
    assert evaluate.main([*command, *other]) == 0
    assert set(json.loads((tmp_path / 'o.json').read_text())) == set(own)
    with pytest.raises(UserError, match='--only=relative compares two encoders; --with names 2'):
        evaluate.main([*command[:2], '--only=relative'])


@pytest.mark.parametrize(
    'others, names', [(0, set()), (1, {'relative', 'memorisation', 'concatenated'}), (2, {'concatenated'})]
)
def test_all_has_what_the_number_of_encoders_allows(others, names):
    from selfsup.engine import evaluations

    found = {*evaluations.chosen('all', images=True, others=others)} & {*evaluations.WITH_OTHERS}
    assert found == names
    if others == 2:
        with pytest.raises(UserError, match='--only=relative compares two encoders; --with names 2'):
            evaluations.chosen('relative', images=True, others=2)

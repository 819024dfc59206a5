"""A small part of stress/fuzz.py in the quick suite, and the whole of it in the slow one."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / 'stress'))

import fuzz_cases  # noqa: E402
import fuzz_configs  # noqa: E402
import fuzz_files  # noqa: E402
import fuzz_inputs  # noqa: E402
import fuzz_outcome  # noqa: E402
import fuzz_table  # noqa: E402
from selfsup.errors import UserError  # noqa: E402


@pytest.fixture(scope='module')
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp('material')
    fuzz_files.make_data(folder)
    return folder


@pytest.mark.parametrize('number', [*range(4), *(pytest.param(n, marks=pytest.mark.slow) for n in range(4, 8))])
def test_mutated_configs_build_or_end_in_a_sentence(number, material, own_checks):
    folder = material / f'configs{number}'
    folder.mkdir()
    outcome = fuzz_configs.trial(1, number * len(fuzz_configs.FILES) + 30, material, folder, cheap=True)
    assert outcome.verdict in fuzz_table.GOOD, outcome


@pytest.mark.parametrize('kind', ['list of classes', pytest.param('features', marks=pytest.mark.slow)])
@pytest.mark.parametrize('number', range(8))
def test_damaged_files_are_read_or_end_in_a_sentence(number, kind, material, tmp_path):
    outcome = fuzz_files.trial(1, number, material, tmp_path, kind)
    assert outcome.verdict in fuzz_table.GOOD, outcome


KINDS = ['folder layouts', 'names in a folder', 'lists', 'image modes', 'labels', 'arrays of images']


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('number', range(3))
def test_inputs_are_read_as_they_should_be(number, kind, material, tmp_path, own_checks):
    outcome = fuzz_inputs.trial(1, number, material, tmp_path, kind, cheap=True)
    assert outcome.verdict in fuzz_table.GOOD, outcome


def test_the_judge_sees_other_data_than_are_right():
    right = fuzz_cases.Right(20, 5, ('a', 'b'))
    said = '18 images to train on, 2 held out, 5 to test\n2 classes'
    assert fuzz_cases.of_banner(said, right) == ''
    for old, new in (('18', '17'), ('5 to', '6 to'), ('2 classes', '3 classes')):
        assert 'right' in fuzz_cases.of_banner(said.replace(old, new), right)
    case = fuzz_cases.Case('train', [], '', '', lambda printed: fuzz_cases.of_banner(printed, right))
    ends = {'ran': 'ran', 'refused': 'unclear'}  # what is right must not be refused, and what is refused be named
    assert {v: fuzz_inputs.judged(case, fuzz_outcome.Ended(v, 'x', said))[0] for v in ends} == ends
    case = case._replace(refused='labels')
    assert fuzz_inputs.judged(case, fuzz_outcome.Ended('ran', '', said))[0] == 'unclear'
    assert fuzz_inputs.judged(case, fuzz_outcome.Ended('refused', 'labels are x', ''))[0] == 'refused'
    assert fuzz_inputs.judged(case, fuzz_outcome.Ended('refused', 'no', ''))[0] == 'unclear'


def test_the_judge_sees_what_is_wrong(tmp_path, monkeypatch):
    ends = [
        (KeyError('x'), 'traceback'), (SystemExit(0), 'ran'), (SystemExit(1), 'traceback'), (SystemExit(2), 'unclear'),
        (UserError('data.source is wrong'), 'refused'), (UserError('shapes differ'), 'unclear'),
    ]  # fmt: skip
    for error, verdict in ends:

        def fails(arguments, error=error):
            raise error

        monkeypatch.setitem(fuzz_outcome.COMMANDS, 'embed', fails)
        assert fuzz_outcome.attempt('embed', [])[0] == verdict
    (tmp_path / 'good').write_text('good')
    before = fuzz_outcome.hashes(tmp_path)
    (tmp_path / 'good').write_text('changed')
    assert fuzz_outcome.lost(before, fuzz_outcome.hashes(tmp_path), lambda path: False) == ['good']
    assert not fuzz_outcome.lost(before, fuzz_outcome.hashes(tmp_path), lambda path: path == 'good')


@pytest.mark.slow
def test_the_whole_fuzz():
    done = subprocess.run(
        [sys.executable, 'stress/fuzz.py', '--configs=1000', '--files=200', '--inputs=300'],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout

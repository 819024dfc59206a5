"""Runs and encoders kept from an older version (see tests/saved/record.py) load, and go on to what it made of them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import selfsup
import tolerances
from selfsup.data.sources import open_source
from selfsup.engine import encoder, loop
from selfsup.files import read_jsonl

SAVED = Path(__file__).parent / 'saved'
RUNS = ('vicreg', 'dino', 'swav', 'deepcluster_v2')


def expected(name):
    return json.loads((SAVED / name / 'expected.json').read_text())


@pytest.mark.parametrize('name', [*RUNS, 'encoder'])
def test_an_older_encoder_loads(name):
    images = np.pad(open_source('digits')[1].images()[:5], ((0, 0), (2, 2), (2, 2), (0, 0)))
    loaded = selfsup.load_encoder(str(SAVED / name))
    assert loaded.step == (7 if name in RUNS else 0)
    np.testing.assert_allclose(loaded(images), expected(name)['features'], rtol=tolerances.SAVED, atol=1e-7)


# That which keeps the most: of each example, and of what is made anew between epochs.
@pytest.mark.parametrize(
    'name', [pytest.param(n, marks=[] if n == 'deepcluster_v2' else pytest.mark.slow) for n in RUNS]
)
def test_an_older_run_goes_on_to_the_same_numbers(name, tmp_path, monkeypatch):
    monkeypatch.setattr(loop.report, 'finish', lambda *arguments: None)
    path = shutil.copytree(SAVED / name, tmp_path / name)
    config = encoder.read_config(path)
    config.train.stop_after_steps = 0
    assert loop.train(config, str(path), devices=1) == 0
    lines = [line for line in read_jsonl(path / 'metrics.jsonl') if line['step'] > 7]
    wanted = expected(name)['metrics']
    assert [line['step'] for line in lines] == [line['step'] for line in wanted]
    for line, old in zip(lines, wanted, strict=True):
        assert old.keys() <= line.keys()
        if 'loss' in old:  # not what is measured besides: which held-out images that is done on has changed since
            for metric, value in old.items():
                np.testing.assert_allclose(line[metric], value, rtol=tolerances.SAVED, atol=1e-7, err_msg=metric)

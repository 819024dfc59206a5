"""Bytes, kernels and temporaries of the step's program on an H100 and a TPU v5e stay within 5 % of what is recorded."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import small
from selfsup.hardware import targets

from experiments.tables import hardware

ROOT = Path(__file__).parent.parent
INSTALLED = all(targets._installed(name) for packages in targets.PACKAGES.values() for name in packages)


@pytest.fixture(scope='module')
def accelerator():
    return small.script('benchmarks/accelerator.py')


@pytest.mark.skipif(not INSTALLED, reason='requirements-plan.txt is not installed')
@pytest.mark.parametrize('on', ['h100:1', 'tpu-v5e:1x1'])
def test_the_step_has_not_grown(on, accelerator):
    """In a process of its own: the flags of the tests are for the CPU's compiler."""
    environment = {k: v for k, v in os.environ.items() if k not in ('XLA_FLAGS', 'JAX_PLATFORMS')}
    command = [sys.executable, 'benchmarks/accelerator.py', f'--on={on}']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(f'| {on} |') == len(accelerator.SMALL)


def test_every_small_row_is_recorded(accelerator):
    recorded = json.loads(accelerator.RECORDED.read_text())
    for name in accelerator.SMALL:
        for on in accelerator.PLACES:
            row = recorded[f'{name} on {on}']
            assert row['bytes'] > 0 and row['kernels'] > 0 and row['temporaries'] >= 0  # a TPU may need none in memory


def test_growth_is_told(accelerator):
    recorded = {'bytes': 100.0, 'kernels': 20, 'temporaries': 1000}
    assert accelerator.grown(recorded, {'bytes': 105.0, 'kernels': 21, 'temporaries': 10}) == []
    assert accelerator.grown(recorded, {'bytes': 106.0, 'kernels': 22, 'temporaries': 1000}) == [
        'bytes: 106, recorded 100 (+6.0%)', 'kernels: 22, recorded 20 (+10.0%)',
    ]  # fmt: skip
    assert accelerator.grown({}, {'bytes': 1.0, 'kernels': 1, 'temporaries': 1}) == []


def test_a_plan_that_was_refused_says_why():
    recorded = {'mae on h100:1': {'on': 'h100:1', 'refused': 'INTERNAL: no tiles | for f32[8] ' + 'x' * 200}}
    assert '| MAE | not compiled: INTERNAL: no tiles / for f32' in hardware.markdown(recorded, ['h100:1'])
    assert hardware.shares(recorded, 'h100:1').count('\n') == 2


def test_what_grows_with_the_devices_is_named():
    def plan(sent, peak):
        return {'sent': sent, 'memory': {'peak': peak}, 'bound': {'total': 1e-3}}

    few, many = 'tpu-v5e:4x4', 'tpu-v5e:16x16'
    # All-reduced bytes of a ring grow from 2 * 15 / 16 to 2 * 255 / 256; what is gathered grows with the devices.
    recorded = {f'simclr on {few}': plan(15 / 16 * 1e6, 100), f'simclr on {many}': plan(255 / 256 * 1e6, 104)}
    recorded |= {f'mmcr on {few}': plan(15e6, 100), f'mmcr on {many}': plan(255e6, 200)}
    recorded |= {f'mae on {few}': {'refused': 'no'}, f'mae on {many}': plan(1, 1)}
    text = hardware.markdown(recorded, [few, many])
    assert '(2 methods compiled for both)' in text
    assert 'more than the 1.062 of a ring: MMCR 17.0. Peak of memory, by more than 5 %: MMCR 2.0.' in text
    assert '| SimCLR | 0 | 0.94 | 1.000 | 0 | 1.00 | 1.000 |' in text and 'not compiled: no |  |  | 0 |' in text


def test_the_page_holds_the_recorded_plans():
    recorded = json.loads((ROOT / 'docs' / 'hardware.json').read_text())
    text = hardware.PAGE.read_text()
    assert hardware.page(recorded, hardware.PLACES.split(','), text) == text, (
        'run python -m experiments.tables.hardware'
    )
    for found in (row for row in recorded.values() if 'refused' not in row):
        for part in ('bytes', 'flops', 'kernels'):
            assert abs(sum(row[part] for row in found['shares'].values()) - 1) < 1e-9

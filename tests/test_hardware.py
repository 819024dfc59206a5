"""Targets, what is read from compiled programs, bounds, and plans: without the compilers of `requirements-plan.txt`."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
import tolerances
from selfsup import parallel, train
from selfsup.data.sources import blank, open_source
from selfsup.engine import advice, dry_run, planning, speed, writer
from selfsup.engine.run import Run
from selfsup.engine.writer import Bar
from selfsup.errors import UserError
from selfsup.hardware import bound, chip, matrix_flops, parse, place, roofline, scope_times, targets
from selfsup.hardware.program import scope_of

ROOT = Path(__file__).parent.parent
STEPS = 5  # of the recorded programs: see hlo/record.py
# A 3x3 convolution of stride 2 with SAME padding on 32x32: along an axis 15 places meet 3 of 32 elements and one meets 2,
# 47 pairs. For GPUs XLA pads the image in a kernel of its own, and all 48 are computed.
CONVOLUTION = {'h100': 2 * 48 * 48 * 32 * 64, 'tpu-v5e': 2 * 47 * 47 * 32 * 64}
PRODUCT = 2 * 64 * 128


@pytest.fixture(scope='module')
def recorded():
    return {name: (ROOT / 'tests' / 'hlo' / f'{name}.txt').read_text() for name in ('h100', 'tpu-v5e')}


@pytest.mark.parametrize('name, examples', [('h100', 128), ('tpu-v5e', 64)])
def test_flops_of_recorded_programs_are_those_of_the_mathematics(name, examples, recorded):
    """Two convolutions (forward, kernel's gradient) and three products a step and example; no input gradient is needed."""
    program = parse(recorded[name])
    assert program.matrix == {'bf16': STEPS * examples * (2 * CONVOLUTION[name] + 3 * PRODUCT)}
    assert program.flops > program.matrix['bf16']


def test_bytes_kernels_and_collectives_of_a_recorded_program(recorded):
    program = parse(recorded['h100'])
    kernels = {k.name: k for k in program.kernels}
    images, padded, out = 128 * 32 * 32 * 32 * 2, 128 * 33 * 33 * 32 * 2, 128 * 16 * 16 * 64 * 2
    kernel, product = 3 * 3 * 32 * 64 * 2, 64 * 128 * 2
    padding = next(k for k in program.kernels if k.name.startswith('loop_pad'))
    assert (padding.bytes, padding.scope, padding.times) == (images + padded, 'augmentation', STEPS)
    forward = next(k for k in program.kernels if k.kind == '__cudnn$convForward')
    assert (forward.bytes, forward.scope) == (padded + kernel + out, 'forward')
    (reduce,) = program.collectives
    assert (reduce.kind, reduce.times, reduce.devices, reduce.bytes) == ('all-reduce', STEPS, 2, kernel + product)
    assert reduce.sent == kernel + product  # 2 (n - 1) / n of it
    assert program.launches == sum(k.times for k in kernels.values()) and program.launches % STEPS == 4


def test_tpu_programs_move_nothing_within_the_chip_and_pad_their_tiles(recorded):
    program = parse(recorded['tpu-v5e'])
    (reduce,) = program.collectives
    assert (reduce.times, reduce.devices) == (STEPS, 4) and reduce.bytes == (3 * 3 * 32 * 64 + 64 * 128) * 2
    on_chip = next(k for k in program.kernels if k.kind == 'all-reduce')
    assert on_chip.bytes == 0  # its operands lie in VMEM
    copies = [k for k in program.kernels if k.copies]
    assert copies and all(k.bytes > 0 for k in copies)
    assert program.launches == sum(k.times for k in program.kernels) - sum(k.times for k in copies)
    line = '  %a = f32[5,3]{1,0:T(8,128)} copy(%b)'
    text = f'HloModule m\n\nENTRY %main (b: f32[5,3]) -> f32[5,3] {{\n  %b = f32[5,3]{{1,0}} parameter(0)\n{line}\n}}\n'
    assert parse(text).bytes == 5 * 3 * 4 + 8 * 128 * 4


@pytest.mark.parametrize('name', ['h100', 'tpu-v5e'])
def test_shares_add_up_to_one(name, recorded):
    shares = parse(recorded[name]).shares()
    assert {'forward', 'backward', 'optimizer'} <= set(shares)
    for part in ('bytes', 'flops', 'kernels'):
        assert abs(sum(row[part] for row in shares.values()) - 1) < tolerances.FLOAT64


SCOPED = {
    'jit(dispatch)/while/body/closed_call/augmentation/mul': 'augmentation',
    'jit(dispatch)/jvp(forward)/encoder/conv': 'forward',
    'jit(dispatch)/transpose(jvp(forward))/encoder/conv': 'backward',
    'jit(dispatch)/transpose(jvp(loss))/dot_general': 'loss',
    'jit(dispatch)/probe/jvp()/forward': 'probe',
    'jit(dispatch)/lossless/metadata': '',
}


@pytest.mark.parametrize('op_name, scope', SCOPED.items())
def test_scopes(op_name, scope):
    assert scope_of(op_name) == scope


def test_rows_taken_from_a_set_are_read_and_not_the_set():
    """On the CPU's own program: a gather of 4 rows of 1,000."""
    rows = jax.ShapeDtypeStruct((1000, 64), jnp.float32)
    take = jax.jit(lambda x, i: x[i] * 2).lower(rows, jax.ShapeDtypeStruct((4,), jnp.int32)).compile()
    moved = parse(take.as_text()).bytes
    assert 2 * 4 * 64 * 4 <= moved < 20 * 4 * 64 * 4 < 1000 * 64 * 4


CONTRACTIONS = {
    'product': (lambda x, y: x @ y, [(32, 16), (16, 8)], 2 * 32 * 16 * 8),
    'batched': (lambda x, y: jnp.einsum('bij,bkj->bik', x, y), [(3, 8, 16), (3, 4, 16)], 2 * 3 * 8 * 4 * 16),
    'convolution': (
        lambda x, k: jax.lax.conv_general_dilated(x, k, (1, 1), 'VALID', dimension_numbers=('NHWC', 'HWIO', 'NHWC')),
        [(2, 8, 8, 3), (3, 3, 3, 5)], 2 * 2 * 6 * 6 * 9 * 3 * 5,
    ),
    'grouped': (
        lambda x, k: jax.lax.conv_general_dilated(
            x, k, (2, 2), 'VALID', feature_group_count=2, dimension_numbers=('NHWC', 'HWIO', 'NHWC')
        ),
        [(2, 9, 9, 4), (3, 3, 2, 6)], 2 * 2 * 4 * 4 * 9 * 2 * 6,
    ),
    'scan': (lambda x, y: jax.lax.scan(lambda c, _: (jnp.tanh(c @ y), None), x, None, length=7)[0], [(8, 4), (4, 4)],
             7 * 2 * 8 * 4 * 4),
}  # fmt: skip


@pytest.mark.parametrize('function, shapes, expected', CONTRACTIONS.values(), ids=CONTRACTIONS.keys())
def test_matrix_flops_before_and_after_compiling(function, shapes, expected):
    """By hand, from the jaxpr, and from the CPU's program, whose products may be calls of a library."""
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    assert matrix_flops(jax.make_jaxpr(function)(*arguments)) == expected
    text = jax.jit(function).lower(*arguments).compile().as_text()
    assert sum(parse(text).matrix.values()) == expected


def test_the_bound_is_the_largest_of_its_parts(recorded):
    program, where = parse(recorded['h100']), place('h100:2')
    found = bound(program, where)
    target = where.target
    assert np.isclose(found.matrix, program.matrix['bf16'] / 989.4e12, rtol=tolerances.FLOAT64)
    assert np.isclose(found.memory, program.bytes / 3.352e12, rtol=tolerances.FLOAT64)
    assert np.isclose(found.links, program.sent / 450e9, rtol=tolerances.FLOAT64)
    assert max(found[:4]) <= found.total <= sum(found[:3])
    assert np.isclose(found.per(4).total, found.total / 4, rtol=tolerances.FLOAT64)
    assert roofline.peak(target, 'float32') < roofline.peak(target, 'bfloat16')
    # 16 GPUs talk over the network of their nodes.
    assert place('h100:16').sending(16) == 50e9 and place('h100:16').sending(8) == 450e9


def test_places():
    assert place('h100').chips == 1 and place('h200:16').chips == 16
    assert place('tpu-v5e:16x16').chips == 256 and place('tpu-v5p:4x4x4').chips == 64
    for kind, name in (('NVIDIA H100 80GB HBM3', 'h100'), ('TPU v5 lite', 'tpu-v5e'), ('TPU v5', 'tpu-v5p')):
        assert chip(kind) is targets.TARGETS[name]
    assert chip('cpu') is None and chip('NVIDIA H100 PCIe') is None


BAD = {
    'h10:8': "'h10' is an unknown target; did you mean h100",
    'tpu-v5:4x4': 'did you mean tpu-v5',
    'h100:12': 'comes in 1 to 8 GPUs, or in multiples of 8',
    'h100:0': "not '0'; such as h100:8",
    'h100:4x4': "not '4x4'",
    'tpu-v5e:3x5': "the topology '3x5' of tpu-v5e does not exist; known are 1x1, 2x2",
    'tpu-v5p': "the topology '' of tpu-v5p does not exist; known are 2x2x1",
}


@pytest.mark.parametrize('on, message', BAD.items())
def test_places_that_do_not_exist(on, message):
    with pytest.raises(UserError, match=message):
        train.main(['--config=experiments/digits/vicreg.py', '--dry-run', f'--on={on}'])


def test_on_needs_its_packages_and_a_dry_run(monkeypatch):
    monkeypatch.setattr(targets, '_installed', lambda name: False)
    for on in ('h100:8', 'tpu-v5e:4x4'):
        with pytest.raises(UserError, match=rf"--on={on} needs .* pip install 'selfsup\[plan\]'"):
            train.main(['--config=experiments/digits/vicreg.py', '--dry-run', f'--on={on}'])
    with pytest.raises(UserError, match='--on=h100:8 plans a run and needs --dry-run'):
        train.main(['--config=experiments/digits/vicreg.py', '--workdir=w', '--on=h100:8'])
    with pytest.raises(UserError, match='one process; leave out --host-devices'):
        train.main(['--config=experiments/digits/vicreg.py', '--dry-run', '--on=h100:8', '--host-devices=4'])


@pytest.fixture(scope='module')
def planned():
    """A plan on eight devices: the CPU's program in the place of a GPU's."""
    run = Run(small.digits_config('vicreg', 'train.steps_per_call=2', 'data.batch_size=64'), mesh=parallel.data_mesh(8))
    return run, planning.plan(run, place('h100:8'))


def test_a_plan_counts_a_step_on_one_device(planned):
    run, found = planned
    assert (found.steps, found.batch, found.total) == (2, 64, run.total)
    assert found.memory.peak >= found.memory.arguments + found.memory.temporaries > 0
    shares = found.program.shares()
    assert {'augmentation', 'forward', 'backward', 'loss', 'optimizer', 'probe', 'diagnostics'} <= set(shares)
    for part in ('bytes', 'flops', 'kernels'):
        assert abs(sum(row[part] for row in shares.values()) - 1) < tolerances.FLOAT64
    assert shares['backward']['flops'] > shares['forward']['flops'] > shares['probe']['flops']
    traced = matrix_flops(jax.make_jaxpr(run.dispatch)(run.state_shapes, *run.feed.shapes(1)))
    compiled = sum(found.program.matrix.values()) / found.steps * 8
    assert (
        0.5 * traced < compiled <= 1.1 * traced
    )  # what meets padding is not compiled, and small products are repeated
    numbers = json.loads(json.dumps(found.as_dict()))
    assert numbers['collectives']['all-reduce']['sent'] > 0
    assert np.isclose(numbers['images_per_second'], 64 / numbers['bound']['total'], rtol=tolerances.FLOAT64)
    assert np.isclose(found.days, run.total * found.bound.total / 86400, rtol=tolerances.FLOAT64)
    shown = dry_run.rows(found)
    assert 'fits' in shown['peak'] and shown['device'].startswith('8 x h100') and 'all-reduce of a step' in shown


def _line(seconds, rate, waiting=0.0, **more):
    return {'step': 1, 'images_per_second': rate, 'waiting_share': waiting, 'seconds': seconds, **more}


def test_speed_of_a_run(tmp_path):
    """The first line of each of two sessions holds compiling; the rate is the median, the wait the mean."""
    lines = [_line(9, 1), _line(10, 100, 0.1), _line(12, 300, 0.3), _line(8, 2), _line(9, 200, 0.2)]
    found = speed.summary(lines)
    assert found['images_per_second'] == 200 and np.isclose(found['waiting_share'], 0.2, rtol=tolerances.FLOAT64)
    assert speed.summary(lines[:1])['images_per_second'] == 1 and speed.summary([]) == {}
    file = tmp_path / 'timing.jsonl'
    assert speed.sentence(tmp_path) == ''
    for line, words in ((_line(1, 1234.4, 0.25), '1,234 images/s, 25.0% of the time waiting for data$'),
                        (_line(1, 5, peak_share=0.4), "model FLOP/s 40.0% of the chips' peak")):  # fmt: skip
        file.write_text(json.dumps(line) + '\n')
        assert re.search(words, speed.sentence(tmp_path))
    for damaged in ('{"step": 1}\n', 'x\ny\n'):
        file.write_text(damaged)
        assert speed.sentence(tmp_path) == ''


def test_share_of_the_peak(planned, monkeypatch, capsys):
    """An H100 of 495 TFLOP/s in the place of each of eight devices; the CPU has no row."""
    run, found = planned
    assert speed.peak_share(run) == 0
    monkeypatch.setattr(speed, 'chip', lambda kind: targets.TARGETS['h100'])
    share = speed.peak_share(run)
    compiled = sum(found.program.matrix.values()) / found.steps * 8
    assert compiled / 1.1 <= share * 64 * 8 * 494.7e12 < 2 * compiled
    timing = Bar(10, 0, 64, share).update(10, 0.5, 0.0)
    assert np.isclose(timing['peak_share'], share * timing['images_per_second'], rtol=tolerances.FLOAT64)
    assert 'of peak' in capsys.readouterr().out


def test_times_of_a_profile_by_scope(tmp_path):
    def step(x):
        with jax.named_scope('forward'):
            y = jnp.tanh(x @ x)
        with jax.named_scope('loss'):
            return jnp.sum(jnp.sort(y, axis=1) ** 2)

    x = jnp.ones((200, 200))
    compiled = jax.jit(step).lower(x).compile()
    with jax.profiler.trace(str(tmp_path)):
        for _ in range(3):
            jax.block_until_ready(compiled(x))
    program = parse(compiled.as_text())
    times = scope_times(tmp_path, program)
    assert {'forward', 'loss'} <= set(times) and all(0 < seconds < 60 for seconds in times.values())
    with pytest.raises(ValueError, match=r'holds no profile \(\*.xplane.pb\)'):
        scope_times(tmp_path / 'missing', program)


@pytest.mark.slow
def test_every_slice_of_the_gpu_hour_runs_small(tmp_path):
    command = [sys.executable, str(small.ROOT / 'benchmarks' / 'gpu_hour.py'), 'check', 'speed', 'train', 'kill']
    command += ['--toy', '--platform=cpu', f'--out={tmp_path}', '--kinds', 'eager']
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, 'JAX_PLATFORMS': 'cpu'})
    found = {name: json.loads((tmp_path / f'{name}.json').read_text()) for name in ('check', 'speed', 'train', 'kill')}
    assert done.returncode == 0 and all(slice['ok'] for slice in found.values()), done.stdout + done.stderr
    assert 'passed' in found['check']['summary'] and found['train']['finished']
    assert '1 of 1 kills left no trace' in found['kill']['lines'][-1]
    ran = [row for row in found['speed']['rows'] if 'ms' in row]
    assert {row['row']['what'] for row in ran} >= {'ours', 'run'}
    shares = next(row['scopes'] for row in ran if 'scopes' in row)
    del shares['ms a step']
    assert np.isclose(sum(shares.values()), 1.0, rtol=tolerances.FLOAT64)


def test_rates_are_measured_over_a_second(monkeypatch):
    """Two results that arrive at once say nothing of the rate; that of compiling counts for a second after it."""
    clock = [100.0]
    monkeypatch.setattr(writer.time, 'perf_counter', lambda: clock[0])
    bar, found = writer.Bar(1000, 0, 10), []
    for seconds, step, waited in ((50, 20, 0.0), (0.5, 40, 0.25), (0.5, 60, 0.0), (0.001, 80, 0.0), (4.999, 280, 1.0)):
        clock[0] += seconds
        found.append(bar.update(step, 0.5, waited))
    assert np.allclose([line['images_per_second'] for line in found], [4, 400 / 50.5, 400, 600 / 1.001, 2000 / 4.999])
    assert np.allclose([line['waiting_share'] for line in found], [0, 0.25 / 50.5, 0.25, 0.25 / 1.001, 1 / 4.999])
    assert found[-1]['seconds'] == 56.0


def test_what_does_not_fit():
    where = place('h100:1')
    have = where.target.memory
    assert planning.verdict(have + 2**30, where) == 'does not fit, by 1.00 GiB'
    assert planning.verdict(0.5 * have, where) == 'fits' and planning.fits(0.9 * have, where)
    assert planning.verdict(0.9 * have, where).startswith('fits with XLA_PYTHON_CLIENT_MEM_FRACTION=0.92')
    assert not planning.fits(None, where) and planning.verdict(None, where) == 'does not fit'
    refusal = 'RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 20.50G of 15.75G hbm. Exceeded'
    assert planning._used(refusal) == 20.5 * 2**30 and planning._used('RESOURCE_EXHAUSTED') is None


def test_advice_tries_each_way_and_says_why_one_cannot_be_taken(monkeypatch):
    """On two devices: bfloat16, FSDP and microbatches are compiled; a batch-norm network refuses the last."""
    config, mesh = small.digits_config('vicreg', 'data.batch_size=64'), parallel.data_mesh(2)
    peaks = {'train.precision=bfloat16': 3, 'parallel.shard=fsdp': 2}
    seen = []

    def plan(run, where):
        c = run.config
        seen.append((c.train.precision, c.parallel.shard, c.train.microbatches))
        peak = 4.0 - (c.train.precision == 'bfloat16') - 2 * (c.parallel.shard == 'fsdp')
        return planning.Plan(where, 1, planning.Memory(0, 0, peak), None, None, 64, 1, 0.0)

    monkeypatch.setattr(advice, 'plan', plan)
    where = place('h100:2')
    tiny = where._replace(target=where.target._replace(memory=1))
    tried = list(advice.attempts(config, tiny, mesh))
    assert [t.peak for t in tried[:2]] == list(peaks.values()) and [t.overrides for t in tried[:2]] == [
        [k] for k in peaks
    ]
    assert tried[2].overrides == ['train.microbatches=2'] and 'batch-norms' in tried[2].refusal
    assert tried[3].overrides == list(peaks) and tried[3].peak == 1 and len(tried) == 4
    assert seen == [('bfloat16', 'replicated', 1), ('float32', 'fsdp', 1), ('bfloat16', 'fsdp', 1)]


def test_a_batch_that_does_not_divide():
    with pytest.raises(UserError, match=r'data.batch_size=60 must be a multiple of the 8 devices'):
        Run(small.digits_config('vicreg', 'data.batch_size=60'), mesh=parallel.data_mesh(8))


def test_blank_images():
    train_part, test_part = open_source('blank:200x8x6x3/10')
    assert (len(train_part), len(test_part), train_part.num_classes) == (200, 40, 10)
    assert train_part.image_shape == (8, 6, 3) and not train_part[7]['input'].any() and train_part[7]['label'] == 7
    assert blank.published('tfds:cifar10') == 'blank:50000x32x32x3/10'
    assert blank.published('tfds:cifar10[train[:10%]]') == blank.published('digits') == ''
    for text in ('', '5', '0x8x8x3/1', '10x8x8x4/2', '10x8x8x3/11', '10x8x8x3/0', '10x99999x8x3/2'):
        with pytest.raises(UserError, match='blank:'):
            open_source(f'blank:{text}')


@pytest.mark.parametrize('extra', [[], ['data.crop=reading', 'data.feed=streaming'], ['data.crop=canvas', 'data.feed=streaming', 'data.canvas=16']],
                         ids=['resident', 'reading', 'canvas'])  # fmt: skip
def test_described_rows_are_those_of_the_feed(extra):
    changes = ['data.source=blank:64x16x16x3/4', 'data.batch_size=8', 'augment.recipe=simclr', 'augment.size=8',
               'augment.mean=(0.5,)', *extra]  # fmt: skip
    config = small.digits_config('vicreg', *changes)
    real, described = Run(config, devices=2), Run(config, mesh=parallel.data_mesh(2))
    given, shapes = real.feed(0, 3), described.feed.shapes(3)
    assert jax.tree.structure(given) == jax.tree.structure(shapes)
    for array, shape in zip(jax.tree.leaves(given), jax.tree.leaves(shapes), strict=True):
        assert (array.shape, array.dtype) == (shape.shape, shape.dtype)
        assert array.sharding.is_equivalent_to(shape.sharding, array.ndim)
    if not real.feed.resident:
        real.feed.close()


INSTALLED = {name: all(map(targets._installed, packages)) for name, packages in targets.PACKAGES.items()}


@pytest.mark.slow
@pytest.mark.parametrize('on', ['h100:2', 'tpu-v5e:2x2'])
def test_a_plan_by_the_real_compilers(on):
    """The command as a user types it, in a process of its own."""
    if not INSTALLED[place(on).target.platform]:
        pytest.skip('requirements-plan.txt is not installed')
    environment = {k: v for k, v in os.environ.items() if k not in ('XLA_FLAGS', 'JAX_PLATFORMS')}
    command = [
        sys.executable,
        '-m',
        'selfsup.train',
        '--config=experiments/digits/vicreg.py',
        '--dry-run',
        f'--on={on}',
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=900)
    assert done.returncode == 0, done.stderr
    for word in ('fits', 'kernels of a step', 'all-reduce of a step', 'images/s', 'augmentation'):
        assert word in done.stdout


@pytest.mark.slow
def test_recorded_programs_are_those_of_the_script(recorded, monkeypatch, tmp_path):
    """hlo/record.py still describes what the texts hold: FLOPs by the real compiler are those above."""
    if not INSTALLED['cuda']:
        pytest.skip('requirements-plan.txt is not installed')
    module = small.script('tests/hlo/record.py')
    monkeypatch.setattr(module, '__file__', str(tmp_path / 'record.py'))
    monkeypatch.setattr(module, 'PLACES', {'h100': 'h100:2'})
    module.main()
    again = parse((tmp_path / 'h100.txt').read_text())
    assert again.matrix == parse(recorded['h100']).matrix

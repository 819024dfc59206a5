"""Settings of every test: eight CPU devices, strict shapes and promotion, a compilation cache."""

import itertools
import os
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Tests compile far more than they compute, so the compiler is asked to be quick (without the emitters of fusions, which
# jaxlib from 0.11 on always has, it takes 0.4 of the time), and threads that would wait for one another on two shared
# cores are left out.
OLD = tuple(map(int, version('jaxlib').split('.')[:2])) < (0, 11)
FLAGS = (
    '--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0 --xla_cpu_multi_thread_eigen=false'
    + ' --xla_cpu_use_fusion_emitters=false' * OLD
)
os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {FLAGS}'
os.environ.update(dict.fromkeys(('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS'), '1'))
# Another platform ('cuda,cpu') is for golden values on a device, benchmarks/gpu_hour.py.
os.environ['JAX_PLATFORMS'] = os.environ.get('SELFSUP_TEST_PLATFORM', 'cpu')
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', str(ROOT / '.pytest_cache' / 'jax'))
os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'
os.environ['TF_CPP_MIN_LOG_LEVEL'] = '2'

from jaxtyping import install_import_hook  # noqa: E402  the flags above must stand before jax is imported

# Every annotated shape of the array code is checked in every test.
install_import_hook(
    [f'selfsup.{p}' for p in ('losses', 'diagnostics', 'augment', 'dictionaries', 'models')], 'beartype.beartype'
)

import jax  # noqa: E402
import jaxtyping  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

jax.config.update('jax_numpy_rank_promotion', 'raise')


MOST_MAPS = 20_000  # of the 65,530 that Linux allows a process
MAPS = Path('/proc/self/maps')
TESTS = itertools.count()


@pytest.fixture(autouse=True, scope='module')
def forgotten_programs():
    """Compiled programs are dropped after a module: each holds memory maps, and a process that runs out of them dies."""
    yield
    jax.clear_caches()


@pytest.fixture(autouse=True)
def bounded_programs():
    """Likewise within a module of very many programs."""
    yield
    if next(TESTS) % 8 == 0 and MAPS.exists() and MAPS.read_text().count('\n') > MOST_MAPS:
        jax.clear_caches()


@pytest.fixture
def x64():
    """Runs a test in float64."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def own_checks():
    """Switches the shape hook off, so that a test meets the errors that a user meets."""
    jaxtyping.config.update('jaxtyping_disable', True)
    yield
    jaxtyping.config.update('jaxtyping_disable', False)


@pytest.fixture(scope='session')
def golden():
    """The inputs of the golden values: 16 rows of 6, two views, in float64."""
    i, j = np.arange(16.0)[:, None], np.arange(6.0)[None]
    x = np.sin(1 + 1.7 * i + 0.9 * j + 0.13 * i * j)
    return x, x + 0.3 * np.cos(0.5 + 2.3 * i + 1.1 * j)


@pytest.fixture(scope='session')
def cifar10():
    """Folder of a prepared CIFAR-10: $TFDS_DATA_DIR, `*/data/tfds` beside the checkout, or a mock made here."""
    places = [Path(os.environ.get('TFDS_DATA_DIR', '/nowhere')), *ROOT.parent.glob('*/data/tfds')]
    for place in places:
        if (place / 'cifar10').is_dir():
            return str(place)
    pytest.skip('CIFAR-10 is not prepared on this machine; set TFDS_DATA_DIR')

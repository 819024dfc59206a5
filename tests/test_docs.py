"""Generated pages are up to date, and what the README shows works."""

import importlib.util
import re
from pathlib import Path

import jax

ROOT = Path(__file__).parent.parent


def test_the_page_of_losses_is_up_to_date():
    spec = importlib.util.spec_from_file_location('generate', ROOT / 'docs' / 'generate.py')
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    assert page.FILE.read_text() == page.text(), 'run python docs/generate.py'


def test_the_readmes_snippets_run():
    """The loss in one's own code, and the method in one's own step."""
    snippets = re.findall(r'```python\n(.*?)```', (ROOT / 'README.md').read_text(), re.S)
    key = jax.random.key(0)
    z1, z2 = jax.random.normal(key, (2, 8, 4))
    x1, x2 = jax.random.normal(key, (2, 4, 8, 8, 3))
    names = {'z1': z1, 'z2': z2, 'x1': x1, 'x2': x2, 'key': key}
    names['batch'] = {'views': (x1, x2), 'index': jax.numpy.arange(4), 'view_params': (), 'step': 0}
    for code in snippets:
        if 'load_encoder' in code:
            continue
        # Outside a parallel step there is no axis to gather over.
        code = (
            code.replace("methods.over_axis(methods.simclr, 'data')", 'methods.simclr')
            .replace('models.resnet18', 'models.ConvNet')
            .replace("stem='cifar'", '')
        )
        exec(code, names)
    assert float(names['loss']) > 0


def test_every_file_named_in_the_readme_exists():
    text = (ROOT / 'README.md').read_text()
    for path in re.findall(r'\]\((?!http)([^)]+)\)', text) + re.findall(r'--config=(\S+\.py)', text):
        assert (ROOT / path).exists(), path

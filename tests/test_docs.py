"""Generated pages are up to date, and what the README shows works."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import small
from selfsup import cli
from selfsup.config import shipped

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope='module')
def generate():
    return small.script('docs/generate.py')


def test_what_is_generated_is_up_to_date(generate):
    """Pages, the README's tables and the results in the docstrings of configs say what is recorded."""
    pages = generate.pages(generate.scores_recorded())
    assert [str(path) for path, text in pages.items() if path.read_text() != text] == [], 'run python docs/generate.py'


def test_another_score_changes_every_place_that_states_it(generate):
    recorded = generate.scores_recorded()
    before = generate.pages(recorded)
    for scores in recorded['byol']['none'].values():
        scores['trained'] = {name: value - 0.1 for name, value in scores['trained'].items()}
    after = generate.pages(recorded)
    changed = {str(path.relative_to(ROOT)) for path in before if before[path] != after[path]}
    assert changed == {'README.md', 'docs/digits.md', 'docs/methods.md', 'experiments/digits/byol.py'}
    assert "all but BYOL's over the untrained encoder and BYOL's over the control exceed" in ' '.join(
        after[ROOT / 'docs' / 'digits.md'].split()
    )


def test_a_docstring_without_a_result_is_refused(generate):
    with pytest.raises(ValueError, match='needs one line that begins with "Result'):
        generate.docstring('"""BYOL."""', generate.scores_recorded()['byol'])


def test_the_readme_shows_the_tree():
    text = (ROOT / 'README.md').read_text().split('## Layout')[1].split('```')[1]
    shown = text.split('ssl/selfsup/')[1].split('experiments/')[0].splitlines()[1:]
    words = [line.split() for line in shown]
    named = {w for line in words for w in line[: 1 if line[0].endswith('/') else None] if w.endswith(('/', '.py'))}
    package = ROOT / 'ssl' / 'selfsup'
    there = {f'{p.name}/' for p in package.iterdir() if p.is_dir() and any(p.glob('*.py'))}
    assert named == there | {p.name for p in package.glob('*.py') if p.name != '__init__.py'}


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


# Pages of the site alone.
SITE = {'index', 'api'}


def test_every_page_is_reached_from_the_readme_and_from_the_site():
    text = (ROOT / 'README.md').read_text()
    pages = {page.stem for page in (ROOT / 'docs').glob('*.md')} - SITE
    assert pages - set(re.findall(r'\]\(docs/(\w+)\.md\)', text)) == set()
    listed = re.findall(r'^(\w+)$', (ROOT / 'docs' / 'index.md').read_text(), re.M)
    assert sorted(listed) == sorted({*pages, *SITE} - {'index'})


def test_the_rows_of_photographs_are_looked_up_by_their_files(tmp_path, monkeypatch, capsys):
    """The example of docs/photographs.md, on features of which row 0 is nearest to row 2."""
    monkeypatch.chdir(tmp_path)
    rows = np.array([[1, 0], [0, 1], [0.9, 0.1], [-1, 0], [0.5, 0.5]])
    np.savez('all.npz', features=rows, files=[f'{n}.jpg' for n in range(5)])
    (code,) = re.findall(r'```python\n(.*?)```', (ROOT / 'docs' / 'photographs.md').read_text(), re.S)
    exec(code, {})
    assert capsys.readouterr().out == '0.jpg is most like 2.jpg 4.jpg 1.jpg\n'


def test_networks_of_nnx_take_part():
    """The example of docs/questions.md: batch statistics move and every parameter gets a gradient."""
    (code,) = re.findall(r'```python\n(.*?)```', (ROOT / 'docs' / 'questions.md').read_text(), re.S)
    names = {}
    exec(code, names)
    assert 0 < float(names['loss']) < 10
    assert float(abs(names['extra']['batch_stats']['encoder']['norm']['mean']).max()) > 0
    assert all(float(abs(g).max()) > 0 for g in jax.tree.leaves(names['gradients']['encoder']))


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip('furo', reason='the extra [docs] is not installed')
    command = [sys.executable, '-m', 'sphinx', '-q', '--fail-on-warning', '-b', 'html', 'docs', str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, '')
    assert 'temperature' in (tmp_path / 'api.html').read_text()


@pytest.mark.parametrize('page', sorted((ROOT / 'docs').glob('*.md')), ids=lambda page: page.stem)
def test_links_between_pages_lead_somewhere(page):
    for link in re.findall(r'\]\((?!http)([^)#]+)(?:#[^)]*)?\)', page.read_text()):
        assert (page.parent / link).exists(), link


def test_the_readme_names_configs_and_commands_that_exist():
    text = (ROOT / 'README.md').read_text()
    assert set(re.findall(r'^selfsup (\w+)', text, re.M)) <= set(cli.COMMANDS)
    assert set(re.findall(r'^selfsup train (\S+)', text, re.M)) <= set(shipped.shipped())


def test_every_file_named_in_the_readme_exists():
    text = (ROOT / 'README.md').read_text()
    for path in re.findall(r'\]\((?!http)([^)]+)\)', text) + re.findall(r'--config=(\S+\.py)', text):
        assert (ROOT / path).exists(), path


NOTEBOOKS = sorted((ROOT / 'docs' / 'notebooks').glob('*.ipynb'))


def cells_of(notebook, kind):
    return [cell for cell in json.loads(notebook.read_text())['cells'] if cell['cell_type'] == kind]


@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=[file.stem for file in NOTEBOOKS])
def test_notebooks_show_what_they_printed_and_drew(notebook):
    """Outputs are those of one execution from the top, without errors and without places of the machine it ran on."""
    cells = cells_of(notebook, 'code')
    assert [cell['execution_count'] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell['outputs']]
    assert all(output['output_type'] != 'error' for output in outputs)
    assert sum('image/png' in output.get('data', {}) for output in outputs) >= 2
    assert not re.search(r'/(?:home|root|work|tmp|Users)/', notebook.read_text())


@pytest.mark.slow
@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=[file.stem for file in NOTEBOOKS])
def test_notebooks_run(notebook, tmp_path, monkeypatch):
    """Every cell in order, with two epochs in the place of forty."""
    monkeypatch.setenv('SELFSUP_NOTEBOOKS', str(tmp_path))
    monkeypatch.setenv('SELFSUP_NOTEBOOK_EPOCHS', '2')
    monkeypatch.setenv('MPLBACKEND', 'agg')
    names: dict[str, object] = {}
    for cell in cells_of(notebook, 'code'):
        exec(''.join(cell['source']), names)
    assert any(tmp_path.rglob('report.md'))

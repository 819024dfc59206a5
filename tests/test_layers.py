"""Imports point one way, and never round in a circle: read from the source, so that no import is run."""

import ast
import functools
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / 'ssl' / 'selfsup'
# From the bottom up. A module imports from its own layer's package and from layers below, never from a layer above or
# from another package of the same layer, but where the pair is named.
LAYERS = (
    {'errors'},
    {'files', 'signature', 'parallel', 'hardware', 'losses', 'diagnostics', 'augment', 'dictionaries'},
    {'models'},
    {'methods', 'optim', 'data', 'evals', 'weights'},
    {'config', 'reduction'},
    {'engine'},
    {'cli', 'launch'},
    {
        'train',
        'evaluate',
        'bench',
        'embed',
        'reduce',
        'select',
        'subset',
        'pack',
        'convert',
        'runs',
        'sweep',
        'catalogue',
        'doctor',
        'completion',
        'reproduce',
    },
    {'__main__'},
)
SIDEWAYS = {('launch', 'cli'), ('sweep', 'runs'), ('select', 'runs')}
ALONE = ('losses', 'diagnostics', 'augment', 'dictionaries')  # import jax and nothing of ours: each can be copied whole
LEVEL = {name: number for number, layer in enumerate(LAYERS) for name in layer}


@functools.cache
def modules():
    return {'.'.join(p.relative_to(SOURCE).with_suffix('').parts): p for p in sorted(SOURCE.rglob('*.py'))}


def name_of(module):
    return module.removesuffix('.__init__')


def imports(module, path, *, lazy=True):
    """What a module imports of ours, as dotted names below `selfsup`; without `lazy` only what runs at import time."""
    tree = ast.parse(path.read_text())
    skipped = set()
    if not lazy:
        for node in ast.walk(tree):
            typing_only = isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.dump(node.test)
            if typing_only or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                skipped |= {id(inner) for inner in ast.walk(node)}
    package = module.split('.')[:-1]
    known = {name_of(m) for m in modules()}
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not node.level or id(node) in skipped:
            continue
        base = package[: len(package) - node.level + 1]
        target = [*base, *(node.module.split('.') if node.module else [])]
        for alias in node.names:
            full = '.'.join([*target, alias.name])
            found.add(full if full in known else '.'.join(target))
    return found - {''}


def test_every_module_has_a_layer():
    tops = {m.split('.')[0] for m in modules()} - {'__init__'}
    assert tops == set(LEVEL)


@pytest.mark.parametrize('module', [m for m in modules() if m != '__init__'])
def test_imports_point_down(module):
    top = module.split('.')[0]
    for target in imports(module, modules()[module]):
        other = target.split('.')[0]
        if other == top:
            continue
        down = LEVEL[other] < LEVEL[top] or (top, other) in SIDEWAYS
        assert down, f'{module} (layer {LEVEL[top]}) imports {target} (layer {LEVEL[other]})'
        assert top not in ALONE, f'{module} imports {target}: {top} must stand alone'


def test_there_is_no_circle():
    graph = {name_of(m): imports(m, p, lazy=False) for m, p in modules().items()}
    state = {}

    def visit(module, path):
        if state.get(module) == 'done':
            return
        assert state.get(module) != 'open', ' -> '.join([*path[path.index(module) :], module])
        state[module] = 'open'
        for target in graph.get(module, ()):
            visit(target, [*path, module])
        state[module] = 'done'

    for module in graph:
        visit(module, [])


def test_every_test_file_stands_in_one_part():
    """`make test-all` runs the parts that tests/run.sh names."""
    folder = Path(__file__).parent
    parts = re.findall(r"^  \[(\w+)\]='([^']*)'", (folder / 'run.sh').read_text(), re.M)
    named = [file.name for _, patterns in parts for p in patterns.split() for file in folder.glob(f'{p}.py')]
    assert sorted(named) == sorted(file.name for file in folder.glob('test_*.py'))
    order = re.search(r"^ORDER='([^']*)'", (folder / 'run.sh').read_text(), re.M)
    assert order and sorted(order.group(1).split()) == sorted(name for name, _ in parts)

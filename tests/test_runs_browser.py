"""The page of runs in a headless Chromium: it loads, sorts, filters, compares and follows runs, with a clean console."""

import json
import threading

import pytest
import small
from selfsup.runs import server
from test_runs import write

browser = small.script('tools/browser.py')
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.DRIVER is None, reason='there is no chromedriver (Debian: chromium, chromium-driver)'),
]
RUNS = 1000
ROWS = "return [...document.querySelectorAll('#body tr')].map(r => [...r.cells].map(c => c.textContent))"


@pytest.fixture(scope='module')
def window():
    with browser.Browser(1300, 900) as found:
        yield found


@pytest.fixture
def page(tmp_path, window):
    """A folder of runs, served and open in the browser: (the folder, a function to wait for a number of rows)."""
    for number in range(3):
        place = tmp_path / f'run{number}'
        write(place, step=5 + number, method='byol' if number else 'vicreg', lines=[{'step': 4, 'alignment': 0.5}])
    served = server.make(tmp_path, 0)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    try:
        window.open('about:blank')
        window.errors()
        window.open(f'http://127.0.0.1:{served.server_address[1]}/')
        yield tmp_path, lambda count: window.until(lambda: len(window.run(ROWS)) == count, f'not {count} rows')
        assert window.errors() == []
    finally:
        served.shutdown()
        thread.join()
        served.server_close()


def names(window):
    return [row[1] for row in window.run(ROWS)]


def test_it_loads_sorts_and_filters(page, window):
    _, rows = page
    rows(3)
    assert names(window) == ['run0', 'run1', 'run2']
    order = window.run("return ['a=10', 'b', 'a=0.001', 'a=9', 'a=0.0002', 'a'].sort(byNumbers)")
    assert order == ['a', 'a=0.0002', 'a=0.001', 'a=9', 'a=10', 'b']
    click = "[...document.querySelectorAll('#head button')].find(b => b.textContent.startsWith(arguments[0])).click()"
    window.run(click, 'loss')
    window.run(click, 'loss')
    assert names(window) == ['run2', 'run1', 'run0']
    fill = "const f = document.getElementById('filter'); f.value = arguments[0]; f.oninput()"
    for words, left in (('method=byol', ['run2', 'run1']), ('run1', ['run1']), ('nothing', [])):
        window.run(fill, words)
        assert names(window) == left, words
    assert window.run("return document.getElementById('count').textContent") == '0 of 3 runs'


def test_it_compares(page, window):
    _, rows = page
    rows(3)
    for name in ('run0', 'run2'):
        window.run("document.querySelector(`input[aria-label='compare ${arguments[0]}']`).click()", name)
    shown = "return [...document.querySelectorAll('#fields tr')].map(r => [...r.cells].map(c => c.textContent))"
    window.until(lambda: ['method.name', 'vicreg', 'byol'] in window.run(shown), 'the fields are not compared')
    assert window.run("return document.querySelectorAll('#curves polyline').length") >= 2
    assert window.run('return location.hash') == '#compare=run0,run2'
    assert window.run("return document.getElementById('legend').textContent") == 'run0run2'


def test_it_follows_a_run(page, window):
    root, rows = page
    rows(3)
    write(root / 'new', step=3, checkpoint=False, results=False)
    rows(4)
    with (root / 'new' / 'metrics.jsonl').open('a') as file:
        file.write(json.dumps({'step': 9, 'loss': 0.125}) + '\n')
    window.until(lambda: ['9/10', '0.125'] in [row[4:6] for row in window.run(ROWS)], 'the new loss is not shown')


def test_a_thousand_runs_within_a_second(page, window):
    """Processor time of the browser for the drawn list, layout included; the server has read the runs before."""
    root, rows = page
    for number in range(RUNS - 3):
        write(root / f'more{number:04d}', step=number % 10)
    rows(RUNS)
    took = []
    for _ in range(3):
        began = window.processor_seconds()
        window.run('draw(); return document.body.offsetHeight')
        took.append(window.processor_seconds() - began)
    assert min(took) > 0.001, 'nothing was counted'
    assert min(took) < 1.0, took

"""Takes the pictures of the two pages, docs/report_page.png and docs/runs_page.png, in a headless Chromium.

    python docs/pages.py --report=runs/demo                          # a run
    python docs/pages.py --runs=runs/sweep seed=0,a=1 seed=0,a=2     # a folder, and runs to compare

Needs chromium and chromedriver (tools/browser.py). The left half of the report's picture is the head of its page, the
right half neighbours and map with the pointer on a point.
"""

import argparse
import io
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

from PIL import Image
from selfsup.runs import server

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / 'tools'))
from browser import Browser  # noqa: E402 (beside this folder, not in the package)

HALF, HEIGHT, SCALE, GAP = 940, 1420, 0.7, 12
RUNS_SIZE = (1180, 1000)
POINT = """const point = document.querySelectorAll('#map circle')[arguments[0]], box = point.getBoundingClientRect();
const at = {clientX: box.x + box.width / 2, clientY: box.y + box.height / 2};
point.dispatchEvent(new PointerEvent('pointermove', {...at, bubbles: true}))
"""


def seen(browser: Browser) -> Image.Image:
    with tempfile.NamedTemporaryFile(suffix='.png') as file:
        browser.picture(Path(file.name))
        return Image.open(io.BytesIO(Path(file.name).read_bytes())).convert('RGB')


def report_page(run: Path) -> None:
    """docs/report_page.png."""
    with Browser(HALF, HEIGHT, SCALE) as browser:
        browser.open((run / 'report.html').resolve().as_uri())
        halves = [seen(browser)]
        browser.run("document.getElementById('neighbours').scrollIntoView()")
        browser.run(POINT, 40)
        time.sleep(0.5)
        halves.append(seen(browser))
    both = Image.new('RGB', (sum(half.width for half in halves) + GAP, halves[0].height), '#c8ccd0')
    both.paste(halves[0], (0, 0))
    both.paste(halves[1], (halves[0].width + GAP, 0))
    both.save(ROOT / 'docs' / 'report_page.png', optimize=True)


def runs_page(folder: Path, compared: list[str]) -> None:
    """docs/runs_page.png."""
    served = server.make(folder, 0)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    try:
        with Browser(*RUNS_SIZE) as browser:
            chosen = ','.join(urllib.parse.quote(name, safe='') for name in compared)
            browser.open(f'http://127.0.0.1:{served.server_address[1]}/#compare={chosen}')
            browser.until(lambda: browser.run("return document.querySelector('#curves svg') !== null"), 'no curves')
            seen(browser).save(ROOT / 'docs' / 'runs_page.png', optimize=True)
    finally:
        served.shutdown()
        thread.join()
        served.server_close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--report', type=Path, help='workdir of the run whose report is shown')
    parser.add_argument('--runs', type=Path, help='folder of the runs that are listed')
    parser.add_argument('compared', nargs='*', help='names of runs in that list')
    arguments = parser.parse_args()
    if arguments.report:
        report_page(arguments.report)
    if arguments.runs:
        runs_page(arguments.runs, arguments.compared)


if __name__ == '__main__':
    main()

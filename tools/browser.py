"""A headless Chromium, for the test of the local page and for pictures of pages: `Browser` speaks to ChromeDriver.

Both come with a system's packages (Debian: chromium, chromium-driver). WebDriver is JSON over HTTP
(https://www.w3.org/TR/webdriver2/), so that nothing of Python is needed for it.
"""

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

DRIVER = shutil.which('chromedriver')
# As root Chromium has no sandbox, and without the next four it asks the network for updates.
FLAGS = ('--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
         '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage', '--hide-scrollbars')  # fmt: skip
PATIENCE = 60.0  # seconds


class Browser(contextlib.AbstractContextManager):
    """A Chromium of its own; ends with the block of `with`.

    Args:
      width, height: of its page, in the pixels of style sheets.
      scale: pixels of a picture for each of these.
    """

    def __init__(self, width: int = 1200, height: int = 800, scale: float = 1.0):
        if DRIVER is None:
            raise RuntimeError('there is no chromedriver; Debian: apt-get install chromium chromium-driver')
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        self._profile = tempfile.TemporaryDirectory()
        self._driver = subprocess.Popen(
            [DRIVER, f'--port={port}'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._session = f'http://127.0.0.1:{port}'
        try:
            self.until(lambda: self._call('GET', '/status')['ready'], 'ChromeDriver is not ready')
            flags = [*FLAGS, f'--user-data-dir={self._profile.name}']
            options = {'goog:chromeOptions': {'args': flags}, 'goog:loggingPrefs': {'browser': 'ALL'}}
            made = self._call('POST', '/session', {'capabilities': {'alwaysMatch': options}})
        except BaseException:
            self._end()
            raise
        self._session += f'/session/{made["sessionId"]}'
        self._devtools(
            'Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=scale, mobile=False
        )

    def __exit__(self, *_: Any) -> None:
        with contextlib.suppress(OSError):
            self._call('DELETE', '')
        self._end()

    def _end(self) -> None:
        self._driver.terminate()
        self._driver.wait()
        with contextlib.suppress(OSError):  # a process of the browser may still write there
            self._profile.cleanup()

    def _call(self, verb: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._session + path, data, {'Content-Type': 'application/json'}, method=verb)
        with urllib.request.urlopen(request, timeout=2 * PATIENCE) as answer:
            return json.load(answer)['value']

    def _devtools(self, command: str, **values: Any) -> Any:
        return self._call('POST', '/goog/cdp/execute', {'cmd': command, 'params': values})

    def open(self, address: str) -> None:
        """Goes to an address and waits until it is loaded."""
        self._call('POST', '/url', {'url': address})

    def run(self, script: str, *values: Any) -> Any:
        """What a script of the page returns; `arguments[0]` and so on are the values."""
        return self._call('POST', '/execute/sync', {'script': script, 'args': list(values)})

    def errors(self) -> list[str]:
        """Lines of the console that say what is wrong, since the last call."""
        lines = self._call('POST', '/se/log', {'type': 'browser'})
        return [line['message'] for line in lines if line['level'] in ('SEVERE', 'WARNING')]

    def processor_seconds(self) -> float:
        """Processor time of the page's own thread so far; the first call begins to count."""
        self._devtools('Performance.enable', timeDomain='threadTicks')
        found = self._devtools('Performance.getMetrics')
        return {entry['name']: entry['value'] for entry in found['metrics']}['TaskDuration']

    def picture(self, file: Path) -> None:
        """Writes what the window shows, as PNG."""
        file.write_bytes(base64.b64decode(self._call('GET', '/screenshot')))

    def until(self, holds: Callable[[], Any], what: str) -> Any:
        """Asks again until something holds, and returns it."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                found = holds()
                if found:
                    return found
            time.sleep(0.05)
        raise TimeoutError(f'{what} after {PATIENCE:.0f} s')

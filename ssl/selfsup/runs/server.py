"""The runs under a folder as a page for a browser on this machine alone."""

import contextlib
import errno
import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import folder_exists, is_number, plain
from .listing import find, is_held, read

HOST = '127.0.0.1'
PAGE = Path(__file__).with_name('page.html')
POINTS = 400  # of a curve, at most
WATCHED = ('config.json', 'metrics.jsonl', 'results.json', 'timing.jsonl', 'report.html', 'checkpoints')
SHOWN_FILES = {'report.html': 'text/html; charset=utf-8', 'features.png': 'image/png', 'training.png': 'image/png'}


class Index:
    """What is known of the runs below a folder; a run whose files have not changed is not read again."""

    def __init__(self, root: Path):
        self.root = root
        self._known: dict[str, tuple[Any, bool, dict[str, Any] | None]] = {}
        self._lock = threading.Lock()

    def rows(self) -> list[dict[str, Any]]:
        """Every run, in the order of names; whether one is running is asked each time."""
        with self._lock:
            found = {}
            for folder in find(self.root):
                stamp = tuple(_stamp(folder / name) for name in WATCHED)
                before = self._known.get(str(folder))
                running = is_held(folder)
                # A run that has ended leaves its files as they were, and is not running any more.
                if before is None or before[:2] != (stamp, running):
                    before = (stamp, running, read(folder, self.root))
                found[str(folder)] = before
            self._known = found
        return self._last()

    def _last(self) -> list[dict[str, Any]]:
        return [row for _, _, row in self._known.values() if row is not None]

    def row(self, name: str) -> dict[str, Any] | None:
        """A run by its name in the list, as it was last read; None for anything else."""
        for rows in (self._last, self.rows):  # the folders are looked through again for a name that is new
            for row in rows():
                if row['run'] == name:
                    return row
        return None


def _sent(row: dict[str, Any]) -> dict[str, Any]:
    """A run for the page; `id` is its name as a part of an address, whatever bytes that has."""
    return {'id': urllib.parse.quote(row['run'], safe='', errors='surrogateescape'), **row, '_config': None}


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def curves(folder: Path) -> dict[str, list[list[float]]]:
    """Measure -> `[step, value]`, at most `POINTS` of each and the last; lines that cannot be read are left out."""
    found: dict[str, list[list[float]]] = {}
    try:
        lines = (folder / 'metrics.jsonl').read_text(encoding='utf-8', errors='replace').splitlines()
    except OSError:
        return {}
    for text in lines:
        try:
            line = json.loads(text)
            step = line.pop('step')
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            continue
        for name, value in line.items():
            if is_number(value) and not name.startswith('alarm/'):
                found.setdefault(name, []).append([step, value])
    return {name: _thinned(points) for name, points in found.items()}


def _thinned(points: list[list[float]]) -> list[list[float]]:
    stride = -(-len(points) // POINTS)
    return points[len(points) - 1 :: -stride][::-1] if points else []


class Handler(BaseHTTPRequestHandler):
    """Answers of the page; `index` is set by :func:`make`."""

    index: Index

    def do_GET(self) -> None:
        # A page of another host, whose name was made to point here, has no business with these files.
        if self.headers.get('Host', '').rpartition(':')[0] not in (HOST, 'localhost'):
            self._answer(403, 'text/plain', b'only from this machine')
            return
        url = urllib.parse.urlsplit(self.path)
        asked = {name: values[0] for name, values in urllib.parse.parse_qs(url.query, errors='surrogateescape').items()}
        if url.path == '/':
            self._answer(200, 'text/html; charset=utf-8', PAGE.read_bytes())
        elif url.path == '/api/runs':
            rows = [_sent(row) for row in self.index.rows()]
            self._json({'root': str(self.index.root), 'runs': rows})
        elif url.path in ('/api/curves', '/api/config', '/file'):
            self._of_run(url.path, asked)
        else:
            self._answer(404, 'text/plain', b'there is no such page')

    def _of_run(self, path: str, asked: dict[str, str]) -> None:
        row = self.index.row(asked.get('run', ''))
        if row is None:
            self._answer(404, 'text/plain', b'there is no such run')
            return
        folder = Path(row['folder'])
        if path == '/api/curves':
            self._json(curves(folder))
        elif path == '/api/config':
            self._json(row.get('_config', {}))
        elif asked.get('name') in SHOWN_FILES and (folder / asked['name']).is_file():
            self._answer(200, SHOWN_FILES[asked['name']], (folder / asked['name']).read_bytes())
        else:
            self._answer(404, 'text/plain', b'the run has no such file')

    def _json(self, content: Any) -> None:
        # Names of folders may hold bytes that are no text.
        text = json.dumps(plain(content))
        self._answer(200, 'application/json', text.encode('utf-8', 'surrogateescape'))

    def _answer(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(body)))
        self.send_header('Cache-Control', 'no-store')
        self.send_header('X-Content-Type-Options', 'nosniff')
        if self.path.startswith('/file'):  # a report may be of somebody else: its scripts see nothing of this server
            self.send_header('Content-Security-Policy', 'sandbox allow-scripts')
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the browser has left
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing of each request."""


def make(root: Path, port: int) -> ThreadingHTTPServer:
    """A server of the runs below a folder, bound and not yet serving; port 0 takes a free one.

    Raises:
      UserError: if there is no such folder, or the port is in use or may not be had.
    """
    if not folder_exists(root):
        raise UserError(f'{root} is no folder')
    handler = type('RunsHandler', (Handler,), {'index': Index(root.resolve())})
    try:
        return ThreadingHTTPServer((HOST, port), handler)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise UserError(f'--port={port} cannot be had: {error.strerror}; take another') from error


def serve(root: Path, port: int) -> int:
    """Serves until it is interrupted."""
    with make(root, port) as server:
        print(f'runs of {root}: http://{HOST}:{server.server_address[1]}/  (ends with Ctrl-C)', flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0

"""A page to look at a dataset with, on this machine only: examples, rejects, provenance and SQL.

    GET /, /page/<file>                the page: page/
    GET /api/overview                  the datasets: units, pairs, examples, rejects
    GET /api/scores                    names and ranges of the scores, by task
    GET /api/examples?task=&direction=&kind=&text=&score=&min=&max=&order=&page=
    GET /api/rejects?task=&reason=&page=
    GET /api/pair/<pair>               one pair with its examples
    GET /api/statistics?task=&part=    counts, sizes, lengths, scores ... (statistics.py), all or one part of them
    GET /api/schema                    the SQL views and their columns
    GET /api/sql?query=                rows, or an error with its place
    GET /api/sql.csv?query=, /api/sql.parquet?query=    all rows as a file
    GET /image/<pair>/<role>

A client names an image by pair and role; where its bytes are is looked up in the manifest. A page of another origin can
neither ask (Sec-Fetch-Site) nor pose as this one by a name that resolves here (Host).
"""

from __future__ import annotations

import errno
import json
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from manifests.browse.columns import schema
from manifests.browse.ranges import Unsatisfiable, asked_range
from manifests.browse.snapshot import BadRequest, Snapshot, committed_units
from manifests.browse.statistics import Statistics
from manifests.dataset import DatasetError
from manifests.printing import printable_lines
from manifests.read.query import export_sql, run_sql
from manifests.read.sql_pool import SqlError
from manifests.schema import Reject

HOST = "127.0.0.1"
FIRST_PORT = 8008
"""Where the page is when no port is asked for, if it is free; else at one of the next `_PORTS`."""

_PORTS = 100
_IDLE_S = 60

_PAGE = {file.name: file.read_bytes() for file in sorted((Path(__file__).parent / "page").iterdir())}
_PAGE_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""It runs this server's own script and style and nothing else: images and answers are sent as what no browser runs."""


def serve(url: str, port: int | None) -> None:
    """Serve the page until interrupted, at a port as `make_server` takes it.

    Raises DatasetError if there is no dataset at the URL, OSError if the port is in use.
    """
    with make_server(url, port) as server:
        print(f"{url}: http://{HOST}:{server.server_port}/ (Ctrl-C ends)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def make_server(url: str, port: int | None) -> _Server:
    """The server, listening: at a port, for 0 at any free one, for None at the first free one from FIRST_PORT on.

    Raises OSError if the port is in use, or all of those that are tried; ValueError for what is no port.
    """
    if port is not None:
        if not 0 <= port < 2**16:
            raise ValueError(f"{port} is no port: they go from 1 to {2**16 - 1}, and 0 takes a free one")
        return _Server(url, port)
    for one in range(FIRST_PORT, FIRST_PORT + _PORTS):
        with suppress(_PortInUse):
            return _Server(url, one)
    raise _PortInUse(f"{FIRST_PORT} to {FIRST_PORT + _PORTS - 1}")


class _PortInUse(OSError):
    def __init__(self, port: int | str) -> None:
        super().__init__(
            f"Port {port} of {HOST} is in use by another program: choose another by --port N; 0 takes a free one."
        )


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, url: str, port: int) -> None:
        self._url = url
        try:  # before the manifests are looked into, which takes a while
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise _PortInUse(port) from None
        try:
            self._look()
        except BaseException:
            self.server_close()
            raise

    def renew(self) -> None:
        """Show what has been committed since; called when the page is loaded."""
        if committed_units(self._url) != self.snapshot.committed:
            self._look()

    def _look(self) -> None:
        self.snapshot = Snapshot(self._url)
        self.statistics = Statistics(self.snapshot.connection, self.snapshot.datasets)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S

    def do_GET(self) -> None:
        hosts = (f"{HOST}:{self.server.server_port}", f"localhost:{self.server.server_port}")
        same_site = self.headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none")
        if self.headers.get("Host") not in hosts or not same_site:
            return self._error(HTTPStatus.FORBIDDEN, f"only pages of http://{hosts[0]} are answered")
        try:
            self._answer()
        except Reject as error:
            self._error(HTTPStatus.BAD_REQUEST, f"the image cannot be shown: {error.message}")
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # the browser went on to another page
        except SqlError as error:
            self._json({"error": str(error), "place": error.place}, HTTPStatus.BAD_REQUEST)
        except (DatasetError, BadRequest, OSError) as error:
            self._error(HTTPStatus.BAD_REQUEST, str(error))
        except Exception:
            print(printable_lines(traceback.format_exc()), file=sys.stderr)
            self._error(HTTPStatus.INTERNAL_SERVER_ERROR, "an error in the server; its terminal shows more")

    def _answer(self) -> None:
        try:
            address = urlsplit(self.path)
        except ValueError as error:
            raise BadRequest(f"this is no address: {error}") from None
        query = dict(parse_qsl(address.query))
        path = [unquote(part) for part in address.path.split("/")[1:]]
        snapshot = self.server.snapshot
        match path:
            case [""]:
                self.server.renew()
                self._send_page("index.html")
            case ["page", name] if name in _PAGE:
                self._send_page(name)
            case ["api", "overview"]:
                self._json(snapshot.overview)
            case ["api", "scores"]:
                self._json(snapshot.scores)
            case ["api", "examples"]:
                self._json(snapshot.examples(query))
            case ["api", "rejects"]:
                self._json(snapshot.rejects(query))
            case ["api", "pair", key] if pair := snapshot.pair(key):
                self._json(pair)
            case ["api", "sql"]:
                result = run_sql(snapshot.connection, query.get("query", ""))
                self._json(vars(result))
            case ["api", "sql.csv"]:
                body = export_sql(snapshot.connection, query.get("query", ""), "csv")
                self._send_file("text/csv; charset=utf-8; header=present", "rows.csv", body)
            case ["api", "sql.parquet"]:
                body = export_sql(snapshot.connection, query.get("query", ""), "parquet")
                self._send_file("application/vnd.apache.parquet", "rows.parquet", body)
            case ["api", "schema"]:
                self._json(schema(snapshot.connection))
            case ["api", "statistics"]:
                self._json(self.server.statistics.answer(query))
            case ["image", key, role] if place := snapshot.place(key, role):
                with place.shown() as (content_type, body):
                    self._send_image(content_type, body)
            case _:
                self._error(HTTPStatus.NOT_FOUND, "no manifest names this")

    def _send_page(self, name: str) -> None:
        content_type = f"{_PAGE_TYPES[Path(name).suffix]}; charset=utf-8"
        self._send(HTTPStatus.OK, content_type, _PAGE[name], csp=_PAGE_POLICY)

    def _send_file(self, content_type: str, name: str, body: bytes) -> None:
        self._send(HTTPStatus.OK, content_type, body, further={"Content-Disposition": f'attachment; filename="{name}"'})

    def _send_image(self, content_type: str, body: bytes) -> None:
        """Send an image or the one range of it that is asked for."""
        # Answers have no validator, so a condition If-Range is never met: all of the image is sent (section 13.1.5).
        asked = None if "If-Range" in self.headers else self.headers.get("Range")
        # Pair and role name these bytes for ever, but a dataset can be removed and made anew.
        cache, status, further = "private, max-age=600", HTTPStatus.OK, {"Accept-Ranges": "bytes"}
        try:
            part = asked_range(asked, len(body))
        except Unsatisfiable as error:
            content_range = {"Content-Range": f"bytes */{len(body)}"}
            message = json.dumps({"error": str(error)}).encode()
            self._send(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "application/json", message, further=content_range)
            return
        if part is not None:
            status, body = HTTPStatus.PARTIAL_CONTENT, body[part.first : part.last + 1]
            further["Content-Range"] = part.content_range
        self._send(status, content_type, body, cache=cache, further=further)

    def _json(self, value: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _error(self, status: HTTPStatus, message: str) -> None:
        self._json({"error": message}, status)

    def _send(
        self,
        status: HTTPStatus,
        content_type: str,
        body: bytes,
        *,
        csp: str = "default-src 'none'",
        cache: str = "no-store",
        further: Mapping[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": content_type,
            "Content-Length": str(len(body)),
            "Content-Security-Policy": csp,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": cache,
            **(further or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """A line a request would drown the terminal; errors are printed by `do_GET`."""

"""A page to look at a dataset with, on this machine only: examples, rejects, provenance and SQL.

    GET /, /page/<file>                the page: page/
    GET /api/overview                  the datasets: units, pairs, examples, rejects
    GET /api/scores                    names and ranges of the scores, by task
    GET /api/pairs?task=&direction=&kind=&text=&score=&min=&max=&order=&page=
    GET /api/named?keys=               the pairs of some keys, with commas between them
    GET /api/rejects?task=&reason=&score=&min=&max=&page=
    GET /api/histogram?task=&score=&reason=&bins=&low=&high=
                                       values of a score, kept and rejected, by bin, and how many two bounds would keep
    GET /api/beside?task=&score=&reason=&at=
                                       the kept pairs and the rejects nearest a value
    GET /api/pair/<pair>               one pair with its examples
    GET /api/pair/<pair>/<part>        serves, images, instructions, candidates or answers: pair_page.py
    GET /candidate/<pair>/<number>     the picture of a candidate
    GET /api/statistics?task=&part=    counts, sizes, lengths, scores ... (statistics.py), all or one part of them
    GET /api/schema                    the SQL views and their columns
    GET /api/sql?query=                rows, or an error with its place
    GET /api/sql.csv?query=, /api/sql.parquet?query=    all rows as a file
    GET /api/decisions?pair=<pair>,    what reviewers decided of them, and the counts of all
    POST /api/decisions                a decision, as manifests/choose/decisions.py has it, without task and time
    GET /api/agreement?gate=&gate=     of reviewers with each other, with judges, and with bounds on scores
    GET /image/<pair>/<role>           one range of it, if asked for
    GET /reject/<task>/<source_ref>/<side>  a small picture of what a gate rejected
    GET /thumbnail/<pair>/<role>?side=160|320|640

Both have an entity tag; with &v= and the first digits of the image's sha256 they may be kept for ever. Bytes of another
sha256 than the manifest has are not sent.

What fails because a dataset was removed, or made anew, since the page was loaded is answered by 409 and its name.

A client names an image by pair and role; where its bytes are is looked up in the manifest. A page of another origin can
neither ask (Sec-Fetch-Site) nor pose as this one by a name that resolves here (Host). What is sent must, besides, say
that it comes from this page (Origin), and be JSON, which no form sends.
"""

from __future__ import annotations

import errno
import json
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from manifests.browse import pair_page
from manifests.browse.choosing import Choosing
from manifests.browse.columns import schema
from manifests.browse.conditions import has_it, may_have_a_part
from manifests.browse.images import Place, Shown
from manifests.browse.pairs import BadRequest, NotThere
from manifests.browse.ranges import Unsatisfiable, asked_range
from manifests.browse.snapshot import Changed, Snapshot, committed_units
from manifests.browse.statistics import Statistics
from manifests.browse.thumbnails import SIDES, Cache, cache_folder
from manifests.choose.agreement import BadGate
from manifests.choose.decisions import BadDecision, place_of
from manifests.dataset import DatasetError
from manifests.printing import printable_lines, say
from manifests.read.query import export_sql, run_sql
from manifests.read.sql_pool import SqlError
from manifests.schema import Reject

HOST = "127.0.0.1"
FIRST_PORT = 8008
"""Where the page is when no port is asked for, if it is free; else at one of the next `_PORTS`."""

_PORTS = 100
_IDLE_S = 60
MOST_BODY_BYTES = 32 * 2**10
"""Of a decision, whose instruction is its only long text."""
_MOST_DROPPED_BYTES = 4 * 2**20
"""Of a request that is too long, which are read so that its sender reads the answer."""
_YEAR_S = 31_536_000
_VERSION_DIGITS = 16  # of a sha256; what two images share by chance no more than two datasets a pair's key

_PAGE = {file.name: file.read_bytes() for file in sorted((Path(__file__).parent / "page").iterdir())}
_PAGE_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""It runs this server's own script and style and nothing else: images and answers are sent as what no browser runs."""


def serve(url: str, port: int | None, decisions: str | None = None) -> None:
    """Serve the page until interrupted, at a port as `make_server` takes it.

    Decisions go into a file, by default the one beside the datasets.

    Raises DatasetError if there is no dataset at the URL, BadDecision for a file that decisions cannot go into, OSError
    if the port is in use.
    """
    with make_server(url, port, decisions) as server:
        print(f"{url}: http://{HOST}:{server.server_port}/ (Ctrl-C ends)", flush=True)
        say(f"decisions: {server.choosing.place}")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def make_server(url: str, port: int | None, decisions: str | None = None) -> _Server:
    """The server, listening: at a port, for 0 at any free one, for None at the first free one from FIRST_PORT on.

    Raises OSError if the port is in use, or all of those that are tried; ValueError for what is no port.
    """
    if port is not None:
        if not 0 <= port < 2**16:
            raise ValueError(f"{port} is no port: they go from 1 to {2**16 - 1}, and 0 takes a free one")
        return _Server(url, port, decisions)
    for one in range(FIRST_PORT, FIRST_PORT + _PORTS):
        with suppress(_PortInUse):
            return _Server(url, one, decisions)
    raise _PortInUse(f"{FIRST_PORT} to {FIRST_PORT + _PORTS - 1}")


class _PortInUse(OSError):
    def __init__(self, port: int | str) -> None:
        super().__init__(
            f"Port {port} of {HOST} is in use by another program: choose another by --port N; 0 takes a free one."
        )


_PARTS: dict[str, Callable[[Snapshot, Mapping[str, Any]], Any]] = {
    "serves": lambda snapshot, pair: pair_page.serves(snapshot.connection, pair),
    "images": lambda snapshot, pair: pair_page.near_images(snapshot.connection, pair),
    "instructions": lambda snapshot, pair: pair_page.near_instructions(snapshot.connection, pair),
    "candidates": lambda snapshot, pair: pair_page.candidates(snapshot.datasets[pair["task"]], pair),
    "answers": lambda snapshot, pair: pair_page.answers(snapshot.datasets[pair["task"]], pair),
}
"""Parts of the page of a pair."""


def _candidate(snapshot: Snapshot, key: str, number: str) -> tuple[str, bytes] | None:
    pair = snapshot.pair(key) if re.fullmatch("[0-9]{1,4}", number) else None
    return pair_page.candidate_picture(snapshot.datasets[pair["task"]], pair, int(number)) if pair else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, url: str, port: int, decisions: str | None) -> None:
        self._url = url
        self.choosing = Choosing(place_of(url, decisions))
        self.thumbnails = Cache(cache_folder(os.environ))
        self.problem = ""
        """Why the datasets could not be read when the page was last loaded; "" if they could."""
        self._renewing = threading.Lock()
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
        """Show what has been committed since; called when the page is loaded.

        If nothing can be read there any more, `problem` says so, and what was there before stays.
        """
        with self._renewing:
            try:
                if committed_units(self._url) != self.snapshot.committed:
                    self._look()
                self.problem = ""
            except (DatasetError, OSError) as error:
                self.problem = str(error)

    def _look(self) -> None:
        self.snapshot = Snapshot(self._url)
        self.statistics = Statistics(self.snapshot.connection, self.snapshot.datasets)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S

    def handle(self) -> None:
        with suppress(ConnectionError):  # the browser has closed it: nobody is left to be told
            super().handle()

    def do_GET(self) -> None:
        if not self._is_ours("same-origin", "none"):
            return self._forbid()
        self._try(self._answer)

    def do_POST(self) -> None:
        self.close_connection = True  # what of a body is not read would be taken for the next request
        origin = f"http://{self.headers.get('Host')}"
        if not self._is_ours("same-origin") or self.headers.get("Origin") != origin:
            return self._forbid()
        if urlsplit(self.path).path != "/api/decisions":
            return self._error(HTTPStatus.NOT_FOUND, "decisions alone are taken, at /api/decisions")
        if self.headers.get("Content-Type", "").split(";")[0].strip().lower() != "application/json":
            return self._error(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a decision is application/json")
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not re.fullmatch("[0-9]{1,9}", length):
            return self._error(HTTPStatus.LENGTH_REQUIRED, "a decision has a Content-Length")
        if int(length) > MOST_BODY_BYTES:
            self.rfile.read(min(int(length), _MOST_DROPPED_BYTES))
            return self._error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a decision has {MOST_BODY_BYTES:,} bytes at most")
        self._try(lambda snapshot: self._decide(int(length), snapshot))

    def _is_ours(self, *sites: str) -> bool:
        """Whether a request comes from this page, as far as its host and the browser tell."""
        hosts = (f"{HOST}:{self.server.server_port}", f"localhost:{self.server.server_port}")
        return self.headers.get("Host") in hosts and self.headers.get("Sec-Fetch-Site", sites[0]) in sites

    def _forbid(self) -> None:
        self._error(HTTPStatus.FORBIDDEN, f"only pages of http://{HOST}:{self.server.server_port} are answered")

    def _decide(self, length: int, snapshot: Snapshot) -> None:
        body = self.rfile.read(length)
        if len(body) < length:
            raise BadRequest("the decision is cut off")
        self._json(self.server.choosing.add(body, snapshot))

    def _try(self, answer: Callable[[Snapshot], None]) -> None:
        """Answer from what is shown, or say what is wrong."""
        snapshot = self.server.snapshot
        try:
            with snapshot.noticing():
                answer(snapshot)
        except Changed as error:
            self._error(HTTPStatus.CONFLICT, str(error))
        except NotThere as error:
            self._error(HTTPStatus.NOT_FOUND, str(error))
        except Reject as error:
            self._error(HTTPStatus.BAD_REQUEST, f"the image cannot be shown: {error.message}")
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # the browser went on to another page
        except SqlError as error:
            self._json({"error": str(error), "place": error.place}, HTTPStatus.BAD_REQUEST)
        except (DatasetError, BadRequest, BadDecision, BadGate, OSError) as error:
            self._error(HTTPStatus.BAD_REQUEST, str(error))
        except Exception:
            print(printable_lines(traceback.format_exc()), file=sys.stderr)
            self._error(HTTPStatus.INTERNAL_SERVER_ERROR, "an error in the server; its terminal shows more")

    def _answer(self, snapshot: Snapshot) -> None:
        try:
            address = urlsplit(self.path)
        except ValueError as error:
            raise BadRequest(f"this is no address: {error}") from None
        query = dict(parse_qsl(address.query))
        path = [unquote(part) for part in address.path.split("/")[1:]]
        match path:
            case [""]:
                self.server.renew()
                self._send_page("index.html")
            case ["page", name] if name in _PAGE:
                self._send_page(name)
            case ["api", "overview"]:
                if self.server.problem:
                    self._error(HTTPStatus.BAD_REQUEST, self.server.problem)
                else:
                    self._json(snapshot.overview)
            case ["api", "scores"]:
                self._json(snapshot.scores)
            case ["api", "pairs"]:
                only = self.server.choosing.only(query.get("decision", ""), query.get("reviewer", ""), snapshot)
                self._json(snapshot.page(query, only))
            case ["api", "named"]:
                self._json(snapshot.named([key for key in query.get("keys", "").split(",") if key]))
            case ["api", "rejects"]:
                self._json(snapshot.rejects.page(query))
            case ["api", "histogram"]:
                self._json(snapshot.rejects.histogram(query))
            case ["api", "beside"]:
                self._json(snapshot.rejects.beside(query))
            case ["api", "pair", key] if pair := snapshot.pair(key):
                self._json(pair)
            case ["api", "pair", key, part] if part in _PARTS and (pair := snapshot.pair(key)):
                self._json(_PARTS[part](snapshot, pair))
            case ["candidate", key, number] if found := _candidate(snapshot, key, number):
                self._send(HTTPStatus.OK, *found)
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
            case ["api", "decisions"]:
                pairs = [pair for pair in query.get("pair", "").split(",") if pair]
                self._json(self.server.choosing.of(pairs, snapshot))
            case ["api", "agreement"]:
                gates = [value for name, value in parse_qsl(address.query) if name == "gate"]
                self._json(self.server.choosing.agreement(gates, snapshot))
            case ["image", key, role] if place := snapshot.place(key, role):
                if not self._has_it(place.tag, cache := _kept(place, query)):
                    with place.shown() as shown:
                        self._send_image(shown, place.tag, cache)
            case ["thumbnail", key, role] if place := snapshot.place(key, role):
                tag = place.thumbnail_tag(side_px := _side(query))
                if not self._has_it(tag, cache := _kept(place, query)):
                    self._send_image(place.thumbnail(side_px, self.server.thumbnails), tag, cache)
            case ["reject", task, ref, side] if small := snapshot.rejects.picture(task, ref, side):
                self._send(HTTPStatus.OK, "image/webp", small, cache="private, max-age=600")
            case _:
                raise NotThere("no manifest names this")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no request of this server's, as http.server finds, in the form of all answers."""
        self.close_connection = True  # what else was sent would be taken for the next request
        status = HTTPStatus(code)
        if status is HTTPStatus.REQUEST_URI_TOO_LONG:
            message = "an address, with the query in it, has 65,536 bytes at most: write a shorter query"
            self._drop_head()
        self._error(status, message or status.phrase)

    def _drop_head(self) -> None:
        """Read what is left of a request's lines. A socket that is closed with bytes unread takes the answer back."""
        left = _MOST_DROPPED_BYTES
        while left > 0 and (line := self.rfile.readline(2**16)) not in (b"", b"\n", b"\r\n"):
            left -= len(line)

    def _send_page(self, name: str) -> None:
        content_type = f"{_PAGE_TYPES[Path(name).suffix]}; charset=utf-8"
        self._send(HTTPStatus.OK, content_type, _PAGE[name], csp=_PAGE_POLICY)

    def _send_file(self, content_type: str, name: str, body: bytes) -> None:
        self._send(HTTPStatus.OK, content_type, body, further={"Content-Disposition": f'attachment; filename="{name}"'})

    def _has_it(self, tag: str, cache: str) -> bool:
        """Whether the client has what the tag names, and was told so."""
        if not tag or not has_it(self.headers.get("If-None-Match"), f'"{tag}"'):
            return False
        self.send_response(HTTPStatus.NOT_MODIFIED)
        self.send_header("ETag", f'"{tag}"')
        self.send_header("Cache-Control", cache)
        self.end_headers()
        return True

    def _send_image(self, shown: Shown, tag: str, cache: str) -> None:
        """Send an image or the one range of it that is asked for."""
        body, status, further = shown.body, HTTPStatus.OK, {"Accept-Ranges": "bytes"}
        further["ETag"] = etag = f'"{tag}"'
        try:
            in_part = may_have_a_part(self.headers.get("If-Range"), etag)
            part = asked_range(self.headers.get("Range") if in_part else None, len(body))
        except Unsatisfiable as error:
            content_range = {"Content-Range": f"bytes */{len(body)}"}
            message = json.dumps({"error": str(error)}).encode()
            self._send(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "application/json", message, further=content_range)
            return
        if part is not None:
            status, body = HTTPStatus.PARTIAL_CONTENT, body[part.first : part.last + 1]
            further["Content-Range"] = part.content_range
        self._send(status, shown.content_type, body, cache=cache, further=further)

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
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """A line a request would drown the terminal; errors are printed by `do_GET`."""


def _kept(place: Place, query: Mapping[str, str]) -> str:
    """How long a client may keep an image: for ever if its address says which bytes it is of.

    Pair and role alone do not: a dataset can be removed and made anew. So it asks each time, by the tag.
    """
    version = query.get("v", "")
    named = len(version) >= _VERSION_DIGITS and place.sha256.startswith(version)
    return f"private, max-age={_YEAR_S}, immutable" if named else "private, no-cache"


def _side(query: Mapping[str, str]) -> int:
    text = query.get("side", "")
    if text not in map(str, SIDES):
        raise BadRequest(f"side is none of {', '.join(map(str, SIDES))}: {text!r}")
    return int(text)

"""A page to look at a dataset with, on this machine only: examples, rejects, provenance and SQL.

    GET /                              browse.html
    GET /api/overview                  the datasets: units, pairs, examples, rejects
    GET /api/scores                    names and ranges of the scores, by task
    GET /api/examples?task=&direction=&kind=&text=&score=&min=&max=&order=&page=
    GET /api/rejects?task=&reason=&page=
    GET /api/pair/<pair>               one pair with its examples
    GET /api/sql?query=
    GET /image/<pair>/<role>

Filters and pages are DuckDB's work, so a page costs the same memory whatever the dataset's size. A client names an
image by pair and role; where its bytes are is looked up in the manifest. A page of another origin can neither ask
(Sec-Fetch-Site) nor pose as this one by a name that resolves here (Host).
"""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import json
import re
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from PIL import Image as PILImage

from manifests.browse.budget import Budget
from manifests.browse.ranges import Unsatisfiable, asked_range
from manifests.dataset import Dataset, DatasetError, find_datasets
from manifests.images.pixels import decode_rgb, read_header
from manifests.printing import printable_lines
from manifests.read.query import connect, datasets_by_task, overview, read_image, run_sql, select
from manifests.read.sql_pool import SqlError
from manifests.schema import Reject

HOST = "127.0.0.1"
PAGE_EXAMPLES = 24
PAGE_REJECTS = 100
_REMEMBERED_PAIRS = 4_096  # where their images are; about 1 KB each, and a page's pairs are asked for at once
_IDLE_S = 60

# What every browser shows as it is; the rest is converted.
_SHOWN_FORMATS = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif"}
_SHOWN_MODES = {"1", "L", "LA", "P", "RGB", "RGBA"}

_BYTES_A_PIXEL = 24
"""What it takes to convert a pixel: 12 of 16-bit gray, 14 of CMYK, 16 of RGBA were measured, and some are left over."""

_BUDGET = Budget(2**30)
"""For the images that are read, converted and sent at the same time; a larger one is alone."""

_ORDERS = {"low": "scores[?] ASC, pair, direction, kind", "high": "scores[?] DESC, pair, direction, kind"}

_HTML = Path(__file__).with_name("browse.html").read_text()


def serve(url: str, port: int) -> None:
    """Serve the page until interrupted.

    Raises DatasetError if there is no dataset at the URL, OSError if the port is in use.
    """
    with make_server(url, port) as server:
        print(f"{url}: http://{HOST}:{server.server_port}/ (Ctrl-C ends)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def make_server(url: str, port: int) -> _Server:
    """The server, listening; port 0 takes a free one."""
    return _Server(url, port)


class _Snapshot:
    """The units that were committed at one moment."""

    def __init__(self, url: str) -> None:
        self.datasets = datasets_by_task(url)
        self.committed = _committed(url)
        self.connection = connect(url)
        self._places: dict[str, Mapping[str, Any]] = {}
        self._lock = threading.Lock()

    @cached_property
    def overview(self) -> list[dict[str, Any]]:
        return [overview(dataset) for dataset in self.datasets.values()]

    @cached_property
    def scores(self) -> list[dict[str, Any]]:
        return select(
            self.connection,
            "SELECT task, score.key AS name, min(score.value) AS min, max(score.value) AS max "
            "FROM (SELECT task, unnest(map_entries(scores)) AS score FROM examples) GROUP BY ALL ORDER BY ALL",
        )

    def examples(self, query: Mapping[str, str]) -> dict[str, Any]:
        """A page of examples in stored order, or by a score."""
        conditions, values = _equal(query, ("task", "direction", "kind"))
        if text := query.get("text"):
            conditions.append("contains(lower(instruction), lower(?))")
            values.append(text)
        score = query.get("score")
        if score:
            conditions.append("scores[?] BETWEEN ? AND ?")
            low, high = _number(query, "min", float("-inf")), _number(query, "max", float("inf"))
            values += [score, low, high]
        where = " AND ".join(conditions) or "true"
        order, by = "", []
        if score and query.get("order") in _ORDERS:
            order, by = f"ORDER BY {_ORDERS[query['order']]}", [score]
        total = select(self.connection, f"SELECT count(*) AS total FROM examples WHERE {where}", values)
        rows = select(
            self.connection,
            f"SELECT * FROM examples WHERE {where} {order} LIMIT {PAGE_EXAMPLES} OFFSET ?",
            [*values, *by, _page(query) * PAGE_EXAMPLES],
        )
        for row in rows:
            self._remember(row)
        return {"total": total[0]["total"], "page_size": PAGE_EXAMPLES, "rows": rows}

    def rejects(self, query: Mapping[str, str]) -> dict[str, Any]:
        """A page of rejects, with the counts of all by reason."""
        conditions, values = _equal(query, ("task", "reason"))
        where = " AND ".join(conditions) or "true"
        return {
            "total": select(self.connection, f"SELECT count(*) AS n FROM rejects WHERE {where}", values)[0]["n"],
            "page_size": PAGE_REJECTS,
            "reasons": select(
                self.connection,
                "SELECT task, operator, reason, count(*) AS items FROM rejects GROUP BY ALL "
                "ORDER BY items DESC, task, operator, reason",
            ),
            "rows": select(
                self.connection,
                f"SELECT * FROM rejects WHERE {where} LIMIT {PAGE_REJECTS} OFFSET ?",
                [*values, _page(query) * PAGE_REJECTS],
            ),
        }

    def pair(self, key: str) -> dict[str, Any] | None:
        """One pair with all its examples."""
        rows = select(self.connection, "SELECT * FROM pairs WHERE pair = ?", [key])
        return rows[0] if rows else None

    def place(self, key: str, role: str) -> _Place | None:
        """Where a pair's image is, if manifests name one."""
        known = self._places.get(key)
        if known is None:
            rows = select(
                self.connection, "SELECT pair, task, shard, images FROM examples WHERE pair = ? LIMIT 1", [key]
            )
            if not rows:
                return None
            known = self._remember(rows[0])
        image = next((image for image in known["images"] if image["role"] == role), None)
        dataset = self.datasets.get(known["task"])
        return _Place(dataset=dataset, shard=known["shard"], image=image) if image and dataset else None

    def _remember(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        place = {name: row[name] for name in ("task", "shard", "images")}
        with self._lock:
            self._places[row["pair"]] = place
            if len(self._places) > _REMEMBERED_PAIRS:
                del self._places[next(iter(self._places))]
        return place


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where an image is, and what its manifest says of it: a struct of the column `images`."""

    dataset: Dataset
    shard: str
    image: Mapping[str, Any]

    @contextmanager
    def shown(self) -> Iterator[tuple[str, bytes]]:
        """Content type and bytes of the image as a browser can show it, which are in the budget until they are sent.

        Raises DatasetError if it cannot be read, Reject if it cannot be decoded.
        """
        image = self.image
        pixels, size = image["width_px"] * image["height_px"], _count(image["bytes"])
        if image["format"] in _SHOWN_FORMATS and image["mode"] in _SHOWN_MODES:
            with _BUDGET.taking(size):
                yield _SHOWN_FORMATS[image["format"]], read_image(self.dataset, self.shard, image)
            return
        with _BUDGET.taking(size + _count(pixels) * _BYTES_A_PIXEL):
            data = read_image(self.dataset, self.shard, image)
            header = read_header(data)
            if header.width_px * header.height_px != pixels:
                raise DatasetError(f"{self.dataset.url}/shards/{self.shard} has an image of another size than is said")
            buffer = io.BytesIO()
            PILImage.fromarray(decode_rgb(data)).save(buffer, "PNG", compress_level=1)
            yield "image/png", buffer.getvalue()


def _count(number: int | str) -> int:
    """A number of a manifest, or 0 if it is none that can be: negative, or too large for JSON, and then digits."""
    return max(0, number) if isinstance(number, int) else 0


def _committed(url: str) -> dict[str, list[str]]:
    """Names of the committed units by dataset: listings, no file is opened."""
    return {dataset.url: dataset.unit_names() for dataset in find_datasets(url)}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, url: str, port: int) -> None:
        self._url = url
        try:  # before the manifests are looked into, which takes a while
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise OSError(
                f"Port {port} of {HOST} is in use by another program: choose another by --port N; 0 takes a free one."
            ) from None
        try:
            self.snapshot = _Snapshot(url)
        except BaseException:
            self.server_close()
            raise

    def renew(self) -> None:
        """Show what has been committed since; called when the page is loaded."""
        if _committed(self._url) != self.snapshot.committed:
            self.snapshot = _Snapshot(self._url)


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
        except (DatasetError, SqlError, _BadRequest, OSError) as error:
            self._error(HTTPStatus.BAD_REQUEST, str(error))
        except Exception:
            print(printable_lines(traceback.format_exc()), file=sys.stderr)
            self._error(HTTPStatus.INTERNAL_SERVER_ERROR, "an error in the server; its terminal shows more")

    def _answer(self) -> None:
        try:
            address = urlsplit(self.path)
        except ValueError as error:
            raise _BadRequest(f"this is no address: {error}") from None
        query = dict(parse_qsl(address.query))
        path = [unquote(part) for part in address.path.split("/")[1:]]
        snapshot = self.server.snapshot
        match path:
            case [""]:
                self.server.renew()
                self._send(HTTPStatus.OK, "text/html; charset=utf-8", _HTML.encode(), csp=_page_policy(_HTML))
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
            case ["image", key, role] if place := snapshot.place(key, role):
                with place.shown() as (content_type, body):
                    self._send_image(content_type, body)
            case _:
                self._error(HTTPStatus.NOT_FOUND, "no manifest names this")

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


class _BadRequest(ValueError):
    """A parameter of a request that cannot be used."""


def _equal(query: Mapping[str, str], columns: tuple[str, ...]) -> tuple[list[str], list[Any]]:
    """Conditions, and their values, for the columns that the query names."""
    named = [column for column in columns if query.get(column)]
    return [f"{column} = ?" for column in named], [query[column] for column in named]


def _number(query: Mapping[str, str], name: str, default: float) -> float:
    try:
        return float(query.get(name) or default)
    except ValueError:
        raise _BadRequest(f"{name} is not a number: {query[name]}") from None


def _page(query: Mapping[str, str]) -> int:
    """The page's number, from 0."""
    text = query.get("page", "0")
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise _BadRequest(f"page is not a number: {text}")
    return int(text)


def _page_policy(html: str) -> str:
    """A policy that runs this page's own script and style, by their hashes, and nothing else."""
    hashes = {}
    for tag in ("script", "style"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        hashes[tag] = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{hashes['script']}'; style-src 'sha256-{hashes['style']}'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )

"""A local S3, `python -m tests.buckets.server`: prints its port, then serves until it is ended.

It keeps connections open, as S3 does. What a test asks of it besides S3 is under `/_test/`:

    PUT /_test/faults     a JSON list of faults, in the place of those before
    POST /_test/requests  the requests so far, [method, path, status], a JSON list; they are forgotten

A fault is {"method": "PUT", "path": a regular expression, "status": 503, "times": n}: so many requests that match are
answered so. With "status" 0 the connection is cut off in the middle of the answer.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable
from typing import Any

import moto.moto_server.threaded_moto_server as moto_server
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.server import ThreadedMotoServer
from werkzeug.serving import WSGIRequestHandler

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

KEYS_A_LISTING = 20
"""S3 lists 1,000 keys at a time, if it is not asked for fewer: so many objects would be slow to write."""

_CODES = {403: "AccessDenied", 500: "InternalError", 503: "SlowDown"}


class Disturbed(DomainDispatcherApplication):
    """Moto's application, with faults, and with a record of what was asked."""

    faults: list[dict[str, Any]] = []  # noqa: RUF012 (of the process: there is one server)
    requests: list[tuple[str, str, int]] = []  # noqa: RUF012
    lock = threading.Lock()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if path.startswith("/_test/"):
            return self._asked(path, environ, start_response)
        if environ.get("QUERY_STRING"):
            path = f"{path}?{environ['QUERY_STRING']}"
        if "list-type=2" in path and "max-keys" not in path:
            environ["QUERY_STRING"] += f"&max-keys={KEYS_A_LISTING}"
        fault = self._fault(method, path)
        if fault is not None:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            return self._failed(method, path, fault, start_response)

        def begin(status: str, *rest: Any) -> Any:
            with self.lock:
                self.requests.append((method, path, int(status[:3])))
            return start_response(status, *rest)

        answer: Iterable[bytes] = super().__call__(environ, begin)
        return answer

    def _fault(self, method: str, path: str) -> dict[str, Any] | None:
        with self.lock:
            for fault in self.faults:
                if fault["times"] and fault["method"] in ("*", method) and re.search(fault["path"], path):
                    fault["times"] -= 1
                    return fault
        return None

    def _failed(self, method: str, path: str, fault: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        status = fault["status"]
        with self.lock:
            self.requests.append((method, path, status))
        if status == 0:
            start_response("200 OK", [("Content-Length", "1000")])
            return [b"cut off"]
        code = _CODES[status]
        start_response(f"{status} {code}", [("Content-Type", "application/xml")])
        text = f"<Error><Code>{code}</Code><Message>{code} by the test</Message></Error>"
        return [b"" if method == "HEAD" else text.encode()]

    def _asked(self, path: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        with self.lock:
            if path == "/_test/faults":
                self.faults[:] = json.loads(body)
            answer = json.dumps(self.requests).encode()
            if path == "/_test/requests":
                self.requests.clear()
        start_response("200 OK", [("Content-Length", str(len(answer)))])
        return [answer]


if __name__ == "__main__":
    WSGIRequestHandler.protocol_version = "HTTP/1.1"
    vars(moto_server)["DomainDispatcherApplication"] = Disturbed
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    print(server.get_host_and_port()[1], flush=True)
    threading.Event().wait()

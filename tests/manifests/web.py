"""A browse server in a thread, requests to it, and the browser that opens its page."""

from __future__ import annotations

import http.client
import json
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from manifests.browse.server import make_server
from manifests.browse.thumbnails import Cache

CHROMIUM = shutil.which("chromium")
CHROMIUM_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
HOSTILE = "<script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\">"
"""What a dataset may say that a page must show as text."""


@contextmanager
def serving(url: str, decisions: str | None = None) -> Iterator[int]:
    # A thread may still keep a picture when the server has ended.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, make_server(url, 0, decisions) as server:
        server.thumbnails = Cache(Path(folder))  # not the user's own
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def get(
    port: int, path: str, *, method: str = "GET", headers: dict[str, str] | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, headers=headers or {})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def ask(port: int, path: str, **parameters: object) -> Any:
    response, body = get(port, f"/api/{path}?{urlencode(parameters)}")
    assert response.status == 200, body
    return json.loads(body)

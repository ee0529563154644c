"""Real servers for tests of vision-language models: `transformers serve`, and one that makes faults in front of it."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from infra.slurm.ports import free_port

KEY = "sk-secret-of-this-test-0123456789"

Fault = Literal["429", "500", "reset", "hang", "garbage", "not json", "401", "400", "refused", "quota"]
Plan = Callable[[int, int], Fault | None]
"""(which distinct request, from 0; which attempt at it, from 0) -> the fault, or None to answer."""

HARMFUL: tuple[Fault, ...] = ("429", "500", "reset", "hang", "garbage", "not json")


def no_faults(request: int, attempt: int) -> Fault | None:
    return None


class Server(ThreadingHTTPServer):
    """An OpenAI-compatible server. Answers by `answer`, or passes requests on to `upstream`, a port.

    A fault comes before a request is answered or passed on: what is counted in `paid`, by the hash of the request, has
    been answered. With `refuses_schemas` a request for an answer by a schema gets status 400, and nothing is paid.
    Where `raw` is set it writes what is sent, from the first byte on, and the connection is then closed.
    """

    daemon_threads = True

    def __init__(self, upstream: int | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.answer: Callable[[str], str | None] = lambda text: "no answer set"
        self.refusal: str | None = None
        self.finish_reason = "stop"
        self.refuses_schemas = False
        self.raw: Callable[[BinaryIO], object] | None = None
        self.headers: list[dict[str, str]] = []
        self.completion: dict[str, Any] = {}
        """What a completion has in the place of what it would have."""
        self.plan: Plan = no_faults
        self.requests: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.paid: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.most_at_once = 0
        self.started_s: list[float] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self._attempts: dict[str, int] = {}
        self.at_once = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def begin(self, key: str) -> tuple[int, int]:
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self.started_s.append(time.monotonic())
            self._attempts[key] = self._attempts.get(key, -1) + 1
            return list(self._attempts).index(key), self._attempts[key]

    def end(self) -> None:
        with self.lock:
            self.at_once -= 1

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Quiet: clients that were killed or lost patience have closed their end."""


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.server.raw:
            self._send_raw(self.server.raw)
        elif self._key() != KEY:
            self._send(401, {"error": {"message": f"Incorrect API key provided: {self._key()}", "code": "invalid"}})
        else:
            self._send(200, {"object": "list", "data": []})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        key = hashlib.sha256(body).hexdigest()
        request, attempt = self.server.begin(key)
        try:
            with self.server.lock:
                self.server.requests.append(json.loads(body))
                self.server.keys.add(self._key())
                self.server.headers.append(dict(self.headers))
            if self.server.raw:
                self._send_raw(self.server.raw)
                return
            fault = self.server.plan(request, attempt)
            if fault:
                with self.server.lock:
                    self.server.faults[fault] += 1
                self._fail(fault)
                return
            if self.server.refuses_schemas and "response_format" in json.loads(body):
                self._send(400, {"error": {"message": "Unknown parameter", "param": "response_format", "code": None}})
                return
            with self.server.lock:
                self.server.paid[key] += 1
            if self.server.upstream:
                self._pass_on(body)
            else:
                self._answer(json.loads(body))
        finally:
            self.server.end()

    def _send_raw(self, raw: Callable[[BinaryIO], object]) -> None:
        self.close_connection = True
        with suppress(OSError):  # the client has had enough
            raw(cast(BinaryIO, self.wfile))

    def _key(self) -> str:
        return (self.headers["Authorization"] or "").removeprefix("Bearer ")

    def _fail(self, fault: Fault) -> None:
        error = {"message": f"no, and your key is {self._key()}", "type": "x", "code": None}
        if fault == "429":
            self._send(429, {"error": error}, {"Retry-After": "1"})
        elif fault == "quota":
            self._send(429, {"error": {**error, "code": "insufficient_quota"}})
        elif fault in ("500", "401", "400"):
            self._send(int(fault), {"error": error})
        elif fault == "refused":
            self._send(400, {"error": {**error, "code": "content_policy_violation"}})
        elif fault == "garbage":
            self._send(200, b"<html>It works!</html>", {"Content-Type": "text/html"})
        elif fault == "not json":
            self._send(200, b'{"choices": [', {"Content-Type": "application/json"})
        elif fault == "hang":
            while not self.server.closing.wait(0.05) and not self._is_left():
                pass
            self.close_connection = True
        else:
            linger = struct.pack("ii", 1, 0)  # closing then resets the connection
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
            self.close_connection = True

    def _is_left(self) -> bool:
        """Whether the client has closed its end: it has lost patience, or is dead."""
        try:
            return not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _pass_on(self, body: bytes) -> None:
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=60)
        upstream.request("POST", self.path, body, {"Content-Type": "application/json"})
        answered = upstream.getresponse()
        self._send(answered.status, answered.read(), {"Content-Type": answered.getheader("Content-Type", "")})
        upstream.close()

    def _answer(self, body: dict[str, Any]) -> None:
        text = "".join(part.get("text", "<image>") for part in body["messages"][0]["content"])
        message = {"role": "assistant", "content": self.server.answer(text), "refusal": self.server.refusal}
        choice = {"index": 0, "finish_reason": self.server.finish_reason, "message": message}
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        completion = {"id": "1", "object": "chat.completion", "created": 0, "model": f"{body['model']}-2026-01-01"}
        self._send(200, {**completion, "choices": [choice], "usage": usage, **self.server.completion})

    def _send(self, status: int, body: bytes | dict[str, Any], headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@contextmanager
def running(upstream: int | None = None) -> Iterator[Server]:
    """A server for the length of a block."""
    with Server(upstream) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()


@contextmanager
def transformers_serve(model: Path, log: Path) -> Iterator[int]:
    """`transformers serve` with a checkpoint, on 127.0.0.1; gives its port once it answers."""
    port = free_port()
    program = Path(sys.executable).with_name("transformers")
    command = [str(program), "serve", str(model), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    with open(log, "wb") as file:
        process = subprocess.Popen(command, env={**os.environ, "HF_HUB_OFFLINE": "1"}, stdout=file, stderr=file)
    try:
        deadline_s = time.monotonic() + 180
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).read()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline_s, log.read_text(errors="replace")
                time.sleep(0.2)
        yield port
    finally:
        process.kill()
        process.wait()

"""The language-model classifier against a real HTTP server that speaks /v1/chat/completions."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from operators.judge import edit_llm
from operators.judge.edit_llm import PROMPTS, LlmClassifier, parse_label

KEY = "sk-secret-of-this-test"


class Server(ThreadingHTTPServer):
    """Answers with `answer` after as many `failures` as there are status codes in it; keeps the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: str | None = "other"
        self.failures: list[int] = []
        self.requests: list[dict[str, Any]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append({"path": self.path, "key": self.headers["Authorization"], **body})
        if self.server.failures:
            status = self.server.failures.pop(0)
            self._send(status, {"error": {"message": f"refused {KEY}", "type": "x", "code": None}})
            return
        message = {"role": "assistant", "content": self.server.answer}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        self._send(200, {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]})

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    pytest.importorskip("openai")
    monkeypatch.setattr(edit_llm, "_answers", {})
    with Server() as running:
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{running.server_port}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("answer", ["object_addition", " object_removal\n", "other"])
def test_an_answer_of_one_word_is_the_class(server: Server, answer: str) -> None:
    server.answer = answer
    assert LlmClassifier(model="llama")("Put a {hat} on\nit") == answer.strip()
    (request,) = server.requests
    assert (request["path"], request["key"]) == ("/v1/chat/completions", f"Bearer {KEY}")
    assert (request["model"], request["temperature"]) == ("llama", 0.0)
    (message,) = request["messages"]
    assert message["content"].endswith("Instruction: Put a {hat} on it\nAnswer:")


@pytest.mark.parametrize(
    "answer", ["Object_Addition", "object_addition.", "It is other", "", "{}", "object_addition other", None]
)
def test_anything_else_is_a_value_error_with_the_raw_text(server: Server, answer: str | None) -> None:
    server.answer = answer
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        LlmClassifier()("add a hat")
    assert str(caught.value) == (answer or "")


def test_an_instruction_is_asked_once_for_a_model(server: Server) -> None:
    one, other = LlmClassifier(model="one"), LlmClassifier(model="other")
    for classify in (one, one, other, one, LlmClassifier(model="other")):
        classify("add a hat")
    one("add a cap")
    assert [request["model"] for request in server.requests] == ["one", "other", "one"]


def test_a_wrong_key_stops_the_unit_and_is_not_repeated(server: Server) -> None:
    """401 is not the pair's fault, so it must not become a reject; and some servers quote the key."""
    server.failures = [401]
    with pytest.raises(PermissionError, match="401") as caught:
        LlmClassifier()("add a hat")
    assert len(server.requests) == 1
    assert KEY not in str(caught.value) and caught.value.__cause__ is None
    assert LlmClassifier()("add a hat") == "other"  # a failure is not cached


def test_a_refused_request_is_the_pairs_fault(server: Server) -> None:
    server.failures = [400]
    with pytest.raises(RuntimeError, match="400") as caught:
        LlmClassifier()("add a hat")
    assert KEY not in str(caught.value)


def test_the_client_tries_again_what_may_pass(server: Server) -> None:
    server.failures = [500, 429]
    assert LlmClassifier()("add a hat") == "other"
    assert len(server.requests) == 3


def test_an_endpoint_that_is_not_there_is_an_os_error(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edit_llm, "_MAX_RETRIES", 0)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:9"):
        LlmClassifier()("add a hat")


def test_without_a_key_it_says_so(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(PermissionError, match="OPENAI_API_KEY is not set"):
        LlmClassifier()("add a hat")


def test_the_fingerprint_holds_model_and_prompt_and_nothing_secret() -> None:
    assert asdict(LlmClassifier(model="m")) == {"model": "m", "prompt": next(iter(PROMPTS))}


def test_parse_label_takes_nothing_but_the_labels() -> None:
    with pytest.raises(ValueError, match="object"):
        parse_label("object")
